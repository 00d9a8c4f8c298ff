//! A prompt in rounds: SAM answers, somebody looks at the mask and adds a point or a box, and SAM answers again.

use burn::tensor::Tensor;
use prompting::{Prompts, Proposal};
use sam_backbone::{FrozenSam, MaskDecoderOutput};

use crate::{
    evaluate::host_prompts,
    hypotheses::{decode_best, highest},
    model::USED_MASK,
    prompt_source::HostPrompt,
    words::{UnknownWordError, Word},
};

/// The mask input of a further round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MaskInput {
    /// The low-resolution logits of the round before. SAM was trained with them, and so was `micro`.
    #[default]
    Previous,
    /// What it was in the first round: that of the prompt module, or none.
    None,
}

impl Word for MaskInput {
    const WHAT: &'static str = "mask input";
    const ALL: &'static [(&'static str, Self)] =
        &[("previous", Self::Previous), ("none", Self::None)];
}

impl std::str::FromStr for MaskInput {
    type Err = UnknownWordError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::of(name)
    }
}

/// Which of SAM's three masks is the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MaskChoice {
    /// The one that runs are trained for and scored with, [`USED_MASK`].
    #[default]
    Used,
    /// The one with the highest predicted IoU, as SAM's own predictor does; of equals the first.
    Best,
}

impl MaskChoice {
    /// What a prediction takes: a run's mask, or without a run what SAM's own predictor takes.
    pub(crate) fn for_prediction(is_run: bool) -> Self {
        if is_run { Self::Used } else { Self::Best }
    }

    /// Which one, by the IoU that SAM predicts for each.
    pub(crate) fn among(self, iou: &[f32]) -> usize {
        match self {
            Self::Used => USED_MASK,
            Self::Best => highest(iou),
        }
    }
}

impl Word for MaskChoice {
    const WHAT: &'static str = "choice of the mask";
    const ALL: &'static [(&'static str, Self)] = &[("used", Self::Used), ("best", Self::Best)];
}

impl std::str::FromStr for MaskChoice {
    type Err = UnknownWordError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::of(name)
    }
}

/// What SAM says to a prompt for one image.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub output: MaskDecoderOutput,
    /// Which of its masks is the answer.
    pub used_mask: usize,
    /// Predicted IoU of that mask.
    pub iou_prediction: f32,
}

impl Reply {
    /// `[1, 1, h, w]`
    pub fn logits(&self) -> Tensor<4> {
        self.output.low_res_logits.clone().slice_dim(1, self.used_mask..self.used_mask + 1)
    }
}

/// Rounds about one image.
pub(crate) struct Dialogue<'a> {
    sam: &'a FrozenSam,
    image_embedding: Tensor<4>,
    token_shift: Option<Tensor<3>>,
    mask_input: MaskInput,
    choice: MaskChoice,
    /// Everything that was said so far.
    prompts: Prompts,
    previous: Option<Tensor<4>>,
}

impl<'a> Dialogue<'a> {
    /// - `image_embedding`: `[1, C, H, W]`
    /// - `token_shift`: `[1, T, C]`
    pub fn new(
        sam: &'a FrozenSam,
        image_embedding: Tensor<4>,
        token_shift: Option<Tensor<3>>,
        mask_input: MaskInput,
        choice: MaskChoice,
    ) -> Self {
        let (prompts, previous) = (Prompts::default(), None);
        Self { sam, image_embedding, token_shift, mask_input, choice, prompts, previous }
    }

    /// The first round. Of several hypotheses the one that SAM thinks best of stays for the rounds to come.
    pub fn begin(&mut self, proposal: Proposal) -> Reply {
        let shift = self.token_shift.as_ref();
        let (prompts, output) =
            decode_best(self.sam, &self.image_embedding, proposal, shift, self.choice);
        self.prompts = prompts;
        self.keep(output)
    }

    /// A further round: what was said so far, and `more`. In the first round there is nothing but `more`.
    pub fn add(&mut self, more: &HostPrompt) -> Reply {
        self.prompts = with(self.prompts.clone(), more, self.sam);
        if let (MaskInput::Previous, Some(previous)) = (self.mask_input, self.previous.take()) {
            self.prompts.mask_input = Some(previous);
        }
        let (embedding, shift) = (self.image_embedding.clone(), self.token_shift.clone());
        let output = self.sam.decode(embedding, self.prompts.clone(), shift, true);
        self.keep(output)
    }

    /// Everything that was said.
    pub fn into_prompts(self) -> Prompts {
        self.prompts
    }

    fn keep(&mut self, output: MaskDecoderOutput) -> Reply {
        let iou = output.iou_predictions.clone().into_data();
        let iou = iou.try_into_vec_as::<f32>().expect("a float tensor");
        let used_mask = self.choice.among(&iou);
        let reply = Reply { output, used_mask, iou_prediction: iou[used_mask] };
        self.previous = Some(reply.logits());
        reply
    }
}

/// Prompts of one image with further points behind their own, and another box if there is one: SAM takes one box.
pub(crate) fn with(prompts: Prompts, more: &HostPrompt, sam: &FrozenSam) -> Prompts {
    let Prompts { points: new_points, boxes: new_boxes, .. } = host_prompts(more, sam);
    let Prompts { points, boxes, mask_input } = prompts;
    let points = match (points, new_points) {
        (Some((coords, labels)), Some((new_coords, new_labels))) => Some((
            Tensor::cat(vec![coords, new_coords], 1),
            Tensor::cat(vec![labels, new_labels], 1),
        )),
        (points, new_points) => points.or(new_points),
    };
    Prompts { points, boxes: new_boxes.or(boxes), mask_input }
}

