//! What is said of machines and folders that a test made up.

use std::{
    fs,
    path::{Path, PathBuf},
};

use doctor::{Area, Build, Cuda, Finding, Machine, Question, Report, Verdict, X86, examine};
use promise::{
    device::DeviceKind, memory::MachineMemory, memory_limit::MemoryLimit, run::CacheFolder,
};

const GIB: u64 = 1 << 30;

fn memory_of(total: u64, available: u64) -> MachineMemory {
    let limit = MemoryLimit { bytes: total, by: "the memory of this machine" };
    MachineMemory { total, available, limit }
}

/// A machine without fault.
fn machine() -> Machine {
    Machine {
        processor: Some("a processor".into()),
        x86: Some(X86 { avx2: true, avx512: true, tiles: false }),
        processors: 8,
        usable: 8,
        threads_asked: None,
        memory: memory_of(64 * GIB, 32 * GIB),
        purge_delay: Some("-1".into()),
        cuda: Cuda::default(),
        build: Build { profile: "debug".into(), opt_level: "3".into() },
    }
}

fn question(folder: &Path) -> Question {
    Question {
        device: DeviceKind::Flex,
        data_root: None,
        runs: folder.join("runs"),
        cache: CacheFolder { root: folder.join("cache"), limit: GIB },
        weights: folder.join("weights"),
        memory: None,
        experiment: None,
    }
}

fn of(report: &Report, area: Area) -> Vec<&Finding> {
    report.findings.iter().filter(|finding| finding.area == area).collect()
}

/// The only finding of an area that is not ok.
fn complaint(report: &Report, area: Area) -> &Finding {
    let found = of(report, area);
    let mut bad = found.into_iter().filter(|finding| finding.verdict != Verdict::Ok);
    let first = bad.next().unwrap_or_else(|| panic!("no complaint about {area}: {report:?}"));
    assert_eq!(bad.next(), None, "a second complaint about {area}");
    assert!(first.advice.is_some(), "nothing to do about {first:?}");
    first
}

#[test]
fn a_good_machine_has_no_complaint_but_about_its_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = examine(&question(folder.path()), &machine());
    for finding in report.findings.iter().filter(|finding| finding.area != Area::Disk) {
        assert_eq!(finding.verdict, Verdict::Ok, "{finding:?}");
    }
    // How much room the disk of this machine has is no business of a test.
    let disk = of(&report, Area::Disk);
    for what in ["runs", "feature cache", "weights"] {
        let found = disk.iter().any(|finding| finding.says.starts_with(what));
        assert!(found, "{what}: {disk:?}");
    }
    let left: Vec<_> = fs::read_dir(folder.path()).expect("the folder").collect();
    assert!(left.is_empty(), "{left:?} was left behind");
}

#[test]
fn what_a_machine_lacks_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let question = question(folder.path());
    let limit = MemoryLimit { bytes: 2 * GIB, by: "the memory of this container" };
    let small = MachineMemory { limit, ..memory_of(64 * GIB, GIB) };
    for (machine, area, verdict, part) in [
        (
            Machine { x86: Some(X86 { avx2: false, avx512: false, tiles: false }), ..machine() },
            Area::Device,
            Verdict::Warning,
            "without AVX2",
        ),
        (
            Machine { threads_asked: Some("12".into()), ..machine() },
            Area::Threads,
            Verdict::Warning,
            "more than the 8 usable",
        ),
        (
            Machine { threads_asked: Some("many".into()), ..machine() },
            Area::Threads,
            Verdict::Warning,
            "`many`",
        ),
        (
            Machine { usable: 2, threads_asked: Some("4".into()), ..machine() },
            Area::Threads,
            Verdict::Warning,
            "leaves 2 to this program",
        ),
        (
            Machine { memory: small, ..machine() },
            Area::Memory,
            Verdict::Warning,
            "1.00 GiB free of 64.00 GiB; the memory of this container is 2.00 GiB",
        ),
        (
            Machine { purge_delay: None, ..machine() },
            Area::Memory,
            Verdict::Warning,
            "MIMALLOC_PURGE_DELAY is not set",
        ),
        (
            Machine {
                build: Build { profile: "debug".into(), opt_level: "0".into() },
                ..machine()
            },
            Area::Build,
            Verdict::Warning,
            "optimization level 0",
        ),
    ] {
        let report = examine(&question, &machine);
        let finding = complaint(&report, area);
        assert_eq!(finding.verdict, verdict);
        assert!(finding.says.contains(part), "{part} is not in {}", finding.says);
    }
    let four = Machine { threads_asked: Some("4".into()), ..machine() };
    assert!(
        of(&examine(&question, &four), Area::Threads)[0].says.contains("4 (RAYON_NUM_THREADS)")
    );
}

#[test]
fn cuda_is_asked_for_only_where_it_is_wanted() {
    let folder = tempfile::tempdir().expect("a folder");
    let wanted = Question { device: DeviceKind::Cuda(0), ..question(folder.path()) };
    let report = examine(&wanted, &machine());
    assert!(complaint(&report, Area::Device).says.contains("built without CUDA"));
    let built = Cuda { built: true, driver: Some("/lib/libcuda.so.1".into()), nvrtc: None };
    let report = examine(&wanted, &Machine { cuda: built, ..machine() });
    let finding = complaint(&report, Area::Device);
    assert_eq!(finding.verdict, Verdict::Problem);
    assert!(finding.says.contains("NVRTC"), "{}", finding.says);
}

