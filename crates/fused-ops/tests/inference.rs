//! Operations that have kernels only where no graph is kept, against what they are made of elsewhere.
#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use fused_ops::{Activation, Affine, BiasedAttentionParameters, MlpParameters, Shortcut};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Relative to the largest value of the tensor: both sides add up some hundred products in `f32` in different orders.
const TOLERANCE: f32 = 1e-5;

/// On a device that keeps a graph, and tracked.
fn random<const D: usize>(seed: u64, shape: [usize; D]) -> Tensor<D> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> =
        (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    let device = Device::flex().autodiff();
    Tensor::<D>::from_data(TensorData::new(values, shape), &device).require_grad()
}

fn layer<const D: usize>(seed: u64, weight: [usize; D], outputs: usize) -> Affine<D> {
    Affine { weight: random(seed, weight), bias: random(seed + 1, [outputs]) }
}

/// The same without a graph.
fn plain<const D: usize>(layer: &Affine<D>) -> Affine<D> {
    let Affine { weight, bias } = layer.clone();
    Affine { weight: weight.without_autodiff(), bias: bias.without_autodiff() }
}

fn values(tensor: Tensor<4>) -> Vec<f32> {
    tensor.without_autodiff().into_data().try_into_vec_as::<f32>().unwrap()
}

/// Compares a kernel's result with that of a graph, which must reach the input.
fn assert_same(what: &str, ours: Tensor<4>, composed: Tensor<4>, input: &Tensor<4>) {
    assert!(!ours.is_autodiff(), "{what}: a kernel keeps no graph");
    assert_eq!(ours.dims(), composed.dims(), "{what}");
    let gradients = composed.clone().sum().backward();
    assert!(input.grad(&gradients).is_some(), "{what}: a gradient of the input");
    let (ours, composed) = (values(ours), values(composed));
    let largest = composed.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    assert!(largest > 0.0, "{what}: nothing to compare with");
    for (at, (a, b)) in ours.iter().zip(&composed).enumerate() {
        assert!((a - b).abs() <= TOLERANCE * largest, "{what}[{at}]: {a} and {b}");
    }
}

#[test]
fn a_convolution_is_burns_for_channels_last_and_for_a_view_of_channels_first() {
    let layer = layer(1, [6, 3, 3, 3], 6);
    type View = fn(Tensor<4>) -> Tensor<4>;
    let views: [(&str, [usize; 4], View); 3] = [
        ("last", [2, 9, 8, 3], |map| map),
        ("first", [2, 3, 9, 8], |map| map.permute([0, 2, 3, 1])),
        ("a part", [2, 11, 8, 3], |map| map.slice([0..2, 1..10, 0..8, 0..3])),
    ];
    for (what, shape, view) in views {
        let input = random(3, shape);
        for activation in [Activation::Identity, Activation::Gelu] {
            let of = |input, layer| {
                fused_ops::conv2d_channels_last(view(input), layer, [2, 1], [1, 2], activation)
            };
            let ours = of(input.clone().without_autodiff(), plain(&layer));
            assert_same(what, ours, of(input.clone(), layer.clone()), &input);
        }
    }
}

#[test]
fn a_depthwise_convolution_is_burns() {
    let (input, layer) = (random(1, [2, 7, 6, 19]), layer(2, [19, 1, 3, 3], 19));
    for stride in [1, 2] {
        for activation in [Activation::Identity, Activation::Gelu] {
            let of =
                |map, layer| fused_ops::depthwise_channels_last(map, layer, stride, activation);
            let ours = of(input.clone().without_autodiff(), plain(&layer));
            assert_same("depthwise", ours, of(input.clone(), layer.clone()), &input);
        }
    }
}

#[test]
fn an_inverted_bottleneck_is_its_layers() {
    for (outputs, stride, shortcut) in
        [(5, 1, Shortcut::AddThenGelu), (7, 1, Shortcut::Without), (7, 2, Shortcut::Without)]
    {
        let input = random(1, [2, 6, 9, 5]);
        let (expand, project) = (layer(2, [5, 20], 20), layer(4, [20, outputs], outputs));
        let depthwise = layer(6, [20, 1, 3, 3], 20);
        let ours = fused_ops::inverted_bottleneck(
            input.clone().without_autodiff(),
            plain(&expand),
            plain(&depthwise),
            plain(&project),
            stride,
            shortcut,
        );
        let composed = fused_ops::inverted_bottleneck(
            input.clone(),
            expand,
            depthwise,
            project,
            stride,
            shortcut,
        );
        assert_same(&format!("{shortcut:?}, stride {stride}"), ours, composed, &input);
    }
}

#[test]
fn an_mlp_is_its_layers() {
    let input = random(1, [2, 5, 9, 6]);
    let of = |norm, widen, narrow| MlpParameters { norm, epsilon: 1e-5, widen, narrow };
    let (norm, widen, narrow) = (layer(2, [6], 6), layer(4, [6, 24], 24), layer(6, [24, 6], 6));
    let parameters = of(plain(&norm), plain(&widen), plain(&narrow));
    let ours = fused_ops::normed_mlp_add(input.clone().without_autodiff(), parameters);
    let composed = fused_ops::normed_mlp_add(input.clone(), of(norm, widen, narrow));
    assert_same("MLP", ours, composed, &input);
}

#[test]
fn attention_with_biases_has_a_kernel_in_f32_without_a_graph_only() {
    let parameters =
        |plain: fn(Affine<2>) -> Affine<2>, device: &Device| BiasedAttentionParameters {
            norm: Affine { weight: Tensor::ones([6], device), bias: Tensor::zeros([6], device) },
            epsilon: 1e-5,
            qkv: plain(Affine {
                weight: Tensor::ones([6, 18], device),
                bias: Tensor::zeros([18], device),
            }),
            proj: Affine { weight: Tensor::ones([6, 6], device), bias: Tensor::zeros([6], device) },
            biases: Tensor::zeros([2, 9], device),
            window: 3,
        };
    let same = |layer| layer;
    let (plain, graph) = (Device::flex(), Device::flex().autodiff());
    let tokens = Tensor::<4>::ones([1, 4, 5, 6], &plain);
    let has = fused_ops::has_biased_window_attention;
    assert!(has(&tokens, &parameters(same, &plain)));
    assert!(!has(&tokens, &parameters(same, &graph)));
    assert!(!has(&Tensor::ones([1, 4, 5, 6], &graph), &parameters(same, &plain)));
    assert!(!has(&tokens.clone().cast(FloatDType::F16), &parameters(same, &plain)));
    let halves = |layer: Affine<2>| Affine { weight: layer.weight.cast(FloatDType::F16), ..layer };
    assert!(!has(&tokens, &parameters(halves, &plain)));
    let seen = fused_ops::biased_window_attention_add(tokens, parameters(same, &plain));
    // All tokens are alike, and the norm of what is constant is zero.
    assert_eq!(values(seen), vec![1.0; 4 * 5 * 6]);
}
