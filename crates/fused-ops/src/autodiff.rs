//! The kernels as operations of Burn's CPU backend, and their place in the graph.

use burn::{
    backend::{
        Autodiff, Backend, Flex,
        autodiff::{
            NodeId,
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        tensor::FloatTensor,
    },
    tensor::TensorData,
};

use crate::kernels::{
    attention::{self, CrossShape, WindowShape},
    conv2d::{self, ConvShape},
    factors::Weights,
    gelu,
    grid_attention::{self, GridShape},
    layer_norm, linear,
};

/// Where the kernel of a convolution is put.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvPlacement {
    pub stride: [usize; 2],
    pub padding: [usize; 2],
}

/// The operations; shapes are those of the functions in [`crate::ops`].
#[backend_extension(Autodiff, Flex)]
pub(crate) trait FusedOps: Backend {
    fn fused_layer_norm(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self>;
    fn fused_gelu(input: FloatTensor<Self>) -> FloatTensor<Self>;
    fn fused_linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
    fn fused_linear_gelu(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::fused_gelu(Self::fused_linear(input, weight, bias))
    }
    fn fused_linear_add(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::float_add(residual, Self::fused_linear(input, weight, bias))
    }
    fn fused_mlp_add(
        input: FloatTensor<Self>,
        weight_1: FloatTensor<Self>,
        bias_1: FloatTensor<Self>,
        weight_2: FloatTensor<Self>,
        bias_2: FloatTensor<Self>,
        residual: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let hidden = Self::fused_linear_gelu(input, weight_1, bias_1);
        Self::fused_linear_add(hidden, weight_2, bias_2, residual)
    }
    fn fused_conv2d(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        placement: ConvPlacement,
    ) -> FloatTensor<Self>;
    fn fused_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self>;
    fn fused_window_attention(
        qkv: FloatTensor<Self>,
        padding: FloatTensor<Self>,
        rel_pos_h: FloatTensor<Self>,
        rel_pos_w: FloatTensor<Self>,
        heads: usize,
        window: usize,
    ) -> FloatTensor<Self>;
}

pub(crate) type Host = FloatTensor<Flex>;

/// The numbers of a tensor, in row-major order.
pub(crate) fn contiguous(tensor: &Host) -> Host {
    if tensor.is_contiguous() { tensor.clone() } else { tensor.to_contiguous() }
}

pub(crate) fn numbers(tensor: &Host) -> &[f32] {
    tensor.as_slice().expect("an f32 tensor that was made contiguous")
}

/// The numbers of a tensor that may be in halves.
fn weights(tensor: &Host) -> Weights<'_> {
    let weights = tensor.as_slice().map(Weights::F32);
    weights
        .or_else(|| tensor.as_slice().map(Weights::Bf16))
        .or_else(|| tensor.as_slice().map(Weights::F16))
        .expect("a tensor of f32 or halves that was made contiguous")
}

pub(crate) fn shape(tensor: &Host) -> Vec<usize> {
    tensor.layout().shape().to_vec()
}

pub(crate) fn tensor(values: Vec<f32>, shape: Vec<usize>) -> Host {
    Host::from_data(TensorData::new(values, shape))
}

/// Size of the last axis.
fn last(tensor: &Host) -> usize {
    *shape(tensor).last().expect("a tensor with an axis")
}

/// Hands the gradients on to those inputs that are tracked.
fn register(
    grads: &mut Gradients,
    parents: [Option<NodeId>; 3],
    values: [(Vec<f32>, Vec<usize>); 3],
) {
    for (parent, (values, shape)) in parents.into_iter().zip(values) {
        if let Some(parent) = parent {
            grads.register::<Flex>(parent, tensor(values, shape));
        }
    }
}

fn cross_shape(query: &Host, key: &Host, heads: usize) -> CrossShape {
    let (query, key) = (shape(query), shape(key));
    CrossShape { queries: query[1], keys: key[1], channels: query[2], heads }
}

pub(crate) fn conv_shape(input: &Host, weight: &Host, placement: ConvPlacement) -> ConvShape {
    let (input, weight) = (shape(input), shape(weight));
    ConvShape {
        in_channels: weight[1],
        out_channels: weight[0],
        input: [input[2], input[3]],
        kernel: [weight[2], weight[3]],
        stride: placement.stride,
        padding: placement.padding,
    }
}

