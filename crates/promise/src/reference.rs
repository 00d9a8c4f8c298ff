//! The page of the book that lists every prompt module with its options, made from the code.

use std::fmt::Write as _;

pub use prompting::OptionDoc;
use prompting::{Learning, option_docs, option_table};

use crate::registry::PROMPT_MODULES;

/// How a module learns, in words.
pub const fn learning_name(learning: Learning) -> &'static str {
    match learning {
        Learning::Gradient => "trained by gradient",
        Learning::Fitted { .. } => "fitted to a few training images",
        Learning::Fixed => "learns nothing",
    }
}

/// The options of `ips`, described.
pub fn shift_options() -> Vec<OptionDoc> {
    option_docs::<ips::IpsSpec>()
}

/// The page, in Markdown.
pub fn page() -> String {
    let mut page = String::from(
        "# Prompt modules and their options\n\n\
         Made from the code by `cargo xtask list --markdown > docs/book/src/prompt-options.md`; a test fails \
         when the two differ.\n\
         What stands under `[prompt.options]` of an experiment file is what the table of its module lists; \
         `none` as default means that the key may be left out and then has no value.\n",
    );
    for entry in PROMPT_MODULES {
        let table = option_table(&(entry.options)());
        // Writing into a text cannot fail.
        let _ = write!(
            page,
            "\n## `{}`\n\n{}. By default {}.\n\n{table}",
            entry.name,
            entry.summary,
            learning_name((entry.default_learning)()),
        );
    }
    let table = option_table(&shift_options());
    let _ = write!(
        page,
        "\n## Token shift `ips`\n\nIncremental Pattern Shifting; its options stand under \
         `[shift.options]`.\n\n{table}"
    );
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_book_says_what_the_code_says() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/book/src/prompt-options.md");
        let written = std::fs::read_to_string(file).unwrap_or_default();
        assert!(
            written == page(),
            "not what the code says; `cargo xtask list --markdown > docs/book/src/prompt-options.md` writes it anew"
        );
    }

    #[test]
    fn every_module_says_something_about_every_option() {
        for entry in PROMPT_MODULES {
            for option in (entry.options)() {
                assert!(!option.doc.is_empty(), "{}.{}", entry.name, option.name);
            }
        }
        assert!(page().contains("`fusion_channels`") && page().contains("`hidden_ratio`"));
    }
}
