//! Operations on maps whose channels come last, as TinyViT's encoder is made of them, for inference. They have kernels
//! for `f32` on the CPU where no graph is kept; everywhere else they are Burn's operations, which know their gradients.

use burn::{
    backend::{Backend, Dispatch, ExtensionType, Flex, backend_extension, tensor::FloatTensor},
    tensor::{Tensor, module::conv2d as burn_conv2d, ops::ConvOptions},
};

use crate::{
    autodiff::{ConvPlacement, Host, contiguous, conv_shape, numbers, shape, tensor},
    kernels::{
        biased_attention::{self, WindowsShape},
        depthwise::{self, DepthwiseShape},
        gelu::Activation,
        inverted_bottleneck::{self, Layers, Shortcut},
        layer::Layer,
        mlp,
        patches::{self, Images},
    },
    ops::{gelu, layer_norm, linear, linear_add, linear_gelu, on_cpu},
};

/// Weight and bias of a layer.
#[derive(Debug, Clone)]
pub struct Affine<const D: usize> {
    /// `[out, in / groups, kh, kw]` of a convolution, `[in, out]` of a linear layer, `[C]` of a norm
    pub weight: Tensor<D>,
    /// `[out]`
    pub bias: Tensor<1>,
}

/// Parameters of a transformer block's MLP, for [`normed_mlp_add`].
#[derive(Debug, Clone)]
pub struct MlpParameters {
    /// `[C]`
    pub norm: Affine<1>,
    /// Added to the norm's variance.
    pub epsilon: f64,
    /// `[C, hidden]`
    pub widen: Affine<2>,
    /// `[hidden, C]`
    pub narrow: Affine<2>,
}

/// Parameters of a block's attention within windows, for [`biased_window_attention_add`].
#[derive(Debug, Clone)]
pub struct BiasedAttentionParameters {
    /// `[C]`
    pub norm: Affine<1>,
    /// Added to the norm's variance.
    pub epsilon: f64,
    /// `[C, 3 C]`; each head has its query, key and value side by side
    pub qkv: Affine<2>,
    /// `[C, C]`
    pub proj: Affine<2>,
    /// `[heads, window * window]`, of the distance `(dy, dx)` at `dy * window + dx`
    pub biases: Tensor<2>,
    /// Side of a window in tokens.
    pub window: usize,
}

/// What is no tensor of an attention.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttentionSizes {
    epsilon: f32,
    heads: usize,
    window: usize,
}

/// Weight and bias of a layer.
#[derive(ExtensionType)]
pub(crate) struct Parameters<B: Backend> {
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
}

impl Parameters<Dispatch> {
    fn of<const D: usize>(layer: Affine<D>) -> Self {
        Self { weight: layer.weight.into_dispatch(), bias: layer.bias.into_dispatch() }
    }
}

impl Parameters<Flex> {
    fn contiguous(&self) -> Self {
        Self { weight: contiguous(&self.weight), bias: contiguous(&self.bias) }
    }

    fn layer(&self) -> Layer<'_> {
        Layer { weight: numbers(&self.weight), bias: numbers(&self.bias) }
    }
}

/// The kernels; shapes are those of the functions below.
#[backend_extension(Flex)]
pub(crate) trait InferenceOps: Backend {
    fn patches_conv2d(
        images: FloatTensor<Self>,
        #[extension_type] layer: Parameters<Self>,
        placement: ConvPlacement,
        activation: Activation,
    ) -> FloatTensor<Self>;
    fn depthwise_conv2d(
        map: FloatTensor<Self>,
        #[extension_type] layer: Parameters<Self>,
        stride: usize,
        activation: Activation,
    ) -> FloatTensor<Self>;
    fn bottleneck(
        map: FloatTensor<Self>,
        #[extension_type] expand: Parameters<Self>,
        #[extension_type] depthwise: Parameters<Self>,
        #[extension_type] project: Parameters<Self>,
        stride: usize,
        shortcut: Shortcut,
    ) -> FloatTensor<Self>;
    fn mlp_onto(
        tokens: FloatTensor<Self>,
        #[extension_type] norm: Parameters<Self>,
        #[extension_type] widen: Parameters<Self>,
        #[extension_type] narrow: Parameters<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self>;
    fn attention_onto(
        tokens: FloatTensor<Self>,
        #[extension_type] norm: Parameters<Self>,
        #[extension_type] qkv: Parameters<Self>,
        #[extension_type] proj: Parameters<Self>,
        biases: FloatTensor<Self>,
        sizes: AttentionSizes,
    ) -> FloatTensor<Self>;
}

impl InferenceOps for Flex {
    fn patches_conv2d(
        images: Host,
        layer: Parameters<Flex>,
        placement: ConvPlacement,
        activation: Activation,
    ) -> Host {
        let layer = layer.contiguous();
        // Channels first with permuted axes is as good as channels last, and what else there may be is copied.
        let channels_first = images.permute(&[0, 3, 1, 2]);
        let images = match images.is_contiguous() || channels_first.is_contiguous() {
            true => images,
            false => images.to_contiguous(),
        };
        let sizes = conv_shape(&images.permute(&[0, 3, 1, 2]), &layer.weight, placement);
        let count = shape(&images)[0];
        let strides = images.layout().strides();
        let strides = [0, 1, 2, 3].map(|axis| strides[axis].unsigned_abs());
        let values = images.storage::<f32>();
        let images = Images { values: &values[images.layout().start_offset()..], count, strides };
        let out = patches::forward(images, layer.layer(), sizes, activation);
        let [height, width] = sizes.output();
        tensor(out, vec![count, height, width, sizes.out_channels])
    }