fn window_shape(qkv: &Host, heads: usize, window: usize) -> WindowShape {
    let sizes = shape(qkv);
    WindowShape { height: sizes[1], width: sizes[2], channels: sizes[3] / 3, heads, window }
}

impl FusedOps for Flex {
    fn fused_layer_norm(input: Host, weight: Host, bias: Host, epsilon: f32) -> Host {
        let [input, weight, bias] = [input, weight, bias].map(|it| contiguous(&it));
        let out = layer_norm::forward(numbers(&input), numbers(&weight), numbers(&bias), epsilon);
        tensor(out, shape(&input))
    }

    fn fused_gelu(input: Host) -> Host {
        let input = contiguous(&input);
        tensor(gelu::forward(numbers(&input)), shape(&input))
    }

    fn fused_linear(input: Host, weight: Host, bias: Host) -> Host {
        let [input, weight, bias] = [input, weight, bias].map(|it| contiguous(&it));
        let out = linear::forward(numbers(&input), weights(&weight), numbers(&bias));
        let mut sizes = shape(&input);
        *sizes.last_mut().expect("a tensor with an axis") = last(&weight);
        tensor(out, sizes)
    }

    fn fused_linear_gelu(input: Host, weight: Host, bias: Host) -> Host {
        let [input, weight, bias] = [input, weight, bias].map(|it| contiguous(&it));
        let out = linear::forward_gelu(numbers(&input), weights(&weight), numbers(&bias));
        let mut sizes = shape(&input);
        *sizes.last_mut().expect("a tensor with an axis") = last(&weight);
        tensor(out, sizes)
    }

    fn fused_linear_add(input: Host, weight: Host, bias: Host, residual: Host) -> Host {
        let [input, weight, bias] = [input, weight, bias].map(|it| contiguous(&it));
        let sizes = shape(&residual);
        // Its own memory if nobody else holds the tensor.
        let residual = residual.into_data().try_into_vec::<f32>().expect("an f32 tensor");
        let out = linear::forward_add(numbers(&input), weights(&weight), numbers(&bias), residual);
        tensor(out, sizes)
    }

    fn fused_mlp_add(
        input: Host,
        weight_1: Host,
        bias_1: Host,
        weight_2: Host,
        bias_2: Host,
        residual: Host,
    ) -> Host {
        let [input, weight_1, bias_1, weight_2, bias_2] =
            [input, weight_1, bias_1, weight_2, bias_2].map(|it| contiguous(&it));
        let sizes = shape(&residual);
        let residual = residual.into_data().try_into_vec::<f32>().expect("an f32 tensor");
        let out = linear::forward_mlp_add(
            numbers(&input),
            (weights(&weight_1), numbers(&bias_1)),
            (weights(&weight_2), numbers(&bias_2)),
            residual,
        );
        tensor(out, sizes)
    }

    fn fused_conv2d(input: Host, weight: Host, bias: Host, placement: ConvPlacement) -> Host {
        let [input, weight, bias] = [input, weight, bias].map(|it| contiguous(&it));
        let sizes = conv_shape(&input, &weight, placement);
        let out = conv2d::forward(numbers(&input), numbers(&weight), numbers(&bias), sizes);
        let [height, width] = sizes.output();
        tensor(out, vec![shape(&input)[0], sizes.out_channels, height, width])
    }

    fn fused_attention(query: Host, key: Host, value: Host, heads: usize) -> Host {
        let inputs = [query, key, value].map(|it| contiguous(&it));
        attend(&inputs, heads).0
    }

    fn fused_window_attention(
        qkv: Host,
        padding: Host,
        rel_pos_h: Host,
        rel_pos_w: Host,
        heads: usize,
        window: usize,
    ) -> Host {
        let [qkv, padding, rel_pos_h, rel_pos_w] =
            [qkv, padding, rel_pos_h, rel_pos_w].map(|it| contiguous(&it));
        let WindowShape { height, width, channels, .. } = window_shape(&qkv, heads, window);
        let mixed = grid_attention::forward(
            numbers(&qkv),
            numbers(&padding),
            [weights(&rel_pos_h), weights(&rel_pos_w)],
            GridShape { height, width, channels, heads, window },
        );
        tensor(mixed, mixed_shape(&qkv))
    }
}

