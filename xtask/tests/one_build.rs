//! What `cargo xtask` and `cargo test --workspace` build is the same, so nobody waits for it twice.

use std::{collections::BTreeSet, path::Path, process::Command};

/// Packages with version and features, as Cargo would build them for these arguments.
fn built(arguments: &[&str]) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--prefix", "none", "--format", "{p} {f}"])
        .args(arguments)
        .current_dir(root)
        .output()
        .expect("cargo starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    // A star marks what was listed before.
    listed.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
}

/// A test's dependency may ask for a feature that the program does without: what has it would be built once more,
/// and so would all that stands on it.
#[test]
fn the_programs_dependencies_have_the_features_that_tests_build_them_with() {
    let program = built(&["--package", "xtask", "--edges", "normal,build"]);
    let tests = built(&["--workspace", "--edges", "normal,build,dev"]);
    assert!(program.iter().any(|line| line.starts_with("burn v")), "{program:?}");
    let others: Vec<_> = program.difference(&tests).collect();
    assert!(
        others.is_empty(),
        "`cargo xtask` builds these with other features than `cargo test --workspace` does; give the dependency the \
         missing feature in Cargo.toml: {others:#?}"
    );
}
