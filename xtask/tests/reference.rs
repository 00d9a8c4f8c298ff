//! The pages of the book that are made from the code say what the code says.

use std::{path::Path, process::Command};

#[test]
fn pages_made_from_the_code_say_what_the_code_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["reference", "--check"])
        .current_dir(root)
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
}

#[test]
fn a_page_that_differs_is_named_and_written_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let write = |path: &str, text: &str| {
        let path = here.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    // By this file a folder is known as the workspace.
    write("crates/promise/src/registry.rs", "");
    write("docs/book/src/commands.md", "# Other\n");
    let reference = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .arg("reference")
            .args(more)
            .current_dir(here)
            .output()
            .expect("the program starts");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, said) = reference(&["--check"]);
    assert_eq!(code, Some(1));
    for page in [
        "commands.md",
        "experiment-keys.md",
        "prompt-options.md",
        "run-folder.md",
        "csv-columns.md",
    ] {
        assert!(said.contains(page), "{page} is not in {said}");
    }
    assert!(said.contains("`cargo xtask reference` writes it anew"), "{said}");
    assert_eq!(reference(&[]).0, Some(0));
    assert_eq!(reference(&["--check"]), (Some(0), String::new()));
    let commands = std::fs::read_to_string(here.join("docs/book/src/commands.md")).expect("a page");
    for part in [
        "## `cargo xtask run`",
        "`--set KEY=VALUE`",
        "## `cargo xtask bench encoder`",
        "PROMISE_CACHE",
    ] {
        assert!(commands.contains(part), "{part}");
    }
    assert!(!commands.contains("run-one"), "hidden commands are nobody's business");
}
