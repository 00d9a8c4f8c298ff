//! Prompts of a person, answered at once: an image is encoded a single time, for all methods that are compared, and every
//! prompt after that costs a decoder.
//!
//! Encoding and answering compute in thread pools of their own: work that shares a pool of rayon waits for each other
//! inside operations, and whoever clicks shall not wait for the next image of somebody else.

use std::{ops::ControlFlow, time::Instant};

use burn::tensor::{Device, Tensor};
use image::RgbImage;
use prompting::{PromptInput, Proposal};
use rayon::{ThreadPool, ThreadPoolBuilder};
use run_record::{PanelPoint, RunFolder};
use sam_backbone::{
    Frame, MaskDecoderOutput, PointLabel, ResizeMode, input_tensor, masks_in_image,
};

use crate::{
    backbone::Backbone,
    dialogue::{Dialogue, MaskChoice, MaskInput},
    evaluate::prompts_in_image,
    frame::frame_of,
    model::Adapter,
    no_prompt::NO_PROMPT,
    person::{Combine, ImagePrompt, OutsideError, UserPrompt},
    predict::answer,
    prompt_source::prompt_seed,
    run::{RunError, load_run_beside},
    spec::ShiftModule,
};

/// Longest side of a [`SoftMap`] that says where a mask is unsure, in cells.
const CONFIDENCE_SIDE: u32 = 256;
/// Longest side of a preview of a mask, in cells.
const PREVIEW_SIDE: u32 = 96;

/// How far an encoding steps back on Linux, of 19: a thread of the usual niceness gets nine times its share of a core.
#[cfg(target_os = "linux")]
const ENCODING_NICENESS: i32 = 10;

/// Methods side by side, ready to answer.
pub struct Interactive {
    device: Device,
    encoders: Vec<Encoder>,
    methods: Vec<Method>,
    encoding: ThreadPool,
    answering: ThreadPool,
}

/// An image encoder and how images are brought to its square. Methods that share both share what it gives.
struct Encoder {
    backbone: Backbone,
    resize: ResizeMode,
    /// Blocks that a prompt module of some method reads.
    taps: Vec<usize>,
    /// Whether the prompt module of some method reads the image itself.
    needs_image: bool,
}

/// One of the methods.
pub struct Method {
    name: String,
    encoder: usize,
    adapter: Option<Box<dyn Adapter>>,
    proposes: bool,
    shifts: bool,
    seed: u64,
    folder: Option<RunFolder>,
}

impl Method {
    /// Experiment and folder of the run, e.g. `quickstart/apm-seed1`, or `frozen SAM (micro)`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it prompts itself.
    pub fn proposes(&self) -> bool {
        self.proposes
    }

    /// Whether it shifts the mask tokens.
    pub fn shifts(&self) -> bool {
        self.shifts
    }

    /// Its run; nothing for plain SAM.
    pub fn folder(&self) -> Option<&RunFolder> {
        self.folder.as_ref()
    }
}

/// An image that is encoded for all methods.
pub struct EncodedImage {
    width: u32,
    height: u32,
    data: String,
    id: String,
    /// One for each encoder.
    features: Vec<Features>,
}

struct Features {
    frame: Frame,
    /// `[1, C, H, W]`
    embedding: Tensor<4>,
    /// By the taps of the encoder, each `[1, width, H, W]`.
    blocks: Vec<Tensor<4>>,
    /// `[1, 3, S, S]`
    input: Option<Tensor<4>>,
}

impl EncodedImage {
    /// Bytes that its tensors take.
    pub fn bytes(&self) -> u64 {
        let size = |tensor: &Tensor<4>| 4 * tensor.dims().iter().product::<usize>() as u64;
        let of = |features: &Features| {
            let Features { embedding, blocks, input, .. } = features;
            size(embedding) + blocks.iter().map(size).sum::<u64>() + input.as_ref().map_or(0, size)
        };
        self.features.iter().map(of).sum()
    }
}

/// Which image it is, for whatever a prompt module draws: it draws the same as in an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The data set; empty for an image of one's own.
    pub data: &'a str,
    /// The case, or the stem of the file.
    pub id: &'a str,
}

