//! The module itself.

use burn::{
    config::Config,
    module::{Module, Param},
    tensor::{Device, Int, Tensor, TensorData},
};
use prompting::{
    BackboneInfo, FitError, FitReport, Learning, PointLabel, PromptInput, PromptModule,
    PromptOptionError, Prompts, Proposal, TrainingExamples,
};
use sam_backbone::{ImageSize, resize_bilinear};

use crate::{
    Cells, PromptKind, SelfSpec, deepest, fit_logistic,
    region::{Region, largest_region},
};

/// Configuration to create a [`SelfPrompter`] using the [init function](SelfConfig::init).
///
/// [`SelfSpec::config`] makes it from options and a backbone and checks them.
#[derive(Config, Debug)]
pub struct SelfConfig {
    /// Channels of the image embedding, `C`.
    pub embed_dim: usize,
    /// Side of the probability map: the decoder's resolution, `4H`.
    pub side: usize,
    /// Side of the network input in pixels: the frame of the prompts.
    pub input_size: usize,
    /// See [`SelfSpec::l2`].
    #[config(default = 0.01)]
    pub l2: f64,
    /// See [`SelfSpec::balanced`].
    #[config(default = true)]
    pub balanced: bool,
    /// See [`SelfSpec::threshold`].
    #[config(default = 0.5)]
    pub threshold: f64,
    /// See [`SelfSpec::prompt`].
    #[config(default = "PromptKind::PointAndBox")]
    pub prompt: PromptKind,
    /// See [`SelfSpec::background_points`].
    #[config(default = 0)]
    pub background_points: usize,
}

impl SelfConfig {
    /// Creates the module on `device`, with weights of zero: before the fit every pixel has probability 1/2.
    pub fn init(&self, device: &Device) -> SelfPrompter {
        let fixed = |size: usize| {
            Param::from_tensor(Tensor::<1>::zeros([size], device)).set_require_grad(false)
        };
        SelfPrompter { weight: fixed(self.embed_dim), bias: fixed(1), config: self.clone() }
    }
}

/// Proposes what a logistic regression of the embedding's cells finds; see [the crate](crate).
///
/// Should be created with [`SelfConfig`] or from [`SelfSpec`] with [`PromptModule::from_spec`].
#[derive(Module, Debug)]
pub struct SelfPrompter {
    /// `[C]`
    weight: Param<Tensor<1>>,
    /// `[1]`
    bias: Param<Tensor<1>>,
    #[module(skip)]
    config: SelfConfig,
}

/// The prompts of one image in input pixels.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    /// `(x, y)` of the foreground point, then of the background points.
    points: Vec<[f32; 2]>,
    /// `(x0, y0, x1, y1)`
    corners: [f32; 4],
}

impl SelfPrompter {
    /// Log odds of the object at the decoder's resolution.
    ///
    /// # Shapes
    ///
    /// - `image_embedding`: `[B, C, H, W]`
    /// - returns: `[B, 1, 4H, 4W]`, part of no graph
    pub fn logits(&self, image_embedding: Tensor<4>) -> Tensor<4> {
        let plain = |param: &Param<Tensor<1>>| param.val().without_autodiff();
        let channels = self.config.embed_dim;
        let weight = plain(&self.weight).reshape([1, channels, 1, 1]);
        let bias = plain(&self.bias).reshape([1, 1, 1, 1]);
        let scores = (image_embedding.without_autodiff() * weight).sum_dim(1) + bias;
        let side = self.config.side;
        resize_bilinear(scores, ImageSize { height: side, width: side })
    }

