//! The operations as functions on tensors.

use burn::{
    backend::{Dispatch, DispatchDevice},
    tensor::{
        DType, Device, FloatDType, Tensor, activation,
        module::{
            attention as burn_attention, conv2d as burn_conv2d, layer_norm as burn_layer_norm,
            linear as burn_linear,
        },
        ops::{AttentionModuleOptions, ConvOptions},
    },
};

use crate::{
    autodiff::{ConvPlacement, FusedOps},
    products,
};

/// Most tokens of a window whose scores are kept for a backward pass. Beyond, Burn's operations take
/// less memory.
const MOST_TOKENS: usize = 1024;

/// Whether a tensor is on a GPU.
fn on_gpu<const D: usize>(tensor: &Tensor<D>) -> bool {
    !takes_weights_in_halves(&tensor.device())
}

/// Whether a tensor is `f32` on the CPU.
pub(crate) fn on_cpu<const D: usize>(tensor: &Tensor<D>) -> bool {
    !on_gpu(tensor) && tensor.dtype() == DType::F32
}

/// Whether a device takes [weights in halves](linear#weights-in-halves) beside inputs in `f32`: a CPU does.
pub fn takes_weights_in_halves(device: &Device) -> bool {
    matches!(device.clone().without_autodiff().as_dispatch(), DispatchDevice::Flex(_))
}

/// Whether [`linear`] has a kernel for these.
///
/// # Panics
///
/// Panics if they do not fit each other: a bug in the caller, which a kernel that knows lengths only would not see.
fn has_linear<const D: usize>(
    input: &Tensor<D>,
    weight: &Tensor<2>,
    bias: Option<&Tensor<1>>,
) -> bool {
    let [inputs, outputs] = weight.dims();
    let fits = input.dims()[D - 1] == inputs && bias.is_none_or(|bias| bias.dims() == [outputs]);
    assert!(fits, "{:?} through a layer of {inputs} inputs, {outputs} outputs", input.dims());
    let halves = matches!(weight.dtype(), DType::F16 | DType::BF16);
    let tracked = input.device().is_autodiff() || weight.device().is_autodiff();
    let is_empty = input.shape().num_elements() * outputs == 0;
    on_cpu(input) && !is_empty && (on_cpu(weight) || (halves && !on_gpu(weight) && !tracked))
}

/// A bias that adds nothing, where there is none.
fn bias_or_zeros(bias: Option<Tensor<1>>, weight: &Tensor<2>) -> Tensor<1> {
    let device = weight.device().without_autodiff();
    bias.unwrap_or_else(|| Tensor::zeros([weight.dims()[1]], &device))
}

/// Computes in `f32` what takes several operations, each of which would round: `1 + erf(x)` of a negative `x` has hardly
/// a digit left in halves. The result has the numbers of the input.
fn in_f32<const D: usize>(
    input: Tensor<D>,
    work: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Tensor<D> {
    match input.dtype() {
        DType::F32 => work(input),
        numbers => work(input.cast(FloatDType::F32)).cast(FloatDType::from(numbers)),
    }
}

/// Whether it also is on a device that keeps a graph. Without one, Burn's own convolution and attention
/// are single operations, too.
fn tracked_on_cpu<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.device().is_autodiff() && on_cpu(tensor)
}

/// Layer normalization over the last axis: `(x - E[x]) / sqrt(Var[x] + epsilon) * weight + bias`.
///
/// # Shapes
///
/// - `input`: `[.., C]`
/// - `weight`, `bias`: `[C]`
/// - returns: the same as `input`
pub fn layer_norm<const D: usize>(
    input: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
) -> Tensor<D> {
    if on_gpu(&input) {
        let (weight, bias) = (weight.cast(FloatDType::F32), bias.cast(FloatDType::F32));
        return in_f32(input, |input| burn_layer_norm(input, weight, Some(bias), epsilon));
    }
    if !on_cpu(&input) || !on_cpu(&weight) {
        return burn_layer_norm(input, weight, Some(bias), epsilon);
    }
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_layer_norm(
        input.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        epsilon as f32,
    ))
}

/// GELU, exact: `x * cdf(x)` of the standard normal distribution. Any shape.
pub fn gelu<const D: usize>(input: Tensor<D>) -> Tensor<D> {
    if on_gpu(&input) {
        // Burn's own has the gradient of another function there, that of the approximation by a hyperbolic tangent.
        return in_f32(input, |input| {
            let doubled = (input.clone() * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0;
            input * doubled * 0.5
        });
    }
    if !on_cpu(&input) {
        return activation::gelu(input);
    }
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_gelu(input.into_dispatch()))
}

