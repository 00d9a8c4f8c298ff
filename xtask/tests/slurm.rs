//! `ablate --launcher slurm` on a real Slurm of one node (`tools/slurm/start-one-node`): tasks are killed, cancelled, put
//! back into the queue, stopped before their time limit, and ended by Slurm at it, and the table is that of the local launcher,
//! byte for byte.
//!
//! It needs root and Slurm's programs (`tools/slurm/install`), and says so where it has neither; with `PROMISE_SLURM` set it
//! fails there. Most of its time it waits
//! for Slurm, which looks at time limits every half minute.
#![cfg(target_os = "linux")]

mod common;

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::{errors, success, xtask};
use serde_json::Value;

/// Twelve runs; those of `long` and `longer` come first, and take some seconds each.
const EXPERIMENT: &str = r#"
name = "cluster"
seeds = [1, 2, 3]

[backbone]
variant = "micro"

[data]
train = ["phantom"]
test = ["phantom"]
train_limit = 12
test_limit = 2
validation_fraction = 0.2

[prompt]
module = "apm"
options = { points = 4, taps = "12", head = "resnet18", fusion_channels = 8, base_width = 4 }

[shift]
module = "none"

[train]
epochs = 2
batch_size = 4
learning_rate = 1e-3

[evaluate]
prompts = ["auto", "center"]
points = 4
panels = 0

[[variant]]
name = "long"
set = { "train.epochs" = 40 }

[[variant]]
name = "longer"
set = { "train.epochs" = 44 }

[[variant]]
name = "short"

[[variant]]
name = "frozen"
set = { prompt = { module = "none" }, shift = { module = "none" }, "evaluate.prompts" = ["center"] }
"#;

/// A warning as early as the shortest time limit allows.
const PROFILE: &str = r#"
[launcher]
partition = "main"
time = "10"
signal_lead = 58
cpus = 1
max_tasks = 3
encode_tasks = 2
environment = { GIT_DIR = "none" }
"#;

/// Nothing here takes so long unless something is broken.
const PATIENCE: Duration = Duration::from_secs(240);

/// Says so past the capture of output, which hides whatever a test prints that does not fail; a failure where
/// `PROMISE_SLURM` asks for it.
fn skipped(reason: &str) {
    let text = format!("\nSKIPPED: runs on a real Slurm are not tested: {reason}\n");
    std::io::stderr().write_all(text.as_bytes()).expect("written");
    assert!(env::var_os("PROMISE_SLURM").is_none(), "PROMISE_SLURM asks for it");
}

struct Cluster {
    folder: tempfile::TempDir,
    conf: String,
}

/// Why there cannot be one here, if so.
fn missing() -> Option<String> {
    let root = Command::new("id").arg("-u").output().expect("id").stdout == b"0\n";
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]).collect();
    let missing = ["slurmctld", "slurmd", "sbatch", "munged"]
        .into_iter()
        .find(|name| !folders.iter().any(|folder| folder.join(name).exists()));
    let reason = match missing {
        None if root => return None,
        None => "not root".into(),
        Some(name) => format!("no {name}"),
    };
    Some(format!("{reason}; as root, tools/slurm/install gets Slurm"))
}

