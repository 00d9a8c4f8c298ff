//! Incremental Pattern Shifting (IPS): one learned offset per SAM mask token.
//!
//! SAM's mask decoder starts from a few learned vectors, the mask tokens, which are the same for
//! every image. IPS looks at the image embedding and moves them; no parameter of SAM changes, and
//! without the offsets SAM is what it was. The crate knows nothing of SAM itself: an embedding goes in,
//! offsets come out, and `sam_backbone::MaskDecoder::forward` takes them as an optional argument.
//!
//! Source: "ProMISe: Promptable Medical Image Segmentation using SAM" (Wang et al., arXiv
//! 2403.04164) and the published code.
//!
//! [`IpsSpec`] is what people write in an experiment file, [`IpsConfig`] what it means for one
//! backbone, [`Ips`] the module.
//!
//! # Axis letters
//!
//! `B` batch, `C` channels, `H W` space, `T` mask tokens.

use std::{f64::consts::FRAC_1_SQRT_2, num::NonZeroUsize};

use burn::{
    config::Config,
    module::Module,
    nn::{
        Initializer, Linear, LinearConfig,
        pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig},
    },
    tensor::{Device, Tensor},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Options of the shift as people write them in an experiment file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IpsSpec {
    /// Hidden width as a multiple of the embedding's channels. The paper's choice is 4.
    pub hidden_ratio: NonZeroUsize,
    /// Start from offsets of exactly zero, so that the first step sees an unshifted SAM. See
    /// [`IpsConfig::zero_init`]. Off in the published code.
    pub zero_init: bool,
    /// Mask tokens that are moved, counted from 0; the others stay as they are. Without it all of them, as
    /// published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<usize>>,
}

/// An option of the shift that cannot be used with the backbone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("shift option `{option}`: {reason}")]
pub struct IpsOptionError {
    /// The key in `[shift.options]`.
    pub option: &'static str,
    /// What is wrong with its value.
    pub reason: String,
}

impl Default for IpsSpec {
    fn default() -> Self {
        const RATIO: NonZeroUsize = NonZeroUsize::new(4).expect("4 is not 0");
        Self { hidden_ratio: RATIO, zero_init: false, tokens: None }
    }
}

impl IpsSpec {
    /// The Burn config that these options mean for a backbone with `embed_dim` channels and
    /// `n_mask_tokens` mask tokens.
    ///
    /// # Errors
    ///
    /// [`IpsOptionError`] if `tokens` is empty, names a token twice or one that the backbone does not have.
    pub fn config(
        &self,
        embed_dim: usize,
        n_mask_tokens: usize,
    ) -> Result<IpsConfig, IpsOptionError> {
        let tokens = self.tokens.clone().unwrap_or_else(|| (0..n_mask_tokens).collect());
        let refused = |reason| Err(IpsOptionError { option: "tokens", reason });
        if tokens.is_empty() {
            return refused("is empty; `module = \"none\"` moves no token".into());
        }
        if let Some(token) = tokens.iter().find(|token| **token >= n_mask_tokens) {
            return refused(format!(
                "names token {token}, but the backbone has {n_mask_tokens}, counted from 0"
            ));
        }
        let twice =
            tokens.iter().enumerate().find(|(place, token)| tokens[..*place].contains(token));
        if let Some((_, token)) = twice {
            return refused(format!("names token {token} twice"));
        }
        Ok(IpsConfig::new()
            .with_embed_dim(embed_dim)
            .with_hidden_ratio(self.hidden_ratio.get())
            .with_n_mask_tokens(n_mask_tokens)
            .with_tokens(tokens)
            .with_zero_init(self.zero_init))
    }
}

/// Configuration to create an [`Ips`] module using the [init function](IpsConfig::init).
///
/// The defaults are SAM's sizes and the paper's choices.
#[derive(Config, Debug)]
pub struct IpsConfig {
    /// Channels of the image embedding, `C`.
    #[config(default = 256)]
    pub embed_dim: usize,
    /// Hidden width as a multiple of `embed_dim`.
    #[config(default = 4)]
    pub hidden_ratio: usize,
    /// Mask tokens of the decoder, `T`.
    #[config(default = 4)]
    pub n_mask_tokens: usize,
    /// Those of them that get an offset, counted from 0, in the order of the output layer; each once. The
    /// offset of the others is zero.
    #[config(default = "vec![0, 1, 2, 3]")]
    pub tokens: Vec<usize>,
    /// Start with an output layer of zeros instead of random numbers.
    ///
    /// With random numbers, as in the published code, training starts from a SAM whose mask tokens
    /// are already displaced. With zeros it starts from SAM itself, and the hidden layer receives a
    /// gradient of zero until the output layer has made its first step.
    #[config(default = false)]
    pub zero_init: bool,
}