/// What is asked of a method.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Question {
    /// `(x, y)` in pixels of the image, and what each point says.
    pub points: Vec<([f32; 2], PointLabel)>,
    /// `(x0, y0, x1, y1)` in pixels of the image.
    pub box_xyxy: Option<[f32; 4]>,
    /// Whether the method's own proposal is used too: the points above join it, a box above takes the place of its box.
    pub automatic: bool,
    /// Which of the three masks is wanted; the one of the method if none is named.
    pub mask: Option<usize>,
}

impl From<&ImagePrompt> for Question {
    fn from(prompt: &ImagePrompt) -> Self {
        let points = prompt.points.iter().map(|point| ([point.x, point.y], point.label.into()));
        let (points, box_xyxy, automatic) = (points.collect(), prompt.box_xyxy, prompt.automatic);
        Self { points, box_xyxy, automatic, mask: None }
    }
}

impl Question {
    fn user_prompt(&self) -> UserPrompt {
        UserPrompt {
            points: self.points.clone(),
            box_xyxy: self.box_xyxy,
            combine: if self.automatic { Combine::Add } else { Combine::Replace },
        }
    }
}

/// What a method answers.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Width of the image.
    pub width: u32,
    /// Height of the image.
    pub height: u32,
    /// The wanted mask at the image's size, row by row.
    pub mask: Vec<bool>,
    /// Which of the masks it is.
    pub shown: usize,
    /// IoU that SAM predicts for each of its masks.
    pub iou_predictions: Vec<f32>,
    /// Small pictures of all masks.
    pub previews: Vec<SoftMap>,
    /// Where the wanted mask is sure and where not.
    pub probabilities: SoftMap,
    /// Points that were used, in image pixels.
    pub points: Vec<PanelPoint>,
    /// Box that was used, in image pixels.
    pub box_xyxy: Option<[f32; 4]>,
    /// Whether a rough mask was part of the prompt, which has no marker.
    pub mask_input: bool,
    /// Seconds from the prompt to the mask.
    pub secs: f64,
}

