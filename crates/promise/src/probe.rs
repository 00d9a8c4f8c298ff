//! A prompt module for tests: it looks at the image itself, leaves something to chance and gives two hypotheses, all of
//! which a module may do and none that is shipped does.

use burn::{
    module::Module,
    nn::{Linear, LinearConfig},
    tensor::{Device, Tensor, activation::sigmoid},
};
use prompting::{
    BackboneInfo, PromptInput, PromptModule, PromptOptionError, Prompts, Proposal, foreground_point,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Options of [`Probe`]: there are none.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ProbeSpec {}

/// A place by the mean color of the image, moved by chance: as a point, and as the middle of a box.
#[derive(Module, Debug)]
pub(crate) struct Probe {
    place: Linear,
    #[module(skip)]
    input_size: usize,
}

impl PromptModule for Probe {
    const NAME: &'static str = "probe";
    const SUMMARY: &'static str = "for tests";
    type Spec = ProbeSpec;

    fn from_spec(
        _: &ProbeSpec,
        backbone: &BackboneInfo,
        device: &Device,
    ) -> Result<Self, PromptOptionError> {
        let place = LinearConfig::new(3, 2).init(device);
        Ok(Self { place, input_size: backbone.input_size })
    }

    fn taps(&self) -> Vec<usize> {
        Vec::new()
    }

    fn needs_image(&self) -> bool {
        true
    }

    fn propose(&self, input: PromptInput) -> Proposal {
        let batch = input.batch_size();
        let image = input.image.expect("it was asked for");
        assert_eq!(image.dims(), [batch, 3, self.input_size, self.input_size]);
        assert_eq!(input.seeds.len(), batch);
        let pixels = self.input_size * self.input_size;
        let color = image.reshape([batch, 3, pixels]).mean_dim(2).reshape([batch, 3]);
        // 0 to 16 pixels.
        let drawn: Vec<f32> = input.seeds.iter().map(|seed| (seed % 1024) as f32 / 64.0).collect();
        let device = color.device().without_autodiff();
        let drawn = Tensor::<1>::from_data(drawn.as_slice(), &device).reshape([batch, 1]);
        let place = sigmoid(self.place.forward(color)).mul_scalar(self.input_size as f64 - 32.0);
        let at = place + 8.0 + drawn;
        let corners = Tensor::cat(vec![at.clone() - 8.0, at.clone() + 8.0], 1);
        let point = Prompts { points: Some(foreground_point(at)), ..Prompts::default() };
        let corners = Prompts { boxes: Some(corners), ..Prompts::default() };
        Proposal { hypotheses: vec![point, corners] }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, sync::Arc};

    use data_loaders::synthetic::phantom;
    use prompting::contract;
    use run_record::PanelPoint;
    use sam_backbone::PointLabel;

    use super::*;
    use crate::{
        device::DeviceKind,
        person::{Combine, UserPrompt},
        plan::Experiment,
        predict::{Prediction, predict},
        progress::Silent,
        run::{CacheFolder, Context, evaluate_run, load_run, run_experiment},
        run_folder::Existing,
    };

    const SMOKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments/smoke/apm.toml");

    #[test]
    fn the_probe_keeps_the_contract() {
        contract::check::<Probe>(&ProbeSpec {}).expect("the contract");
    }

    #[test]
    fn image_chance_and_hypotheses_go_from_training_to_a_prediction() {
        let runs = tempfile::tempdir().expect("a folder");
        let context = Context {
            device: DeviceKind::Flex,
            data_root: None,
            runs: runs.path().to_owned(),
            feature_cache: CacheFolder { root: runs.path().join("features"), limit: 1 << 30 },
            memory: None,
            existing: Existing::GoOn,
            progress: Arc::new(Silent),
            stop: Arc::default(),
        };
        let settings = ["prompt={ module = \"probe\" }", "shift={ module = \"none\" }"];
        let experiment = Experiment::load(SMOKE.as_ref(), &settings.map(str::to_owned));
        let finished = run_experiment(&experiment.expect("valid"), &context).expect("it runs");
        let (folder, record) = (&finished[0].folder, &finished[0].record);
        assert_eq!((record.parameters.prompt, record.parameters.shift), (3 * 2 + 2, 0));
        assert!(record.training.is_some());
        // With the trained weights from the disk, and what was drawn for each test image drawn again.
        let again = evaluate_run(folder, None, &[], None, &context).expect("evaluated");
        assert_eq!(again.rows, record.rows);

        let (plan, backbone, adapter) = load_run(folder, &Device::flex()).expect("finished");
        let predicted = |image: &Path, prompt: &UserPrompt| {
            let resize = plan.spec.backbone.resize;
            predict(image, &backbone, Some(adapter.as_ref()), resize, prompt).expect("an answer")
        };
        let [one, other] = ["one.png", "other.png"].map(|name| runs.path().join(name));
        phantom(7, 0, 256).0.save(&one).expect("saved");
        fs::copy(&one, &other).expect("copied");
        let nothing = UserPrompt::default();
        // One of the hypotheses: a point, or a box.
        let of = |prediction: &Prediction| match (&prediction.points[..], prediction.box_xyxy) {
            ([PanelPoint { x, y, .. }], None) => vec![*x, *y],
            ([], Some(corners)) => corners.to_vec(),
            (points, corners) => panic!("{points:?} {corners:?}"),
        };
        let first = predicted(&one, &nothing);
        assert_eq!(of(&first), of(&predicted(&one, &nothing)));
        assert_ne!(of(&first), of(&predicted(&other, &nothing)), "another name, other chance");
        // A person's point joins whichever hypothesis is the best one then.
        let points = vec![([100.0, 90.0], PointLabel::Foreground)];
        let added = UserPrompt { points, combine: Combine::Add, ..UserPrompt::default() };
        let added = predicted(&one, &added);
        assert_eq!(added.points.len() + usize::from(added.box_xyxy.is_some()), 2);
    }
}