/// Shape of the mixed values: a third of the channels.
fn mixed_shape(qkv: &Host) -> Vec<usize> {
    let mut sizes = shape(qkv);
    sizes[3] /= 3;
    sizes
}

/// Mixed values and probabilities.
fn attend([query, key, value]: &[Host; 3], heads: usize) -> (Host, Host) {
    let sizes = cross_shape(query, key, heads);
    let (out, probabilities) =
        attention::cross_forward(numbers(query), numbers(key), numbers(value), sizes);
    let length = probabilities.len();
    (tensor(out, shape(query)), tensor(probabilities, vec![length]))
}

/// Mixed values and probabilities.
fn attend_in_windows(
    [qkv, rel_pos_h, rel_pos_w]: &[Host; 3],
    heads: usize,
    window: usize,
) -> (Host, Host) {
    let sizes = window_shape(qkv, heads, window);
    let (out, probabilities) =
        attention::window_forward(numbers(qkv), numbers(rel_pos_h), numbers(rel_pos_w), sizes);
    let length = probabilities.len();
    (tensor(out, mixed_shape(qkv)), tensor(probabilities, vec![length]))
}

impl<C: CheckpointStrategy> FusedOps for Autodiff<Flex, C> {
    fn fused_layer_norm(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct LayerNorm;

        impl Backward<Flex, 3> for LayerNorm {
            type State = (Host, Host, f32);

            fn backward(
                self,
                ops: Ops<Self::State, 3>,
                grads: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let gradient = contiguous(&grads.consume::<Flex>(&ops.node));
                let (input, weight, epsilon) = ops.state;
                let out = layer_norm::backward(
                    numbers(&input),
                    numbers(&weight),
                    numbers(&gradient),
                    epsilon,
                );
                let width = last(&weight);
                let values = [
                    (out.input, shape(&input)),
                    (out.weight, vec![width]),
                    (out.bias, vec![width]),
                ];
                register(grads, ops.parents.map(|parent| parent.map(|node| node.id)), values);
            }
        }

        let nodes = [input.node(), weight.node(), bias.node()];
        let [input, weight, bias] =
            [input, weight, bias].map(|it| contiguous(&it.into_primitive()));
        let out = Flex::fused_layer_norm(input.clone(), weight.clone(), bias, epsilon);
        match LayerNorm.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((input, weight, epsilon), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn fused_gelu(input: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Gelu;

        impl Backward<Flex, 1> for Gelu {
            type State = Host;

            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                grads: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let gradient = contiguous(&grads.consume::<Flex>(&ops.node));
                let input = ops.state;
                if let [Some(parent)] = ops.parents {
                    let out = gelu::backward(numbers(&input), numbers(&gradient));
                    grads.register::<Flex>(parent.id, tensor(out, shape(&input)));
                }
            }
        }

        let nodes = [input.node()];
        let input = contiguous(&input.into_primitive());
        let out = Flex::fused_gelu(input.clone());
        match Gelu.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(input, out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn fused_linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Linear;

        impl Backward<Flex, 3> for Linear {
            type State = (Host, Host);

            fn backward(
                self,
                ops: Ops<Self::State, 3>,
                grads: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let gradient = contiguous(&grads.consume::<Flex>(&ops.node));
                let (input, weight) = ops.state;
                let outputs = last(&weight);
                let [by_input, by_weight, by_bias] = ops.parents;
                let values = numbers(&gradient);
                if let Some(parent) = by_input {
                    let out = linear::input_gradient(values, numbers(&weight), outputs);
                    grads.register::<Flex>(parent.id, tensor(out, shape(&input)));
                }
                if let Some(parent) = by_weight {
                    let out = linear::weight_gradient(numbers(&input), values, outputs);
                    grads.register::<Flex>(parent.id, tensor(out, shape(&weight)));
                }
                if let Some(parent) = by_bias {
                    let out = linear::bias_gradient(values, outputs);
                    grads.register::<Flex>(parent.id, tensor(out, vec![outputs]));
                }
            }
        }

        let nodes = [input.node(), weight.node(), bias.node()];
        let [input, weight, bias] =
            [input, weight, bias].map(|it| contiguous(&it.into_primitive()));
        let out = Flex::fused_linear(input.clone(), weight.clone(), bias);
        match Linear.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((input, weight), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn fused_conv2d(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        placement: ConvPlacement,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Conv2d;

        impl Backward<Flex, 3> for Conv2d {
            type State = (Host, Host, ConvPlacement);

            fn backward(
                self,
                ops: Ops<Self::State, 3>,
                grads: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let gradient = contiguous(&grads.consume::<Flex>(&ops.node));
                let (input, weight, placement) = ops.state;
                let sizes = conv_shape(&input, &weight, placement);
                let [by_input, by_weight, by_bias] = ops.parents;
                let values = numbers(&gradient);
                if let Some(parent) = by_input {
                    let out = conv2d::input_gradient(values, numbers(&weight), sizes);
                    grads.register::<Flex>(parent.id, tensor(out, shape(&input)));
                }
                if let Some(parent) = by_weight {
                    let out = conv2d::weight_gradient(numbers(&input), values, sizes);
                    grads.register::<Flex>(parent.id, tensor(out, shape(&weight)));
                }
                if let Some(parent) = by_bias {
                    let out = conv2d::bias_gradient(values, sizes);
                    grads.register::<Flex>(parent.id, tensor(out, vec![sizes.out_channels]));
                }
            }
        }

        let nodes = [input.node(), weight.node(), bias.node()];
        let [input, weight, bias] =
            [input, weight, bias].map(|it| contiguous(&it.into_primitive()));
        let out = Flex::fused_conv2d(input.clone(), weight.clone(), bias, placement);
        match Conv2d.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((input, weight, placement), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn fused_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Attention;

        impl Backward<Flex, 3> for Attention {
            type State = ([Host; 3], Host, usize);

            fn backward(
                self,
                ops: Ops<Self::State, 3>,
                grads: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let gradient = contiguous(&grads.consume::<Flex>(&ops.node));
                let ([query, key, value], probabilities, heads) = ops.state;
                let out = attention::cross_backward(
                    numbers(&query),
                    numbers(&key),
                    numbers(&value),
                    numbers(&probabilities),
                    numbers(&gradient),
                    cross_shape(&query, &key, heads),
                );
                let values = [
                    (out.query, shape(&query)),
                    (out.key, shape(&key)),
                    (out.value, shape(&value)),
                ];
                register(grads, ops.parents.map(|parent| parent.map(|node| node.id)), values);
            }
        }

        let nodes = [query.node(), key.node(), value.node()];
        let inputs = [query, key, value].map(|it| contiguous(&it.into_primitive()));
        let (out, probabilities) = attend(&inputs, heads);
        match Attention.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((inputs, probabilities, heads), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    // With a graph there is no padding: windows tile the grid.
    fn fused_window_attention(
        qkv: FloatTensor<Self>,
        _padding: FloatTensor<Self>,
        rel_pos_h: FloatTensor<Self>,
        rel_pos_w: FloatTensor<Self>,
        heads: usize,
        window: usize,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct WindowAttention;

        impl Backward<Flex, 3> for WindowAttention {
            type State = ([Host; 3], Host, usize, usize);

            fn backward(
                self,
                ops: Ops<Self::State, 3>,
                grads: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let gradient = contiguous(&grads.consume::<Flex>(&ops.node));
                let ([qkv, rel_pos_h, rel_pos_w], probabilities, heads, window) = ops.state;
                let out = attention::window_backward(
                    numbers(&qkv),
                    numbers(&rel_pos_h),
                    numbers(&rel_pos_w),
                    numbers(&probabilities),
                    numbers(&gradient),
                    window_shape(&qkv, heads, window),
                );
                let values = [
                    (out.qkv, shape(&qkv)),
                    (out.rel_pos_h, shape(&rel_pos_h)),
                    (out.rel_pos_w, shape(&rel_pos_w)),
                ];
                register(grads, ops.parents.map(|parent| parent.map(|node| node.id)), values);
            }
        }

        let nodes = [qkv.node(), rel_pos_h.node(), rel_pos_w.node()];
        let inputs = [qkv, rel_pos_h, rel_pos_w].map(|it| contiguous(&it.into_primitive()));
        let (out, probabilities) = attend_in_windows(&inputs, heads, window);
        match WindowAttention.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((inputs, probabilities, heads, window), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }
}