/// Probabilities over the whole image, 0 to 255, in fewer cells than it has pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoftMap {
    /// Cells in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Row by row.
    pub values: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum QuestionError {
    /// No method has this number.
    #[error("there is no method {method}, there are {methods}")]
    NoMethod {
        /// The number.
        method: usize,
        /// How many there are.
        methods: usize,
    },
    /// No mask has this number.
    #[error("there is no mask {mask}, there are {masks}")]
    NoMask {
        /// The number.
        mask: usize,
        /// How many there are.
        masks: usize,
    },
    /// Nobody prompts.
    #[error("`{method}` has no prompt: click on the image or drag a box")]
    NoPrompt {
        /// The method.
        method: String,
    },
    /// A method without a prompt module is to prompt itself.
    #[error("`{method}` has no prompt module, so it has no automatic prompts")]
    NoModule {
        /// The method.
        method: String,
    },
    /// A point or a corner lies outside of the image, or is no number.
    #[error(transparent)]
    Outside(#[from] OutsideError),
    /// A box that encloses nothing.
    #[error("the first corner of a box must lie left of and above the second")]
    EmptyBox,
}

/// Why methods could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum InteractiveError {
    /// A run cannot be loaded.
    #[error("cannot load {}", folder.root().display())]
    Run {
        /// The run.
        folder: RunFolder,
        /// Why.
        source: Box<RunError>,
    },
    /// Threads cannot be had.
    #[error("cannot start threads")]
    Threads(#[source] rayon::ThreadPoolBuildError),
}

impl Interactive {
    /// No method yet; all that come compute on `device`.
    ///
    /// # Errors
    ///
    /// [`InteractiveError::Threads`]
    pub fn new(device: Device) -> Result<Self, InteractiveError> {
        let threads = rayon::current_num_threads();
        let pool = |name: &'static str| {
            ThreadPoolBuilder::new()
                .num_threads(threads)
                .thread_name(move |index| format!("{name}-{index}"))
        };
        let built = |pool: ThreadPoolBuilder| pool.build().map_err(InteractiveError::Threads);
        // Somebody waits for the answer to a click at this moment; the next image may come a little later.
        let encoding = built(pool("encode").start_handler(|_| step_back()))?;
        let answering = built(pool("answer"))?;
        Ok(Self { device, encoders: Vec::new(), methods: Vec::new(), encoding, answering })
    }

    /// Adds a finished run.
    ///
    /// # Errors
    ///
    /// [`InteractiveError::Run`]
    pub fn add_run(&mut self, folder: RunFolder) -> Result<(), InteractiveError> {
        let known: Vec<Backbone> =
            self.encoders.iter().map(|encoder| encoder.backbone.clone()).collect();
        let loaded = load_run_beside(&folder, &self.device, &known);
        let (plan, backbone, adapter) = loaded.map_err(|source| InteractiveError::Run {
            folder: folder.clone(),
            source: Box::new(source),
        })?;
        let encoder = self.encoder(backbone, plan.spec.backbone.resize);
        let group = &mut self.encoders[encoder];
        for tap in adapter.taps() {
            if !group.taps.contains(&tap) {
                group.taps.push(tap);
            }
        }
        group.needs_image |= adapter.needs_image();
        let variant = folder.root().file_name().unwrap_or_default().to_string_lossy();
        self.methods.push(Method {
            name: format!("{}/{variant}", plan.spec.name),
            encoder,
            proposes: plan.spec.prompt.module != NO_PROMPT,
            shifts: plan.spec.shift.module != ShiftModule::None,
            seed: plan.seed,
            adapter: Some(adapter),
            folder: Some(folder),
        });
        Ok(())
    }

    /// Adds plain SAM, unless a run without any adapter stands for it.
    pub fn add_frozen(&mut self, backbone: Backbone, resize: ResizeMode) {
        let encoder = self.encoder(backbone, resize);
        if self.methods.iter().any(|one| one.encoder == encoder && !one.proposes && !one.shifts) {
            return;
        }
        let name = format!("frozen SAM ({})", self.encoders[encoder].backbone.variant);
        self.methods.insert(
            0,
            Method {
                name,
                encoder,
                adapter: None,
                proposes: false,
                shifts: false,
                seed: 0,
                folder: None,
            },
        );
    }

    /// Adds plain SAM beside every run, as what they are compared with.
    pub fn add_frozen_of_runs(&mut self) {
        let all: Vec<_> =
            self.encoders.iter().map(|one| (one.backbone.clone(), one.resize)).collect();
        for (backbone, resize) in all.into_iter().rev() {
            self.add_frozen(backbone, resize);
        }
    }

    /// The methods, in the order in which answers number them.
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    fn encoder(&mut self, backbone: Backbone, resize: ResizeMode) -> usize {
        let same = |one: &Encoder| one.resize == resize && is_same(&one.backbone, &backbone);
        self.encoders.iter().position(same).unwrap_or_else(|| {
            self.encoders.push(Encoder { backbone, resize, taps: Vec::new(), needs_image: false });
            self.encoders.len() - 1
        })
    }

    /// Encodes an image for all methods. `watch` is called after every block of an encoder with the blocks that are done and
    /// how many there are; if it breaks off, there is nothing.
    pub fn encode(
        &self,
        image: &RgbImage,
        subject: Subject<'_>,
        watch: &mut (dyn FnMut(usize, usize) -> ControlFlow<()> + Send),
    ) -> Option<EncodedImage> {
        let blocks = |one: &Encoder| one.backbone.sam.config().image_encoder.block_widths().len();
        let all: usize = self.encoders.iter().map(blocks).sum();
        let mut before = 0;
        let mut features = Vec::with_capacity(self.encoders.len());
        for encoder in &self.encoders {
            let mut told = |done: usize, _: usize| watch(before + done, all);
            features.push(self.encoding.install(|| encoder.encode(image, &mut told))?);
            before += blocks(encoder);
        }
        let (width, height) = image.dimensions();
        Some(EncodedImage {
            width,
            height,
            data: subject.data.to_owned(),
            id: subject.id.to_owned(),
            features,
        })
    }

    /// Answers a prompt.
    ///
    /// # Errors
    ///
    /// See [`QuestionError`].
    pub fn answer(
        &self,
        image: &EncodedImage,
        method: usize,
        question: &Question,
    ) -> Result<Answer, QuestionError> {
        let methods = self.methods.len();
        let method = self.methods.get(method).ok_or(QuestionError::NoMethod { method, methods })?;
        self.answering.install(|| self.answer_of(image, method, question))
    }

    fn answer_of(
        &self,
        image: &EncodedImage,
        method: &Method,
        question: &Question,
    ) -> Result<Answer, QuestionError> {
        let start = Instant::now();
        let encoder = &self.encoders[method.encoder];
        let sam = &encoder.backbone.sam;
        let features = &image.features[method.encoder];
        let frame = &features.frame;
        let person = question.user_prompt();
        let given = person.in_input(frame)?;
        if person.box_xyxy.is_some_and(|[x0, y0, x1, y1]| x0 >= x1 || y0 >= y1) {
            return Err(QuestionError::EmptyBox);
        }
        let embedding = &features.embedding;
        let adapter = method.adapter.as_ref();
        let shift = adapter.and_then(|adapter| adapter.token_shift(embedding.clone()));
        let choice = MaskChoice::for_prediction(adapter.is_some());
        let mut dialogue =
            Dialogue::new(sam, embedding.clone(), shift, MaskInput::Previous, choice);
        let propose =
            || question.automatic.then(|| method.proposal(image, encoder, features)).flatten();
        let reply = answer(&mut dialogue, sam, &person, &given, propose).map_err(|_| {
            let method = method.name.clone();
            match question.automatic {
                true => QuestionError::NoModule { method },
                false => QuestionError::NoPrompt { method },
            }
        })?;
        let (prompts, output) = (dialogue.into_prompts(), reply.output);
        let iou_predictions = floats(output.iou_predictions.clone());
        let masks = iou_predictions.len();
        let shown = question.mask.unwrap_or(reply.used_mask);
        if shown >= masks {
            return Err(QuestionError::NoMask { mask: shown, masks });
        }
        let logits = output.low_res_logits.clone().slice_dim(1, shown..shown + 1);
        let mask =
            floats(masks_in_image(logits, frame)).into_iter().map(|logit| logit > 0.0).collect();
        let maps = LowRes::of(&output, frame);
        let (points, box_xyxy) = prompts_in_image(&prompts, frame);
        Ok(Answer {
            width: image.width,
            height: image.height,
            mask,
            shown,
            previews: (0..masks).map(|mask| maps.soft_map(mask, PREVIEW_SIDE)).collect(),
            probabilities: maps.soft_map(shown, CONFIDENCE_SIDE),
            iou_predictions,
            points,
            box_xyxy,
            mask_input: prompts.mask_input.is_some(),
            secs: start.elapsed().as_secs_f64(),
        })
    }
}

