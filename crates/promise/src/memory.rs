//! How much memory reading ahead and kept features may take, and how much there is.
//!
//! A budget belongs to the machine and not to the experiment: it decides how far ahead is read, and what is kept
//! instead of read again, and changes no number.

use sam_backbone::SamConfig;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use crate::memory_limit::MemoryLimit;

/// Decoded images that may wait for the encoder without a budget.
const DECODE_AHEAD: usize = 8;

/// Threads that decode for the encoder. An image takes far longer to encode than to decode.
const DECODERS: usize = 2;

/// Bytes a pixel while an image and its mask are decoded: 16 bits of three colors, their 8 bits, turned as EXIF says,
/// and the mask as gray values and as truth.
const BYTES_OF_DECODING: u64 = 14;

/// Bytes a pixel while a prediction is scored: logits, probabilities and truth at the image's own size, and what
/// measures make of them.
const BYTES_OF_SCORING: u64 = 40;

/// Batches of features at a time: the one that is trained on, the next one, and its cases before they are joined.
const BATCHES: u64 = 3;

/// How much is read ahead, and by how many threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Threads that decode images for the encoder.
    pub decoders: usize,
    /// Decoded images that may wait for the encoder.
    pub decode_ahead: usize,
    /// Threads that read cases for training, or score them, each with one in its hands.
    pub workers: usize,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            decoders: DECODERS,
            decode_ahead: DECODE_AHEAD,
            workers: rayon::current_num_threads(),
        }
    }
}

/// What a run reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Images of a batch; 0 if nothing is trained.
    pub batch: usize,
    /// Bytes of the features of an image.
    pub per_image: u64,
    /// Pixels of the largest image.
    pub largest_image: u64,
}

/// A budget that does not suffice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLittle {
    /// Bytes that are needed at least.
    pub needed: u64,
}

impl Demand {
    /// Bytes that batches take while a step is computed.
    pub fn batches(&self) -> u64 {
        BATCHES.saturating_mul(self.batch as u64).saturating_mul(self.per_image)
    }

    /// Bytes that a thread has in its hands which reads or scores a case.
    fn in_hands(&self) -> u64 {
        let pixels = BYTES_OF_DECODING.max(BYTES_OF_SCORING).saturating_mul(self.largest_image);
        self.per_image.saturating_add(pixels)
    }

    fn decoded(&self) -> u64 {
        BYTES_OF_DECODING.saturating_mul(self.largest_image)
    }

    /// Bytes that it cannot do without.
    pub fn least(&self) -> u64 {
        self.batches().saturating_add(self.in_hands()).max(2 * self.decoded())
    }

    /// Shares a budget out: how much is read ahead, and the bytes that are left for features.
    ///
    /// - `features`: bytes that the experiment wants to keep at most
    ///
    /// # Errors
    ///
    /// [`TooLittle`] if the budget is smaller than what the run cannot do without.
    pub fn share(&self, budget: Option<u64>, features: u64) -> Result<(Reading, u64), TooLittle> {
        let Some(budget) = budget else { return Ok((Reading::default(), features)) };
        let most = Reading::default();
        let needed = self.least();
        if needed > budget {
            return Err(TooLittle { needed });
        }
        // A quarter for each kind of hurry; they do not hurry at the same time.
        let fits = |bytes: u64, most: usize| {
            let many = (budget / 4).checked_div(bytes).unwrap_or(u64::MAX);
            usize::try_from(many).unwrap_or(usize::MAX).clamp(1, most.max(1))
        };
        let decode_ahead = fits(self.decoded(), most.decode_ahead);
        let decoders = most.decoders.min(decode_ahead);
        let mut workers = fits(self.in_hands(), most.workers);
        let while_training = |workers: usize| self.batches() + workers as u64 * self.in_hands();
        while workers > 1 && while_training(workers) > budget {
            workers -= 1;
        }
        let while_encoding = (decoders + decode_ahead) as u64 * self.decoded();
        let reserved = while_training(workers).max(while_encoding.min(budget));
        let reading = Reading { decoders, decode_ahead, workers };
        Ok((reading, features.min(budget - reserved)))
    }
}

/// Bytes of the features of one image: the embedding and the outputs of these blocks, in single precision.
pub fn feature_bytes(sam: &SamConfig, taps: &[usize]) -> u64 {
    let encoder = &sam.image_encoder;
    let cells = (encoder.grid_size() * encoder.grid_size()) as u64;
    let widths = encoder.block_widths();
    let tapped: usize = taps.iter().map(|&tap| widths[tap]).sum();
    4 * cells * (encoder.embed_dim + tapped) as u64
}

/// The memory of a machine, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineMemory {
    /// All of it.
    pub total: u64,
    /// What programs can still get.
    pub available: u64,
    /// What this program may take at most, and what says so.
    pub limit: MemoryLimit,
}

impl MachineMemory {
    /// Asks the system.
    pub fn now() -> Self {
        let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
        let system = System::new_with_specifics(memory);
        let total = system.total_memory();
        let group = system.cgroup_limits().filter(|group| group.total_memory < total);
        let limit =
            MemoryLimit::of_this_process(total, group.as_ref().map(|group| group.total_memory));
        let free = group.map_or(u64::MAX, |group| group.free_memory);
        Self { total, available: system.available_memory().min(free).min(limit.bytes), limit }
    }
}

/// Bytes as GiB with two digits, for messages.
pub fn gib(bytes: u64) -> String {
    format!("{:.2} GiB", bytes as f64 / f64::from(1 << 30))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is shared out fits, added up by hand from what the constants say.
        #[test]
        fn a_budget_is_kept(
            batch in 0..64_usize,
            per_image in 1..100_000_000_u64,
            largest_image in 0..50_000_000_u64,
            budget in 0..1_u64 << 36,
        ) {
            let demand = Demand { batch, per_image, largest_image };
            match demand.share(Some(budget), u64::MAX) {
                Ok((reading, features)) => {
                    let training = 3 * batch as u64 * per_image
                        + reading.workers as u64 * (per_image + 40 * largest_image);
                    prop_assert!(training + features <= budget);
                    let waiting = (reading.decoders + reading.decode_ahead) as u64;
                    prop_assert!(waiting * 14 * largest_image <= budget);
                    prop_assert!(reading.workers >= 1 && reading.decoders >= 1);
                }
                Err(TooLittle { needed }) => prop_assert!(needed > budget),
            }
        }
    }

    #[test]
    fn without_a_budget_the_experiment_says_what_is_kept() {
        let demand = Demand { batch: 8, per_image: 1 << 24, largest_image: 1 << 20 };
        assert_eq!(demand.share(None, 7), Ok((Reading::default(), 7)));
        // A large budget changes nothing.
        assert_eq!(demand.share(Some(1 << 40), 7), Ok((Reading::default(), 7)));
    }

    #[test]
    fn a_machine_has_memory() {
        let machine = MachineMemory::now();
        assert!(machine.available <= machine.limit.bytes);
        assert!(machine.available > 1 << 20 && machine.total > 1 << 20);
    }
}