    fn depthwise_conv2d(
        map: Host,
        layer: Parameters<Flex>,
        stride: usize,
        activation: Activation,
    ) -> Host {
        let (map, layer) = (contiguous(&map), layer.contiguous());
        let sizes = shape(&map);
        let of = DepthwiseShape { input: [sizes[1], sizes[2]], channels: sizes[3], stride };
        let out = depthwise::forward(numbers(&map), layer.layer(), of, activation);
        let [height, width] = of.output();
        tensor(out, vec![sizes[0], height, width, sizes[3]])
    }

    fn bottleneck(
        map: Host,
        expand: Parameters<Flex>,
        depthwise: Parameters<Flex>,
        project: Parameters<Flex>,
        stride: usize,
        shortcut: Shortcut,
    ) -> Host {
        let map = contiguous(&map);
        let [expand, depthwise, project] =
            [expand, depthwise, project].map(|layer| layer.contiguous());
        let layers = Layers {
            expand: expand.layer(),
            depthwise: depthwise.layer(),
            project: project.layer(),
        };
        let sizes = shape(&map);
        let size = [sizes[1], sizes[2]];
        let out = inverted_bottleneck::forward(numbers(&map), size, layers, stride, shortcut);
        let outputs = layers.project.bias.len();
        tensor(out, vec![sizes[0], size[0].div_ceil(stride), size[1].div_ceil(stride), outputs])
    }

    fn mlp_onto(
        tokens: Host,
        norm: Parameters<Flex>,
        widen: Parameters<Flex>,
        narrow: Parameters<Flex>,
        epsilon: f32,
    ) -> Host {
        let tokens = contiguous(&tokens);
        let [norm, widen, narrow] = [norm, widen, narrow].map(|layer| layer.contiguous());
        let of =
            mlp::Mlp { norm: norm.layer(), epsilon, widen: widen.layer(), narrow: narrow.layer() };
        tensor(mlp::forward_add(numbers(&tokens), of), shape(&tokens))
    }

