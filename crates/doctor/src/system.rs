//! Build, device, threads, memory.

use promise::{device::DeviceKind, memory::gib};

use crate::{Area, Machine, Question, Report};

/// Less free memory than that is not enough for ViT-B.
const LITTLE_MEMORY: u64 = 3 << 30;

pub(crate) fn examine(question: &Question, machine: &Machine, report: &mut Report) {
    build(machine, report);
    processor(machine, report);
    cuda(question, machine, report);
    threads(machine, report);
    memory(question, machine, report);
}

fn build(machine: &Machine, report: &mut Report) {
    let build = &machine.build;
    let says = format!(
        "profile {}, optimization level {}, CUDA {}",
        build.profile,
        build.opt_level,
        if machine.cuda.built { "built in" } else { "not built in" }
    );
    match build.opt_level.as_str() {
        "2" | "3" => report.ok(Area::Build, says),
        _ => report.warn(
            Area::Build,
            says,
            "computing is 30 to 100 times slower without optimization: build with the profile of this workspace's Cargo.toml",
        ),
    }
}

fn processor(machine: &Machine, report: &mut Report) {
    let name = machine.processor.as_deref().unwrap_or("processor of an unknown name");
    match machine.x86 {
        None => report.ok(Area::Device, format!("{name}, no x86: kernels use what it has")),
        Some(x86) if x86.tiles => report.ok(
            Area::Device,
            format!("{name}, with AVX-512 and tiles (AMX): an encoder of SAM's in `bf16` takes half the time"),
        ),
        Some(x86) if x86.avx512 => report.ok(Area::Device, format!("{name}, with AVX-512")),
        Some(x86) if x86.avx2 => {
            report.ok(Area::Device, format!("{name}, with AVX2, without AVX-512"));
        }
        Some(_) => report.warn(
            Area::Device,
            format!("{name}, without AVX2 and FMA"),
            "matrix products take several times as long; a virtual machine may hide what the processor has",
        ),
    }
}

fn cuda(question: &Question, machine: &Machine, report: &mut Report) {
    let cuda = &machine.cuda;
    if !matches!(question.device, DeviceKind::Cuda(_)) {
        return;
    }
    if !cuda.built {
        report.problem(
            Area::Device,
            "this program was built without CUDA",
            "`cargo run -p xtask --features cuda -- …` builds it with",
        );
        return;
    }
    match &cuda.driver {
        Some(path) => report.ok(Area::Device, format!("CUDA driver: {}", path.display())),
        None => report.problem(
            Area::Device,
            "no CUDA driver (libcuda.so) in LD_LIBRARY_PATH and the usual folders",
            "install the driver of the GPU; in a container, pass the GPU on to it",
        ),
    }
    match &cuda.nvrtc {
        Some(path) => report.ok(Area::Device, format!("NVRTC: {}", path.display())),
        None => report.problem(
            Area::Device,
            "no NVRTC (libnvrtc.so) in LD_LIBRARY_PATH, CUDA_PATH and the usual folders",
            "install the CUDA toolkit's runtime compiler, or name its folder in LD_LIBRARY_PATH",
        ),
    }
}

fn threads(machine: &Machine, report: &mut Report) {
    let (usable, all) = (machine.usable, machine.processors);
    let limited = match usable < all {
        true => format!(
            " ({all} processors, of which affinity or a control group leaves {usable} to this program)"
        ),
        false => String::new(),
    };
    let Some(asked) = &machine.threads_asked else {
        report.ok(Area::Threads, format!("{usable}, as many as processors{limited}"));
        return;
    };
    match asked.trim().parse::<usize>() {
        Ok(n) if n > usable => report.warn(
            Area::Threads,
            format!("RAYON_NUM_THREADS is {n}, more than the {usable} usable processors{limited}"),
            "threads that share a processor wait for each other: set it to the number of processors, or leave it out",
        ),
        Ok(n) if n > 0 => {
            report.ok(Area::Threads, format!("{n} (RAYON_NUM_THREADS) of {usable}{limited}"));
        }
        _ => report.warn(
            Area::Threads,
            format!("RAYON_NUM_THREADS is `{asked}`, which is no number of threads and is ignored"),
            format!("set it to 1 to {usable}, or leave it out"),
        ),
    }
}

fn memory(question: &Question, machine: &Machine, report: &mut Report) {
    let memory = machine.memory;
    let limit = match memory.limit {
        limit if limit.bytes < memory.total => format!("; {limit}"),
        _ => String::new(),
    };
    let says = format!("{} free of {}{limit}", gib(memory.available), gib(memory.total));
    if memory.available < LITTLE_MEMORY {
        report.warn(
            Area::Memory,
            says,
            "`micro` needs about 1 GiB, ViT-B about 3 GiB; end other programs, or bound reading ahead and kept features with `--memory-gib`",
        );
    } else {
        report.ok(Area::Memory, says);
    }
    if let Some(budget) = question.memory {
        let says = format!("the budget for reading ahead and kept features is {}", gib(budget));
        match budget > memory.available {
            true => report.warn(
                Area::Memory,
                format!("{says}, more than is free"),
                "give a smaller `--memory-gib`",
            ),
            false => report.ok(Area::Memory, says),
        }
    }
    match machine.purge_delay.as_deref() {
        Some("-1") => {
            report.ok(Area::Memory, "MIMALLOC_PURGE_DELAY is -1: freed pages are kept, which is fast");
        }
        Some(other) => report.warn(
            Area::Memory,
            format!("MIMALLOC_PURGE_DELAY is {other}: freed pages go back to the system"),
            "training takes less memory and half as long again; `-1` keeps them",
        ),
        None => report.warn(
            Area::Memory,
            "MIMALLOC_PURGE_DELAY is not set: freed pages go back to the system",
            "training takes less memory and half as long again; call the program as `cargo xtask`, which sets it to -1, or set it",
        ),
    }
}
