//! What encoding an image and answering a prompt cost, ours and others', in turns.
//!
//! Sizes are those of SAM's variants at 1024 pixels, weights and image those of [`encode_check`](crate::encode_check).
//! Ours and a peer's pass are timed one after the other, pair by pair, so that whatever else the
//! machine does meets both; the ratio is the median over pairs.

use std::{collections::BTreeMap, path::Path, process::Command, time::Instant};

use burn::tensor::Tensor;
use sam_backbone::{EncoderPrecision, Prompts, Variant};
use serde::{Deserialize, Serialize};

use crate::{
    backbone::{Backbone, BackboneError},
    device::{DeviceError, DeviceKind},
    encode_check::{Bounds, EncodeCheckError, Reference, relative_l2, values},
    environment::{device_and_model, peak_memory_mib},
    peers::{
        Arithmetic, DisagreeError, Disagreement, PairedTimes, PeerError, Side, WaitingPeer, turns,
    },
    progress::Progress,
    spread::{extremes, median},
};

/// The prompt that the decoder answers: a single click.
const CASE: &str = "one_point";

/// The peer that is not PyTorch.
const ONNX_RUNTIME: &str = "onnxruntime";

/// What is timed, how, and beside whom.
#[derive(Debug, Clone)]
pub struct Question {
    /// The part of SAM.
    pub part: Part,
    /// Which SAM.
    pub variant: Variant,
    /// Where, and in which numbers.
    pub arithmetic: Arithmetic,
    /// Images in a pass of the encoder.
    pub batch_size: usize,
    /// Timed passes, and pairs of passes with each peer.
    pub pairs: usize,
    /// Peers, some of [`Part::peers`].
    pub peers: Vec<&'static str>,
}

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Images of 1024 x 1024 through the image encoder.
    Encoder,
    /// One click on an image that is encoded already: prompt encoder and mask decoder, three masks.
    Decoder,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Encoder => "encoder",
            Self::Decoder => "decoder",
        }
    }

    /// How far its output may be from the reference's. The decoder gets the reference's embedding and computes in `f32`,
    /// whatever the encoder does.
    fn bound(self, arithmetic: Arithmetic, bounds: fn(Arithmetic) -> Bounds) -> f64 {
        match self {
            Self::Encoder => bounds(arithmetic).embedding,
            Self::Decoder => {
                bounds(Arithmetic { precision: EncoderPrecision::F32, ..arithmetic }).logits
            }
        }
    }

    /// The peers of these names, all if none is given.
    ///
    /// # Errors
    ///
    /// [`UnknownPeerError`] for a name that none of [`peers`](Self::peers) has.
    pub fn only(
        self,
        names: &[String],
        arithmetic: Arithmetic,
    ) -> Result<Vec<&'static str>, UnknownPeerError> {
        let known = self.peers(arithmetic);
        if names.is_empty() {
            return Ok(known.to_vec());
        }
        let find = |name: &String| {
            let unknown = || UnknownPeerError { name: name.clone(), known: known.join("`, `") };
            known.iter().copied().find(|peer| peer == name).ok_or_else(unknown)
        };
        let mut peers: Vec<&'static str> = Vec::new();
        for name in names {
            let peer = find(name)?;
            if !peers.contains(&peer) {
                peers.push(peer);
            }
        }
        Ok(peers)
    }

    /// Who else does this, `tools/peers/forward.py` and `forward_onnx.py`: the reference; the same with
    /// PyTorch's fused attention; the same exported to ONNX, for ONNX Runtime's CPU provider and `f32` only. The decoder
    /// has no attention that is worth fusing and is not exported.
    pub fn peers(self, arithmetic: Arithmetic) -> &'static [&'static str] {
        match (self, arithmetic) {
            (
                Self::Encoder,
                Arithmetic { device: DeviceKind::Flex, precision: EncoderPrecision::F32 },
            ) => &["segment_anything", "torch_sdpa", ONNX_RUNTIME],
            (Self::Encoder, _) => &["segment_anything", "torch_sdpa"],
            (Self::Decoder, _) => &["segment_anything"],
        }
    }
}