/// The same for every hypothesis of a module. One that proposes nothing leaves `more` alone.
pub(crate) fn with_proposal(proposal: Proposal, more: &HostPrompt, sam: &FrozenSam) -> Proposal {
    let mut hypotheses = proposal.hypotheses;
    if hypotheses.is_empty() {
        hypotheses.push(Prompts::default());
    }
    let hypotheses = hypotheses.into_iter().map(|hypothesis| with(hypothesis, more, sam));
    Proposal { hypotheses: hypotheses.collect() }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use sam_backbone::{PointLabel, Variant};

    use super::*;
    use crate::backbone::Backbone;

    fn micro() -> (Backbone, Tensor<4>) {
        let device = Device::flex();
        let backbone = Backbone::load(Variant::Micro, None, &device).expect("it is embedded");
        let channels = backbone.sam.config().image_encoder.embed_dim;
        let cells = 32 * 32 * channels;
        // A pattern that no two cells share.
        let values: Vec<f32> = (0..cells).map(|at| ((at * 37 % 101) as f32 / 50.0) - 1.0).collect();
        let embedding = Tensor::<1>::from_data(values.as_slice(), &device);
        (backbone, embedding.reshape([1, channels, 32, 32]))
    }

    fn point(at: [f32; 2], label: PointLabel) -> HostPrompt {
        HostPrompt { points: vec![(at, label)], box_xyxy: None }
    }

    fn values(tensor: Tensor<4>) -> Vec<f32> {
        tensor.into_data().try_into_vec_as::<f32>().expect("a float tensor")
    }

    #[test]
    fn a_second_round_is_what_sam_says_to_both_points_and_the_logits_of_the_first() {
        let (backbone, embedding) = micro();
        let sam = &backbone.sam;
        let (first, second) = ([40.0, 60.0], [90.0, 20.0]);
        let both = HostPrompt {
            points: vec![(first, PointLabel::Foreground), (second, PointLabel::Background)],
            box_xyxy: None,
        };
        let decode = |prompts: Prompts| sam.decode(embedding.clone(), prompts, None, true);
        let alone = decode(host_prompts(&point(first, PointLabel::Foreground), sam));
        for mask_input in [MaskInput::Previous, MaskInput::None] {
            let mut dialogue =
                Dialogue::new(sam, embedding.clone(), None, mask_input, MaskChoice::Used);
            let one = dialogue.add(&point(first, PointLabel::Foreground));
            assert_eq!(values(one.output.low_res_logits), values(alone.low_res_logits.clone()));
            let two = dialogue.add(&point(second, PointLabel::Background));
            let mut prompts = host_prompts(&both, sam);
            if mask_input == MaskInput::Previous {
                prompts.mask_input =
                    Some(alone.low_res_logits.clone().slice_dim(1, USED_MASK..USED_MASK + 1));
            }
            let expected = decode(prompts).low_res_logits;
            assert_eq!(values(two.output.low_res_logits), values(expected), "{mask_input:?}");
        }
    }

    #[test]
    fn a_persons_prompt_stays_where_a_module_proposes_nothing() {
        let (backbone, _) = micro();
        let given = point([3.0, 4.0], PointLabel::Foreground);
        let nothing = Proposal { hypotheses: Vec::new() };
        let [alone] = &with_proposal(nothing, &given, &backbone.sam).hypotheses[..] else {
            panic!("one hypothesis")
        };
        let (coords, _) = alone.points.clone().expect("points");
        assert_eq!(coords.into_data().try_into_vec_as::<f32>().expect("floats"), [3.0, 4.0]);
    }

    #[test]
    fn a_persons_box_takes_the_place_of_the_modules_and_points_stand_behind_each_other() {
        let (backbone, _) = micro();
        let sam = &backbone.sam;
        let corners = |x0: f32| HostPrompt {
            points: vec![([x0, 1.0], PointLabel::Foreground)],
            box_xyxy: Some([x0, 0.0, 9.0, 9.0]),
        };
        let prompts = with(host_prompts(&corners(2.0), sam), &corners(3.0), sam);
        let (coords, labels) = prompts.points.expect("points");
        assert_eq!((coords.dims(), labels.dims()), ([1, 2, 2], [1, 2]));
        let coords = coords.into_data().try_into_vec_as::<f32>().expect("a float tensor");
        assert_eq!(coords, [2.0, 1.0, 3.0, 1.0]);
        let boxes = prompts.boxes.expect("a box").into_data().try_into_vec_as::<f32>();
        assert_eq!(boxes.expect("a float tensor"), [3.0, 0.0, 9.0, 9.0]);
    }

    #[test]
    fn the_best_mask_is_the_one_with_the_highest_predicted_iou() {
        let (backbone, embedding) = micro();
        let best = MaskChoice::Best;
        let mut dialogue = Dialogue::new(&backbone.sam, embedding, None, MaskInput::None, best);
        let reply = dialogue.add(&point([60.0, 60.0], PointLabel::Foreground));
        let iou = reply.output.iou_predictions.into_data().try_into_vec_as::<f32>();
        for iou in iou.expect("a float tensor") {
            assert!(iou <= reply.iou_prediction);
        }
    }
}
