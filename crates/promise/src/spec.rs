//! The experiment file, as people write it.
//!
//! Unknown keys and wrong types are refused with line, column and the accepted keys. Values that
//! only make sense together are checked in [`crate::sense`]. The options of a prompt
//! module are parsed a second time by the module's own type (see [`crate::registry`]), so a typo in
//! them keeps its line too.

use std::{collections::BTreeMap, path::PathBuf};

use data_loaders::augment::AugmentSpec;
use feature_cache::Precision;
use metrics::Protocol;
use sam_backbone::{EncoderPrecision, ResizeMode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    accepted::{backbones, never, protocols, words_of},
    claim::ClaimSpec,
    prompt_source::PromptSource,
};

/// A whole experiment file, generic over the type of `[prompt.options]`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExperimentSpec<O = toml::Table> {
    /// Name of the experiment and of its folder below `runs/`.
    pub name: String,
    /// Seeds; every variant runs once with each.
    #[serde(default = "default_seeds")]
    pub seeds: Vec<u64>,
    /// The frozen SAM.
    pub backbone: BackboneSpec,
    /// What is trained on and what is evaluated.
    pub data: DataSpec,
    /// Where automatic prompts come from.
    pub prompt: PromptSpec<O>,
    /// What is added to SAM's mask tokens.
    pub shift: ShiftSpec,
    /// Optimization.
    pub train: TrainSpec,
    /// Evaluation after training.
    pub evaluate: EvaluateSpec,
    /// Runs that differ from the base in some keys; none means the base itself is run.
    #[serde(default, rename = "variant", skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<VariantSpec>,
    /// Values to run in every combination, each with every variant: `"prompt.options.points" = [2, 4, 8]`.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub grid: toml::Table,
    /// What the runs are meant to show; changes none of them.
    #[serde(default, rename = "claim", skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<ClaimSpec>,
}

fn default_seeds() -> Vec<u64> {
    vec![1]
}

/// `[backbone]`
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackboneSpec {
    /// Which SAM: the small one that ships with the program, one of the published sizes (`vit_b` also takes MedSAM's weights),
    /// or MobileSAM (`vit_t`).
    #[schemars(schema_with = "backbones")]
    pub variant: String,
    /// Weights file, `.pth`, `.pt` or `.safetensors`. `micro` has embedded weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// How images are brought to the square input: `plain` (the paper's training), `longest_side` (SAM's),
    /// `border_crop` (the paper's preparation of endoscopic images: dark border cropped, padded to a
    /// square, area interpolation) or `medsam` (MedSAM's: as `plain`, with values from 0 to 1 over the range of each
    /// image instead of ImageNet's mean and deviation).
    #[serde(default)]
    #[schemars(schema_with = "words_of::<ResizeMode>")]
    pub resize: ResizeMode,
    /// In which numbers the image encoder computes: `f32`, `bf16` or `f16`. On a CPU, `bf16` halves the time of SAM's own
    /// encoders on Intel processors with tiles (AMX); all else, `f16` and MobileSAM, takes longer than in `f32`.
    #[serde(default, skip_serializing_if = "is_f32")]
    #[schemars(schema_with = "words_of::<EncoderPrecision>", skip_serializing_if = "never")]
    pub precision: EncoderPrecision,
}

impl BackboneSpec {
    /// Whether an image that is prepared alike has the same features.
    pub fn is_same_encoder(&self, other: &Self) -> bool {
        (&self.variant, &self.weights, self.precision)
            == (&other.variant, &other.weights, other.precision)
    }
}

/// Not written where it is the default, so that runs from before the key existed are not stale.
fn is_f32(precision: &EncoderPrecision) -> bool {
    *precision == EncoderPrecision::F32
}