impl IpsConfig {
    /// Creates the module on `device`.
    ///
    /// Both layers draw weights and biases from `U(-1/sqrt(n), 1/sqrt(n))` with `n` the layer's
    /// inputs, as `torch.nn.Linear` does, unless [`zero_init`](Self::zero_init) is set.
    pub fn init(&self, device: &Device) -> Ips {
        let hidden_width = self.hidden_ratio * self.embed_dim;
        let output = LinearConfig::new(hidden_width, self.tokens.len() * self.embed_dim);
        let output =
            if self.zero_init { output.with_initializer(Initializer::Zeros) } else { output };
        Ips {
            pool: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
            hidden: LinearConfig::new(self.embed_dim, hidden_width).init(device),
            output: output.init(device),
            n_mask_tokens: self.n_mask_tokens,
            tokens: self.tokens.clone(),
        }
    }
}

/// Incremental Pattern Shifting (IPS): one learned offset per SAM mask token.
///
/// `shift = reshape(W2 * gelu(W1 * gap(E) + b1) + b2, [T, C])`, added to the frozen mask tokens; `E`
/// is the image embedding and `gap` the global average pool. With fewer than all tokens the output layer
/// has rows for the chosen ones only (ours, for ablations).
///
/// Source: ProMISe reference code, `utilities/Networks/modeling/sam.py`, `ips_ffn`.
/// Should be created with [`IpsConfig`].
#[derive(Module, Debug)]
pub struct Ips {
    pool: AdaptiveAvgPool2d,
    hidden: Linear,
    output: Linear,
    #[module(skip)]
    n_mask_tokens: usize,
    #[module(skip)]
    tokens: Vec<usize>,
}

impl Ips {
    /// Computes the mask-token shift of each image.
    ///
    /// # Shapes
    ///
    /// - `image_embedding`: `[B, C, H, W]`, any `H` and `W`
    /// - returns: `[B, T, C]`
    pub fn forward(&self, image_embedding: Tensor<4>) -> Tensor<3> {
        let [batch, channels, _, _] = image_embedding.dims();
        let pooled = self.pool.forward(image_embedding).reshape([batch, channels]);
        let hidden = gelu(self.hidden.forward(pooled)); // [B, ratio * C]
        let shift = self.output.forward(hidden); // [B, chosen * C]
        self.at_tokens(shift.reshape([batch, self.tokens.len(), channels]))
    }

    /// Brings the offsets of the chosen tokens, `[B, chosen, C]`, to their places among all, `[B, T, C]`.
    fn at_tokens(&self, chosen: Tensor<3>) -> Tensor<3> {
        if self.tokens.iter().copied().eq(0..self.n_mask_tokens) {
            return chosen;
        }
        let still = chosen.zeros_like().slice_dim(1, 0..1);
        let offset = |token: usize| match self.tokens.iter().position(|chosen| *chosen == token) {
            Some(row) => chosen.clone().slice_dim(1, row..row + 1),
            None => still.clone(),
        };
        Tensor::cat((0..self.n_mask_tokens).map(offset).collect(), 1)
    }
}