    /// The prompts of one image.
    fn find(&self, logits: &[f32]) -> Found {
        let SelfConfig { side, input_size, threshold, background_points, .. } = self.config;
        let scale = input_size as f32 / side as f32;
        // The center of a pixel of the map, as the index of an input pixel; SAM adds the half again.
        let place = |at: usize| [at % side, at / side].map(|at| (at as f32 + 0.5) * scale - 0.5);
        let cut = (threshold / (1.0 - threshold)).ln() as f32;
        let mut taken: Vec<bool> = logits.iter().map(|logit| *logit > cut).collect();
        let (point, corners) = match largest_region(&taken, side) {
            Some(Region { mask, edges, .. }) => {
                let point = deepest(&mask, side).expect("a region has a pixel");
                (point, edges.map(|edge| edge as f32 * scale))
            }
            None => {
                let better =
                    |best: usize, at: usize| if logits[at] > logits[best] { at } else { best };
                let whole = [0.0, 0.0, input_size as f32, input_size as f32];
                ((0..logits.len()).reduce(better).unwrap_or(0), whole)
            }
        };
        let mut points = vec![place(point)];
        taken[point] = true;
        for _ in 0..background_points {
            let free: Vec<bool> = taken.iter().map(|taken| !taken).collect();
            // Where the object is everywhere there is no background to point at; a point more on the object's own
            // place would say the opposite of the first.
            let Some(at) = deepest(&free, side) else { break };
            taken[at] = true;
            points.push(place(at));
        }
        Found { points, corners }
    }

    /// Points of all images, as many for each: who has fewer is filled up with padding.
    fn points(&self, found: &[Found], device: &Device) -> (Tensor<3>, Tensor<2, Int>) {
        let (batch, n) = (found.len(), 1 + self.config.background_points);
        let mut coords = Vec::with_capacity(2 * batch * n);
        let mut labels = Vec::with_capacity(batch * n);
        for Found { points, .. } in found {
            for place in 0..n {
                let label = match (points.get(place), place) {
                    (Some(_), 0) => PointLabel::Foreground,
                    (Some(_), _) => PointLabel::Background,
                    (None, _) => PointLabel::Padding,
                };
                coords.extend(points.get(place).copied().unwrap_or_default());
                labels.push(label.value());
            }
        }
        (
            Tensor::from_data(TensorData::new(coords, [batch, n, 2]), device),
            Tensor::from_data(TensorData::new(labels, [batch, n]), device),
        )
    }
}

impl PromptModule for SelfPrompter {
    const NAME: &'static str = "self_prompting";
    const SUMMARY: &'static str =
        "Point and box from a logistic regression of the embedding, fitted to a few images";
    type Spec = SelfSpec;

    fn from_spec(
        spec: &Self::Spec,
        backbone: &BackboneInfo,
        device: &Device,
    ) -> Result<Self, PromptOptionError> {
        Ok(spec.config(backbone)?.init(device))
    }

    fn learning(spec: &Self::Spec) -> Learning {
        Learning::Fitted { images: spec.images }
    }

    fn taps(&self) -> Vec<usize> {
        Vec::new()
    }

    fn propose(&self, input: PromptInput) -> Proposal {
        let logits = self.logits(input.image_embedding);
        let device = logits.device();
        let pixels = self.config.side * self.config.side;
        let logits = logits.into_data().try_into_vec_as::<f32>().expect("a float tensor");
        let found: Vec<Found> = logits.chunks_exact(pixels).map(|map| self.find(map)).collect();
        let corners: Vec<f32> = found.iter().flat_map(|found| found.corners).collect();
        let boxes = Tensor::from_data(TensorData::new(corners, [found.len(), 4]), &device);
        let points = self.points(&found, &device);
        let point = Prompts { points: Some(points), ..Prompts::default() };
        let around = Prompts { boxes: Some(boxes), ..Prompts::default() };
        let both = Prompts { boxes: around.boxes.clone(), ..point.clone() };
        let hypotheses = match self.config.prompt {
            PromptKind::Point => vec![point],
            PromptKind::Box => vec![around],
            PromptKind::PointAndBox => vec![both],
            PromptKind::Best => vec![both, around, point],
        };
        Proposal { hypotheses }
    }