/// `input * weight + bias`.
///
/// # Shapes
///
/// - `input`: `[.., in]`
/// - `weight`: `[in, out]`
/// - `bias`: `[out]`
/// - returns: `[.., out]`
///
/// # Weights in halves
///
/// On a CPU, `weight` may be `bf16` or `f16` beside an `f32` input: the input's numbers are rounded to the same, their
/// products are exact, and sums and results are `f32`. Processors with tiles (Intel's AMX) compute large products of `bf16`
/// several times as fast as those of `f32`. Where a graph is kept, weights in halves are widened and nothing is rounded.
///
/// # Panics
///
/// Panics if the sizes do not fit each other: a bug in the caller.
pub fn linear<const D: usize>(
    input: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    if !has_linear(&input, &weight, bias.as_ref()) {
        let weight = weight.cast(input.dtype());
        return burn_linear(input, weight, bias);
    }
    let bias = bias_or_zeros(bias, &weight);
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_linear(
        input.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
    ))
}

/// `gelu(input * weight + bias)`, see [`linear`] and [`gelu`]. Without a graph, what lies between the two is never in memory.
pub fn linear_gelu<const D: usize>(
    input: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    if !has_linear(&input, &weight, bias.as_ref()) {
        return gelu(linear(input, weight, bias));
    }
    let bias = bias_or_zeros(bias, &weight);
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_linear_gelu(
        input.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
    ))
}

/// `residual + (input * weight + bias)`, see [`linear`]. Without a graph, in the memory of `residual` if nobody else holds it.
///
/// # Shapes
///
/// - `residual`: `[.., out]`, as what is returned
///
/// # Panics
///
/// Panics if `residual` has another shape: a bug in the caller.
pub fn linear_add<const D: usize>(
    input: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    residual: Tensor<D>,
) -> Tensor<D> {
    let (rows, columns) = (input.dims(), weight.dims()[1]);
    let fits = residual.dims()[..D - 1] == rows[..D - 1] && residual.dims()[D - 1] == columns;
    assert!(fits, "{:?} added to {columns} outputs of {rows:?}", residual.dims());
    if !has_linear(&input, &weight, bias.as_ref()) || !on_cpu(&residual) {
        return residual + linear(input, weight, bias);
    }
    let bias = bias_or_zeros(bias, &weight);
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_linear_add(
        input.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        residual.into_dispatch(),
    ))
}

/// A linear layer: weight `[in, out]` and bias `[out]`.
pub type LinearLayer = (Tensor<2>, Option<Tensor<1>>);

/// `residual + (gelu(input * weight_1 + bias_1) * weight_2 + bias_2)`, see [`linear_gelu`] and [`linear_add`].
///
/// # Shapes
///
/// - `input`, `residual`: `[.., C]`, as what is returned
/// - `layers`: from `C` channels to some, and back
///
/// # Panics
///
/// Panics if `residual` has another shape: a bug in the caller.
pub fn mlp_add<const D: usize>(
    input: Tensor<D>,
    layers: [LinearLayer; 2],
    residual: Tensor<D>,
) -> Tensor<D> {
    assert_eq!(residual.dims(), input.dims(), "what an MLP is added to");
    let [(weight_1, bias_1), (weight_2, bias_2)] = layers;
    let [inputs, hidden] = weight_1.dims();
    assert_eq!(
        weight_2.dims(),
        [hidden, inputs],
        "a layer back from {hidden} to {inputs} channels"
    );
    let fits = bias_2.as_ref().is_none_or(|bias| bias.dims() == [inputs]);
    assert!(fits, "a bias of the layer back to {inputs} channels");
    let same_numbers = weight_1.dtype() == weight_2.dtype();
    if !has_linear(&input, &weight_1, bias_1.as_ref()) || !same_numbers || !on_cpu(&residual) {
        return linear_add(linear_gelu(input, weight_1, bias_1), weight_2, bias_2, residual);
    }
    let [bias_1, bias_2] = [bias_or_zeros(bias_1, &weight_1), bias_or_zeros(bias_2, &weight_2)];
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_mlp_add(
        input.into_dispatch(),
        weight_1.into_dispatch(),
        bias_1.into_dispatch(),
        weight_2.into_dispatch(),
        bias_2.into_dispatch(),
        residual.into_dispatch(),
    ))
}

/// 2D convolution, without dilation and groups.
///
/// - `stride`, `padding`: vertical, horizontal; as many zeros on both sides
///
/// # Shapes
///
/// - `input`: `[B, in, H, W]`
/// - `weight`: `[out, in, kh, kw]`
/// - `bias`: `[out]`
/// - returns: `[B, out, (H + 2 padding - kh) / stride + 1, ..]`
///
/// # Panics
///
/// Panics if the kernel is larger than the padded input, or its channels are others: a bug in the
/// caller.
pub fn conv2d(
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: [usize; 2],
    padding: [usize; 2],
) -> Tensor<4> {
    let ([_, channels, height, width], [out, kernel_channels, kernel_height, kernel_width]) =
        (input.dims(), weight.dims());
    assert_eq!(channels, kernel_channels, "channels of a convolution");
    assert!(
        kernel_height <= height + 2 * padding[0] && kernel_width <= width + 2 * padding[1],
        "a kernel of {kernel_height} x {kernel_width} on {height} x {width} with padding {padding:?}"
    );
    if on_gpu(&input) {
        return products::conv2d(input, weight, bias, stride, padding);
    }
    if !tracked_on_cpu(&input) && !tracked_on_cpu(&weight) {
        let options = ConvOptions::new(stride, padding, [1, 1], 1);
        return burn_conv2d(input, weight, bias, options);
    }
    // Where nothing is added there is nothing to learn either.
    let bias = bias.unwrap_or_else(|| Tensor::zeros([out], &weight.device().without_autodiff()));
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_conv2d(
        input.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        ConvPlacement { stride, padding },
    ))
}