/// `[data]`
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// Data sets whose training images are used, by name.
    pub train: Vec<String>,
    /// Data sets whose test images are used, by name.
    pub test: Vec<String>,
    /// Split that `train` means.
    #[serde(default = "default_train_split")]
    pub train_split: String,
    /// Split that `test` means.
    #[serde(default = "default_test_split")]
    pub test_split: String,
    /// Share of the training images that is held out and picks the epoch.
    #[serde(default = "default_validation_fraction")]
    pub validation_fraction: f64,
    /// Use only so many training images of each set (before the held-out part is taken).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_limit: Option<usize>,
    /// Train on so many images, all sets together, drawn by the seed of the run from what is left after the
    /// held-out part is taken. Fewer are part of more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_images: Option<usize>,
    /// Use only so many test images of each set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_limit: Option<usize>,
    /// Stop at the first bad image instead of skipping, counting and listing it.
    #[serde(default)]
    pub strict: bool,
    /// How encoder features are kept on the disk: `f16`, `f32`, `int8`, or `off`. The rounding is part
    /// of the experiment, since adapters see rounded features; where the cache lies is not.
    #[serde(default)]
    pub feature_cache: FeatureCacheSpec,
    /// Memory for encoder features in GiB. What does not fit is read from the cache in every epoch or,
    /// without one, computed again.
    #[serde(default = "default_feature_memory")]
    pub feature_memory_gib: f64,
    /// Data sets that may be tested on although some of their images are trained on. Tables mark their results.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(skip_serializing_if = "never")]
    pub allow_overlap: Vec<String>,
    /// Data sets that have no card: name to place.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, SourceSpec>,
}

impl DataSpec {
    /// Bytes of features that may be kept in memory.
    pub fn feature_memory(&self) -> u64 {
        (self.feature_memory_gib * f64::from(1 << 30)) as u64
    }
}

/// `data.feature_cache`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeatureCacheSpec {
    /// Features stay in memory, unrounded.
    Off,
    /// On the disk, unrounded.
    F32,
    /// On the disk in half precision.
    #[default]
    F16,
    /// On the disk as bytes with a scale per channel.
    Int8,
}

impl FeatureCacheSpec {
    /// How numbers are stored, `None` without a cache.
    pub const fn precision(self) -> Option<Precision> {
        match self {
            Self::Off => None,
            Self::F32 => Some(Precision::F32),
            Self::F16 => Some(Precision::F16),
            Self::Int8 => Some(Precision::Int8),
        }
    }
}

fn default_train_split() -> String {
    "train".into()
}

fn default_test_split() -> String {
    "test".into()
}

fn default_validation_fraction() -> f64 {
    data_loaders::VALIDATION_FRACTION
}

fn default_feature_memory() -> f64 {
    8.0
}

/// `[data.sources.NAME]`: either `csv` and `root`, or `images`, `masks` and `splits`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceSpec {
    /// CSV file with the columns `image_name,train_type,mask_name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<PathBuf>,
    /// Folder that the CSV's paths start from; the CSV's own folder by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// Folder of images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<PathBuf>,
    /// Folder of masks, matched to the images by stem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masks: Option<PathBuf>,
    /// CSV file with the columns `name,split`: which stems are for training and which for testing.
    /// Without it every image belongs to every split, so the set cannot be trained and tested on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub splits: Option<PathBuf>,
}

/// `[prompt]`
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptSpec<O = toml::Table> {
    /// A prompt module by name, or `none`; `cargo xtask list` shows all.
    pub module: String,
    /// The module's own options.
    #[serde(default = "Option::<O>::default", skip_serializing_if = "Option::is_none")]
    pub options: Option<O>,
}

/// `[shift]`
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShiftSpec {
    /// What is added to SAM's mask tokens.
    pub module: ShiftModule,
    /// Options of `ips`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<ips::IpsSpec>,
}

/// What is added to SAM's mask tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShiftModule {
    /// Nothing: they stay as they are.
    None,
    /// Incremental Pattern Shifting.
    Ips,
}

impl ShiftModule {
    /// Every choice; the one with options comes last, where `list` shows them.
    pub const ALL: [Self; 2] = [Self::None, Self::Ips];

    /// The name in experiment files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Ips => "ips",
        }
    }
}

impl ShiftSpec {
    /// The options of the shift, `None` if there is no shift.
    pub fn ips(&self) -> Option<ips::IpsSpec> {
        match self.module {
            ShiftModule::None => None,
            ShiftModule::Ips => Some(self.options.clone().unwrap_or_default()),
        }
    }
}

/// The options of `ips` with their defaults, as TOML.
pub fn shift_options() -> String {
    toml::to_string(&ips::IpsSpec::default()).unwrap_or_default()
}

