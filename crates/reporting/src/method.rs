//! How a row of a table is named on the command line.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A method, or a method with one of its prompt sources: `frozen` or `frozen:ground_truth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodName {
    /// Name of the method.
    pub method: String,
    /// Prompt source; any of the method's if nothing is said.
    pub prompts: Option<String>,
}

impl MethodName {
    /// Whether a row of this method and prompt source is meant.
    pub(crate) fn names(&self, method: &str, prompts: &str) -> bool {
        self.method == method && self.prompts.as_deref().is_none_or(|named| named == prompts)
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.method)?;
        self.prompts.as_ref().map_or(Ok(()), |prompts| write!(f, ":{prompts}"))
    }
}

impl FromStr for MethodName {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once(':') {
            Some((method, prompts)) => {
                Self { method: method.to_owned(), prompts: Some(prompts.to_owned()) }
            }
            None => Self { method: text.to_owned(), prompts: None },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_as_it_is_written() {
        for text in ["frozen", "frozen:ground_truth"] {
            let name: MethodName = text.parse().expect("every text is a name");
            assert_eq!(name.to_string(), text);
        }
        let oracle: MethodName = "frozen:ground_truth".parse().expect("every text is a name");
        assert!(oracle.names("frozen", "ground_truth") && !oracle.names("frozen", "grid"));
        let any: MethodName = "frozen".parse().expect("every text is a name");
        assert!(any.names("frozen", "grid") && !any.names("apm", "grid"));
    }
}
