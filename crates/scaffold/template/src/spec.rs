//! The options as people write them.

use prompting::{BackboneInfo, PromptOptionError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ExamplePromptConfig;

/// `[prompt.options]` of `module = "example_prompt"`. Users read what stands at the fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ExamplePromptSpec {
    /// Foreground points per image.
    pub points: usize,
}

impl Default for ExamplePromptSpec {
    fn default() -> Self {
        Self { points: 4 }
    }
}

impl ExamplePromptSpec {
    /// Checks the options and says what they mean for this backbone.
    ///
    /// # Errors
    ///
    /// [`PromptOptionError`] if there are no points, or more than anybody uses.
    pub fn config(
        &self,
        backbone: &BackboneInfo,
    ) -> Result<ExamplePromptConfig, PromptOptionError> {
        if !(1..=4096).contains(&self.points) {
            let reason = format!("is {}, must be 1 to 4096", self.points);
            return Err(PromptOptionError { option: "points", reason });
        }
        Ok(ExamplePromptConfig::new(backbone.embed_dim, backbone.input_size, self.points))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use prompting::contract::small_backbone;

    use super::*;

    #[test]
    fn options_are_read_written_and_refused_by_name() {
        let spec: ExamplePromptSpec = toml::from_str("points = 2").unwrap();
        assert_eq!(spec.config(&small_backbone()).unwrap().points, 2);
        let written = toml::to_string(&spec).unwrap();
        assert_eq!(toml::from_str::<ExamplePromptSpec>(&written).unwrap(), spec);
        let error = toml::from_str::<ExamplePromptSpec>("pionts = 2").unwrap_err().to_string();
        assert!(error.contains("`points`"), "{error}");
        let spec: ExamplePromptSpec = toml::from_str("points = 0").unwrap();
        let error = spec.config(&small_backbone()).unwrap_err();
        assert_eq!(error.option, "points");
    }
}
