//! `cargo xtask new prompt` in a copy of the workspace: the files are right, Cargo takes them, and what is refused
//! leaves everything as it was. With `PROMISE_TEST_SLOW=1` also: what is made builds, passes its tests and trains at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().expect("the repository")
}

/// What the workspace is made of for Cargo and for the command: no images, no results, nothing that was built.
const COPIED: [&str; 9] = [
    "Cargo.lock",
    "Cargo.toml",
    "crates",
    "datasets",
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

/// The packages that lie in this workspace, with `_` for `-`, as files of Cargo may name them.
fn own_packages(workspace: &Path) -> BTreeSet<String> {
    let crates = fs::read_dir(workspace.join("crates")).expect("the crates");
    let names = crates
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().replace('-', "_"));
    names.chain(["xtask".to_owned()]).collect()
}

/// Gives a new target folder what this workspace has built of other people's crates, so that only ours are compiled:
/// artifacts as links, which nobody writes to, and Cargo's notes about them as copies.
fn share_dependencies(built: &Path, target: &Path, own: &BTreeSet<String>) {
    let is_own = |name: &str| {
        let name = name.strip_prefix("lib").filter(|_| name.contains('.')).unwrap_or(name);
        let package = name.rsplit_once('-').map_or(name, |(package, _)| package);
        own.contains(&package.replace('-', "_"))
    };
    let share = |from: &Path, to: &Path, as_copy: bool| {
        fs::create_dir_all(to.parent().expect("a folder")).expect("made");
        if !as_copy {
            return fs::hard_link(from, to).expect("linked");
        }
        fs::copy(from, to).expect("copied");
        // Cargo compares times.
        let time = fs::metadata(from).and_then(|metadata| metadata.modified()).expect("a time");
        fs::File::options()
            .write(true)
            .open(to)
            .and_then(|file| file.set_modified(time))
            .expect("set");
    };
    for part in ["deps", ".fingerprint", "build"] {
        for entry in fs::read_dir(built.join(part)).expect("built") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let files =
                if path.is_dir() { content(&path).into_keys().collect() } else { vec![path] };
            for file in files.iter().filter(|_| !is_own(&name)) {
                share(
                    file,
                    &target.join(file.strip_prefix(built).expect("below")),
                    part == ".fingerprint",
                );
            }
        }
    }
}

#[test]
fn a_new_module_builds_passes_its_tests_and_trains_at_once() {
    if std::env::var_os("PROMISE_TEST_SLOW").is_none_or(|value| value == "0" || value.is_empty()) {
        eprintln!(
            "skipped: compiles all crates of the workspace once more, some minutes; PROMISE_TEST_SLOW=1 does it"
        );
        return;
    }
    // Beside what is built, so that it can be linked.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let (here, target) = (folder.path().join("workspace"), folder.path().join("target"));
    for name in COPIED {
        copy(&root().join(name), &here.join(name));
    }
    let built = Path::new(env!("CARGO_BIN_EXE_xtask")).parent().expect("a folder");
    share_dependencies(built, &target.join("debug"), &own_packages(&root()));
    let output = new_prompt(&here, "heat_map");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let run = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(&here)
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_INCREMENTAL", "0")
            .env("CARGO_NET_OFFLINE", "true")
            .env("GIT_DIR", "none")
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}\n{said}\n{errors}");
        (said, errors)
    };
    let cargo = Path::new(env!("CARGO"));
    // The commands that `new prompt` says.
    run(cargo, &["fmt", "-p", "heat-map"]);
    let (tests, compiled) = run(cargo, &["test", "-p", "heat-map", "-p", "xtask", "--lib"]);
    assert!(
        tests.contains("the_contract_holds_for_every_option_that_changes_the_graph ... ok"),
        "{tests}"
    );
    assert!(
        !compiled.contains("Compiling burn v"),
        "other people's crates are not built again:\n{compiled}"
    );
    run(cargo, &["build", "-p", "xtask"]);
    let program = target.join("debug/xtask");
    let (results, _) = run(&program, &["run", "experiments/smoke/heat_map.toml", "--json"]);
    let results: Value = serde_json::from_str(&results).expect("one JSON document");
    let rows = results["rows"].as_array().expect("rows");
    assert!(rows.iter().any(|row| row["prompts"] == "auto" && row["n"] == 2), "{results}");
    // The book that the command left is the one that the new program writes.
    run(&program, &["reference", "--check"]);
    run(cargo, &["fmt", "--all", "--check"]);
}