/// `[train]`
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainSpec {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per step.
    #[serde(default = "default_batch_size")]
    pub batch_size: usize,
    /// Learning rate, the peak of the schedule, at most 1.
    #[serde(default = "default_learning_rate")]
    pub learning_rate: f64,
    /// How the learning rate changes.
    #[serde(default)]
    pub schedule: Schedule,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// What is minimized.
    #[serde(default)]
    pub loss: Loss,
    /// Geometric views of the training images: 1 is the image as it is, up to 8 are flips and turns,
    /// more are shifted, scaled and rotated. An epoch shows every image once, in its next view.
    #[serde(default = "default_views")]
    pub views: usize,
    /// `[train.augmentation]`, even an empty one: every training image is changed anew in every epoch as
    /// in the published code, and goes through the encoder again. Its keys change probabilities and
    /// ranges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augmentation: Option<AugmentSpec>,
    /// Prompts during training: `auto` or `ground_truth`. By default `auto` if there is a prompt
    /// module, else `ground_truth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompts: Option<PromptSource>,
    /// Stop after so many epochs without a better Dice on the held-out images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
}

fn default_views() -> usize {
    1
}

fn default_batch_size() -> usize {
    8
}

fn default_learning_rate() -> f64 {
    1e-5
}

/// How the learning rate changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// It does not: what the published code does.
    #[default]
    Constant,
    /// From the peak to zero along a cosine.
    Cosine,
}

/// The optimizer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// Adam, the paper's.
    #[default]
    Adam,
    /// AdamW with weight decay 1e-4.
    AdamW,
}

/// What is minimized.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Binary cross-entropy on logits plus soft Dice.
    #[default]
    BceDice,
    /// The published code's, with its second sigmoid and its Dice above 1.
    PromiseReference,
}

/// `[evaluate]`
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvaluateSpec {
    /// Prompt sources, one table row for each. `auto` is left out for variants without a prompt
    /// module.
    pub prompts: Vec<PromptSource>,
    /// How masks are scored.
    #[serde(default)]
    #[schemars(schema_with = "protocols")]
    pub protocol: ProtocolName,
    /// Points that `ground_truth` and `grid` give: half on the object, half off it.
    #[serde(default = "default_points")]
    pub points: usize,
    /// Pictures saved per data set and prompt source, evenly spaced over the test images.
    #[serde(default = "default_panels")]
    pub panels: usize,
    /// Keep the soft map of every test image as a gray PNG of 16 bits, in `predictions/<data>-<prompts>/` of the run
    /// folder; `cargo xtask score` scores them again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(skip_serializing_if = "never")]
    pub save_predictions: bool,
}

fn default_points() -> usize {
    16
}

fn default_panels() -> usize {
    4
}

/// A protocol by name, `default` if none is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProtocolName(pub Protocol);

impl Default for ProtocolName {
    fn default() -> Self {
        Self(Protocol::Default)
    }
}

/// `[[variant]]`
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VariantSpec {
    /// Name of the method in tables, and of the run's folder.
    pub name: String,
    /// Keys to set, dotted: `set = { "train.epochs" = 3, shift = { module = "none" } }`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub set: toml::Table,
    /// Whether the variant is run with every point of the grid, or once.
    #[serde(default = "default_grid", skip_serializing_if = "is_default_grid")]
    #[schemars(skip_serializing_if = "never")]
    pub grid: bool,
}

fn default_grid() -> bool {
    true
}

fn is_default_grid(grid: &bool) -> bool {
    *grid
}

/// Whether a name can be a folder name on every system.
pub(crate) fn is_folder_name(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let numbered = |device: &str| {
        stem.strip_prefix(device).is_some_and(|rest| matches!(rest.as_bytes(), [b'0'..=b'9']))
    };
    // What Windows keeps for itself.
    let reserved =
        ["con", "prn", "aux", "nul"].contains(&&*stem) || ["com", "lpt"].into_iter().any(numbered);
    !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+' | '.'))
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !reserved
}

/// Bytes of the longest name of an experiment or a method. Systems take 255; a seed and the name of a file that is
/// being written come behind.
pub(crate) const LONGEST_NAME: usize = 180;

/// What [`is_folder_name`] accepts.
pub(crate) const FOLDER_NAMES: &str =
    "use letters, digits, `-`, `_`, `+`, `.` (not first or last), at most 180 of them";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folder_names_on_every_system() {
        for good in ["a", "apm+points-2", "v1.2", "console", "com", "com10", "x.con"] {
            assert!(is_folder_name(good), "{good}");
        }
        let long = "a".repeat(LONGEST_NAME + 1);
        for bad in ["", ".", "..", ".a", "a.", "a/b", "a b", "é", "CON", "nul.txt", "Com1", &long]
        {
            assert!(!is_folder_name(bad), "{bad}");
        }
    }
}