/// The other threads of this program come before this one when there are too few cores, if the system lets a thread say so.
fn step_back() {
    // Linux has priorities for threads; elsewhere the same call is about the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(ENCODING_NICENESS) {
        tracing::debug!("encoding has the priority of everything else: {error}");
    }
}

impl Encoder {
    fn encode(
        &self,
        image: &RgbImage,
        watch: &mut (dyn FnMut(usize, usize) -> ControlFlow<()> + Send),
    ) -> Option<Features> {
        let sam = &self.backbone.sam;
        let frame = frame_of(image, self.resize, sam.config().image_encoder.image_size);
        let input = input_tensor(image, &frame, sam.device());
        let encoded = sam.encode_watched(input.clone(), &self.taps, watch)?;
        Some(Features {
            frame,
            embedding: encoded.image_embedding,
            blocks: encoded.block_features,
            input: self.needs_image.then_some(input),
        })
    }
}

impl Method {
    /// What its module proposes; nothing if it has none.
    fn proposal(
        &self,
        image: &EncodedImage,
        encoder: &Encoder,
        features: &Features,
    ) -> Option<Proposal> {
        let adapter = self.adapter.as_ref()?;
        let block = |tap: usize| {
            let place = encoder.taps.iter().position(|one| *one == tap);
            features.blocks[place.expect("the taps of every method are encoded")].clone()
        };
        // An image of no data set is drawn for as `predict` does.
        let seed = if image.data.is_empty() { 0 } else { self.seed };
        adapter.propose(PromptInput {
            image_embedding: features.embedding.clone(),
            block_features: adapter.taps().into_iter().map(block).collect(),
            image: adapter.needs_image().then(|| features.input.clone()).flatten(),
            seeds: vec![prompt_seed(seed, 0, &image.data, &image.id)],
        })
    }
}

