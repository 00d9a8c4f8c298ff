//! The whole SAM on a device that keeps a graph: the same values as without, and true gradients.

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::{Device, Int, Tensor, TensorData},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sam_backbone::{Prompts, Sam};

use crate::support::{config, loaded, values};

const SIDE: usize = 128;
/// What rounding leaves of a difference of two sums of some 10,000 `f32` products, divided by the step.
const NOISE: f64 = 0.02;

/// What two points and a mask prompt do not use: the corners of a box, and that there is no mask.
const UNUSED: [&str; 3] = [
    "prompt_encoder.point_embeddings.2.weight",
    "prompt_encoder.point_embeddings.3.weight",
    "prompt_encoder.no_mask_embed.weight",
];

fn random<const D: usize>(seed: u64, shape: [usize; D], device: &Device) -> Tensor<D> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> =
        (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// A scalar that every part of SAM has a share in: two points and a mask prompt, all masks, all IoU.
fn scalar(sam: &Sam, device: &Device) -> Tensor<1> {
    let plain = device.clone().without_autodiff();
    let embedding = sam.encode(random(1, [2, 3, SIDE, SIDE], &plain), &[]).image_embedding;
    let [_, _, grid, _] = embedding.dims();
    let coords = Tensor::<3>::from_floats(
        [[[10.0, 20.0], [40.0, 33.0]], [[5.0, 60.0], [31.0, 12.0]]],
        &plain,
    );
    let labels = Tensor::<2, Int>::from_ints([[1, 0], [1, 1]], &plain);
    let prompts = Prompts {
        points: Some((coords, labels)),
        boxes: None,
        mask_input: Some(random(2, [2, 1, 4 * grid, 4 * grid], &plain)),
    };
    let embedded = sam.prompt_encoder.forward(prompts, 2);
    let image_pe = sam.prompt_encoder.dense_pe();
    let output = sam.mask_decoder.forward_all(embedding, image_pe, embedded, None);
    let weights = random(3, output.low_res_logits.dims(), &plain);
    let iou_weights = random(4, output.iou_predictions.dims(), &plain);
    (output.low_res_logits * weights).sum() + (output.iou_predictions * iou_weights).sum() * 10.0
}

fn value(tensor: Tensor<1>) -> f64 {
    f64::from(values(tensor.without_autodiff())[0])
}

#[test]
fn keeping_a_graph_changes_no_value() {
    let device = Device::flex();
    let (plain, _) = loaded(&device);
    let tracked_device = device.clone().autodiff();
    let (tracked, _) = loaded(&tracked_device);
    let (expected, ours) =
        (value(scalar(&plain, &device)), value(scalar(&tracked, &tracked_device)));
    // A sum of thousands of products of order one.
    assert!((expected - ours).abs() < 1e-3 * expected.abs().max(1.0), "{expected} and {ours}");
}

/// A direction for the parameter number `index`, nothing for all others.
struct Move {
    index: usize,
    length: f32,
    next: usize,
}

impl ModuleMapper for Move {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let index = self.next;
        self.next += 1;
        if index != self.index {
            return parameter;
        }
        let (id, tensor, mapper) = parameter.consume();
        let step = random(index as u64, tensor.dims(), &tensor.device()) * self.length;
        Param::from_mapped_value(id, tensor + step, mapper)
    }
}

/// The derivative along the same direction, by the gradients; and the direction's parameter by name.
struct Slope<'a> {
    gradients: &'a GradientsParams,
    /// Name, slope, and root of the summed squares of its terms: what the slope of a random direction
    /// is likely to be. Errors of differences (ReLUs that switch, rounding) are small against that.
    slopes: Vec<(String, Option<(f64, f64)>)>,
    path: Vec<String>,
}

impl ModuleVisitor for Slope<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let index = self.slopes.len() as u64;
        let slope = self.gradients.get::<D>(parameter.id).map(|gradient| {
            let direction = random(index, gradient.dims(), &Device::flex());
            let products = values(gradient.without_autodiff() * direction);
            let products = products.into_iter().map(f64::from);
            (products.clone().sum(), products.map(|term| term * term).sum::<f64>().sqrt())
        });
        self.slopes.push((self.path.join("."), slope));
    }
}

#[test]
fn gradients_of_every_parameter_match_finite_differences() {
    // Fresh weights: those of the fixture are large, and the function bends within a step.
    let device = Device::flex().autodiff();
    device.seed(5);
    let sam = config().init(&device);
    let gradients = GradientsParams::from_grads(scalar(&sam, &device).backward(), &sam);
    let mut slope = Slope { gradients: &gradients, slopes: Vec::new(), path: Vec::new() };
    sam.visit(&mut slope);
    let plain_device = Device::flex();
    let plain = sam.valid();
    let at = |index, length| {
        let moved = plain.clone().map(&mut Move { index, length, next: 0 });
        value(scalar(&moved, &plain_device))
    };
    let mut wrong = Vec::new();
    for (index, (name, slope)) in slope.slopes.iter().enumerate() {
        if name.ends_with("positional_encoding_gaussian_matrix") {
            // A buffer in PyTorch, not trained.
            assert!(slope.is_none(), "{name} has a gradient");
            continue;
        }
        let difference_over =
            |length: f32| (at(index, length) - at(index, -length)) / (2.0 * f64::from(length));
        let difference = difference_over(2e-3);
        if UNUSED.contains(&name.as_str()) {
            assert!(slope.is_none() && difference == 0.0, "{name}: {slope:?}, {difference}");
            continue;
        }
        let Some((slope, spread)) = *slope else { panic!("{name} has no gradient") };
        let is_wrong = |difference: f64| {
            (difference - slope).abs() > 0.03 * slope.abs() + 0.1 * spread + NOISE
        };
        // A ReLU that switches within a step bends the function there; a wrong gradient is wrong over
        // steps of any length.
        if is_wrong(difference) && is_wrong(difference_over(1e-3)) {
            wrong.push(format!("{name}: gradient {slope} (+- {spread}), difference {difference}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), slope.slopes.len(), wrong.join("\n"));
}