/// A name that no peer has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown peer `{name}`, expected one of `{known}`")]
pub struct UnknownPeerError {
    /// What was asked for.
    pub name: String,
    /// The peers of the part.
    pub known: String,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct ForwardBench {
    /// What was timed.
    pub part: Part,
    /// Name of the variant.
    pub variant: &'static str,
    /// Where tensors lived, with the model of a GPU.
    pub device: String,
    /// In which numbers the image encoder computed.
    pub precision: EncoderPrecision,
    /// Images in a pass.
    pub batch_size: usize,
    /// Threads of each implementation.
    pub threads: usize,
    /// Seconds of our passes without a peer in between.
    pub secs: Vec<f64>,
    /// Relative L2 error of our output against `segment_anything`'s.
    pub relative_error: f64,
    /// How large it may be.
    pub bound: f64,
    /// Our peak resident memory in MiB, weights included, before any other tensor is made.
    pub peak_rss_mib: f64,
    /// Peer time over ours by peer, the median over pairs.
    pub ratio: BTreeMap<&'static str, f64>,
    /// The least and the largest ratio of a pair.
    pub spread: BTreeMap<&'static str, [f64; 2]>,
    /// The times behind the ratios.
    pub peers: BTreeMap<&'static str, PeerTimes>,
}

/// A peer's passes, and ours beside them.
#[derive(Debug, Clone, Serialize)]
pub struct PeerTimes {
    /// Name and version.
    pub version: String,
    /// Relative L2 error of its output against `segment_anything`'s, in `f32` on a CPU.
    pub relative_error: f64,
    /// How large it may be.
    pub bound: f64,
    /// Its peak resident memory in MiB, weights included.
    pub peak_rss_mib: f64,
    /// Its seconds and ours.
    #[serde(flatten)]
    pub times: PairedTimes,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum ForwardBenchError {
    /// The reference cannot be made or read.
    #[error(transparent)]
    Reference(#[from] EncodeCheckError),
    /// The weights do not load.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// The device cannot be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A peer could not be run, or ended early.
    #[error(transparent)]
    Peer(#[from] PeerError),
}

/// Times passes of ours, then, with a Python that has the peers' packages, as many pairs of ours and each peer's.
///
/// - `reference`: the folder of the variant's [reference](crate::encode_check::make_reference); the peers' last words
///   go there
///
/// # Errors
///
/// See [`ForwardBenchError`].
pub fn bench_forward(
    question: &Question,
    workspace: &Path,
    reference: &Path,
    python: Option<&Path>,
    progress: &dyn Progress,
) -> Result<ForwardBench, ForwardBenchError> {
    let &Question { part, variant, arithmetic, batch_size, pairs, ref peers } = question;
    let device = arithmetic.device.device()?;
    let weights = reference.join("weights.safetensors");
    let sam =
        Backbone::load(variant, Some(&weights), &device)?.computing_in(arithmetic.precision).sam;
    let path = reference.join("reference.safetensors");
    let bytes = Reference::read(&path)?;
    let tensors = Reference::parse(&bytes, &path, &device)?;
    let (input, expected) = match part {
        Part::Encoder => ("image".to_owned(), "image_embedding".to_owned()),
        Part::Decoder => ("image_embedding".to_owned(), format!("case.{CASE}.low_res_logits")),
    };
    let repeated = |tensor: Tensor<4>| match part {
        Part::Encoder => tensor.repeat_dim(0, batch_size),
        Part::Decoder => tensor,
    };
    let input = repeated(tensors.floats::<4>(&input)?);
    let expected = values(repeated(tensors.floats::<4>(&expected)?));
    let points = Some((
        tensors.floats::<3>(&format!("case.{CASE}.point_coords"))?,
        tensors.labels(&format!("case.{CASE}.point_labels"))?,
    ));
    drop(bytes);
    let prompts = Prompts { points, ..Prompts::default() };
    let forward = || -> Tensor<4> {
        match part {
            Part::Encoder => sam.encode(input.clone(), &[]).image_embedding,
            Part::Decoder => sam.decode(input.clone(), prompts.clone(), None, true).low_res_logits,
        }
    };
    let timed = || {
        let start = Instant::now();
        // Values read back: the device has finished.
        let output = values(forward());
        (output, start.elapsed().as_secs_f64())
    };

    let threads = rayon::current_num_threads();
    let programs = 1 + python.map_or(0, |_| peers.len());
    progress.start(part.name(), (programs * pairs) as u64);
    // The first pass is warm-up.
    let relative_error = relative_l2(&timed().0, &expected);
    let secs: Vec<f64> = (0..pairs)
        .map(|done| {
            progress.set(done as u64);
            timed().1
        })
        .collect();
    let mut bench = ForwardBench {
        part,
        variant: variant.name(),
        device: device_and_model(arithmetic.device),
        precision: arithmetic.precision,
        batch_size,
        threads,
        secs,
        relative_error,
        bound: part.bound(arithmetic, Bounds::of),
        peak_rss_mib: peak_memory_mib().unwrap_or(f64::NAN),
        ratio: BTreeMap::new(),
        spread: BTreeMap::new(),
        peers: BTreeMap::new(),
    };
    let asked = python.iter().flat_map(|python| peers.iter().map(move |peer| (peer, python)));
    for (index, (&name, python)) in asked.enumerate() {
        let log = reference.join(format!("{}-{name}.log", part.name()));
        let command = peer_command(question, name, workspace, reference, python, threads);
        let (mut peer, Ready { version, relative_error }) = WaitingPeer::start(command, log)?;
        let mut times = PairedTimes::default();
        for (done, side) in turns(pairs).enumerate() {
            progress.set(((1 + index) * pairs + done / 2) as u64);
            match side {
                Side::Ours => times.our_secs.push(timed().1),
                Side::Theirs => times.secs.push(peer.work()?),
            }
        }
        let End { peak_rss_mib } = peer.end()?;
        bench.ratio.insert(name, times.ratio());
        bench.spread.insert(name, times.spread());
        let bound = part.bound(arithmetic, Bounds::of_peer);
        let peer = PeerTimes { version, relative_error, bound, peak_rss_mib, times };
        bench.peers.insert(name, peer);
    }
    progress.finish();
    Ok(bench)
}

impl ForwardBench {
    /// Whether all outputs are the reference's but for rounding.
    ///
    /// # Errors
    ///
    /// [`DisagreeError`] with those that are not.
    pub fn agreement(&self) -> Result<(), DisagreeError> {
        let what = match self.part {
            Part::Encoder => "the image embedding",
            Part::Decoder => "the mask's logits",
        };
        let ours = ("ours", self.relative_error, self.bound);
        let peers = self.peers.iter().map(|(&name, peer)| (name, peer.relative_error, peer.bound));
        DisagreeError::of(
            std::iter::once(ours)
                .chain(peers)
                .map(|(who, error, bound)| Disagreement::beyond(who, what, error, bound)),
        )
    }

    /// A table and what it means, for people.
    pub fn markdown(&self) -> String {
        let [low, high] = extremes(&self.secs);
        let mut text = format!(
            "SAM {}, {}, 1024 x 1024, batch {}, {} in {}, {} threads, {} passes each\n\n\
             | who | seconds, median | peak memory, MiB | relative error (bound) | time over ours, median [least, largest] |\n\
             | --- | ---: | ---: | ---: | ---: |\n\
             | ours | {:.3} [{low:.3}, {high:.3}] | {:.0} | {:.1e} ({:.0e}) | |\n",
            self.variant,
            self.part.name(),
            self.batch_size,
            self.device,
            self.precision,
            self.threads,
            self.secs.len(),
            median(&self.secs),
            self.peak_rss_mib,
            self.relative_error,
            self.bound,
        );
        for (name, peer) in &self.peers {
            let [low, high] = self.spread[name];
            text += &format!(
                "| {name} ({}) | {:.3} | {:.0} | {:.1e} ({:.0e}) | {:.2} [{low:.2}, {high:.2}] |\n",
                peer.version,
                median(&peer.times.secs),
                peer.peak_rss_mib,
                peer.relative_error,
                peer.bound,
                self.ratio[name],
            );
        }
        text
    }
}

/// The first line of a peer.
#[derive(Deserialize)]
struct Ready {
    version: String,
    relative_error: f64,
}

/// Its last line.
#[derive(Deserialize)]
struct End {
    peak_rss_mib: f64,
}

/// The program of a peer.
fn peer_command(
    question: &Question,
    peer: &str,
    workspace: &Path,
    reference: &Path,
    python: &Path,
    threads: usize,
) -> Command {
    let mut command = Command::new(python);
    let scripts = workspace.join("tools/peers");
    if peer == ONNX_RUNTIME {
        // It has an encoder on the CPU in `f32` and nothing else, see `Part::peers`.
        command.arg(scripts.join("forward_onnx.py"));
    } else {
        command
            .arg(scripts.join("forward.py"))
            .args(["--part", question.part.name(), "--peer", peer])
            .args(question.arithmetic.arguments());
    }
    command
        .args(["--variant", question.variant.name()])
        .args(["--batch-size", &question.batch_size.to_string()])
        .args(["--threads", &threads.to_string(), "--reference"])
        .arg(reference);
    command
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_chosen_by_name() {
        let cpu = Arithmetic::default();
        assert_eq!(Part::Decoder.only(&[], cpu).unwrap(), ["segment_anything"]);
        let twice = ["onnxruntime".into(), "onnxruntime".into()];
        assert_eq!(Part::Encoder.only(&twice, cpu).unwrap(), ["onnxruntime"]);
        assert_eq!(
            Part::Decoder.only(&["onnxruntime".into()], cpu).unwrap_err().to_string(),
            "unknown peer `onnxruntime`, expected one of `segment_anything`"
        );
        let gpu = Arithmetic { device: DeviceKind::Cuda(0), ..cpu };
        let halves = Arithmetic { precision: EncoderPrecision::Bf16, ..cpu };
        for arithmetic in [gpu, halves] {
            let peers = Part::Encoder.only(&[], arithmetic).unwrap();
            assert_eq!(peers, ["segment_anything", "torch_sdpa"], "{arithmetic:?}");
        }
    }

    fn bench() -> ForwardBench {
        let peer = PeerTimes {
            version: "none 1.0".into(),
            relative_error: 1e-2,
            bound: 1e-1,
            peak_rss_mib: 3000.0,
            times: PairedTimes { secs: vec![6.0, 9.0, 8.0], our_secs: vec![3.0, 3.0, 2.0] },
        };
        ForwardBench {
            part: Part::Encoder,
            variant: "vit_l",
            device: "flex".into(),
            precision: EncoderPrecision::Bf16,
            batch_size: 1,
            threads: 2,
            secs: vec![3.0, 2.0, 2.5],
            relative_error: 5e-3,
            bound: 2e-2,
            peak_rss_mib: 800.0,
            ratio: BTreeMap::from([("peer", 3.0)]),
            spread: BTreeMap::from([("peer", [2.0, 4.0])]),
            peers: BTreeMap::from([("peer", peer)]),
        }
    }

    #[test]
    fn the_table_says_who_takes_how_much_longer() {
        let table = bench().markdown();
        assert!(
            table.starts_with("SAM vit_l, encoder, 1024 x 1024, batch 1, flex in bf16, 2 threads"),
            "{table}"
        );
        let row = "| ours | 2.500 [2.000, 3.000] | 800 | 5.0e-3 (2e-2) | |";
        assert!(table.contains(row), "{table}");
        let row = "| peer (none 1.0) | 8.000 | 3000 | 1.0e-2 (1e-1) | 3.00 [2.00, 4.00] |";
        assert!(table.contains(row), "{table}");
    }

    #[test]
    fn an_output_beyond_its_bound_is_no_agreement() {
        let mut bench = bench();
        assert_eq!(bench.agreement(), Ok(()));
        bench.relative_error = 3e-2;
        let error = bench.agreement().unwrap_err().to_string();
        let ours = "results do not agree: ours: the image embedding is off by 3.0e-2, expected at most 2e-2";
        assert_eq!(error, ours);
        bench.peers.get_mut("peer").unwrap().relative_error = f64::INFINITY;
        let DisagreeError(both) = bench.agreement().unwrap_err();
        let who: Vec<&str> = both.iter().map(|one| one.who.as_str()).collect();
        assert_eq!(who, ["ours", "peer"]);
    }

    #[test]
    fn bounds_follow_from_who_rounds_where() {
        let halves = Arithmetic { precision: EncoderPrecision::Bf16, ..Arithmetic::default() };
        // Ours rounds factors of products only, PyTorch every result; the decoder is not in halves.
        assert_eq!(Part::Encoder.bound(halves, Bounds::of), 2e-2);
        assert_eq!(Part::Encoder.bound(halves, Bounds::of_peer), 1e-1);
        for bounds in [Bounds::of, Bounds::of_peer] {
            assert_eq!(Part::Encoder.bound(Arithmetic::default(), bounds), 1e-5);
            assert_eq!(Part::Decoder.bound(halves, bounds), 1e-4);
        }
    }
}
