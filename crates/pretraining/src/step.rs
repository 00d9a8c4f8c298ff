//! What one shard of a step computes: prompts, masks, loss.

use burn::tensor::{Device, Int, Tensor, TensorData};
use data_loaders::TruthMask;
use rand_chacha::ChaCha8Rng;
use sam_backbone::{Frame, ImageSize, Prompts, ResizeMode, Sam, SamConfig, input_tensor};

use crate::{
    batch::{self, PromptedScene},
    loss::round_loss,
    prompt_sampling::{self, Click, ObjectPrompt, PromptKind},
    spec::StageSpec,
};

/// Sums over the objects of a step.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sums {
    /// Loss of the shards.
    pub loss: f64,
    /// IoU of the best of three masks after the first round.
    pub first_iou: f64,
    /// The same after the last.
    pub last_iou: f64,
}

/// What all shards of a step have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step<'a> {
    /// Sizes with the image size of the stage.
    pub config: &'a SamConfig,
    /// Prompt rounds.
    pub rounds: usize,
    /// Stage of the step.
    pub stage: StageSpec,
    /// How far the masks have found their roles, from 0 to 1.
    pub progress: f64,
    /// Where the graph is kept.
    pub device: &'a Device,
}

impl Step<'_> {
    /// Loss of all rounds over some scenes, the mean over scenes, and sums over their objects.
    pub fn loss(
        &self,
        sam: &Sam,
        scenes: &[PromptedScene],
        rng: &mut ChaCha8Rng,
    ) -> (Tensor<1>, Sums) {
        let images = scenes.iter().map(|scene| {
            let (width, height) = scene.image.dimensions();
            let size = ImageSize { height: height as usize, width: width as usize };
            let frame = Frame::new(size, ResizeMode::Plain, self.config.image_encoder.image_size);
            input_tensor(&scene.image, &frame, self.device)
        });
        let embeddings = sam.encode(Tensor::cat(images.collect(), 0), &[]).image_embedding;
        let image_pe = sam.prompt_encoder.dense_pe();
        let mut sums = Sums::default();
        let losses = scenes.iter().enumerate().map(|(index, scene)| {
            let embedding = embeddings.clone().slice_dim(0, index..index + 1);
            self.scene_loss(sam, embedding, image_pe.clone(), &scene.objects, rng, &mut sums)
        });
        let loss = Tensor::cat(losses.collect(), 0).mean();
        (loss, sums)
    }

    /// Loss of all rounds over the objects of a scene.
    ///
    /// # Shapes
    ///
    /// - `embedding`, `image_pe`: `[1, C, H, W]`
    fn scene_loss(
        &self,
        sam: &Sam,
        embedding: Tensor<4>,
        image_pe: Tensor<4>,
        objects: &[TruthMask],
        rng: &mut ChaCha8Rng,
        sums: &mut Sums,
    ) -> Tensor<1> {
        let side = self.config.low_res_size();
        let [_, channels, height, width] = embedding.dims();
        let embedding = embedding.expand([objects.len(), channels, height, width]);
        let target: Vec<f32> =
            objects.iter().flat_map(|mask| batch::area_target(mask, side)).collect();
        let target = Tensor::from_data(
            TensorData::new(target, [objects.len(), 1, side, side]),
            &self.device.clone().without_autodiff(),
        );

        let kind = PromptKind::random(self.stage.box_share, rng);
        let box_jitter = self.stage.box_jitter;
        let prompts: Vec<ObjectPrompt> = objects
            .iter()
            .map(|mask| prompt_sampling::random_prompt(mask, kind, box_jitter, rng))
            .collect();
        let mut corrections: Vec<Vec<Click>> = vec![Vec::new(); objects.len()];
        let mut mask_input: Option<Tensor<4>> = None;
        let mut total: Option<Tensor<1>> = None;
        for round in 0..self.rounds {
            let tensors = prompt_tensors(&prompts, &corrections, mask_input.take(), self.device);
            let embedded = sam.prompt_encoder.forward(tensors, objects.len());
            let output =
                sam.mask_decoder.forward_all(embedding.clone(), image_pe.clone(), embedded, None);
            let logits = output.low_res_logits.clone().without_autodiff();
            let predicted_iou = values(output.iou_predictions.clone().without_autodiff());
            let ambiguous = round == 0 && kind.is_ambiguous();
            let result = round_loss(output, target.clone(), ambiguous, self.progress);
            total = Some(match total {
                Some(sum) => sum + result.loss,
                None => result.loss,
            });

            let true_iou = values(result.true_iou.without_autodiff()); // [B * 3]
            let best: f64 = true_iou.chunks_exact(3).map(|row| f64::from(row[argmax(row)])).sum();
            if round == 0 {
                sums.first_iou += best;
            }
            if round + 1 == self.rounds {
                sums.last_iou += best;
                break;
            }
            // As a user would: the mask that the IoU head ranks first goes back in. The head has
            // four outputs, the first of which is the single mask's.
            let chosen = predicted_iou.chunks_exact(4).enumerate().map(|(index, row)| {
                let mask = 1 + argmax(&row[1..]);
                logits.clone().slice([index..index + 1, mask..mask + 1])
            });
            let chosen = Tensor::cat(chosen.collect(), 0); // [B, 1, h, w]
            let predicted: Vec<bool> =
                values(chosen.clone()).into_iter().map(|logit| logit > 0.0).collect();
            for ((mask, predicted), clicks) in
                objects.iter().zip(predicted.chunks_exact(side * side)).zip(&mut corrections)
            {
                clicks.push(prompt_sampling::error_click(mask, predicted, side, rng));
            }
            mask_input = Some(chosen);
        }
        total.expect("at least one round, checked by the spec")
    }
}