    /// Nothing is left to chance here: which images these are is.
    fn fit(&mut self, examples: &dyn TrainingExamples, _seed: u64) -> Result<FitReport, FitError> {
        let mut cells = Cells::default();
        for place in 0..examples.count() {
            cells.add(examples.example(place).map_err(FitError::Example)?);
        }
        let (count, foreground) = (cells.len() as f64, cells.foreground());
        let SelfConfig { balanced, l2, .. } = self.config;
        let (problem, scaling) = cells.problem(balanced, l2, examples.count())?;
        let fit = fit_logistic(&problem).map_err(|reason| FitError::Diverged { reason })?;
        let (weights, bias) = scaling.undo(&fit);
        let device = self.weight.val().device();
        let fixed = |values: Vec<f64>| {
            let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
            let tensor = Tensor::<1>::from_data(values.as_slice(), &device);
            Param::from_tensor(tensor).set_require_grad(false)
        };
        self.weight = fixed(weights);
        self.bias = fixed(vec![bias]);
        let numbers = [
            ("cells", count),
            ("foreground", foreground),
            ("gradient_max", fit.gradient_max),
            ("iterations", fit.iterations as f64),
            ("objective", fit.objective),
        ];
        let numbers = numbers.into_iter().map(|(name, value)| (name.to_owned(), value));
        Ok(FitReport { numbers: numbers.collect() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use prompting::{
        contract::{self, small_backbone},
        num_trainable_params,
    };

    use super::*;

    fn prompter(spec: SelfSpec) -> SelfPrompter {
        SelfPrompter::from_spec(&spec, &small_backbone(), &Device::flex()).unwrap()
    }

    /// A map of 64 x 64 with -1 everywhere but in some rectangles `(x, y, w, h, logit)`.
    fn map(rectangles: &[(usize, usize, usize, usize, f32)]) -> Vec<f32> {
        let mut map = vec![-1.0; 64 * 64];
        for &(x, y, width, height, logit) in rectangles {
            for row in y..y + height {
                map[row * 64 + x..][..width].fill(logit);
            }
        }
        map
    }

    #[test]
    fn the_contract_holds_for_every_kind_of_prompt() {
        for prompt in
            [PromptKind::Point, PromptKind::Box, PromptKind::PointAndBox, PromptKind::Best]
        {
            let background_points = if prompt == PromptKind::Box { 0 } else { 2 };
            for balanced in [true, false] {
                let spec = SelfSpec {
                    prompt,
                    background_points,
                    balanced,
                    images: 2,
                    ..SelfSpec::default()
                };
                contract::check::<SelfPrompter>(&spec).unwrap();
            }
        }
        assert_eq!(num_trainable_params(&prompter(SelfSpec::default())), 8 + 1);
    }

    #[test]
    fn point_and_box_are_of_the_largest_region_in_input_pixels() {
        let spec = SelfSpec { background_points: 1, ..SelfSpec::default() };
        // 5 x 5 pixels, and a smaller region that is surer.
        let found = prompter(spec).find(&map(&[(20, 10, 5, 5, 0.5), (50, 50, 3, 3, 9.0)]));
        // A pixel of the map is two of the input; the middle one is column 22, row 12.
        assert_eq!(found.points[0], [44.5, 24.5]);
        assert_eq!(found.corners, [40.0, 20.0, 50.0, 30.0]);
        // The largest free square is the lower left part.
        let [x, y] = found.points[1];
        assert!(x < 64.0 && y > 64.0, "{found:?}");
    }

    #[test]
    fn an_empty_prediction_has_a_defined_prompt() {
        let found = prompter(SelfSpec::default()).find(&map(&[(7, 9, 1, 1, -0.5)]));
        assert_eq!(found.points, [[14.5, 18.5]]);
        assert_eq!(found.corners, [0.0, 0.0, 128.0, 128.0]);
    }

    #[test]
    fn where_the_object_is_everywhere_background_points_are_padding() {
        let spec =
            SelfSpec { background_points: 2, prompt: PromptKind::Point, ..SelfSpec::default() };
        let prompter = prompter(spec);
        let found = [prompter.find(&[1.0; 64 * 64]), prompter.find(&map(&[(0, 0, 9, 9, 1.0)]))];
        let (_, labels) = prompter.points(&found, &Device::flex());
        let labels = labels.into_data().try_into_vec_as::<i64>().unwrap();
        assert_eq!(labels, [1, -1, -1, 1, 0, 0]);
    }

    #[test]
    fn the_threshold_is_a_probability() {
        // Probabilities of 0.31 and 0.62.
        let map = map(&[(10, 10, 20, 20, -0.8), (12, 12, 4, 4, 0.5)]);
        let width = |threshold| {
            let found = prompter(SelfSpec { threshold, ..SelfSpec::default() }).find(&map);
            found.corners[2] - found.corners[0]
        };
        assert_eq!(width(0.5), 8.0);
        assert_eq!(width(0.3), 40.0);
        assert_eq!(width(0.9), 128.0, "nothing is above it");
    }
}
