//! Whether decoding keeps ahead of the encoder.

use std::{path::Path, sync::atomic::AtomicBool, time::Instant};

use burn::tensor::Device;
use data_loaders::{DataError, DataSet, augment::View};
use sam_backbone::{ResizeMode, Variant, input_tensor};
use serde::Serialize;

use crate::{
    backbone::{Backbone, BackboneError},
    features::{EncodeError, EncodedSet, Encoding, walk_without_encoder},
    frame::frame_of,
    memory::Reading,
    progress::{Progress, Silent},
    spread::{listed, median},
};

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct LoaderBench {
    /// Name of the data set.
    pub data: String,
    /// Its images, all of one split.
    pub images: usize,
    /// Side of the encoder's input in pixels.
    pub input_size: usize,
    /// Threads of the encoder.
    pub threads: usize,
    /// Seconds an image of decoding and preparing with nothing else to do, each time.
    pub prepare_secs: Vec<f64>,
    /// How images are brought to the input.
    pub resize: &'static str,
    /// Seconds of encoding one image with nothing else to do, each time.
    pub encode_secs: Vec<f64>,
    /// Seconds an image of decoding ahead and encoding at the same time, each time over
    /// `together_images` images.
    pub together_secs: Vec<f64>,
    /// Images of that.
    pub together_images: usize,
    /// Encoding over preparing, of the medians: how far ahead decoding is.
    pub ahead: f64,
    /// What decoding costs beside the encoder, as a share of the time, of the medians.
    pub stall_share: f64,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum LoaderBenchError {
    /// The weights do not load.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// An image cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The images cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Images that are decoded and encoded at the same time.
const TOGETHER: usize = 4;

/// Times decoding and preparing of `data`, as `encode` does it, against a ViT-B: each alone, and both on
/// the same processor.
///
/// - `weights`: a ViT-B checkpoint
/// - `repeats`: how often each is timed, after one that is not counted
///
/// # Errors
///
/// See [`LoaderBenchError`].
pub fn bench_loader(
    data: &DataSet,
    resize: ResizeMode,
    weights: &Path,
    repeats: usize,
    device: &Device,
    progress: &dyn Progress,
) -> Result<LoaderBench, LoaderBenchError> {
    let backbone = Backbone::load(Variant::VitB, Some(weights), device)?;
    let input_size = backbone.sam.config().image_encoder.image_size;
    let encoding = Encoding {
        sam: backbone.sam,
        taps: Vec::new(),
        resize,
        view: View::IDENTITY,
        store: None,
        reading: Reading::default(),
    };
    let image = data.load(0)?.image;
    let input = input_tensor(&image, &frame_of(&image, encoding.resize, input_size), device);
    let some = data.clone().limit(TOGETHER);
    let (mut prepare_secs, mut encode_secs, mut together_secs) = (vec![], vec![], vec![]);
    progress.start("decode and encode", 1 + repeats as u64);
    for done in 0..=repeats {
        progress.set(done as u64);
        let start = Instant::now();
        walk_without_encoder(&encoding, data)?;
        prepare_secs.push(start.elapsed().as_secs_f64() / data.len() as f64);
        let start = Instant::now();
        let embedding = encoding.sam.encode(input.clone(), &[]).image_embedding;
        // A value read back: the device has finished.
        drop(embedding.into_data());
        encode_secs.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        let stop = AtomicBool::new(false);
        EncodedSet::new(encoding.clone(), some.clone(), true, Some(u64::MAX), &Silent, &stop)?;
        together_secs.push(start.elapsed().as_secs_f64() / some.len() as f64);
    }
    progress.finish();
    let [prepare_secs, encode_secs, together_secs] =
        [prepare_secs, encode_secs, together_secs].map(|mut secs| secs.split_off(1));
    Ok(LoaderBench {
        data: data.name().to_owned(),
        images: data.len(),
        input_size,
        threads: rayon::current_num_threads(),
        resize: resize.name(),
        together_images: some.len(),
        ahead: median(&encode_secs) / median(&prepare_secs),
        stall_share: 1.0 - median(&encode_secs) / median(&together_secs),
        together_secs,
        prepare_secs,
        encode_secs,
    })
}

impl LoaderBench {
    /// The times as a Markdown table, and what they mean.
    pub fn markdown(&self) -> String {
        let Self { images, data, resize, input_size: side, threads, .. } = self;
        let mut text = format!(
            "{images} images of `{data}`, `{resize}`, input {side} x {side}, {threads} threads\n\n\
             | seconds an image | each time |\n| --- | --- |\n"
        );
        for (what, secs) in [
            ("decode, prepare", &self.prepare_secs),
            ("encode", &self.encode_secs),
            ("both", &self.together_secs),
        ] {
            text += &format!("| {what} | {} |\n", listed(secs, 4));
        }
        text += &format!(
            "\ndecoding is {:.0} times as fast as encoding\n\
             what it costs beside the encoder: {:.1} % of the time\n",
            self.ahead,
            100.0 * self.stall_share,
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_how_far_ahead_decoding_is() {
        let bench = LoaderBench {
            data: "phantom".into(),
            images: 3,
            input_size: 1024,
            threads: 2,
            prepare_secs: vec![0.02, 0.03],
            resize: "plain",
            encode_secs: vec![5.0],
            together_secs: vec![5.25],
            together_images: 4,
            ahead: 200.0,
            stall_share: 0.046875,
        };
        let text = bench.markdown();
        for line in [
            "3 images of `phantom`, `plain`, input 1024 x 1024, 2 threads",
            "| decode, prepare | 0.0200, 0.0300 |",
            "decoding is 200 times as fast as encoding",
            "what it costs beside the encoder: 4.7 % of the time",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