/// Prompts of one kind as tensors.
fn prompt_tensors(
    prompts: &[ObjectPrompt],
    corrections: &[Vec<Click>],
    mask_input: Option<Tensor<4>>,
    device: &Device,
) -> Prompts {
    let plain = device.clone().without_autodiff();
    let clicks: Vec<Click> = prompts
        .iter()
        .zip(corrections)
        .flat_map(|(prompt, corrections)| {
            let points = match prompt {
                ObjectPrompt::Points(points) => points.as_slice(),
                ObjectPrompt::Box(_) => &[],
            };
            points.iter().chain(corrections).copied()
        })
        .collect();
    let points = (!clicks.is_empty()).then(|| {
        let coords: Vec<f32> = clicks.iter().flat_map(|click| click.at).collect();
        let labels: Vec<i32> = clicks.iter().map(|click| click.label.value()).collect();
        let (batch, count) = (prompts.len(), clicks.len() / prompts.len());
        (
            Tensor::from_data(TensorData::new(coords, [batch, count, 2]), &plain),
            Tensor::<2, Int>::from_data(TensorData::new(labels, [batch, count]), &plain),
        )
    });
    let boxes: Vec<f32> = prompts
        .iter()
        .filter_map(|prompt| match prompt {
            ObjectPrompt::Box(corners) => Some(*corners),
            ObjectPrompt::Points(_) => None,
        })
        .flatten()
        .collect();
    let boxes = (!boxes.is_empty())
        .then(|| Tensor::from_data(TensorData::new(boxes, [prompts.len(), 4]), &plain));
    Prompts { points, boxes, mask_input }
}

fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (index, &value) in row.iter().enumerate() {
        if value > row[best] {
            best = index;
        }
    }
    best
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec_as::<f32>().expect("a float tensor")
}

/// The number in a tensor of one.
pub(crate) fn scalar(tensor: &Tensor<1>) -> f64 {
    values(tensor.clone().without_autodiff()).first().map_or(f64::NAN, |&value| f64::from(value))
}
