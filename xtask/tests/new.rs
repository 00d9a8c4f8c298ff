//! `cargo xtask new prompt` in a copy of the workspace: the files are right, Cargo takes them, and what is refused
//! leaves everything as it was.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().expect("the repository")
}

/// What the workspace is made of for Cargo and for the command: no data, no results, nothing that was built.
const COPIED: [&str; 8] = [
    "Cargo.lock",
    "Cargo.toml",
    "crates",
    "deny.toml",
    "docs/book/src",
    "experiments",
    "third_party",
    "xtask",
];

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::create_dir_all(to.parent().expect("a folder")).expect("made");
        fs::copy(from, to).expect("copied");
        return;
    }
    for entry in fs::read_dir(from).expect("a folder") {
        let name = entry.expect("an entry").file_name();
        copy(&from.join(&name), &to.join(&name));
    }
}

fn workspace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in COPIED {
        copy(&root().join(name), &folder.path().join(name));
    }
    folder
}

/// Every file below a folder with its content.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(content(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).expect("a file"));
        }
    }
    files
}

fn new_prompt(folder: &Path, name: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["new", "prompt", name, "--json"])
        .current_dir(folder)
        .output()
        .expect("the program starts")
}

#[test]
fn a_new_module_is_a_member_of_the_workspace_and_known_everywhere() {
    let folder = workspace();
    let here = folder.path();
    let before = content(here);
    // From anywhere inside.
    let output = new_prompt(&here.join("crates"), "heat_map");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");

    let mut named: Vec<PathBuf> = ["made", "changed"]
        .iter()
        .flat_map(|key| report[*key].as_array().expect("paths"))
        .map(|path| here.join(path.as_str().expect("a path")))
        .collect();
    named.sort();
    let after = content(here);
    let differs = |path: &&PathBuf| before.get(*path) != after.get(*path);
    let written: Vec<PathBuf> = after.keys().filter(differs).cloned().collect();
    assert_eq!(named, written, "it says what it did");
    assert!(before.keys().all(|path| after.contains_key(path)));
    for path in written {
        let text = fs::read_to_string(&path).expect("text");
        for left in ["example_prompt", "example-prompt", "ExamplePrompt"] {
            assert!(!text.contains(left), "{left} in {}", path.display());
        }
        assert!(text.contains("heat_map") || text.contains("heat-map"), "{}", path.display());
    }
    let read = |path: &str| fs::read_to_string(here.join(path)).expect("text");
    assert!(
        read("crates/promise/src/registry.rs").contains("PromptEntry::of::<heat_map::HeatMap>(),")
    );
    assert!(read("deny.toml").contains("\"heat-map\""));
    assert!(read("docs/book/src/SUMMARY.md").contains("(prompt-heat-map.md)"));
    assert!(here.join("docs/book/src/prompt-heat-map.md").is_file());
    assert!(read("docs/book/src/prompt-options.md").contains("## `heat_map`"));

    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--format-version", "1"])
        .current_dir(here)
        .output()
        .expect("cargo starts");
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let package = |name: &str| {
        let package = packages.iter().find(|package| package["name"] == name);
        package.expect("a package of the workspace")
    };
    let depends = |name: &str| -> Vec<&str> {
        let dependencies = package(name)["dependencies"].as_array().expect("a list");
        dependencies.iter().filter_map(|dependency| dependency["name"].as_str()).collect()
    };
    assert!(depends("promise").contains(&"heat-map"));
    assert!(depends("heat-map").contains(&"prompting"));

    // A second one beside it, and neither twice.
    assert!(new_prompt(here, "another").status.success());
    let before = content(here);
    assert!(!new_prompt(here, "heat_map").status.success());
    assert!(before == content(here), "nothing is changed");
}

#[test]
fn what_cannot_be_made_changes_nothing() {
    let folder = workspace();
    let here = folder.path();
    let before = content(here);
    let refused = |name: &str| {
        let output = new_prompt(here, name);
        assert!(!output.status.success(), "{name}");
        assert!(before == content(here), "{name} changed something");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(refused("HeatMap").contains("is not snake_case"));
    assert!(refused("heat-map").contains("is not snake_case"));
    assert!(refused("apm").contains("`apm` exists already"));
    assert!(refused("box_prompting").contains("exists already"));
    // Packages that others bring along.
    assert!(refused("serde_json").contains("exists already"));
    assert!(refused("none").contains("means something else"));

    // The last of the files that are changed is not as it was.
    let page = here.join("docs/book/src/prompt-options.md");
    fs::write(&page, "# Other\n").expect("written");
    let before = content(here);
    let output = new_prompt(here, "heat_map");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("the section of the token shift"), "{message}");
    assert!(before == content(here), "nothing is changed");

    let elsewhere = tempfile::tempdir().expect("a folder");
    let output = new_prompt(elsewhere.path(), "heat_map");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && message.contains("registry.rs"), "{message}");
}