impl Cluster {
    /// Starts one, or says why there is none.
    fn start() -> Option<Self> {
        if let Some(reason) = missing() {
            skipped(&reason);
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let output = Command::new(tools().join("start-one-node"))
            .arg(folder.path().join("slurm"))
            .output()
            .expect("a script");
        if !output.status.success() {
            // A container without what Slurm's daemons need is no defect of the launcher.
            skipped(&format!("Slurm is installed but does not start here: {}", errors(&output)));
            return None;
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let conf = text.trim().strip_prefix("SLURM_CONF=").expect("where it is").to_owned();
        fs::write(folder.path().join("cluster.toml"), EXPERIMENT).expect("written");
        fs::write(folder.path().join("profile.toml"), PROFILE).expect("written");
        Some(Self { folder, conf })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn slurm(&self, command: &str, arguments: &[&str]) -> String {
        let output = Command::new(command)
            .args(arguments)
            .env("SLURM_CONF", &self.conf)
            .output()
            .expect(command);
        assert!(output.status.success(), "{command} {arguments:?}: {}", errors(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn ablate(&self, arguments: &[&str]) -> Output {
        let all = [&["-q", "ablate", "cluster.toml", "--runs", "runs"], arguments].concat();
        let mut command = xtask(self.path(), &all);
        command.env("SLURM_CONF", &self.conf);
        success(command)
    }

    /// What the last `ablate` with `--json` says of runs, by name: state, and job.
    fn states(&self) -> BTreeMap<String, (String, String)> {
        let document = json(&self.ablate(&["--status", "--json"]));
        let runs = document["runs"].as_array().expect("runs");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        runs.iter()
            .map(|run| {
                let name = text(&run["folder"]).rsplit('/').next().expect("a name").to_owned();
                (name, (text(&run["state"]), text(&run["job"])))
            })
            .collect()
    }

    fn run(&self, name: &str) -> PathBuf {
        self.path().join("runs/cluster").join(name)
    }

    /// The process that works on a run, once it has trained for an epoch.
    fn process_in_training(&self, name: &str) -> String {
        let lease = self.path().join("runs/cluster/.locks").join(format!("{name}.lease"));
        until(&format!("{name} trains"), || {
            let epochs = self.run(name).join("epochs.csv");
            let text = fs::read_to_string(&lease).unwrap_or_default();
            let pid = text.lines().find_map(|line| line.strip_prefix("pid ")).map(str::to_owned);
            pid.filter(|_| epochs.exists() && !self.run(name).join("record.json").exists())
        })
    }

    /// Waits until Slurm has nothing to do.
    fn wait_until_idle(&self) {
        until("the queue is empty", || {
            self.slurm("squeue", &["-h", "-o", "%i"]).trim().is_empty().then_some(())
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Tasks first: their processes would go on.
        let _ = Command::new("scancel").args(["-u", "root"]).env("SLURM_CONF", &self.conf).status();
        thread::sleep(Duration::from_millis(500));
        let slurm = self.path().join("slurm");
        if thread::panicking() {
            for name in ["slurmctld", "slurmd"] {
                let log =
                    fs::read_to_string(slurm.join(format!("log/{name}.log"))).unwrap_or_default();
                let lines: Vec<&str> = log.lines().rev().take(15).collect();
                eprintln!("the end of {name}.log, backwards:\n{}", lines.join("\n"));
            }
        }
        let _ = Command::new(tools().join("stop-one-node")).arg(&slurm).status();
    }
}

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/slurm")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stdout)))
}

/// Waits for something.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn send(signal: &str, pid: &str) -> bool {
    Command::new("kill").args([&format!("-{signal}"), pid]).status().expect("kill").success()
}

/// Keeps a process from doing anything, whoever wants it to go on, until it is gone.
struct StandsStill {
    shell: Child,
}

impl StandsStill {
    fn new(pid: &str) -> Self {
        // As fast as a shell can: Slurm lets what is stopped go on before it ends it.
        let script = format!("while kill -STOP {pid} 2>/dev/null; do sleep 0.002; done");
        let shell = Command::new("bash").args(["-c", &script]).spawn().expect("a shell");
        Self { shell }
    }
}

impl Drop for StandsStill {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// Whether a stopped process has been sent SIGUSR1; nothing if it is gone.
fn has_been_warned(pid: &str) -> Option<bool> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let pending = status.lines().filter_map(|line| {
        let mask = line.strip_prefix("ShdPnd:").or(line.strip_prefix("SigPnd:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    });
    // SIGUSR1 is signal 10.
    Some(pending.fold(0, |all, mask| all | mask) & (1 << 9) != 0)
}

/// Files of runs, and tables, by path; what the page on reliability excepts is left out.
fn results(runs: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut results = common::files(runs);
    results.retain(|path, _| !path.iter().any(|part| part == ".slurm" || part == ".locks"));
    results
}

#[test]
fn a_slurm_that_does_not_start_leaves_no_daemon() {
    if let Some(reason) = missing() {
        return skipped(&reason);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).expect("made");
    // The controller starts, and its node does not.
    fs::write(bin.join("slurmd"), "#!/bin/sh\nexit 3\n").expect("written");
    fs::set_permissions(bin.join("slurmd"), fs::Permissions::from_mode(0o755)).expect("executable");
    let before = env::var_os("PATH").unwrap_or_default();
    let path = [bin].into_iter().chain(env::split_paths(&before)).chain(["/usr/sbin".into()]);
    let slurm = folder.path().join("slurm");
    let output = Command::new(tools().join("start-one-node"))
        .arg(&slurm)
        .env("PATH", env::join_paths(path).expect("a path"))
        .output()
        .expect("a script");
    assert!(!output.status.success());
    let log = fs::read_to_string(slurm.join("log/slurmctld.log")).unwrap_or_default();
    assert!(log.contains("slurmctld"), "the controller was started: {}", errors(&output));
    // Its own folder stands in the command line of a daemon.
    let processes = Command::new("ps").args(["-eo", "args"]).output().expect("ps");
    let all = String::from_utf8_lossy(&processes.stdout).into_owned();
    let mine = slurm.display().to_string();
    let left: Vec<&str> = all.lines().filter(|line| line.contains(&mine)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_ablation_on_slurm_survives_whatever_happens_and_ends_with_the_table_of_the_local_launcher() {
    let Some(cluster) = Cluster::start() else { return };
    let here = cluster.path();
    let begin = Instant::now();
    let said = |what: &str| println!("{:5.1} s: {what}", begin.elapsed().as_secs_f64());

    // What would be handed over; nothing is.
    let slurm = ["--launcher", "slurm", "--profile", "profile.toml"];
    let dry = cluster.ablate(&[&slurm[..], &["--dry-run"]].concat());
    let dry = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(dry.contains("#SBATCH --time=10\n") && dry.contains("--array=0-11%3"), "{dry}");
    assert!(!here.join("runs").exists());
    assert!(cluster.slurm("squeue", &["-h"]).is_empty());

    let handed_over = json(&cluster.ablate(&[&slurm[..], &["--json"]].concat()));
    let jobs = &handed_over["submissions"][0]["jobs"];
    let (encode, runs) = (&jobs[0], &jobs[1]);
    assert_eq!((&encode["count"], &runs["count"]), (&2.into(), &12.into()));
    let job = runs["id"].as_u64().expect("a job");
    said(&format!("handed over as jobs {} and {job}", encode["id"]));
    // Whatever happens to the file now does not reach what waits.
    fs::write(here.join("cluster.toml"), "no = \"experiment\"\n").expect("written");

    cluster.slurm("scancel", &[&format!("{job}_4")]);
    said("longer-seed2 was cancelled while it waited");
    let have_a_minute = |task: usize| {
        cluster.slurm("scontrol", &["update", &format!("JobId={job}_{task}"), "TimeLimit=1"]);
    };
    have_a_minute(0);
    let slow = cluster.process_in_training("long-seed1");
    // Unless it has just been warned, and is gone.
    send("STOP", &slow);
    said("long-seed1 has a minute and stands still, so that its time will be up");
    let killed = cluster.process_in_training("long-seed2");
    assert!(send("KILL", &killed));
    said("long-seed2 was killed");
    cluster.process_in_training("long-seed3");
    cluster.slurm("scontrol", &["requeue", &format!("{job}_2")]);
    said("long-seed3 was put back into the queue");
    let stuck = cluster.process_in_training("longer-seed1");
    let stuck = StandsStill::new(&stuck);
    said("longer-seed1 stands still, and will not hear that its time is up");
    cluster.process_in_training("longer-seed3");
    cluster.slurm("scancel", &[&format!("{job}_5")]);
    said("longer-seed3 was cancelled while it ran");

    // Meanwhile, the local launcher.
    let mut local =
        xtask(here, &["-q", "ablate", "local.toml", "--runs", "local", "--threads-per-run", "1"]);
    fs::write(here.join("local.toml"), EXPERIMENT).expect("written");
    local.args(["--cache", "local-cache"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let local = local.spawn().expect("the program starts");

    until("the time limit is near", || has_been_warned(&slow).unwrap_or(true).then_some(()));
    said("Slurm has warned long-seed1 of its time limit");
    send("CONT", &slow);
    // Once is enough.
    until("the limit is raised", || {
        // Refused while the task is ending.
        let mut update = Command::new("scontrol");
        update.args(["update", &format!("JobId={job}_0"), "TimeLimit=10"]);
        let update = update.env("SLURM_CONF", &cluster.conf).stderr(Stdio::null()).status();
        update.expect("scontrol").success().then_some(())
    });
    until("all but longer-seed1 has left the queue", || {
        let queue = cluster.slurm("squeue", &["-h", "--array", "-o", "%F_%K"]);
        queue.lines().all(|task| task == format!("{job}_3")).then_some(())
    });
    said("all but longer-seed1 has left the queue");

    fs::write(here.join("cluster.toml"), EXPERIMENT).expect("written");
    let expect = |others: &[(&str, &str)]| {
        let states = cluster.states();
        for (name, (state, _)) in &states {
            let other = others.iter().find(|(run, _)| run == name);
            assert_eq!(state, other.map_or("done", |(_, state)| state), "{name} in {states:?}");
        }
    };
    let status = || {
        let status = cluster.ablate(&["--status"]);
        String::from_utf8_lossy(&status.stdout).into_owned()
    };
    let waits = status();
    println!("{waits}");
    expect(&[
        ("long-seed2", "killed"),
        ("longer-seed1", "running"),
        ("longer-seed2", "cancelled"),
        ("longer-seed3", "cancelled"),
    ]);
    for said in ["killed by signal 9", "before it had begun", "CANCELLED AT", "the end of"] {
        assert!(waits.contains(said), "{said}: {waits}");
    }
    // They went on, and did not begin again.
    for name in ["long-seed1", "long-seed3"] {
        let log = fs::read_to_string(cluster.run(name).join("run.log")).expect("a log");
        assert!(log.contains("interrupted") && log.contains("goes on after epoch"), "{log}");
    }

    // Again: what is missing, and what failed only if asked for.
    let hand_over = |more: &[&str]| -> Vec<String> {
        let document = json(&cluster.ablate(&[&slurm[..], more, &["--json"]].concat()));
        let Some(folder) = document["submissions"][0]["folder"].as_str() else { return Vec::new() };
        let text = fs::read_to_string(Path::new(folder).join("submission.json")).expect("written");
        let submission: Value = serde_json::from_str(&text).expect("JSON");
        let tasks = submission["tasks"].as_array().expect("tasks");
        tasks.iter().map(|task| task["run"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(hand_over(&[]), ["longer-seed2", "longer-seed3"], "the cancelled ones");
    assert!(hand_over(&[]).is_empty(), "nothing twice");
    assert_eq!(hand_over(&["--retry", "failed"]), ["long-seed2"], "the killed one");
    said("handed over what was cancelled, and what was killed");
    have_a_minute(3);
    cluster.wait_until_idle();
    drop(stuck);
    said("Slurm has ended longer-seed1 at its time limit; the queue is empty");
    expect(&[("longer-seed1", "timed_out")]);
    let timed_out = status();
    println!("{timed_out}");
    for said in
        ["Slurm ended it at its time limit", "longer-seed1, the end of", "DUE TO TIME LIMIT"]
    {
        assert!(timed_out.contains(said), "{said}: {timed_out}");
    }
    assert!(hand_over(&[]).is_empty(), "what has failed is not tried again by itself");
    let retried = hand_over(&["--retry", "failed"]);
    assert_eq!(retried, ["longer-seed1"], "the one whose time was up, and no other");
    said("handed over the one whose time was up");
    cluster.wait_until_idle();
    expect(&[]);
    let log = fs::read_to_string(cluster.run("longer-seed1").join("run.log")).expect("a log");
    assert!(log.contains("goes on after epoch"), "{log}");
    said("all runs are done");

    let local = local.wait_with_output().expect("it ends");
    assert!(local.status.success(), "{}", errors(&local));
    cluster.ablate(&["--threads-per-run", "1"]);
    let [on_slurm, local] = ["runs", "local"].map(|runs| results(&here.join(runs)));
    common::assert_same(&local, &on_slurm, "Slurm");
    let table = on_slurm.get(Path::new("cluster/table.md")).expect("a table");
    println!("{}", String::from_utf8_lossy(table));
    said(&format!("{} files are those of the local launcher, byte for byte", on_slurm.len()));
}
