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
const RESERVED: &[&str] = &[
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
    // Modules that the file of the registry can name.
    "schema",
    "tests",
];

/// Types and traits that a module's type cannot be called like: what the template imports, then what every file of Rust
/// has without importing it.
const TAKEN: &[&str] = &[
    "BackboneInfo",
    "Config",
    "Conv2d",
    "Conv2dConfig",
    "Deserialize",
    "Device",
    "Int",
    "JsonSchema",
    "Module",
    "PointLabel",
    "PromptInput",
    "PromptModule",
    "PromptOptionError",
    "Prompts",
    "Proposal",
    "Serialize",
    "Tensor",
    "TensorData",
    "AsMut",
    "AsRef",
    "Clone",
    "Copy",
    "Debug",
    "Default",
    "DoubleEndedIterator",
    "Drop",
    "Eq",
    "Err",
    "ExactSizeIterator",
    "Extend",
    "Fn",
    "FnMut",
    "FnOnce",
    "From",
    "FromIterator",
    "Hash",
    "Into",
    "IntoIterator",
    "Iterator",
    "Ok",
    "Option",
    "Ord",
    "PartialEq",
    "PartialOrd",
    "Result",
    "Send",
    "Sized",
    "Some",
    "String",
    "Sync",
    "ToOwned",
    "ToString",
    "TryFrom",
    "TryInto",
    "Vec",
];

/// Whether Windows has a device of this name, so that no file or folder can be called so, whatever its ending.
fn is_device(name: &str) -> bool {
    let numbered = |kind| {
        let number = name.strip_prefix(kind).unwrap_or_default();
        matches!(number.as_bytes(), [b'0'..=b'9'])
    };
    ["aux", "con", "nul", "prn"].contains(&name) || numbered("com") || numbered("lpt")
}

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
        if is_device(name) {
            return refused("is a device on Windows, where no file can be called so");
        }
        let camel = parts.iter().map(|part| {
            let (first, rest) = part.split_at(1);
            first.to_ascii_uppercase() + rest
        });
        let camel: String = camel.collect();
        // Its types are called like itself, with and without these endings.
        let types = ["", "Config", "Spec"].map(|ending| format!("{camel}{ending}"));
        if types.iter().any(|name| TAKEN.contains(&name.as_str())) {
            return refused("would give its types the name of one that its own code uses");
        }
        Ok(Self { snake: name.to_owned(), kebab: name.replace('_', "-"), camel })
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
        for name in ["con", "nul", "com1", "lpt9"] {
            let error = name.parse::<ModuleName>().expect_err("a device").to_string();
            assert!(error.contains("is a device on Windows"), "{error}");
        }
        for name in ["com", "com10", "consensus", "lpt_1"] {
            assert!(name.parse::<ModuleName>().is_ok(), "{name}");
        }
    }

    /// What stands between `use` and its semicolon, all statements of a file.
    fn imports(source: &str) -> String {
        let statements = source.split(';').filter_map(|statement| {
            let begins = |line: &&str| line.trim_start().starts_with("use ");
            let lines: Vec<&str> = statement.lines().skip_while(|line| !begins(line)).collect();
            (!lines.is_empty()).then(|| lines.join(" "))
        });
        statements.collect::<Vec<_>>().join(" ")
    }

    /// `heat_map` of `HeatMap`.
    fn snake(camel: &str) -> String {
        let mut snake = String::new();
        for (place, letter) in camel.chars().enumerate() {
            if letter.is_ascii_uppercase() && place > 0 {
                snake.push('_');
            }
            snake.push(letter.to_ascii_lowercase());
        }
        snake
    }

    #[test]
    fn no_name_hides_what_the_template_or_the_registry_imports() {
        let template =
            [include_str!("../template/src/module.rs"), include_str!("../template/src/spec.rs")];
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut types = 0;
        for source in template {
            let imports = imports(source);
            let words = imports.split(|c| !is_word(c));
            for name in words.filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase())) {
                // The module's own.
                if name.starts_with("ExamplePrompt") {
                    continue;
                }
                types += 1;
                let error = snake(name).parse::<ModuleName>().err();
                assert!(error.is_some(), "`{}` hides {name}", snake(name));
            }
        }
        // So many that the loop cannot have passed over most of them.
        assert!(types >= 18, "{types}");
        for camel in TAKEN {
            assert!(snake(camel).parse::<ModuleName>().is_err(), "{camel}");
        }

        // The registry's own modules, under names that a crate's could not be told apart from.
        let registry = include_str!("../../promise/src/registry.rs");
        let imports = imports(registry);
        let modules: Vec<&str> = imports
            .split("::{self")
            .filter_map(|before| before.rsplit(|c| !is_word(c)).next())
            .collect();
        assert!(modules.contains(&"schema"), "{modules:?}");
        for module in modules.split_last().map_or(&[][..], |(_, modules)| modules) {
            assert!(module.parse::<ModuleName>().is_err(), "{module}");
        }
    }
}