    fn attention_onto(
        tokens: Host,
        norm: Parameters<Flex>,
        qkv: Parameters<Flex>,
        proj: Parameters<Flex>,
        biases: Host,
        sizes: AttentionSizes,
    ) -> Host {
        let [tokens, biases] = [tokens, biases].map(|it| contiguous(&it));
        let [norm, qkv, proj] = [norm, qkv, proj].map(|layer| layer.contiguous());
        let AttentionSizes { epsilon, heads, window } = sizes;
        let sizes = shape(&tokens);
        let [height, width, channels] = [sizes[1], sizes[2], sizes[3]];
        let of = biased_attention::Attention {
            norm: norm.layer(),
            epsilon,
            qkv: qkv.layer(),
            proj: proj.layer(),
            biases: numbers(&biases),
        };
        let windows = WindowsShape { height, width, channels, heads, window };
        tensor(biased_attention::forward_add(numbers(&tokens), of, windows), sizes)
    }
}

/// Whether a tensor is `f32` on the CPU and keeps no graph.
fn has_kernel<const D: usize>(tensor: &Tensor<D>) -> bool {
    on_cpu(tensor) && !tensor.device().is_autodiff()
}

impl<const D: usize> Affine<D> {
    fn has_kernel(&self) -> bool {
        has_kernel(&self.weight) && has_kernel(&self.bias)
    }
}

fn activate(map: Tensor<4>, activation: Activation) -> Tensor<4> {
    match activation {
        Activation::Identity => map,
        Activation::Gelu => gelu(map),
    }
}

/// 2D convolution of maps whose channels come last, and what follows it.
///
/// - `stride`, `padding`: vertical, horizontal; as many zeros on both sides
///
/// # Shapes
///
/// - `map`: `[B, H, W, in]`; a view of channels that come first is as good
/// - `layer`: weight `[out, in, kh, kw]`
/// - returns: `[B, (H + 2 padding - kh) / stride + 1, .., out]`
///
/// # Panics
///
/// Panics if the kernel is larger than the padded input, or its channels are others: a bug in the caller.
pub fn conv2d_channels_last(
    map: Tensor<4>,
    layer: Affine<4>,
    stride: [usize; 2],
    padding: [usize; 2],
    activation: Activation,
) -> Tensor<4> {
    let ([_, height, width, channels], [_, inputs, kernel_height, kernel_width]) =
        (map.dims(), layer.weight.dims());
    assert_eq!(channels, inputs, "channels of a convolution");
    assert!(
        kernel_height <= height + 2 * padding[0] && kernel_width <= width + 2 * padding[1],
        "a kernel of {kernel_height} x {kernel_width} on {height} x {width} with padding {padding:?}"
    );
    if !has_kernel(&map) || !layer.has_kernel() {
        let options = ConvOptions::new(stride, padding, [1, 1], 1);
        return activate(burn_convolution(map, layer, options), activation);
    }
    Tensor::from_dispatch(<Dispatch as InferenceOps>::patches_conv2d(
        map.into_dispatch(),
        Parameters::of(layer),
        ConvPlacement { stride, padding },
        activation,
    ))
}

fn burn_convolution(map: Tensor<4>, layer: Affine<4>, options: ConvOptions<2>) -> Tensor<4> {
    let map = map.permute([0, 3, 1, 2]);
    burn_conv2d(map, layer.weight, Some(layer.bias), options).permute([0, 2, 3, 1])
}

/// Depthwise convolution of 3x3 with a zero as padding on every side, on maps whose channels come last.
///
/// # Shapes
///
/// - `map`: `[B, H, W, C]`
/// - `layer`: weight `[C, 1, 3, 3]`
/// - returns: `[B, H / stride, W / stride, C]`, sizes rounded up
///
/// # Panics
///
/// Panics if the kernel has another size or other channels: a bug in the caller.
pub fn depthwise_channels_last(
    map: Tensor<4>,
    layer: Affine<4>,
    stride: usize,
    activation: Activation,
) -> Tensor<4> {
    let channels = map.dims()[3];
    assert_eq!(layer.weight.dims(), [channels, 1, 3, 3], "kernel of a depthwise convolution");
    if !has_kernel(&map) || !layer.has_kernel() {
        let options = ConvOptions::new([stride; 2], [1, 1], [1, 1], channels);
        return activate(burn_convolution(map, layer, options), activation);
    }
    Tensor::from_dispatch(<Dispatch as InferenceOps>::depthwise_conv2d(
        map.into_dispatch(),
        Parameters::of(layer),
        stride,
        activation,
    ))
}

/// Inverted bottleneck on maps whose channels come last:
/// `project(gelu(depthwise(gelu(expand(map)))))`, and what `shortcut` says.
///
/// # Shapes
///
/// - `map`: `[B, H, W, in]`
/// - `expand`: weight `[in, hidden]`
/// - `depthwise`: as that of [`depthwise_channels_last`], weight `[hidden, 1, 3, 3]`
/// - `project`: weight `[hidden, out]`
/// - returns: `[B, H / stride, W / stride, out]`, sizes rounded up
///
/// # Panics
///
/// Panics if these do not fit, or the output not the input that is added to it: a bug in the caller.
///
/// Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018.
pub fn inverted_bottleneck(
    map: Tensor<4>,
    expand: Affine<2>,
    depthwise: Affine<4>,
    project: Affine<2>,
    stride: usize,
    shortcut: Shortcut,
) -> Tensor<4> {
    let ([inputs, hidden], [projected, outputs]) = (expand.weight.dims(), project.weight.dims());
    assert_eq!(map.dims()[3], inputs, "channels of an inverted bottleneck");
    assert_eq!(hidden, projected, "hidden channels of an inverted bottleneck");
    assert_eq!(depthwise.weight.dims(), [hidden, 1, 3, 3], "kernel of a depthwise convolution");
    let fits = shortcut == Shortcut::Without || (stride, inputs) == (1, outputs);
    assert!(fits, "{inputs} channels added to {outputs} with a stride of {stride}");
    let kernels = expand.has_kernel() && depthwise.has_kernel() && project.has_kernel();
    if !has_kernel(&map) || !kernels {
        let expanded = linear_gelu(map.clone(), expand.weight, Some(expand.bias));
        let mixed = depthwise_channels_last(expanded, depthwise, stride, Activation::Gelu);
        let (weight, bias) = (project.weight, Some(project.bias));
        return match shortcut {
            Shortcut::Without => linear(mixed, weight, bias),
            Shortcut::AddThenGelu => gelu(linear_add(mixed, weight, bias, map)),
        };
    }
    Tensor::from_dispatch(<Dispatch as InferenceOps>::bottleneck(
        map.into_dispatch(),
        Parameters::of(expand),
        Parameters::of(depthwise),
        Parameters::of(project),
        stride,
        shortcut,
    ))
}

/// A transformer block's MLP: `tokens + narrow(gelu(widen(norm(tokens))))`.
///
/// # Shapes
///
/// - `tokens`: `[.., C]`, as what is returned
pub fn normed_mlp_add<const D: usize>(tokens: Tensor<D>, mlp: MlpParameters) -> Tensor<D> {
    let MlpParameters { norm, epsilon, widen, narrow } = mlp;
    let kernels = norm.has_kernel() && widen.has_kernel() && narrow.has_kernel();
    if !has_kernel(&tokens) || !kernels {
        let normed = layer_norm(tokens.clone(), norm.weight, norm.bias, epsilon);
        let hidden = linear_gelu(normed, widen.weight, Some(widen.bias));
        return linear_add(hidden, narrow.weight, Some(narrow.bias), tokens);
    }
    Tensor::from_dispatch(<Dispatch as InferenceOps>::mlp_onto(
        tokens.into_dispatch(),
        Parameters::of(norm),
        Parameters::of(widen),
        Parameters::of(narrow),
        epsilon as f32,
    ))
}

/// A transformer block's attention within the windows of a grid, with a learned bias for every distance:
/// `tokens + proj(attend(qkv(norm(tokens))))`. Windows begin at the top-left corner; the last of a row or column may reach
/// beyond the grid, where tokens are zeros, which go through the norm and are seen by the others.
///
/// `score(q, k) = q.k / sqrt(d) + bias[head][|qy - ky|, |qx - kx|]` with `d = C / heads`.
///
/// # Shapes
///
/// - `tokens`: `[B, H, W, C]`, as what is returned
///
/// # Panics
///
/// Panics unless [`has_biased_window_attention`] is true of the same arguments (Burn has no such operation to fall back
/// to, so the caller asks first), and unless shapes fit: a bug in the caller.
pub fn biased_window_attention_add(
    tokens: Tensor<4>,
    attention: BiasedAttentionParameters,
) -> Tensor<4> {
    assert!(
        has_biased_window_attention(&tokens, &attention),
        "no kernel for {:?} on {:?}",
        tokens.dtype(),
        tokens.device()
    );
    let BiasedAttentionParameters { norm, epsilon, qkv, proj, biases, window } = attention;
    let (channels, [heads, distances]) = (tokens.dims()[3], biases.dims());
    assert!(channels.is_multiple_of(heads), "{heads} heads of {channels} channels");
    assert_eq!(distances, window * window, "distances in a window");
    assert_eq!(qkv.weight.dims(), [channels, 3 * channels], "queries, keys and values");
    assert_eq!(proj.weight.dims(), [channels; 2], "projection");
    Tensor::from_dispatch(<Dispatch as InferenceOps>::attention_onto(
        tokens.into_dispatch(),
        Parameters::of(norm),
        Parameters::of(qkv),
        Parameters::of(proj),
        biases.into_dispatch(),
        AttentionSizes { epsilon: epsilon as f32, heads, window },
    ))
}

/// Whether there is a kernel for [`biased_window_attention_add`]: on the CPU, in `f32`, without a graph.
pub fn has_biased_window_attention(
    tokens: &Tensor<4>,
    attention: &BiasedAttentionParameters,
) -> bool {
    let BiasedAttentionParameters { norm, qkv, proj, biases, .. } = attention;
    let layers = norm.has_kernel() && qkv.has_kernel() && proj.has_kernel();
    has_kernel(tokens) && layers && has_kernel(biases)
}