#[test]
fn folders_that_cannot_be_used_are_problems() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("file"), "no folder").expect("written");
    let runs = folder.path().join("file/runs");
    let report = examine(&Question { runs, ..question(folder.path()) }, &machine());
    let problem = |report: &Report, part: &str| {
        let disk = of(report, Area::Disk);
        let found =
            |finding: &&Finding| finding.verdict == Verdict::Problem && finding.says.contains(part);
        assert!(disk.into_iter().any(|finding| found(&finding)), "{part}: {report:?}");
    };
    problem(&report, "runs: no part of the path is a folder");

    // A folder that holds other things is no cache.
    let cache = folder.path().join("cache");
    fs::create_dir(&cache).expect("made");
    fs::write(cache.join("thesis.tex"), "all of it").expect("written");
    let report = examine(&question(folder.path()), &machine());
    assert_eq!(complaint(&report, Area::Cache).verdict, Verdict::Problem);
    assert!(cache.join("thesis.tex").exists());
}

#[test]
fn data_sets_are_complete_incomplete_or_absent() {
    let folder = tempfile::tempdir().expect("a folder");
    let nowhere = Some(folder.path().join("nowhere"));
    let report = examine(&Question { data_root: nowhere, ..question(folder.path()) }, &machine());
    assert_eq!(complaint(&report, Area::Data).verdict, Verdict::Problem);

    let root = folder.path().join("data");
    for part in ["images", "masks"] {
        fs::create_dir_all(root.join("kvasir-seg").join(part)).expect("made");
    }
    let catalog = data_loaders::Catalog::built_in();
    let card = catalog.get("kvasir-seg").expect("a card");
    // Empty files will do: nothing is decoded. One image is left out.
    let mut names: Vec<&str> = Vec::new();
    for split in card.split_names() {
        let members = card.members(&split).unwrap_or_default();
        names.extend(members.into_iter().map(|member| member.name.as_str()));
    }
    names.sort_unstable();
    names.dedup();
    let write = |name: &str| {
        for part in ["images", "masks"] {
            let path = root.join("kvasir-seg").join(part).join(format!("{name}.jpg"));
            fs::write(path, "").expect("written");
        }
    };
    names[1..].iter().for_each(|name| write(name));
    let question = Question { data_root: Some(root.clone()), ..question(folder.path()) };
    let report = examine(&question, &machine());
    let finding = complaint(&report, Area::Data);
    assert_eq!(finding.verdict, Verdict::Warning);
    assert!(finding.says.starts_with("kvasir-seg: incomplete"), "{}", finding.says);
    write(names[0]);
    let report = examine(&question, &machine());
    let says: Vec<&str> =
        of(&report, Area::Data).into_iter().map(|finding| finding.says.as_str()).collect();
    assert!(says.iter().any(|line| line.starts_with("kvasir-seg: complete")), "{says:?}");
    assert!(says.iter().any(|line| line.contains("not below") && line.contains("cvc-clinicdb")));
}

const EXPERIMENT: &str = include_str!("../../../experiments/smoke/apm.toml");

fn with_experiment(folder: &Path, text: &str) -> Question {
    let path: PathBuf = folder.join("experiment.toml");
    fs::write(&path, text).expect("written");
    Question { experiment: Some((path, Vec::new())), ..question(folder) }
}

#[test]
fn an_experiment_is_planned_and_not_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let question = with_experiment(folder.path(), EXPERIMENT);
    let report = examine(&question, &machine());
    let says: Vec<&str> =
        of(&report, Area::Experiment).iter().map(|finding| finding.says.as_str()).collect();
    assert_eq!(says[0], "1 runs, 0 done, 1 to do");
    // 10 images for training and validation, 2 to test; `micro`: 32 x 32 cells, 128 channels of the embedding and as
    // many as its width of the one block that is read.
    assert!(says[2].starts_with("12 images through the encoder"), "{says:?}");
    assert!(!folder.path().join("runs").exists() && !folder.path().join("cache").exists());

    let tiny = memory_of(1 << 20, 1 << 20);
    let report = examine(&question, &Machine { memory: tiny, ..machine() });
    let problem = |finding: &&&Finding| finding.verdict == Verdict::Problem;
    assert_eq!(of(&report, Area::Experiment).iter().filter(problem).count(), 1);
}

#[test]
fn what_stands_in_the_way_of_an_experiment_is_a_problem() {
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = with_experiment(folder.path(), &EXPERIMENT.replace("epochs = 2", "epochs = 0"));
    let report = examine(&wrong, &machine());
    assert!(complaint(&report, Area::Experiment).says.contains("`train.epochs`: is 0"));

    let absent = EXPERIMENT.replace("[\"phantom\"]", "[\"kvasir-seg\"]");
    let report = examine(&with_experiment(folder.path(), &absent), &machine());
    let finding = complaint(&report, Area::Experiment);
    assert!(finding.says.starts_with("1 runs cannot begin: data set `kvasir-seg`"), "{finding:?}");
}