/// Whether two backbones give the same features.
fn is_same(one: &Backbone, other: &Backbone) -> bool {
    one.variant == other.variant
        && one.report.sha256 == other.report.sha256
        && one.sam.encoder_precision() == other.sam.encoder_precision()
}

/// The masks as the decoder writes them, on the host.
struct LowRes<'a> {
    /// `[M, side, side]`
    logits: Vec<f32>,
    side: usize,
    frame: &'a Frame,
}

impl<'a> LowRes<'a> {
    fn of(output: &MaskDecoderOutput, frame: &'a Frame) -> Self {
        let [_, _, side, _] = output.low_res_logits.dims();
        Self { logits: floats(output.low_res_logits.clone()), side, frame }
    }

    /// Probabilities at the centers of a grid over the image, whose longest side has at most `longest` cells. What was
    /// cropped away is background.
    fn soft_map(&self, mask: usize, longest: u32) -> SoftMap {
        let size = self.frame.image;
        let scale = f64::from(longest) / size.width.max(size.height) as f64;
        let cells = |length: usize| ((length as f64 * scale.min(1.0)).round() as u32).max(1);
        let (width, height) = (cells(size.width), cells(size.height));
        let map = &self.logits[mask * self.side * self.side..][..self.side * self.side];
        let mut values = Vec::with_capacity((width * height) as usize);
        for row in 0..height {
            for column in 0..width {
                let x = (column as f32 + 0.5) * size.width as f32 / width as f32;
                let y = (row as f32 + 0.5) * size.height as f32 / height as f32;
                if !self.frame.shows(x as usize, y as usize) {
                    values.push(0);
                    continue;
                }
                let at = self.frame.input_from_image([x, y]);
                let logit = self.sample(map, at.map(|at| at / self.frame.input_size as f32));
                values.push((255.0 / (1.0 + (-logit).exp())).round() as u8);
            }
        }
        SoftMap { width, height, values }
    }

    /// Bilinear, at a share of the side of the input.
    fn sample(&self, map: &[f32], at: [f32; 2]) -> f32 {
        let last = self.side - 1;
        let [x, y] = at.map(|at| (at * self.side as f32 - 0.5).clamp(0.0, last as f32));
        let (left, top) = (x as usize, y as usize);
        let (right, bottom) = ((left + 1).min(last), (top + 1).min(last));
        let (across, down) = (x - left as f32, y - top as f32);
        let value = |column: usize, row: usize| map[row * self.side + column];
        let row = |row: usize| value(left, row) * (1.0 - across) + value(right, row) * across;
        row(top) * (1.0 - down) + row(bottom) * down
    }
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec_as::<f32>().expect("a float tensor")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::tensor::{Int, TensorData};
    use data_loaders::{Catalog, DataSet};
    use prompting::Prompts;
    use sam_backbone::Variant;

    use super::*;
    use crate::{
        model::{AdapterParameters, BuildError},
        predict::predict,
    };

    /// Proposes a foreground point in the middle of the upper left quarter of the input, and a box.
    struct Fixed(Device);

    impl Adapter for Fixed {
        fn taps(&self) -> Vec<usize> {
            vec![1]
        }
        fn needs_image(&self) -> bool {
            true
        }
        fn propose(&self, input: PromptInput) -> Option<Proposal> {
            assert_eq!(input.block_features.len(), 1);
            let [_, _, side, _] = input.image.expect("asked for").dims();
            let (quarter, side) = (side as f32 / 4.0, side as f32);
            let at = TensorData::new(vec![quarter, quarter], [1, 1, 2]);
            let corners = TensorData::new(vec![0.0, 0.0, side / 2.0, side / 2.0], [1, 4]);
            let labels = Tensor::<2, Int>::from_data(TensorData::new(vec![1], [1, 1]), &self.0);
            let prompts = Prompts {
                points: Some((Tensor::from_data(at, &self.0), labels)),
                boxes: Some(Tensor::from_data(corners, &self.0)),
                mask_input: None,
            };
            Some(prompts.into())
        }
        fn token_shift(&self, _: Tensor<4>) -> Option<Tensor<3>> {
            None
        }
        fn parameters(&self) -> AdapterParameters {
            AdapterParameters { prompt: 0, shift: 0 }
        }
        fn save(&self, _: &Path) -> Result<(), BuildError> {
            Ok(())
        }
        fn load(&mut self, _: &Path) -> Result<(), BuildError> {
            Ok(())
        }
    }

