//! What a machine and a program have. Tests make up their own.

use std::{
    env, fs,
    path::{Path, PathBuf},
    thread,
};

use promise::{device::DeviceKind, memory::MachineMemory};

/// What there is to compute with.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Name of the processor.
    pub processor: Option<String>,
    /// What an x86 processor can do; nothing on another.
    pub x86: Option<X86>,
    /// Processors of the machine.
    pub processors: usize,
    /// Those that this program may use: affinity and control groups taken into account.
    pub usable: usize,
    /// `RAYON_NUM_THREADS` as it is set.
    pub threads_asked: Option<String>,
    /// Memory.
    pub memory: MachineMemory,
    /// `MIMALLOC_PURGE_DELAY` as it is set.
    pub purge_delay: Option<String>,
    /// What CUDA needs.
    pub cuda: Cuda,
    /// How the program was built.
    pub build: Build,
}

/// Instructions that the kernels use where they are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct X86 {
    /// AVX2 and FMA.
    pub avx2: bool,
    /// AVX-512 F.
    pub avx512: bool,
    /// The tile unit (AMX) with `bfloat16`, which the system lets this process use.
    pub tiles: bool,
}

/// What CUDA needs.
#[derive(Debug, Clone, Default)]
pub struct Cuda {
    /// Whether the program has the backend.
    pub built: bool,
    /// The driver's library.
    pub driver: Option<PathBuf>,
    /// The compiler for kernels.
    pub nvrtc: Option<PathBuf>,
}

/// How a program was built.
#[derive(Debug, Clone)]
pub struct Build {
    /// `debug` or `release`, as Cargo calls what a profile derives from.
    pub profile: String,
    /// Optimization level, as Cargo calls it.
    pub opt_level: String,
}

impl Machine {
    /// What there is here and now.
    pub fn now() -> Self {
        let usable = thread::available_parallelism().map_or(1, usize::from);
        Self {
            processor: processor(),
            x86: x86(),
            processors: processors().unwrap_or(usable).max(usable),
            usable,
            threads_asked: env::var("RAYON_NUM_THREADS").ok(),
            memory: MachineMemory::now(),
            purge_delay: env::var("MIMALLOC_PURGE_DELAY").ok(),
            cuda: Cuda::now(),
            build: Build {
                profile: env!("DOCTOR_PROFILE").into(),
                opt_level: env!("DOCTOR_OPT_LEVEL").into(),
            },
        }
    }
}

fn cpuinfo() -> Option<String> {
    fs::read_to_string("/proc/cpuinfo").ok()
}

fn processor() -> Option<String> {
    let text = cpuinfo()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn processors() -> Option<usize> {
    Some(cpuinfo()?.lines().filter(|line| line.starts_with("processor")).count())
}

#[cfg(target_arch = "x86_64")]
fn x86() -> Option<X86> {
    Some(X86 {
        avx2: std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma"),
        avx512: std::is_x86_feature_detected!("avx512f"),
        tiles: fused_ops::has_tiles(),
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn x86() -> Option<X86> {
    None
}

impl Cuda {
    fn now() -> Self {
        let named = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let toolkit = env::var_os("CUDA_PATH").map(|root| Path::new(&root).join("lib64"));
        let usual = [
            "/usr/local/cuda/lib64",
            "/usr/lib/x86_64-linux-gnu",
            "/usr/lib/aarch64-linux-gnu",
            "/usr/lib64",
            "/usr/lib",
            "/usr/lib/wsl/lib",
        ];
        let folders: Vec<PathBuf> =
            env::split_paths(&named).chain(toolkit).chain(usual.map(PathBuf::from)).collect();
        Self {
            built: DeviceKind::Cuda(0).is_built(),
            driver: library(&folders, "libcuda.so"),
            nvrtc: library(&folders, "libnvrtc.so"),
        }
    }
}

/// The first file in some folders whose name is a library's, perhaps with a version behind it.
fn library(folders: &[PathBuf], name: &str) -> Option<PathBuf> {
    folders.iter().find_map(|folder| {
        let mut found: Vec<PathBuf> = fs::read_dir(folder)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                file.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
            .collect();
        found.sort();
        found.into_iter().next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_found_with_its_version_and_not_its_neighbors() {
        let folder = tempfile::tempdir().expect("a folder");
        let folders = [folder.path().join("absent"), folder.path().to_owned()];
        fs::write(folder.path().join("libcudart.so.12"), "").expect("written");
        assert_eq!(library(&folders, "libcuda.so"), None);
        fs::write(folder.path().join("libcuda.so.1"), "").expect("written");
        assert_eq!(library(&folders, "libcuda.so"), Some(folder.path().join("libcuda.so.1")));
    }

    #[test]
    fn this_machine_can_be_described() {
        let machine = Machine::now();
        assert!(machine.usable >= 1 && machine.processors >= machine.usable);
    }
}
