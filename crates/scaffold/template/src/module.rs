//! The module itself.

use burn::{
    config::Config,
    module::Module,
    nn::conv::{Conv2d, Conv2dConfig},
    tensor::{Device, Int, Tensor, activation},
};
use prompting::{
    BackboneInfo, PointLabel, PromptInput, PromptModule, PromptOptionError, Prompts, Proposal,
    cell_centers, convolve,
};

use crate::ExamplePromptSpec;

/// Configuration to create an [`ExamplePrompt`] using the [init function](ExamplePromptConfig::init).
#[derive(Config, Debug)]
pub struct ExamplePromptConfig {
    /// Channels of the image embedding, `C`.
    pub embed_dim: usize,
    /// Side of the network input in pixels: the frame of the points.
    pub input_size: usize,
    /// Points per image, `P`.
    pub points: usize,
}

impl ExamplePromptConfig {
    /// Creates the module on `device` with random weights.
    pub fn init(&self, device: &Device) -> ExamplePrompt {
        ExamplePrompt {
            attention: Conv2dConfig::new([self.embed_dim, self.points], [1, 1]).init(device),
            input_size: self.input_size,
        }
    }
}

/// Points at the mean places of the cells that each of them looks at; see [the crate](crate).
///
/// What is learned are Burn parameters; settings are `#[module(skip)]`.
#[derive(Module, Debug)]
pub struct ExamplePrompt {
    attention: Conv2d,
    #[module(skip)]
    input_size: usize,
}

impl ExamplePrompt {
    /// # Shapes
    ///
    /// - `image_embedding`: `[B, C, H, W]`
    /// - returns: `[B, P, 2]`, `(x, y)` in pixels of the network input
    pub fn forward(&self, image_embedding: Tensor<4>) -> Tensor<3> {
        let attention = convolve(&self.attention, image_embedding);
        let [batch, points, height, width] = attention.dims();
        let weights = activation::softmax(attention.reshape([batch, points, height * width]), 2);
        let centers = cell_centers(height, width, &weights.device().without_autodiff());
        let places = weights.matmul(centers.swap_dims(1, 2));
        // Rounding may carry a mean of numbers up to 1 beyond it.
        places.clamp(0.0, 1.0).mul_scalar(self.input_size as f64)
    }
}

impl PromptModule for ExamplePrompt {
    const NAME: &'static str = "example_prompt";
    const SUMMARY: &'static str = "Foreground points at the mean places of cells";
    type Spec = ExamplePromptSpec;

    fn from_spec(
        spec: &Self::Spec,
        backbone: &BackboneInfo,
        device: &Device,
    ) -> Result<Self, PromptOptionError> {
        Ok(spec.config(backbone)?.init(device))
    }

    fn taps(&self) -> Vec<usize> {
        // Blocks whose outputs are needed besides the embedding; see `BackboneInfo::last_tap_blocks`.
        Vec::new()
    }

    fn propose(&self, input: PromptInput) -> Proposal {
        let coords = self.forward(input.image_embedding);
        let [batch, points, _] = coords.dims();
        let device = coords.device().without_autodiff();
        let label = PointLabel::Foreground.value();
        let labels = Tensor::<2, Int>::full([batch, points], label, &device);
        Prompts { points: Some((coords, labels)), ..Prompts::default() }.into()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::TensorData;
    use prompting::contract::{self, small_backbone};

    use super::*;

    /// Options as an experiment file writes them.
    fn spec(text: &str) -> ExamplePromptSpec {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_contract_holds_for_every_option_that_changes_the_graph() {
        for points in [1, 4] {
            contract::check::<ExamplePrompt>(&spec(&format!("points = {points}"))).unwrap();
        }
    }

    #[test]
    fn a_point_is_where_the_only_strong_cell_is() {
        let device = Device::flex();
        let spec = spec("points = 1");
        let mut module = ExamplePrompt::from_spec(&spec, &small_backbone(), &device).unwrap();
        module.attention.weight = module.attention.weight.map(|weight| weight.ones_like());
        // One strong cell on a grid of 4 x 4: row 2, column 1.
        let mut cells = vec![0.0_f32; 8 * 16];
        cells[4 * 2 + 1] = 100.0;
        let embedding = Tensor::from_data(TensorData::new(cells, [1, 8, 4, 4]), &device);
        let point = module.forward(embedding).into_data().try_into_vec::<f32>().unwrap();
        // The input has 128 pixels.
        assert!((point[0] - 48.0).abs() < 1e-3 && (point[1] - 80.0).abs() < 1e-3, "{point:?}");
    }
}
