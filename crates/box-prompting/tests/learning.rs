//! Whether the module learns. Weights and noise come from the device's one generator, which no other test of this
//! process draws from.
#![allow(clippy::unwrap_used)]

use box_prompting::{BoxPrompter, BoxSpec, generalized_iou};
use burn::{
    module::Module as _,
    optim::{AdamConfig, GradientsParams},
    tensor::{Device, Distribution, Tensor, TensorData},
};
use prompting::{
    PromptInput, PromptModule as _, TrainingTruth, contract::small_backbone, draw_parameters,
};

/// Squares at random places, seen as one channel of the embedding among noise. Images that it was not trained on.
#[test]
fn it_learns_to_find_a_square() {
    let (plain, batch) = (Device::flex(), 16);
    plain.seed(7);
    let backbone = small_backbone();
    let spec = BoxSpec { taps: 0, ..BoxSpec::default() };
    let mut module = BoxPrompter::from_spec(&spec, &backbone, &plain.clone().autodiff()).unwrap();
    draw_parameters(&module);
    let sample = |seed: usize| {
        let (grid, side) = (backbone.grid_size, backbone.low_res_size());
        let mut masks = vec![0.0_f32; batch * side * side];
        for image in 0..batch {
            let draw =
                |prime: usize, range: usize| (seed * 31 + image * 7 + 3) * prime % 101 % range;
            let (size, x, y) = (2 + draw(13, 5), draw(17, 9), draw(29, 9));
            for at in 0..side * side {
                let (column, row) = (at % side / 4, at / side / 4);
                let inside = (x..x + size).contains(&column) && (y..y + size).contains(&row);
                masks[image * side * side + at] = f32::from(u8::from(inside));
            }
        }
        let masks = Tensor::<4>::from_data(TensorData::new(masks, [batch, 1, side, side]), &plain);
        let cells = masks.clone().reshape([batch, grid, 4, grid, 4]).mean_dim(4).mean_dim(2);
        let shape = [batch, backbone.embed_dim, grid, grid];
        let noise = Tensor::<4>::random(shape, Distribution::Normal(0.0, 0.5), &plain);
        let signal = cells.reshape([batch, 1, grid, grid]).mul_scalar(3.0);
        let embedding = noise
            .clone()
            .slice_assign([0..batch, 0..1, 0..grid, 0..grid], noise.slice_dim(1, 0..1) + signal);
        let seeds = vec![0; batch];
        let input =
            PromptInput { image_embedding: embedding, block_features: vec![], image: None, seeds };
        (input, TrainingTruth { masks })
    };
    let overlap = |module: &BoxPrompter| {
        let (input, truth) = sample(1000);
        let boxes = module.valid().forward(input);
        let mean = generalized_iou(boxes, truth.boxes().0).mean();
        mean.into_data().try_into_vec::<f32>().unwrap()[0]
    };
    let before = overlap(&module);
    let mut optimizer = AdamConfig::new().init();
    for step in 0..150 {
        let (input, truth) = sample(step);
        let input = PromptInput { image_embedding: input.image_embedding.autodiff(), ..input };
        let own = module.propose_training(input, &truth).own_loss.unwrap();
        let gradients = GradientsParams::from_grads(own.value.backward(), &module);
        module = optimizer.step(0.005, module, gradients);
    }
    let after = overlap(&module);
    // A box that is off by one cell on each side of a 4 x 4 square has a GIoU of 16 / 36.
    assert!(before < 0.3 && after > 0.45, "GIoU {before} before, {after} after");
}
