//! Where and with what a run was made.

use std::{path::Path, process::Command, sync::OnceLock};

use run_record::Environment;
use sha2::{Digest, Sha256};

use crate::device::DeviceKind;

/// Version of Burn, as `Cargo.toml` pins it.
const BURN_VERSION: &str = "0.22.1";

/// The source tree that this program was built from.
const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Describes the machine, the source tree and the command.
pub fn environment(device: DeviceKind, seed: u64) -> Environment {
    let git = |arguments: &[&str]| -> Option<String> {
        let output = Command::new("git").arg("-C").arg(WORKSPACE).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    Environment {
        revision: git(&["rev-parse", "HEAD"]),
        dirty: git(&["status", "--porcelain"]).map(|changes| !changes.is_empty()),
        program_sha256: program_sha256(),
        package_version: env!("CARGO_PKG_VERSION").to_owned(),
        burn_version: BURN_VERSION.to_owned(),
        device: device.to_string(),
        threads: rayon::current_num_threads(),
        os: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        cpu: cpu_model(),
        gpu: gpu_model(device),
        seed,
        command: command(),
    }
}

/// SHA-256 of this program's file, where it can be read; read once.
///
/// A file that was replaced while the program runs is still the one that runs where the system knows it (Linux).
pub fn program_sha256() -> Option<String> {
    static PROGRAM: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let own = Path::new("/proc/self/exe");
        let bytes = std::fs::read(own).or_else(|_| std::fs::read(std::env::current_exe()?)).ok()?;
        Some(hex::encode(Sha256::digest(&bytes)))
    };
    PROGRAM.get_or_init(read).clone()
}

/// The command line, with the program's name instead of its path.
fn command() -> Vec<String> {
    let mut words: Vec<String> = std::env::args().collect();
    if let Some(program) = words.first_mut() {
        let name = Path::new(&*program).file_name().map(|name| name.to_string_lossy().into_owned());
        *program = name.unwrap_or_default();
    }
    words
}

fn cpu_model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Model and driver of a CUDA device, as `nvidia-smi` tells them: `NVIDIA H100 80GB HBM3, 580.159.04`.
///
/// CUDA counts the devices that `CUDA_VISIBLE_DEVICES` leaves, `nvidia-smi` all of them.
pub(crate) fn gpu_model(device: DeviceKind) -> Option<String> {
    let DeviceKind::Cuda(number) = device else { return None };
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default();
    let name = match visible.split(',').nth(number).map(str::trim) {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => number.to_string(),
    };
    let query = ["--query-gpu=name,driver_version", "--format=csv,noheader", "--id", &name];
    let output = Command::new("nvidia-smi").args(query).output().ok()?;
    let model = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !model.is_empty()).then_some(model)
}

/// A device and, if it is a GPU, its model: `cuda (NVIDIA H100 80GB HBM3, 580.159.04)`.
pub(crate) fn device_and_model(device: DeviceKind) -> String {
    match gpu_model(device) {
        Some(model) => format!("{device} ({model})"),
        None => device.to_string(),
    }
}

/// Lets [`peak_memory_mib`] begin anew. False where the system cannot (Linux can): then it still counts what came before.
pub(crate) fn forget_peak_memory() -> bool {
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Largest resident memory of this process so far in MiB, where the system tells it.
pub fn peak_memory_mib() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_burn_version_is_the_pinned_one() {
        let manifest = include_str!("../../../Cargo.toml");
        assert!(manifest.contains(&format!("burn = {{ version = \"={}\"", super::BURN_VERSION)));
    }
}
