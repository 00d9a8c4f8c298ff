//! Where a module is named besides its own crate, each place as a function from a file's text to its new text. What
//! cannot be found is the error.

use crate::{ModuleName, OPTIONS};

/// From the text of a file to its new text.
type Edit = fn(&str, &ModuleName) -> Result<String, &'static str>;

/// Every file that names prompt modules.
pub(crate) const ALL: [(&str, Edit); 6] = [
    ("Cargo.toml", manifest),
    ("crates/promise/Cargo.toml", dependency),
    ("crates/promise/src/registry.rs", registry),
    ("deny.toml", burn_users),
    ("docs/book/src/SUMMARY.md", summary),
    ("docs/book/src/prompt-options.md", options),
];

/// Whether a manifest names a dependency.
pub(crate) fn names_dependency(text: &str, name: &str) -> bool {
    text.lines().any(|line| line.split('=').next().is_some_and(|key| key.trim() == name))
}

/// The workspace's dependency, and the level of optimization of crates that mostly call Burn.
fn manifest(text: &str, name: &ModuleName) -> Result<String, &'static str> {
    let kebab = name.kebab();
    let line = format!("{kebab} = {{ path = \"crates/{kebab}\" }}");
    let text = insert_sorted(text, "# Ours\n", "the list of own crates, `# Ours`", &line)?;
    let heading = "\"*\".debug = false\n";
    let line = format!("{kebab}.opt-level = 1");
    insert_sorted(&text, heading, "the list of `opt-level = 1`", &line)
}

fn dependency(text: &str, name: &ModuleName) -> Result<String, &'static str> {
    let line = format!("{}.workspace = true", name.kebab());
    insert_sorted(text, "[dependencies]\n", "`[dependencies]`", &line)
}

fn registry(text: &str, name: &ModuleName) -> Result<String, &'static str> {
    let marker = "    // A new crate adds one line here.\n";
    let line = format!("    PromptEntry::of::<{}::{}>(),\n", name.snake(), name.camel());
    insert_before(text, marker, "the comment `A new crate adds one line here.`", &line)
}

fn burn_users(text: &str, name: &ModuleName) -> Result<String, &'static str> {
    const MISSING: &str = "the list of crates that may use Burn";
    let start = "{ crate = \"burn\", wrappers = [";
    let (before, rest) = text.split_once(start).ok_or(MISSING)?;
    let (list, after) = rest.split_once(']').ok_or(MISSING)?;
    let mut users: Vec<String> = list
        .split(',')
        .map(|user| user.trim().to_owned())
        .filter(|user| !user.is_empty())
        .collect();
    users.push(format!("\"{}\"", name.kebab()));
    users.sort_unstable();
    Ok(format!("{before}{start}{}]{after}", users.join(", ")))
}

fn summary(text: &str, name: &ModuleName) -> Result<String, &'static str> {
    let after = "  - [Prompt modules and their options](prompt-options.md)\n";
    let (before, rest) = text.split_once(after).ok_or("the line of prompt-options.md")?;
    // Behind the pages that are there.
    let end: usize =
        rest.split_inclusive('\n').take_while(|line| line.starts_with("  - ")).map(str::len).sum();
    let (pages, rest) = rest.split_at(end);
    let page = format!("  - [`{}`](prompt-{}.md)\n", name.snake(), name.kebab());
    Ok(format!("{before}{after}{pages}{page}{rest}"))
}

fn options(text: &str, name: &ModuleName) -> Result<String, &'static str> {
    insert_before(text, "## Token shift ", "the section of the token shift", &name.fill(OPTIONS))
}

fn insert_before(
    text: &str,
    marker: &str,
    missing: &'static str,
    added: &str,
) -> Result<String, &'static str> {
    let (before, after) = text.split_once(marker).ok_or(missing)?;
    Ok(format!("{before}{added}{marker}{after}"))
}

/// Puts a line into the block of lines behind a heading, before the first that comes later in the alphabet.
fn insert_sorted(
    text: &str,
    heading: &str,
    missing: &'static str,
    line: &str,
) -> Result<String, &'static str> {
    let (before, block) = text.split_once(heading).ok_or(missing)?;
    let mut at = 0;
    for other in block.split_inclusive('\n') {
        if other.trim().is_empty() || other.starts_with('[') || other > line {
            break;
        }
        at += other.len();
    }
    let (earlier, later) = block.split_at(at);
    Ok(format!("{before}{heading}{earlier}{line}\n{later}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> ModuleName {
        "heat_map".parse().expect("a name")
    }

    #[test]
    fn lines_are_added_in_their_alphabetical_place() {
        let text = "[dependencies]\napm.workspace = true\nips.workspace = true\n\n[dev]\n";
        let added = "[dependencies]\napm.workspace = true\nheat-map.workspace = true\nips.workspace = true\n\n[dev]\n";
        assert_eq!(dependency(text, &name()).as_deref(), Ok(added));
        let last = "[dependencies]\napm.workspace = true\n\n[dev]\n";
        let added = "[dependencies]\napm.workspace = true\nheat-map.workspace = true\n\n[dev]\n";
        assert_eq!(dependency(last, &name()).as_deref(), Ok(added));
        assert!(dependency("[features]\n", &name()).is_err());
    }

    #[test]
    fn the_list_of_those_who_use_burn_stays_sorted() {
        let text = "x\n    { crate = \"burn\", wrappers = [\"apm\", \"ips\"], reason = \"y\" },\n";
        let added = "x\n    { crate = \"burn\", wrappers = [\"apm\", \"heat-map\", \"ips\"], reason = \"y\" },\n";
        assert_eq!(burn_users(text, &name()).as_deref(), Ok(added));
    }

    #[test]
    fn a_page_comes_behind_the_pages_of_other_modules() {
        let text = "- [a](a.md)\n  - [Prompt modules and their options](prompt-options.md)\n  - [`b`](prompt-b.md)\n- [c](c.md)\n";
        let added = "- [a](a.md)\n  - [Prompt modules and their options](prompt-options.md)\n  - [`b`](prompt-b.md)\n  - [`heat_map`](prompt-heat-map.md)\n- [c](c.md)\n";
        assert_eq!(summary(text, &name()).as_deref(), Ok(added));
    }
}
