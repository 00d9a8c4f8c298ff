//! Links within the documentation lead somewhere: to a file or folder of the repository, and to a heading if
//! they name one. Tests that the page on reliability names are there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Where pages are looked for, besides the root itself. Not in folders that hold data or runs.
const FOLDERS: [&str; 6] = ["crates", "docs", "experiments", "third_party", "tools", "xtask"];

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().expect("the repository")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Everything in a folder, and in folders below it if `deep`.
fn files(folder: &Path, deep: bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            found.push(path);
        } else if deep {
            found.extend(files(&path, true));
        }
    }
    found
}

fn pages() -> BTreeSet<PathBuf> {
    let root = root();
    let mut pages = files(&root, false);
    pages.extend(files(&root.join("datasets"), false));
    pages.extend(FOLDERS.iter().flat_map(|folder| files(&root.join(folder), true)));
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.into_iter().collect()
}

/// The text without code blocks.
fn unfenced(text: &str) -> String {
    let mut inside = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if !inside {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// Targets of links and images, and of reference definitions; code is no link.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for paragraph in unfenced(text).split("\n\n") {
        // What stands at odd places is between two backticks.
        let prose: String = paragraph.split('`').step_by(2).collect();
        let inline = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        let definition = |line: &str| {
            let (_, target) = line.strip_prefix('[')?.split_once("]: ")?;
            Some(target.trim().to_owned())
        };
        found.extend(inline.map(str::to_owned));
        found.extend(prose.lines().filter_map(definition));
    }
    found
}

/// The anchors of a page's headings: lower case, spaces to hyphens, without punctuation.
fn anchors(text: &str) -> BTreeSet<String> {
    let heading = |line: &str| {
        let title = line.trim_start_matches('#').strip_prefix(' ')?;
        line.starts_with('#').then(|| {
            let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
            title.trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
        })
    };
    unfenced(text).lines().filter_map(heading).collect()
}

/// The link as it is if it leads nowhere. Links that leave the repository are not looked at.
fn broken(page: &Path, link: &str) -> Option<String> {
    if link.starts_with("mailto:") || link.contains("://") {
        return None;
    }
    let (file, anchor) = link.split_once('#').map_or((link, None), |(f, a)| (f, Some(a)));
    let target = match file {
        "" => page.to_owned(),
        _ => page.with_file_name("").join(file),
    };
    let leads = target.canonicalize().is_ok_and(|target| {
        target.starts_with(root())
            && anchor
                .is_none_or(|anchor| target.is_file() && anchors(&read(&target)).contains(anchor))
    });
    (!leads).then(|| format!("{}: {link}", page.display()))
}

#[test]
fn links_within_the_documentation_lead_somewhere() {
    let pages = pages();
    for known in ["README.md", "docs/architecture.md", "docs/book/src/world.md"] {
        assert!(pages.contains(&root().join(known)), "{known} is looked at");
    }
    let of_page = |page: &PathBuf| -> Vec<String> {
        links(&read(page)).iter().filter_map(|link| broken(page, link)).collect()
    };
    let broken: Vec<String> = pages.iter().flat_map(of_page).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_book_has_no_page_without_a_place_and_no_picture_without_a_page() {
    let source = root().join("docs/book/src");
    let linked = |page: &Path| -> BTreeSet<PathBuf> {
        let targets = links(&read(page)).into_iter();
        targets.filter_map(|link| page.with_file_name(link).canonicalize().ok()).collect()
    };
    let contents = source.join("SUMMARY.md");
    let mut placed = linked(&contents);
    placed.insert(contents);
    let shown: BTreeSet<PathBuf> = placed.iter().flat_map(|page| linked(page)).collect();
    let is_page = |file: &Path| file.extension().is_some_and(|extension| extension == "md");
    let (pages, pictures): (Vec<_>, Vec<_>) =
        files(&source, true).into_iter().partition(|file| is_page(file));
    assert_eq!(BTreeSet::from_iter(pages), placed);
    assert!(!pictures.is_empty());
    for picture in pictures {
        assert!(shown.contains(&picture), "no page shows {}", picture.display());
    }
}

#[test]
fn links_are_found_and_code_is_not() {
    let text = "# A title\n[one](a.md), ![two](b.png \"title\") and `[no](c.md)`\n\
                [`three`](d.md#part)\n\n```sh\n[no](e.md)\n```\n[four]: f.md\n";
    assert_eq!(links(text), ["a.md", "b.png", "d.md#part", "f.md"]);
}

#[test]
fn headings_are_known_by_their_anchors() {
    let text = "# Model card: micro\n```sh\n# a comment\n```\n### `run`, twice\n#no heading\n";
    assert_eq!(Vec::from_iter(anchors(text)), ["model-card-micro", "run-twice"]);
}

#[test]
fn a_link_to_nothing_is_broken() {
    let page = root().join("docs/architecture.md");
    let is_broken = |link: &str| broken(&page, link).is_some();
    for good in [
        "book/src/deviations.md",
        "../datasets",
        "#code-map",
        "../README.md#commands",
        "https://a.b/c",
    ] {
        assert!(!is_broken(good), "{good}");
    }
    for bad in
        ["README.md", "book/src/deviations.md#nothing", "#nothing", "../..", "../docs#code-map"]
    {
        assert!(is_broken(bad), "{bad}");
    }
}

/// Names of tests in a page: they are sentences.
fn named_tests(page: &str) -> BTreeSet<&str> {
    let code = page.split('`').skip(1).step_by(2);
    code.filter(|text| text.matches('_').count() >= 3)
        .filter(|text| {
            text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        })
        .collect()
}

#[test]
fn every_test_that_the_page_on_reliability_names_is_there() {
    let root = root();
    let page = unfenced(&read(&root.join("docs/book/src/reliability.md")));
    let named = named_tests(&page);
    assert!(named.len() > 50, "only {} tests are named", named.len());
    let sources =
        ["crates", "xtask"].into_iter().flat_map(|folder| files(&root.join(folder), true));
    let code: String = sources
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| read(&path))
        .collect();
    let absent: Vec<_> =
        named.into_iter().filter(|name| !code.contains(&format!("fn {name}("))).collect();
    assert!(absent.is_empty(), "no such tests: {absent:#?}");
}
