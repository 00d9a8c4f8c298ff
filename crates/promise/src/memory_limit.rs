//! How much memory this process can have, and what says so.

use std::{fmt, fs, path::Path};

use crate::memory::gib;

/// The most memory that this process can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// The tightest limit that the system names, on a machine of `total` bytes. Outside of Linux only control groups and
    /// the memory of the machine are known.
    ///
    /// - `group`: what the nearest control group allows, if somebody else knows it
    pub(crate) fn of_this_process(total: u64, group: Option<u64>) -> Self {
        let read = |path: &Path| fs::read_to_string(path).ok();
        let space = read(Path::new("/proc/self/limits")).as_deref().and_then(address_space);
        let swapping = read(Path::new("/proc/meminfo")).as_deref().and_then(memory_and_swap);
        let groups =
            read(Path::new("/proc/self/cgroup")).and_then(|text| control_group(&text, read));
        let groups = groups.into_iter().chain(group).min();
        let machine = match swapping {
            Some(bytes) => Self { bytes, by: "the memory of this machine with its swap space" },
            None => Self { bytes: total, by: "the memory of this machine" },
        };
        let named = [
            (space, "the limit on the address space (`ulimit -v`)"),
            (groups, "the memory of this container or control group"),
        ];
        let known = named.into_iter().filter_map(|(bytes, by)| Some(Self { bytes: bytes?, by }));
        known.fold(
            machine,
            |tightest, limit| if limit.bytes < tightest.bytes { limit } else { tightest },
        )
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
    fn the_tightest_limit_counts_and_is_named() {
        let alone = MemoryLimit::of_this_process(1 << 40, None);
        let tight = MemoryLimit::of_this_process(1 << 40, Some(4096));
        assert_eq!(tight.bytes, 4096);
        assert!(tight.to_string().starts_with("the memory of this container"), "{tight}");
        assert!(alone.bytes > 4096);
    }
}
