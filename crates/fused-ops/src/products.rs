//! Convolution and attention as products of matrices, for devices whose own are slow unless they are tuned: GPUs.
//!
//! Only operations of Burn are used, so autodiff knows the gradients, and they are products as well.

use burn::tensor::{FloatDType, Tensor, activation::softmax, ops::PadMode};

/// Shapes are those of [`attention_of_heads`](crate::attention_of_heads).
///
/// The scale goes to the query, which is smaller than the scores; these are made positive and normalized in `f32`.
pub(crate) fn attention(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>) -> Tensor<4> {
    let numbers = FloatDType::from(value.dtype());
    let scale = (query.dims()[3] as f64).sqrt().recip();
    let scores = (query * scale).matmul(key.swap_dims(2, 3));
    softmax(scores.cast(FloatDType::F32), 3).cast(numbers).matmul(value)
}

/// A kernel of `kh x kw` is `kh kw` products of `[out, in]` with shifted images, added up. Shapes and arguments are those
/// of [`conv2d`](crate::conv2d).
pub(crate) fn conv2d(
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: [usize; 2],
    padding: [usize; 2],
) -> Tensor<4> {
    let [batch, in_channels, height, width] = input.dims();
    let [out_channels, _, kernel_height, kernel_width] = weight.dims();
    let reach = |size: usize, kernel: usize, axis: usize| {
        let out = (size + 2 * padding[axis] - kernel) / stride[axis] + 1;
        // Every shift reads whole strides, so the last ones may reach beyond the padding.
        let beyond = (kernel - 1 + stride[axis] * out).saturating_sub(size + 2 * padding[axis]);
        (out, beyond)
    };
    let (out_height, below) = reach(height, kernel_height, 0);
    let (out_width, right) = reach(width, kernel_width, 1);
    let pads = [(padding[0], padding[0] + below), (padding[1], padding[1] + right)];
    let padded = match pads {
        [(0, 0), (0, 0)] => input,
        pads => input.pad(pads, PadMode::Constant(0.0)),
    };
    let shifted = |row: usize, column: usize| {
        let [rows, columns] = [stride[0] * out_height, stride[1] * out_width];
        let part = padded.clone().slice([
            0..batch,
            0..in_channels,
            row..row + rows,
            column..column + columns,
        ]);
        let part = match stride {
            [1, 1] => part,
            // The first of every stride, by shape alone.
            [down, across] => part
                .reshape([batch, in_channels, out_height, down, out_width, across])
                .slice([0..batch, 0..in_channels, 0..out_height, 0..1, 0..out_width, 0..1])
                .reshape([batch, in_channels, out_height, out_width]),
        };
        part.reshape([batch, in_channels, out_height * out_width])
    };
    let mut sum: Option<Tensor<3>> = None;
    for row in 0..kernel_height {
        for column in 0..kernel_width {
            let matrix = weight
                .clone()
                .slice([0..out_channels, 0..in_channels, row..row + 1, column..column + 1])
                .reshape([1, out_channels, in_channels]);
            let product = matrix.matmul(shifted(row, column));
            sum = Some(match sum {
                Some(sum) => sum + product,
                None => product,
            });
        }
    }
    let sum = sum.expect("a kernel has at least one number");
    let out = match bias {
        Some(bias) => sum + bias.reshape([1, out_channels, 1]),
        None => sum,
    };
    out.reshape([batch, out_channels, out_height, out_width])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{
        Device, Distribution, Gradients, Tensor, module,
        ops::{AttentionModuleOptions, ConvOptions},
    };

    use super::*;

    /// Shape of the input, shape of the kernel, stride, padding.
    type Convolution = ([usize; 4], [usize; 4], [usize; 2], [usize; 2]);

    /// Layers of a residual network, patches, and some that no network has.
    const CONVOLUTIONS: [Convolution; 8] = [
        ([2, 3, 9, 7], [4, 3, 3, 3], [1, 1], [1, 1]),
        ([2, 3, 9, 8], [4, 3, 3, 3], [2, 2], [1, 1]),
        ([2, 3, 8, 9], [4, 3, 3, 3], [2, 2], [1, 1]),
        ([3, 5, 6, 6], [2, 5, 1, 1], [1, 1], [0, 0]),
        ([2, 5, 7, 6], [3, 5, 1, 1], [2, 2], [0, 0]),
        ([1, 3, 8, 8], [6, 3, 4, 4], [4, 4], [0, 0]),
        ([1, 2, 11, 12], [3, 2, 2, 5], [3, 1], [0, 4]),
        ([2, 2, 5, 1], [2, 2, 5, 3], [1, 2], [2, 1]),
    ];

    fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
        let device = Device::flex().autodiff();
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device).require_grad()
    }

    fn assert_close<const D: usize>(ours: Tensor<D>, theirs: Tensor<D>, what: &str) {
        assert_eq!(ours.dims(), theirs.dims(), "{what}");
        let scale = theirs.clone().abs().max().into_scalar::<f32>().max(1.0);
        let error = (ours - theirs).abs().max().into_scalar::<f32>();
        assert!(error <= 1e-5 * scale, "{what}: {error}");
    }

    /// Compares the gradients of two results.
    macro_rules! assert_same_gradients {
        ($what:expr, $ours:expr, $theirs:expr; $($input:ident),+) => {{
            // Different weights for different numbers, so that a swapped gradient shows.
            let uniform = Distribution::Uniform(-1.0, 1.0);
            let factors = Tensor::random($ours.dims(), uniform, &Device::flex());
            let of = |out: Tensor<4>| -> Gradients { (out * factors.clone()).sum().backward() };
            let gradients = [of($ours), of($theirs)];
            $(
                let [ours, theirs] = gradients
                    .each_ref()
                    .map(|gradients| $input.grad(gradients).expect("it is tracked"));
                let what = format!("{}, gradient of {}", $what, stringify!($input));
                assert_close(ours, theirs, &what);
            )+
        }};
    }

    #[test]
    fn products_are_attention_and_have_its_gradients() {
        let (query, key) = (random([2, 3, 5, 7]), random([2, 3, 11, 7]));
        let value = random([2, 3, 11, 4]);
        let ours = attention(query.clone(), key.clone(), value.clone());
        let options = AttentionModuleOptions::default();
        let theirs =
            module::attention(query.clone(), key.clone(), value.clone(), None, None, options);
        assert_close(ours.clone(), theirs.clone(), "attention");
        assert_same_gradients!("attention", ours, theirs; query, key, value);
    }

    #[test]
    fn products_are_the_convolution_and_have_its_gradients() {
        for (input, kernel, stride, padding) in CONVOLUTIONS {
            let what = format!("{input:?} {kernel:?} {stride:?} {padding:?}");
            let (x, weight, bias) = (random(input), random(kernel), random([kernel[0]]));
            let options = ConvOptions::new(stride, padding, [1, 1], 1);
            let ours = conv2d(x.clone(), weight.clone(), Some(bias.clone()), stride, padding);
            let theirs = module::conv2d(x.clone(), weight.clone(), Some(bias.clone()), options);
            assert_close(ours.clone(), theirs.clone(), &what);
            assert_same_gradients!(&what, ours, theirs; x, weight, bias);
        }
    }
}