    fn micro() -> (Interactive, Backbone) {
        let device = Device::flex();
        let backbone = Backbone::load(Variant::Micro, None, &device).expect("embedded");
        let mut interactive = Interactive::new(device.clone()).expect("threads");
        interactive.add_frozen(backbone.clone(), ResizeMode::LongestSide);
        let group = &mut interactive.encoders[0];
        (group.taps, group.needs_image) = (vec![1], true);
        interactive.methods.push(Method {
            name: "fixed".into(),
            encoder: 0,
            adapter: Some(Box::new(Fixed(device))),
            proposes: true,
            shifts: false,
            seed: 1,
            folder: None,
        });
        (interactive, backbone)
    }

    fn image() -> RgbImage {
        let set = DataSet::open("phantom", "test", None, &Catalog::built_in()).expect("generated");
        let image = set.load(0).expect("generated").image;
        // Not square, so that the input has padding.
        image::imageops::crop_imm(&image, 0, 0, image.width(), image.height() * 3 / 4).to_image()
    }

    fn encoded(interactive: &Interactive, image: &RgbImage) -> EncodedImage {
        let subject = Subject { data: "", id: "photo" };
        let mut go_on = |_, _| ControlFlow::Continue(());
        interactive.encode(image, subject, &mut go_on).expect("nobody ended it")
    }

    fn click(x: f32, y: f32, label: PointLabel) -> Question {
        Question { points: vec![([x, y], label)], ..Question::default() }
    }

    #[test]
    fn an_answer_is_what_predict_gives_for_the_same_prompt() {
        let (interactive, backbone) = micro();
        let image = image();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("photo.png");
        image.save(&path).expect("written");
        let encoded = encoded(&interactive, &image);
        let mut clicks = click(50.5, 40.0, PointLabel::Foreground);
        clicks.points.push(([10.0, 90.25], PointLabel::Background));
        let corners = Some([20.0, 10.0, 120.0, 99.5]);
        let boxed = Question { box_xyxy: corners, ..Question::default() };
        for question in [clicks, boxed] {
            let mut prompt = UserPrompt::default();
            prompt.points.clone_from(&question.points);
            prompt.box_xyxy = question.box_xyxy;
            let mode = ResizeMode::LongestSide;
            let expected = predict(&path, &backbone, None, mode, &prompt).expect("predicted");
            let answer = interactive.answer(&encoded, 0, &question).expect("answered");
            let mask: Vec<bool> = expected.mask.pixels().map(|pixel| pixel.0[0] == 255).collect();
            assert_eq!(answer.shown, expected.used_mask);
            // The same numbers in a pool of other threads: the same bits.
            assert_eq!(answer.mask, mask);
            assert_eq!(answer.iou_predictions[answer.shown], expected.iou_prediction);
        }
    }

