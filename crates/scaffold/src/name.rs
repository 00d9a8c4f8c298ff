//! The names of a module: `heat_map` in experiment files, `heat-map` as crate, `HeatMap` in code.

use std::str::FromStr;

/// Why a name is none for a module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` {reason}")]
pub struct NameError {
    /// As given.
    pub name: String,
    /// What is wrong with it, and what is accepted.
    pub reason: &'static str,
}

/// Words that are no crate's or module's name: of Rust, of its own crates, and of ours.
const RESERVED: [&str; 61] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "none",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
    "ablation",
    "build",
    "example_prompt",
    "prompt",
];

/// A name that can be a module's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleName {
    snake: String,
    kebab: String,
    camel: String,
}

impl ModuleName {
    /// As experiment files name it.
    pub fn snake(&self) -> &str {
        &self.snake
    }

    /// As the crate is called.
    pub fn kebab(&self) -> &str {
        &self.kebab
    }

    /// As types begin.
    pub fn camel(&self) -> &str {
        &self.camel
    }

    /// A text of the template with these names in it.
    pub(crate) fn fill(&self, text: &str) -> String {
        let article = match self.camel.starts_with(['A', 'E', 'I', 'O', 'U']) {
            true => "an [`",
            false => "a [`",
        };
        text.replace("an [`ExamplePrompt", &format!("{article}ExamplePrompt"))
            .replace("example_prompt", &self.snake)
            .replace("example-prompt", &self.kebab)
            .replace("ExamplePrompt", &self.camel)
    }
}

impl FromStr for ModuleName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let refused = |reason| Err(NameError { name: name.to_owned(), reason });
        let parts: Vec<&str> = name.split('_').collect();
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if parts.iter().any(|part| part.is_empty() || !part.chars().all(known)) {
            return refused(
                "is not snake_case: lower-case letters and digits, words joined by one `_`",
            );
        }
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            return refused("begins with a digit");
        }
        if name.len() > 40 {
            return refused("is longer than 40 letters");
        }
        if RESERVED.contains(&name) {
            return refused("means something else already");
        }
        let camel = parts.iter().map(|part| {
            let (first, rest) = part.split_at(1);
            first.to_ascii_uppercase() + rest
        });
        Ok(Self { snake: name.to_owned(), kebab: name.replace('_', "-"), camel: camel.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_three_spellings() {
        let name: ModuleName = "heat_map2".parse().expect("a name");
        assert_eq!((name.kebab(), name.camel()), ("heat-map2", "HeatMap2"));
        assert_eq!(
            name.fill("an [`ExamplePrompt`] of example-prompt"),
            "a [`HeatMap2`] of heat-map2"
        );
    }

    #[test]
    fn what_is_no_snake_case_or_reserved_is_refused() {
        for name in
            ["", "Heat", "heat-map", "_heat", "heat_", "heat__map", "2heat", "hät", "a b", "../x"]
        {
            assert!(name.parse::<ModuleName>().is_err(), "{name}");
        }
        for name in ["none", "box", "self", "std", "example_prompt"] {
            let error = name.parse::<ModuleName>().expect_err("reserved");
            assert_eq!(error.to_string(), format!("`{name}` means something else already"));
        }
    }
}
