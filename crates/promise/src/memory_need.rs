//! How much memory a run needs at the very least, and how much it may have.
//!
//! Memory that runs out has no error that a program could handle: the system kills it, or its allocator ends it. So what
//! can be known before is compared before. The need is a lower bound: what is refused could not have ended.

use std::{fmt, fs, path::Path};

use sam_backbone::SamConfig;

use crate::{
    memory::{feature_bytes, gib},
    plan::RunPlan,
    run::Sources,
    spec::DataSpec,
};

/// Beyond the lower bound, a run needs some room for code, images, activations, threads.
const ROOM: u64 = 1 << 30;

/// What a run needs at least, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryNeed {
    /// The parameters of the backbone.
    pub weights: u64,
    /// Features that are kept in memory: those of all images, up to `data.feature_memory_gib` and the budget.
    pub features: u64,
    /// Images whose features could be kept.
    pub images: usize,
    /// The features of one batch.
    pub batch: u64,
}

impl MemoryNeed {
    /// The need of a plan whose prompt module reads the blocks `taps`, with a budget of so many bytes if there is one.
    pub(crate) fn of(
        plan: &RunPlan,
        config: &SamConfig,
        parameters: usize,
        taps: &[usize],
        sources: &Sources,
        memory: Option<u64>,
    ) -> Self {
        let per_image = feature_bytes(config, taps);
        let trained = match (plan.trains(), &plan.spec.train.augmentation) {
            (false, _) => 0,
            // What is augmented is never kept.
            (true, Some(_)) => sources.valid.len(),
            (true, None) => sources.train.len() * plan.spec.train.views + sources.valid.len(),
        };
        let images = trained + sources.test.iter().map(|set| set.len()).sum::<usize>();
        let budget = feature_budget(&plan.spec.data).min(memory.unwrap_or(u64::MAX));
        let batch = if plan.trains() { plan.spec.train.batch_size as u64 } else { 1 };
        Self {
            weights: 4 * parameters as u64,
            features: budget.min((images as u64).saturating_mul(per_image)),
            images,
            batch: batch.saturating_mul(per_image),
        }
    }

    /// All of it.
    pub fn bytes(&self) -> u64 {
        self.weights.saturating_add(self.features).saturating_add(self.batch)
    }

    /// Whether so much fits.
    pub(crate) fn fit(&self, limit: &MemoryLimit) -> Fit {
        let needed = self.bytes();
        if needed > limit.bytes {
            Fit::Impossible
        } else if needed.saturating_add(ROOM) > limit.bytes {
            Fit::Tight
        } else {
            Fit::Ample
        }
    }
}

/// Whether a run fits into the memory that it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// As far as is known.
    Ample,
    /// Perhaps not.
    Tight,
    /// Certainly not.
    Impossible,
}

impl fmt::Display for MemoryNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} for features of {} images, {} for those of a batch, {} for the weights",
            gib(self.features),
            self.images,
            gib(self.batch),
            gib(self.weights)
        )
    }
}

/// Bytes of features that a run may keep in memory.
pub(crate) fn feature_budget(spec: &DataSpec) -> u64 {
    (spec.feature_memory_gib * f64::from(1 << 30)) as u64
}

/// The most memory that this process can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Bytes.
    pub bytes: u64,
    /// What sets the limit.
    pub by: &'static str,
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.by, gib(self.bytes))
    }
}

impl MemoryLimit {
    /// The tightest limit that the system names; `None` where it names none, e.g. outside of Linux.
    pub fn of_this_process() -> Option<Self> {
        let read = |path: &Path| fs::read_to_string(path).ok();
        let limits = read(Path::new("/proc/self/limits")).as_deref().and_then(address_space);
        let memory = read(Path::new("/proc/meminfo")).as_deref().and_then(memory_and_swap);
        let group =
            read(Path::new("/proc/self/cgroup")).and_then(|text| control_group(&text, read));
        let named = [
            (limits, "the limit on the address space (`ulimit -v`)"),
            (group, "the memory of this container or control group"),
            (memory, "the memory of this machine with its swap space"),
        ];
        let known = named.into_iter().filter_map(|(bytes, by)| Some(Self { bytes: bytes?, by }));
        known.min_by_key(|limit| limit.bytes)
    }
}

/// The soft limit in the text of `/proc/self/limits`.
fn address_space(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The sum in the text of `/proc/meminfo`, which counts in KiB.
fn memory_and_swap(meminfo: &str) -> Option<u64> {
    let value = |name: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let kib = value("MemTotal:")?.saturating_add(value("SwapTotal:").unwrap_or(0));
    kib.checked_mul(1 << 10)
}

/// The tightest limit of the control groups (version 2) that `/proc/self/cgroup` names, up to the root.
fn control_group(text: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let group = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let root = Path::new("/sys/fs/cgroup");
    let group = root.join(group.trim_start_matches('/'));
    let folders = group.ancestors().take_while(|folder| folder.starts_with(root));
    let limit = |folder: &Path| read(&folder.join("memory.max"))?.trim().parse().ok();
    folders.filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_system_writes_them() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max cpu time              unlimited            unlimited            seconds   \n\
                      Max address space         1048576000           unlimited            bytes     \n";
        assert_eq!(address_space(limits), Some(1_048_576_000));
        assert_eq!(address_space(&limits.replace("1048576000", "unlimited ")), None);
        let meminfo =
            "MemTotal:        2000 kB\nMemFree:          500 kB\nSwapTotal:       1000 kB\n";
        assert_eq!(memory_and_swap(meminfo), Some(3000 << 10));
        assert_eq!(memory_and_swap("nonsense"), None);
        let files = |path: &Path| match path.to_str()? {
            "/sys/fs/cgroup/jobs/7/memory.max" => Some("max\n".to_owned()),
            "/sys/fs/cgroup/jobs/memory.max" => Some("5000\n".to_owned()),
            "/sys/fs/cgroup/memory.max" => Some("9000\n".to_owned()),
            _ => None,
        };
        assert_eq!(control_group("0::/jobs/7\n", files), Some(5000));
        assert_eq!(control_group("0::/\n", files), Some(9000));
        assert_eq!(control_group("4:memory:/jobs\n", files), None);
    }

    #[test]
    fn a_need_is_refused_only_if_it_cannot_fit() {
        let need = MemoryNeed { weights: 3 << 30, features: 8 << 30, images: 900, batch: 1 << 30 };
        let limit = |gib: u64| MemoryLimit { bytes: gib << 30, by: "the memory" };
        let fits = [11, 12, 13, 64].map(|gib| need.fit(&limit(gib)));
        assert_eq!(fits, [Fit::Impossible, Fit::Tight, Fit::Ample, Fit::Ample]);
        let text = format!("{need}; {}", limit(11));
        for part in [
            "8.00 GiB for features of 900 images",
            "1.00 GiB for those of a batch",
            "the memory is 11.00 GiB",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