/// Exact GELU, `x * (1 + erf(x / sqrt(2))) / 2`.
///
/// Not Burn's `activation::gelu`: on its GPU backends the forward pass is exact, but the backward
/// pass is the derivative of the tanh approximation. Written with `erf`, both belong together on every
/// backend.
fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let normal_cdf = (x.clone().mul_scalar(FRAC_1_SQRT_2).erf() + 1.0).mul_scalar(0.5);
    x * normal_cdf
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::{
        module::Param,
        tensor::{Distribution, Tolerance},
    };

    use super::*;

    #[test]
    fn sam_sized_ips_has_the_published_number_of_parameters() {
        let ips = IpsConfig::new().init(&Device::flex());
        assert_eq!(ips.num_params(), 1_312_768);
    }

    #[test]
    fn default_options_mean_the_default_config_of_sam() {
        let device = Device::flex();
        let from_spec = IpsSpec::default().config(256, 4).unwrap().init(&device);
        assert_eq!(from_spec.num_params(), IpsConfig::new().init(&device).num_params());
        assert_eq!(toml::from_str::<IpsSpec>("").unwrap(), IpsSpec::default());
    }

    #[test]
    fn an_unknown_option_is_refused_with_the_accepted_keys() {
        let error = toml::from_str::<IpsSpec>("hiden_ratio = 2").unwrap_err().to_string();
        for word in ["hiden_ratio", "`hidden_ratio`", "`zero_init`", "`tokens`"] {
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_hidden_width_of_zero_is_refused() {
        let error = toml::from_str::<IpsSpec>("hidden_ratio = 0").unwrap_err().to_string();
        assert!(error.contains("nonzero"), "{error}");
    }

    #[test]
    fn zero_init_starts_without_a_shift_and_its_output_layer_learns() {
        let device = Device::flex().autodiff();
        device.seed(0);
        let ips = IpsConfig::new().with_embed_dim(4).with_zero_init(true).init(&device);
        let embedding = Tensor::random([2, 4, 3, 3], Distribution::Normal(0.0, 1.0), &device);
        let shift = ips.forward(embedding);
        assert_eq!(floats(shift.clone()), vec![0.0; 2 * 4 * 4]);

        let gradients = (shift - 1.0).powi_scalar(2).sum().backward();
        let output = floats(ips.output.weight.grad(&gradients).expect("the output layer learns"));
        assert!(output.iter().any(|value| *value != 0.0));
        let hidden = floats(ips.hidden.weight.grad(&gradients).expect("tracked"));
        assert!(hidden.iter().all(|value| *value == 0.0));
    }

    /// `d gelu / dx = cdf(x) + x * pdf(x)` of the normal distribution, from its tables. The tanh
    /// approximation's derivative is 1.08296 at 1 and -0.08610 at -2.
    #[test]
    fn the_derivative_of_gelu_is_the_exact_one() {
        let device = Device::flex().autodiff();
        let x = Tensor::<1>::from_data([-2.0, 0.0, 1.0], &device).require_grad();
        let gradients = gelu(x.clone()).sum().backward();
        let expected = [0.022_750_13 - 2.0 * 0.053_990_97, 0.5, 0.841_344_75 + 0.241_970_72];
        let actual = floats(x.grad(&gradients).expect("tracked"));
        for (actual, expected) in actual.into_iter().map(f64::from).zip(expected) {
            assert!((actual - expected).abs() < 1e-6, "{actual} instead of {expected}");
        }
    }

    /// Central differences of `sum(w * shift)` with a step of 1/64. Their error is below
    /// `step^2 * |f'''| / 6 + 2^-24 * |f| / step`, some 1e-4 for values around 1.
    #[test]
    fn the_gradient_is_the_finite_difference() {
        const STEP: f32 = 1.0 / 64.0;
        let plain = Device::flex();
        plain.seed(1);
        let ips = IpsConfig::new()
            .with_embed_dim(3)
            .with_hidden_ratio(2)
            .with_n_mask_tokens(2)
            .with_tokens(vec![0, 1])
            .init(&plain.clone().autodiff());
        let random =
            |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &plain);
        let embedding = random([2, 3, 2, 2]);
        let weights = random([2, 2, 3, 1]).reshape([2, 2, 3]);
        let value =
            |ips: &Ips, embedding: Tensor<4>| (ips.forward(embedding) * weights.clone()).sum();

        let tracked = embedding.clone().autodiff().require_grad();
        let gradients = value(&ips, tracked.clone()).backward();

        let frozen = ips.valid();
        let to_embedding = floats(tracked.grad(&gradients).expect("tracked"));
        for (index, analytic) in to_embedding.into_iter().enumerate() {
            let at = |step| floats(value(&frozen, nudged(&embedding, index, step)))[0];
            assert_difference("embedding", index, analytic, at(STEP), at(-STEP), STEP);
        }
        let to_hidden = floats(ips.hidden.weight.grad(&gradients).expect("tracked"));
        for (index, analytic) in to_hidden.into_iter().enumerate() {
            let at = |step| {
                let mut other = frozen.clone();
                other.hidden.weight =
                    Param::from_tensor(nudged(&frozen.hidden.weight.val(), index, step));
                floats(value(&other, embedding.clone()))[0]
            };
            assert_difference("hidden.weight", index, analytic, at(STEP), at(-STEP), STEP);
        }
    }

    #[test]
    fn every_image_of_a_batch_gets_its_own_shift() {
        let device = Device::flex();
        device.seed(2);
        let ips = IpsConfig::new().with_embed_dim(4).init(&device);
        let embedding = Tensor::random([3, 4, 2, 5], Distribution::Normal(0.0, 1.0), &device);
        let all = ips.forward(embedding.clone());
        assert_eq!(all.dims(), [3, 4, 4]);
        for index in 0..3 {
            let one = ips.forward(embedding.clone().slice_dim(0, index..index + 1));
            one.into_data().assert_approx_eq::<f32>(
                &all.clone().slice_dim(0, index..index + 1).into_data(),
                Tolerance::absolute(1e-6),
            );
        }
    }

    /// Rows of the output layer are given to tokens in the order of the option.
    #[test]
    fn only_the_chosen_tokens_move_and_only_they_have_parameters() {
        let device = Device::flex();
        device.seed(3);
        let spec: IpsSpec = toml::from_str("tokens = [3, 1]").unwrap();
        let ips = spec.config(4, 4).unwrap().init(&device);
        assert_eq!(ips.num_params(), (4 * 16 + 16) + (16 * 8 + 8));
        let mut all =
            IpsConfig::new().with_embed_dim(4).with_tokens(vec![3, 1, 0, 2]).init(&device);
        assert_eq!(all.num_params(), (4 * 16 + 16) + (16 * 16 + 16));
        all.hidden = ips.hidden.clone();
        let rows = |tensor: Tensor<2>| tensor.slice_dim(1, 8..16);
        let weight = Tensor::cat(vec![ips.output.weight.val(), rows(all.output.weight.val())], 1);
        all.output.weight = Param::from_tensor(weight);
        let bias = all.output.bias.take().unwrap().val().slice_dim(0, 8..16);
        let bias = Tensor::cat(vec![ips.output.bias.clone().unwrap().val(), bias], 0);
        all.output.bias = Some(Param::from_tensor(bias));

        let embedding = Tensor::random([2, 4, 3, 3], Distribution::Normal(0.0, 1.0), &device);
        let some = ips.forward(embedding.clone());
        let all = all.forward(embedding);
        assert_eq!(some.dims(), [2, 4, 4]);
        for token in 0..4 {
            let of = |shift: &Tensor<3>| floats(shift.clone().slice_dim(1, token..token + 1));
            if token % 2 == 0 {
                assert_eq!(of(&some), [0.0; 8], "token {token} stays");
                assert_ne!(of(&all), [0.0; 8], "token {token} moves");
            } else {
                let difference = of(&some).into_iter().zip(of(&all)).map(|(a, b)| (a - b).abs());
                assert!(difference.fold(0.0, f32::max) < 1e-6, "token {token}");
            }
        }
    }

    #[test]
    fn tokens_that_are_not_there_twice_there_or_none_are_refused() {
        for (tokens, part) in [
            (vec![], "is empty"),
            (vec![0, 4], "names token 4, but the backbone has 4"),
            (vec![2, 1, 2], "names token 2 twice"),
        ] {
            let spec = IpsSpec { tokens: Some(tokens), ..IpsSpec::default() };
            let error = spec.config(8, 4).unwrap_err();
            assert_eq!(error.option, "tokens");
            assert!(error.reason.contains(part), "{error}");
        }
    }

    fn assert_difference(name: &str, index: usize, analytic: f32, up: f32, down: f32, step: f32) {
        let numeric = (up - down) / (2.0 * step);
        assert!(
            (analytic - numeric).abs() < 1e-3,
            "{name}[{index}]: gradient {analytic}, difference {numeric}"
        );
    }

    fn nudged<const D: usize>(tensor: &Tensor<D>, index: usize, step: f32) -> Tensor<D> {
        let mut values = floats(tensor.clone());
        values[index] += step;
        Tensor::<1>::from_data(values.as_slice(), &tensor.device()).reshape(tensor.dims())
    }

    fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_into_vec::<f32>().unwrap()
    }
}
