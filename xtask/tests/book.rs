//! Every command of the README and the book, in the order of the pages, in one folder.
//!
//! A block that begins with ` ```sh ` is run by a shell, with this program as `cargo xtask`, and must succeed. A block with
//! a mark, ` ```sh needs=gpu `, is not run, for the reason that the mark names ([`REASONS`]): its command lines are parsed, of
//! `run`, `ablate` and `encode` also the plan is made, and the packages and experiment files that they name must exist.
//!
//! What differs from a reader's folder: experiment files are the same but for fewer images and one epoch ([`shrunk`]), and
//! what a reader brings is made up ([`bring`]).
#![cfg(unix)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use data_loaders::synthetic::phantom;

/// Why a block may not be run, by its mark.
const REASONS: [(&str, &str); 8] = [
    ("build", "compiles or tests the workspace, as the tests themselves do"),
    ("data", "data sets that cannot be part of a repository"),
    ("gpu", "a GPU"),
    ("hours", "more time than a test has"),
    ("network", "a network"),
    ("program", "a program that not everybody has"),
    ("server", "a command that ends only when it is told to"),
    ("weights", "published weights"),
];

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().expect("the repository")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Commands of one fence.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    /// Line of the page that it begins at, from 1.
    line: usize,
    /// The mark, if it has one.
    needs: Option<String>,
    script: String,
}

/// The blocks of commands of a page, or what is wrong with one.
fn blocks(text: &str) -> Result<Vec<Block>, String> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    let mut other = false;
    for (place, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let Some(info) = trimmed.strip_prefix("```") else {
            if let Some(block) = &mut open {
                block.script.push_str(trimmed);
                block.script.push('\n');
            }
            continue;
        };
        if let Some(block) = open.take() {
            found.push(block);
            continue;
        }
        if other {
            other = false;
            continue;
        }
        let mut words = info.split_whitespace();
        let at = place + 1;
        match words.next() {
            Some("sh") => {
                let needs = words.next().map(|mark| mark.strip_prefix("needs=").unwrap_or(mark));
                if let Some(mark) = needs
                    && !REASONS.iter().any(|(reason, _)| *reason == mark)
                {
                    return Err(format!("line {at}: `{mark}` is no reason"));
                }
                open = Some(Block {
                    line: at,
                    needs: needs.map(str::to_owned),
                    script: String::new(),
                });
            }
            Some(shell)
                if ["bash", "console", "shell", "zsh"]
                    .iter()
                    .any(|other| shell.starts_with(other)) =>
            {
                return Err(format!(
                    "line {at}: blocks of commands begin with ```sh, not ```{shell}"
                ));
            }
            Some(shell) if shell.starts_with("sh,") => {
                return Err(format!("line {at}: a blank, not a comma, stands before the mark"));
            }
            _ => other = true,
        }
    }
    Ok(found)
}

/// The README, then the pages of the book in their order.
fn pages() -> Vec<PathBuf> {
    let source = root().join("docs/book/src");
    let contents = read(&source.join("SUMMARY.md"));
    let links = contents.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    std::iter::once(root().join("README.md")).chain(links.map(|page| source.join(page))).collect()
}

/// An experiment of generated images and the small backbone in so few steps that a test can run it.
fn shrunk(text: &str) -> String {
    let mut file: toml::Table = text.parse().expect("TOML");
    let is_own = |file: &toml::Table| {
        let sets = |key: &str| {
            file.get("data").and_then(|data| data.get(key)).and_then(toml::Value::as_array).cloned()
        };
        let known =
            |set: &toml::Value| ["phantom", "mine"].contains(&set.as_str().unwrap_or_default());
        let backbone = file.get("backbone").and_then(|backbone| backbone.get("variant"));
        backbone.and_then(toml::Value::as_str) == Some("micro")
            && ["train", "test"]
                .iter()
                .all(|key| sets(key).is_some_and(|sets| sets.iter().all(known)))
    };
    if !is_own(&file) {
        return text.to_owned();
    }
    let settings = "seeds = [1]\n\
        [data]\ntrain_limit = 10\ntest_limit = 2\nvalidation_fraction = 0.2\n\
        [train]\nepochs = 1\nbatch_size = 4\n\
        [evaluate]\npanels = 1\n";
    for (key, value) in settings.parse::<toml::Table>().expect("TOML") {
        match (file.get_mut(&key), value) {
            (Some(toml::Value::Table(there)), toml::Value::Table(new)) => there.extend(new),
            (_, value) => {
                file.insert(key, value);
            }
        }
    }
    toml::to_string(&file).expect("TOML")
}

/// A copy of the experiments, shrunk.
fn copy_experiments(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_experiments(&path, &target);
        } else {
            let text = read(&path);
            let is_experiment = path.extension().is_some_and(|ending| ending == "toml");
            fs::write(target, if is_experiment { shrunk(&text) } else { text }).expect("written");
        }
    }
}