    #[test]
    fn a_click_joins_what_a_module_proposes_and_a_box_takes_the_place_of_its_box() {
        let (interactive, _) = micro();
        let image = image();
        let (width, height) = (image.width() as f32, image.height() as f32);
        let encoded = encoded(&interactive, &image);
        let ask =
            |question: &Question| interactive.answer(&encoded, 1, question).expect("answered");
        let own = ask(&Question { automatic: true, ..Question::default() });
        // The longest side fills the input: a quarter of it on both axes.
        let longest = width.max(height);
        assert_eq!(own.points.len(), 1);
        assert!((own.points[0].x - longest / 4.0).abs() < 0.01, "{:?}", own.points);
        assert!((own.points[0].y - longest / 4.0).abs() < 0.51, "{:?}", own.points);

        let mut prompt = click(width * 0.75, height * 0.5, PointLabel::Background);
        prompt.automatic = true;
        let joined = ask(&prompt);
        assert_eq!(joined.points.iter().map(|point| point.label).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(joined.box_xyxy, own.box_xyxy);
        prompt.box_xyxy = Some([1.0, 2.0, 30.0, 40.0]);
        let boxed = ask(&prompt);
        let corners = boxed.box_xyxy.expect("a box");
        assert!(corners.iter().zip([1.0, 2.0, 30.0, 40.0]).all(|(a, b)| (a - b).abs() < 0.1));

        // The same said by hand.
        let at = [own.points[0].x, own.points[0].y];
        prompt.points.insert(0, (at, PointLabel::Foreground));
        prompt.automatic = false;
        let by_hand = ask(&prompt);
        assert_eq!(by_hand.points.len(), 2);
        // Points went to the image and back: their last bits may differ, masks at most at their border.
        let differ = boxed.mask.iter().zip(&by_hand.mask).filter(|(a, b)| a != b).count();
        assert!(differ * 1000 <= boxed.mask.len(), "{differ} of {}", boxed.mask.len());
    }

    #[test]
    fn small_maps_agree_with_the_masks_that_they_are_of() {
        let (interactive, _) = micro();
        let image = image();
        let encoded = encoded(&interactive, &image);
        for mask in 0..3 {
            let click = click(60.0, 50.0, PointLabel::Foreground);
            let question = Question { mask: Some(mask), ..click };
            let answer = interactive.answer(&encoded, 0, &question).expect("answered");
            assert_eq!((answer.shown, answer.previews.len()), (mask, 3));
            for map in [&answer.previews[mask], &answer.probabilities] {
                let (mut differ, mut sure) = (0, 0);
                for (at, &value) in map.values.iter().enumerate() {
                    let (column, row) = (at as u32 % map.width, at as u32 / map.width);
                    let x = (2 * column + 1) * answer.width / (2 * map.width);
                    let y = (2 * row + 1) * answer.height / (2 * map.height);
                    // Resizing in two steps moves the border by less than a cell of the decoder.
                    if (96..160).contains(&value) {
                        continue;
                    }
                    sure += 1;
                    let on = answer.mask[(y * answer.width + x) as usize];
                    differ += usize::from(on != (value > 127));
                }
                assert!(sure * 2 > map.values.len(), "{sure} of {}", map.values.len());
                assert!(differ * 200 <= sure, "{differ} of {sure}");
            }
        }
    }

    #[test]
    fn what_cannot_be_answered_is_said() {
        let (interactive, _) = micro();
        let image = image();
        let encoded = encoded(&interactive, &image);
        let ask = |method: usize, question: Question| {
            interactive.answer(&encoded, method, &question).expect_err("no answer")
        };
        let name = || interactive.methods()[0].name().to_owned();
        assert_eq!(ask(0, Question::default()), QuestionError::NoPrompt { method: name() });
        let automatic = Question { automatic: true, ..Question::default() };
        assert_eq!(ask(0, automatic), QuestionError::NoModule { method: name() });
        assert_eq!(ask(7, Question::default()), QuestionError::NoMethod { method: 7, methods: 2 });
        for (x, y) in [(-1.0, 5.0), (1e9, 5.0), (f32::NAN, 5.0)] {
            let error = ask(0, click(x, y, PointLabel::Foreground));
            assert!(matches!(error, QuestionError::Outside { .. }), "{error}");
        }
        let flat = Question { box_xyxy: Some([5.0, 5.0, 5.0, 9.0]), ..Question::default() };
        assert_eq!(ask(0, flat), QuestionError::EmptyBox);
        let question = Question { mask: Some(3), ..click(5.0, 5.0, PointLabel::Foreground) };
        assert_eq!(ask(0, question), QuestionError::NoMask { mask: 3, masks: 3 });
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn encoding_steps_back_behind_answers_and_behind_nothing_else() {
        let (interactive, _) = micro();
        let niceness = || rustix::process::getpriority_process(None).expect("known");
        let usual = niceness();
        assert_eq!(interactive.answering.install(niceness), usual);
        assert_eq!(interactive.encoding.install(niceness), (usual + ENCODING_NICENESS).min(19));
        assert_eq!(niceness(), usual);
    }

    #[test]
    fn whoever_watches_is_told_of_every_block_and_may_end_the_encoding() {
        let (interactive, _) = micro();
        let subject = Subject { data: "", id: "photo" };
        let mut told = Vec::new();
        let ended = interactive.encode(&image(), subject, &mut |done, all| {
            told.push((done, all));
            if done == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let depth = Variant::Micro.config().image_encoder.block_widths().len();
        assert!(ended.is_none());
        assert_eq!(told, [(1, depth), (2, depth), (3, depth)]);
    }
}
