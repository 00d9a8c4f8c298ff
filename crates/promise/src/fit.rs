//! Prompt modules that learn at once, from a few training images.

use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use prompting::{Example, ExampleError, PromptModule, TrainingExamples, TrainingTruth};
use run_record::FitSummary;

use crate::{
    features::EncodedSet, model::Promise, plan::RunPlan, prompt_source::prompt_seed,
    train::TrainError,
};

/// A fit: what a record says of it, and how long it took.
pub(crate) struct Fit {
    pub summary: FitSummary,
    /// Seconds, reading the features included.
    pub secs: f64,
}

/// Fits the prompt module of a model. The same images and the same seed give the same bits, so an interrupted run
/// simply does it again.
pub(crate) fn fit<M: PromptModule>(
    model: &mut Promise<M>,
    plan: &RunPlan,
    set: &EncodedSet,
    device: &Device,
) -> Result<Fit, TrainError> {
    let start = Instant::now();
    let taps = model.needed_taps();
    let needs_image = model.prompts_need_image();
    let device = device.clone().without_autodiff();
    let examples = EncodedExamples { set, taps, needs_image, seed: plan.seed, device };
    let report = model.fit(&examples, plan.seed)?;
    let name = |case: &crate::features::EncodedCase| format!("{}/{}", case.data, case.id);
    let cases = set.cases.iter().map(name).collect();
    let summary = FitSummary { cases, numbers: report.numbers };
    Ok(Fit { summary, secs: start.elapsed().as_secs_f64() })
}

/// The images of an encoded set as examples, read when they are asked for.
struct EncodedExamples<'a> {
    set: &'a EncodedSet,
    taps: Vec<usize>,
    needs_image: bool,
    seed: u64,
    device: Device,
}

impl TrainingExamples for EncodedExamples<'_> {
    fn count(&self) -> usize {
        self.set.cases.len()
    }

    fn example(&self, place: usize) -> Result<Example, ExampleError> {
        let case = self.set.cases.get(place).ok_or("there are fewer examples")?;
        let seed = prompt_seed(self.seed, 0, &case.data, &case.id);
        let input =
            self.set.prompt_input(case, &self.taps, self.needs_image, seed, &self.device)?;
        let side = self.set.side();
        let mask: Vec<f32> =
            case.target.mask().values.iter().map(|&on| f32::from(u8::from(on))).collect();
        let masks = Tensor::from_data(TensorData::new(mask, [1, 1, side, side]), &self.device);
        Ok(Example { input, truth: TrainingTruth { masks } })
    }
}