/// What a reader has and a repository has not: a photograph, a folder of images with masks and splits, the predictions of
/// another program, and what somebody clicked.
fn bring(folder: &Path) {
    for name in ["data/images", "data/masks", "predictions", "truths"] {
        fs::create_dir_all(folder.join(name)).expect("made");
    }
    let mut splits = String::from("name,split\n");
    for index in 0..14 {
        let (image, mask) = phantom(7, index, 256);
        let mask = mask.to_gray();
        let name = format!("case{index}");
        image.save(folder.join(format!("data/images/{name}.png"))).expect("saved");
        mask.save(folder.join(format!("data/masks/{name}.png"))).expect("saved");
        splits.push_str(&format!("{name},{}\n", if index < 11 { "train" } else { "test" }));
        if index >= 11 {
            mask.save(folder.join(format!("predictions/{name}.png"))).expect("saved");
            mask.save(folder.join(format!("truths/{name}.png"))).expect("saved");
        }
        if index == 0 {
            image.save(folder.join("photo.png")).expect("saved");
        }
    }
    fs::write(folder.join("data/splits.csv"), splits).expect("written");
    // Prompts of a person, as the page about them shows them.
    let page = read(&root().join("docs/book/src/clicks.md"));
    let shown: Vec<&str> =
        page.split("\n```json\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    let names = ["clicks.json", "phantom.json"];
    assert_eq!(shown.len(), names.len(), "files of prompts on the page");
    for (name, text) in names.into_iter().zip(shown) {
        fs::write(folder.join(name), text).expect("written");
    }
}

/// `cargo` as plain blocks call it: `cargo xtask` is this program, all else belongs into a block with a mark.
const RUNS: &str = r#"#!/bin/sh
if [ "$1" != xtask ]; then echo "cargo $1 is not run here: mark the block" >&2; exit 1; fi
shift
"$XTASK" "$@"
code=$?
# What is wrong with the machine that tests run on is not the page's fault.
if [ "$1" = doctor ] && [ $code -eq 1 ]; then exit 0; fi
exit $code
"#;

/// `cargo` as blocks with a mark call it: nothing is done, but what is named must exist.
const PARSES: &str = r#"#!/bin/sh
fail() { echo "$*" >&2; exit 1; }
# A module that a command before has made, as far as it goes here: another test makes it and runs what is said of it.
made() { grep -qx "$(echo "$1" | tr - _)" made 2>/dev/null; }
command=$1
shift
if [ "$command" != xtask ]; then
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        if [ "$1" = -p ]; then grep -q "^name = \"$2\"$" "$ROOT/Cargo.lock" || made "$2" || fail "there is no package $2"; of=$2; shift; fi
        if [ "$1" = --test ]; then ls "$ROOT"/*/tests/"$2".rs "$ROOT"/*/tests/"$2"/main.rs "$ROOT"/crates/*/tests/"$2".rs "$ROOT"/crates/*/tests/"$2"/main.rs 2>/dev/null | grep -q . || fail "there is no test $2"; fi
        if [ "$1" = --example ]; then [ -f "$ROOT/crates/$of/examples/$2.rs" ] || fail "there is no example $2"; fi
        shift
    done
    [ "$command" = run ] && [ "$of" = xtask ] || exit 0
    [ $# -gt 0 ] || exit 0
    shift
fi
# A wrong name or value is an error before the help is printed.
"$XTASK" "$@" --help >/dev/null || exit 1
[ "$1" = new ] && echo "$3" >>made
files=; settings=; command=$1
while [ $# -gt 0 ]; do
    case $1 in
        experiments/*.toml)
            if [ -f "$1" ]; then files="$files $1"; else made "$(basename "$1" .toml)" || fail "there is no $1"; fi ;;
        --set) settings="$settings --set $2"; shift ;;
    esac
    shift
done
case $command in
    run|ablate|encode) [ -z "$files" ] || "$XTASK" ablate --dry-run $files $settings >/dev/null || exit 1 ;;
esac
"#;

/// The commands of blocks with a mark that can be parsed, that is those of Cargo.
fn cargo_lines(script: &str) -> Vec<String> {
    let joined = script.replace("\\\n", " ");
    let is_cargo = |line: &&str| {
        let mut words = line.split_whitespace().skip_while(|word| word.contains('='));
        words.next() == Some("cargo")
    };
    joined.lines().map(str::trim).filter(is_cargo).map(str::to_owned).collect()
}

/// A folder as a reader has it, with two commands called `cargo`.
struct Here {
    folder: tempfile::TempDir,
}

impl Here {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let work = folder.path().join("work");
        copy_experiments(&root().join("experiments"), &work.join("experiments"));
        bring(&work);
        for (name, script) in [("runs", RUNS), ("parses", PARSES)] {
            let path = folder.path().join(name).join("cargo");
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(&path, script).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("made executable");
        }
        Self { folder }
    }

    /// Runs a script with one of the two commands.
    fn shell(&self, cargo: &str, script: &str) -> Output {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        command
            .args(["-e", "-u", "-c", script])
            .current_dir(self.folder.path().join("work"))
            .env("PATH", format!("{}:{path}", self.folder.path().join(cargo).display()))
            .env("XTASK", env!("CARGO_BIN_EXE_xtask"))
            .env("ROOT", root())
            .env("GIT_DIR", "none");
        for name in ["PROMISE_DATA", "PROMISE_CACHE", "PROMISE_LOG", "PROMISE_MEMORY_GIB"] {
            command.env_remove(name);
        }
        command.output().expect("a shell")
    }

    /// What is wrong with a block, if anything is.
    fn fault(&self, block: &Block) -> Option<String> {
        let said = |output: &Output, script: &str| {
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            (!output.status.success()).then(|| format!("{script}\n{errors}"))
        };
        match &block.needs {
            None => said(&self.shell("runs", &block.script), &block.script),
            Some(_) => cargo_lines(&block.script)
                .iter()
                .find_map(|line| said(&self.shell("parses", line), line)),
        }
    }
}

#[test]
fn every_command_of_readme_and_book_works() {
    let here = Here::new();
    let verbose = std::env::var_os("PROMISE_TEST_VERBOSE").is_some();
    let (mut run, mut parsed) = (0, 0);
    let mut faults = Vec::new();
    for page in pages() {
        let name = page.strip_prefix(root()).expect("in the repository").display().to_string();
        let blocks = match blocks(&read(&page)) {
            Ok(blocks) => blocks,
            Err(fault) => {
                faults.push(format!("{name}, {fault}"));
                continue;
            }
        };
        for block in blocks {
            let start = std::time::Instant::now();
            match block.needs {
                None => run += 1,
                Some(_) => parsed += 1,
            }
            if let Some(fault) = here.fault(&block) {
                faults.push(format!("{name}, line {}: {fault}", block.line));
            }
            if verbose {
                eprintln!("{:6.2} s {name}, line {}", start.elapsed().as_secs_f64(), block.line);
            }
        }
    }
    assert!(faults.is_empty(), "{} commands do not work:\n{}", faults.len(), faults.join("\n"));
    // So many that the pages cannot have been passed over.
    assert!(run >= 20 && parsed >= 5, "{run} blocks were run, {parsed} parsed");

    // What the runs of the pages have left is what the reference says.
    let reference = read(&root().join("docs/book/src/run-folder.md"));
    let quickstart = here.folder.path().join("work/runs/quickstart");
    for folder in [&quickstart, &quickstart.join("apm_ips-seed1")] {
        for entry in fs::read_dir(folder).expect("a run") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let is_run = path.join("record.json").is_file();
            let is_figure =
                ["svg", "png", "pdf"].iter().any(|ending| name.ends_with(&format!(".{ending}")));
            assert!(
                is_run || is_figure || reference.contains(&format!("`{name}")),
                "{name} is not on the page of files"
            );
        }
    }
}

#[test]
fn blocks_are_found_with_their_marks() {
    let text =
        "a\n```toml\nx = 1\n```\n```sh\nb \\\n    c\n```\n\n- d\n  ```sh needs=gpu\n  e\n  ```\n";
    let block = |line, needs: Option<&str>, script: &str| Block {
        line,
        needs: needs.map(str::to_owned),
        script: script.to_owned(),
    };
    let expected = vec![block(5, None, "b \\\nc\n"), block(11, Some("gpu"), "e\n")];
    assert_eq!(blocks(text), Ok(expected));
    for bad in
        ["```sh needs=luck\n```\n", "```bash\n```\n", "```console\n```\n", "```sh,needs=gpu\n```\n"]
    {
        assert!(blocks(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_book_explains_every_mark() {
    let page = read(&root().join("docs/book/src/introduction.md"));
    for (mark, reason) in REASONS {
        assert!(page.contains(&format!("| `needs={mark}` | {reason} |")), "{mark}");
    }
}

#[test]
fn a_wrong_command_is_noticed_whether_it_is_run_or_not() {
    let here = Here::new();
    let fault = |needs: Option<&str>, script: &str| {
        here.fault(&Block {
            line: 1,
            needs: needs.map(str::to_owned),
            script: format!("{script}\n"),
        })
    };
    for good in [
        "cargo xtask list --json",
        "cargo xtask run experiments/quickstart.toml --set train.epochs=3",
        "A=1 cargo xtask table \\\n    runs/a",
        "cargo test -p apm -p xtask --lib",
        "cargo run -p xtask --features cuda -- run experiments/quickstart.toml --device flex",
        "something else",
    ] {
        assert_eq!(fault(Some("hours"), good), None, "{good}");
    }
    for bad in [
        "cargo xtask lists",
        "cargo xtask list --jsn",
        "cargo xtask run experiments/quickstar.toml",
        "cargo xtask run experiments/quickstart.toml --set train.epoch=3",
        "cargo xtask table \\\n    --fromat csv runs/a",
        "cargo test -p amp -p xtask --lib",
        "cargo run -p xtask -- run --devise flex",
    ] {
        assert!(fault(Some("hours"), bad).is_some(), "{bad}");
    }
    assert!(fault(None, "cargo xtask list").is_none());
    assert!(fault(None, "cargo xtask list --jsn\ntrue").is_some());
    assert!(fault(None, "cargo test").is_some());
}