/// Multi-head attention between two sequences, heads being slices of the channels:
/// `softmax(q k^T / sqrt(C / heads)) v`.
///
/// # Shapes
///
/// - `query`: `[B, Nq, C]`
/// - `key`, `value`: `[B, Nk, C]`
/// - returns: `[B, Nq, C]`
///
/// # Panics
///
/// Panics if `heads` does not divide `C`: a bug in the caller.
pub fn attention(query: Tensor<3>, key: Tensor<3>, value: Tensor<3>, heads: usize) -> Tensor<3> {
    let [batch, queries, channels] = query.dims();
    assert!(channels.is_multiple_of(heads), "{heads} heads of {channels} channels");
    if tracked_on_cpu(&query) || tracked_on_cpu(&key) || tracked_on_cpu(&value) {
        return Tensor::from_dispatch(<Dispatch as FusedOps>::fused_attention(
            query.into_dispatch(),
            key.into_dispatch(),
            value.into_dispatch(),
            heads,
        ));
    }
    let split = |tokens: Tensor<3>| {
        let [batch, n_tokens, channels] = tokens.dims();
        tokens.reshape([batch, n_tokens, heads, channels / heads]).swap_dims(1, 2)
    };
    attention_of_heads(split(query), split(key), split(value))
        .swap_dims(1, 2)
        .reshape([batch, queries, channels])
}

/// Attention of heads that are apart already: `softmax(q k^T / sqrt(d)) v`.
///
/// # Shapes
///
/// - `query`: `[B, heads, Nq, d]`
/// - `key`: `[B, heads, Nk, d]`
/// - `value`: `[B, heads, Nk, e]`
/// - returns: `[B, heads, Nq, e]`
pub fn attention_of_heads(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>) -> Tensor<4> {
    if on_gpu(&query) {
        return products::attention(query, key, value);
    }
    burn_attention(query, key, value, None, None, AttentionModuleOptions::default())
}

/// Multi-head self-attention within the windows of a grid, with decomposed relative positions. Windows
/// begin at the top-left corner; the last of a row or column may reach beyond the grid.
///
/// `score(q, k) = q.k / sqrt(d) + q.Rh[qy - ky + s - 1] + q.Rw[qx - kx + s - 1]` with `s` the side of a
/// window and `d = C / heads`.
///
/// # Shapes
///
/// - `qkv`: `[B, H, W, 3 C]`, query, key and value one after the other, each cut into heads
/// - `padding`: `[3 C]`, what stands there beyond the grid: the bias of the layer that made `qkv`, if tokens
///   are padded with zeros before it
/// - `rel_pos_h`, `rel_pos_w`: `[2 s - 1, d]`. If they are in halves, queries, keys, values and a value's share are rounded
///   to the same, as in [`linear`](linear#weights-in-halves)
/// - returns: `[B, H, W, C]`
///
/// # Panics
///
/// Panics unless [`has_window_attention`] is true of the same arguments (Burn has no such operation
/// to fall back to, so the caller asks first), and unless `heads` divides `C`.
pub fn window_attention(
    qkv: Tensor<4>,
    padding: Tensor<1>,
    rel_pos_h: Tensor<2>,
    rel_pos_w: Tensor<2>,
    heads: usize,
    window: usize,
) -> Tensor<4> {
    let channels = qkv.dims()[3];
    assert!(channels.is_multiple_of(3 * heads), "{heads} heads of {channels} channels");
    assert!(
        has_window_attention(&qkv, window),
        "no kernel for windows of {window} in {:?} on {:?}",
        qkv.dims(),
        qkv.device()
    );
    // As linear layers: where a graph is kept, nothing is rounded.
    let devices = [qkv.device(), rel_pos_h.device(), rel_pos_w.device()];
    let [rel_pos_h, rel_pos_w] = match devices.iter().any(Device::is_autodiff) {
        true => [rel_pos_h, rel_pos_w].map(|table| table.cast(FloatDType::F32)),
        false => [rel_pos_h, rel_pos_w],
    };
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_window_attention(
        qkv.into_dispatch(),
        padding.into_dispatch(),
        rel_pos_h.into_dispatch(),
        rel_pos_w.into_dispatch(),
        heads,
        window,
    ))
}

/// Whether there is a kernel for windows of side `window` in a grid of `tokens`, `[B, H, W, _]`: on the
/// CPU, in `f32`. Where a graph is kept, only if windows tile the grid and have at most 1,024 tokens.
pub fn has_window_attention(tokens: &Tensor<4>, window: usize) -> bool {
    let [_, height, width, _] = tokens.dims();
    let tiled = height.is_multiple_of(window) && width.is_multiple_of(window);
    on_cpu(tokens) && (!tokens.device().is_autodiff() || (tiled && window * window <= MOST_TOKENS))
}
