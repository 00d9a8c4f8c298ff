//! Experiments that are refused, and the words that people read: one file each in `bad/`.

use std::{error::Error as _, fs, path::Path};

use promise::plan::Experiment;

/// Every file of the folder is refused, with the message of its snapshot.
#[test]
fn bad_experiments_are_refused_with_these_words() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let entries = fs::read_dir(&folder).expect("the folder is there");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    assert!(files.len() > 10, "only {} files found", files.len());
    for path in files {
        let text = fs::read_to_string(&path).expect("readable");
        let settings: Vec<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# --set "))
            .map(str::to_owned)
            .collect();
        let error = Experiment::load(&path, &settings)
            .err()
            .unwrap_or_else(|| panic!("not refused: {}", path.display()));
        let cause = error.source().expect("a cause").to_string();
        let name = path.file_stem().expect("a name").to_string_lossy();
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name.as_ref(), cause);
        });
    }
}
