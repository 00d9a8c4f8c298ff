//! Joins the tapped block outputs into one feature map.

use burn::{
    config::Config,
    module::Module,
    nn::{
        PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor, activation::relu},
};

use prompting::convolve;

/// Configuration to create a [`Fusion`] module using the [init function](FusionConfig::init).
#[derive(Config, Debug)]
pub struct FusionConfig {
    /// Channels of all taps together.
    pub in_channels: usize,
    /// Channels of the result, `F`.
    #[config(default = 256)]
    pub channels: usize,
}

impl FusionConfig {
    /// Creates the module on `device`; weights and biases start as in `torch.nn.Conv2d`.
    pub fn init(&self, device: &Device) -> Fusion {
        let conv = |in_channels: usize| {
            Conv2dConfig::new([in_channels, self.channels], [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device)
        };
        Fusion {
            conv1: conv(self.in_channels),
            conv2: conv(self.channels),
            conv3: conv(self.channels),
        }
    }
}

/// Joins the tapped block outputs into one feature map: concatenation along the channels, then
/// three 3x3 convolutions with bias and padding 1, ReLU between them and none after the last.
///
/// The published code fixes the input to ViT-B's width; here it follows the backbone.
///
/// Source: ProMISe reference code, `utilities/Networks/modeling/`.
/// Should be created with [`FusionConfig`].
#[derive(Module, Debug)]
pub struct Fusion {
    conv1: Conv2d,
    conv2: Conv2d,
    conv3: Conv2d,
}

impl Fusion {
    /// Fuses the taps. Their order is part of the weights' meaning: deepest block first.
    ///
    /// # Shapes
    ///
    /// - `taps`: each `[B, width, H, W]`
    /// - returns: `[B, F, H, W]`
    pub fn forward(&self, taps: Vec<Tensor<4>>) -> Tensor<4> {
        let features = relu(convolve(&self.conv1, Tensor::cat(taps, 1)));
        let features = relu(convolve(&self.conv2, features));
        convolve(&self.conv3, features)
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        store::{ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore},
        tensor::Tolerance,
    };
    use fixtures::Fixture;

    use super::*;

    /// Fixture `apm_fusion`: `crates/fixtures/data/apm_fusion/make.py`, two taps of width 6 on a
    /// 5 x 5 grid, named by their 1-based block, F = 8. Tolerance: sums of 108 products in f32.
    #[test]
    fn fusion_matches_the_reference() {
        let device = Device::flex();
        let fixture = Fixture::open("apm_fusion");
        let mut fusion = FusionConfig::new(12).with_channels(8).init(&device);
        let mut weights =
            SafetensorsStore::from_file(fixture.path()).with_from_adapter(PyTorchToBurnAdapter);
        fusion.load_from(&mut weights).expect("the fixture holds every weight");

        let taps = vec![fixture.tensor("tap.12", &device), fixture.tensor("tap.9", &device)];
        let fused = fusion.forward(taps);

        fused.into_data().assert_approx_eq::<f32>(
            &fixture.tensor::<4>("fused", &device).into_data(),
            Tolerance::absolute(1e-5),
        );
    }

    /// `c * f * 9 + f` for the first convolution, twice `f * f * 9 + f`.
    #[test]
    fn fusion_has_the_parameters_of_three_convolutions_with_bias() {
        let fusion = FusionConfig::new(3 * 768).init(&Device::flex());
        assert_eq!(fusion.num_params(), (2304 * 256 * 9 + 256) + 2 * (256 * 256 * 9 + 256));
    }
}
