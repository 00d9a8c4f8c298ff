//! `ablate --launcher slurm` and `--status` with a made-up Slurm, commands of a few lines that answer what a test wants: what
//! a real one of one node does not do (memory that runs out, a node that fails, a controller that is away, a full disk).
#![cfg(unix)]

mod common;

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use common::{EXPERIMENT, errors, success, without_settings};
use serde_json::Value;

const FILE: &str = "short.toml";

/// A folder with an experiment of three runs, and with the commands of Slurm in `bin`. What they answer is in `answers`.
struct Setting {
    folder: tempfile::TempDir,
}

/// Says what is in a file, and fails if there is one that says why.
const ANSWERS: &str = r#"#!/bin/bash
answers=$(dirname "$0")/../answers
name=$(basename "$0")
# As every command does.
if env | grep -q '^\(SQUEUE\|SACCT\|SBATCH\)_'; then echo "answers as variables say" >&2; exit 4; fi
case "$name $*" in
    # Of a folder that several users share, the others' jobs count as well.
    squeue*--me*) exit 0 ;;
    # As Slurm 22.05 does.
    sacct*--array*) echo "sacct: unrecognized option '--array'" >&2; exit 1 ;;
esac
if [ -e "$answers/$name.fails" ]; then cat "$answers/$name.fails" >&2; exit 3; fi
[ ! -e "$answers/$name" ] || cat "$answers/$name"
"#;

/// Takes every job, and writes down with what.
const SBATCH: &str = r#"#!/bin/bash
answers=$(dirname "$0")/../answers
if env | grep -q '^SBATCH_'; then echo "does as variables say" >&2; exit 4; fi
echo "$*" >>"$answers/submitted"
echo "$(wc -l <"$answers/submitted")$(cat "$answers/cluster" 2>/dev/null)"
"#;

const SCANCEL: &str = r#"#!/bin/bash
echo "$*" >>"$(dirname "$0")/../answers/cancelled"
"#;

const SCONTROL: &str = r#"#!/bin/bash
[ "$1" != show ] || echo "MaxArraySize = 1001"
"#;

impl Setting {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        fs::write(path.join(FILE), format!("seeds = [1, 2, 3]\n{EXPERIMENT}")).expect("written");
        for name in ["bin", "nothing", "answers"] {
            fs::create_dir(path.join(name)).expect("made");
        }
        let commands = [
            ("squeue", ANSWERS),
            ("sacct", ANSWERS),
            ("sbatch", SBATCH),
            ("scancel", SCANCEL),
            ("scontrol", SCONTROL),
        ];
        for (name, text) in commands {
            let command = path.join("bin").join(name);
            fs::write(&command, text).expect("written");
            fs::set_permissions(&command, fs::Permissions::from_mode(0o755)).expect("executable");
        }
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn answer(&self, name: &str, text: &str) {
        fs::write(self.path().join("answers").join(name), text).expect("written");
    }

    fn command(&self, program: &str) -> Command {
        let before = env::var_os("PATH").unwrap_or_default();
        let all = [self.path().join("bin")].into_iter().chain(env::split_paths(&before));
        let mut command = without_settings(Command::new(program), self.path());
        command.env("PATH", env::join_paths(all).expect("a path")).env_remove("PROMISE_PROFILE");
        command
    }

    fn ablate(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_xtask"));
        command.args(["-q", "ablate", FILE]).args(arguments);
        command
    }

    fn hand_over(&self, more: &[&str]) -> Command {
        let mut command = self.ablate(&["--launcher", "slurm"]);
        command.args(["--launcher-set", "encode_tasks=0"]).args(more);
        command
    }

    /// How many jobs were taken.
    fn submitted(&self) -> usize {
        let text = fs::read_to_string(self.path().join("answers/submitted"));
        text.unwrap_or_default().lines().count()
    }

    fn submission(&self) -> PathBuf {
        self.path().join("runs/short/.slurm/1")
    }

    fn log(&self, task: &str, text: &str) {
        let log = self.submission().join("logs").join(format!("runs-{task}.log"));
        fs::write(log, text).expect("written");
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Name, word and remark of every run.
fn states(output: &Output) -> Vec<(String, String)> {
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let runs = document["runs"].as_array().expect("runs");
    runs.iter().map(|run| (text(&run["state"]), text(&run["remark"]))).collect()
}

#[test]
fn what_slurm_ended_is_shown_with_its_reason_and_the_end_of_its_log() {
    let setting = Setting::new();
    success(setting.hand_over(&[]));
    let oom = "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=1.batch.";
    let cancelled = "slurmstepd-n7: error: *** JOB 2 ON n7 CANCELLED AT 2026-11-26T18:23:53 ***";
    setting.log("1_0", &format!("slurm-task begins: 1 0\nepoch 3\n{oom}\n"));
    setting.log("1_1", &format!("slurm-task begins: 2 0\nepoch 4\n{cancelled}\n"));
    setting.log("1_2", "slurm-task begins: 3 0\nepoch 5\n");
    setting.answer(
        "squeue",
        "1|0|OUT_OF_MEMORY|a|OutOfMemory\n1|1|CANCELLED|a|None\n1|2|NODE_FAIL|a|NodeDown\n",
    );
    let expected = [
        "| out of memory | 1_0 | it took more memory than it had asked for (OutOfMemory) |",
        "| cancelled | 1_1 | slurmstepd-n7: error: *** JOB 2 ON n7 CANCELLED AT",
        "| node failed | 1_2 | Slurm says that its machine failed (NodeDown) |",
        "    epoch 3\n    slurmstepd: error: Detected 1 oom-kill",
        "    epoch 4\n    slurmstepd-n7: error: ***",
        "    epoch 5\n",
    ];
    let first = said(&success(setting.ablate(&["--status"])));
    // Slurm forgets, and it is kept.
    setting.answer("squeue", "");
    let second = said(&success(setting.ablate(&["--status"])));
    for text in expected {
        assert!(first.contains(text), "{text}: {first}");
        assert!(second.contains(text), "{text}, forgotten: {second}");
    }
    // Those that were ended from outside come back by themselves, the one without memory if asked for.
    success(setting.hand_over(&[]));
    let jobs = fs::read_to_string(setting.path().join("answers/submitted")).expect("jobs");
    assert!(jobs.lines().last().expect("a job").contains("--array=0-1 "), "{jobs}");
}

#[test]
fn what_slurm_forgot_and_wrote_down_nowhere_is_read_from_the_log() {
    let setting = Setting::new();
    success(setting.hand_over(&[]));
    // A killed program: only its shell could leave word.
    let killed = |task: usize, line: &str| {
        let code = setting.submission().join(format!("ended/runs-{task}.code"));
        fs::write(code, format!("{} 0 137\n", task + 2)).expect("written");
        setting.log(&format!("1_{task}"), &format!("slurm-task begins: 2 0\n{line}\n"));
    };
    killed(0, "slurmstepd: error: Detected 1 oom_kill event in StepId=2.batch.");
    killed(
        1,
        "slurmstepd: error: *** JOB 3 ON n7 CANCELLED AT 2026-11-26T18:23:53 DUE TO TIME LIMIT ***",
    );
    killed(2, "killed by somebody");
    let states = states(&success(setting.ablate(&["--status", "--json"])));
    let words: Vec<&str> = states.iter().map(|(state, _)| state.as_str()).collect();
    assert_eq!(words, ["out_of_memory", "timed_out", "killed"], "{states:?}");
    assert!(states[1].1.contains("DUE TO TIME LIMIT"), "{states:?}");
    assert!(states[2].1.contains("signal 9"), "{states:?}");
}

#[test]
fn a_slurm_that_does_not_answer_is_said_and_nothing_is_handed_over_twice() {
    let setting = Setting::new();
    success(setting.hand_over(&[]));
    assert_eq!(setting.submitted(), 1);
    setting.answer("squeue.fails", "slurm_load_jobs error: Unable to contact slurm controller\n");
    let output = setting.ablate(&["--status", "--json"]).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    let text = errors(&output);
    let reason = "failed (exit status: 3): slurm_load_jobs error: Unable to contact";
    assert!(text.contains("`squeue --noheader") && text.contains(reason), "{text}");
    assert!(states(&output).iter().all(|(state, _)| state == "unknown"), "{}", said(&output));
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(document["unanswered"][0].as_str().expect("a reason").contains(reason), "{document}");
    for arguments in [&[][..], &["--retry", "failed"]] {
        let output = setting.hand_over(arguments).output().expect("the program starts");
        assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
        assert!(errors(&output).contains(reason), "{}", errors(&output));
    }
    assert_eq!(setting.submitted(), 1);

    // The queue answers and does not have them; how they ended only the accounts know.
    fs::remove_file(setting.path().join("answers/squeue.fails")).expect("removed");
    setting.answer("sacct.fails", "sacct: error: slurmdbd: Connection refused\n");
    for task in ["1_0", "1_1", "1_2"] {
        setting.log(task, "begins\n");
    }
    let output = setting.ablate(&["--status"]).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("slurmdbd: Connection refused"), "{}", errors(&output));
    assert!(said(&output).contains("3 runs: 3 unknown"), "{}", said(&output));
    success(setting.hand_over(&["--retry", "failed"]));
    assert_eq!(setting.submitted(), 1);
    // A cluster without accounts says so, and that is no failure.
    setting.answer("sacct.fails", "Slurm accounting storage is disabled\n");
    let output = success(setting.ablate(&["--status"]));
    assert!(said(&output).contains("3 runs: 3 lost"), "{}", said(&output));
    fs::remove_file(setting.path().join("answers/sacct.fails")).expect("removed");
    setting.answer("sacct", "1_0|OUT_OF_MEMORY|0:125\n1_1|TIMEOUT|0:0\n1_2|CANCELLED by 7|0:15\n");
    let states = states(&success(setting.ablate(&["--status", "--json"])));
    let words: Vec<&str> = states.iter().map(|(state, _)| state.as_str()).collect();
    assert_eq!(words, ["out_of_memory", "timed_out", "cancelled"], "{states:?}");
    assert_eq!(states[2].1, "by 7, exit code 0:15");
}

#[test]
fn variables_of_the_user_reach_no_command_of_slurm() {
    let setting = Setting::new();
    let variables = [
        ("SQUEUE_FORMAT", "%i"),
        ("SQUEUE_STATES", "SUSPENDED"),
        ("SACCT_FORMAT", "User"),
        ("SBATCH_PARTITION", "other"),
        ("SBATCH_CLUSTERS", "other"),
    ];
    success(with(setting.hand_over(&[]), &variables));
    setting.answer("squeue", "1|0|PENDING|a|None\n1|1|RUNNING|a|None\n");
    setting.answer("sacct", "1_2|OUT_OF_MEMORY|0:125\n");
    let states = states(&success(with(setting.ablate(&["--status", "--json"]), &variables)));
    let words: Vec<&str> = states.iter().map(|(state, _)| state.as_str()).collect();
    assert_eq!(words, ["pending", "running", "out_of_memory"], "{states:?}");
    success(with(setting.hand_over(&[]), &variables));
    assert_eq!(setting.submitted(), 1, "nothing twice");
}

fn with(mut command: Command, variables: &[(&str, &str)]) -> Command {
    command.envs(variables.iter().copied());
    command
}

#[test]
fn a_job_that_goes_to_another_cluster_is_cancelled_and_refused_in_words() {
    let setting = Setting::new();
    setting.answer("cluster", ";other");
    let output = setting.hand_over(&[]).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    let text = errors(&output);
    assert!(text.contains("gave job 1 to the cluster `other`"), "{text}");
    assert!(text.contains("It was cancelled"), "{text}");
    let cancelled = fs::read_to_string(setting.path().join("answers/cancelled")).expect("asked");
    assert_eq!(cancelled, "--clusters=other 1\n");
}

#[test]
fn options_of_this_machine_are_refused_and_those_of_tasks_reach_them() {
    let setting = Setting::new();
    let mut refused = setting.hand_over(&["--jobs", "2", "--threads-per-run", "1"]);
    let refused = refused.output().expect("the program starts");
    assert_eq!(refused.status.code(), Some(1));
    let text = errors(&refused);
    for said in ["`--jobs`", "`max_tasks`", "`--threads-per-run`", "`cpus`"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(!setting.path().join("runs").exists());
    success(setting.hand_over(&["--read-timeout", "77"]));
    let script = fs::read_dir(setting.submission()).expect("a folder").find_map(|entry| {
        let path = entry.expect("an entry").path();
        (path.extension()? == "sh").then(|| fs::read_to_string(path).expect("written"))
    });
    let script = script.expect("a script");
    assert!(script.contains("'--read-timeout' '77'"), "{script}");
}

#[test]
fn encoding_that_failed_names_its_log_in_the_document_too() {
    let setting = Setting::new();
    success(setting.hand_over(&["--launcher-set", "encode_tasks=1"]));
    setting.answer("squeue", "1|0|FAILED|a|NonZeroExitCode\n2|0|PENDING|a|Dependency\n");
    let log = setting.submission().join("logs/encode-1_0.log");
    fs::write(&log, "slurm-task begins: 1 0\nno such folder\n").expect("written");
    let output = success(setting.ablate(&["--status", "--json"]));
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let share = &document["encoding"][0];
    assert_eq!(share["state"], "failed", "{document}");
    assert!(share["log"].as_str().expect("a path").ends_with("logs/encode-1_0.log"), "{share}");
    assert_eq!(share["log_tail"][1], "no such folder", "{share}");
}

#[test]
fn the_memory_of_this_machine_keeps_nothing_from_being_handed_over() {
    let setting = Setting::new();
    let vast = ["data.feature_memory_gib=1000", "data.train_limit=100000", "train.views=64"];
    let within_limit = |more: &[&str]| {
        let mut command = setting.command("bash");
        // Three gigabytes, where ten are needed.
        command.args(["-c", "ulimit -v 3000000; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_xtask")]);
        command.args(["-q", "ablate", FILE]);
        for setting in vast {
            command.args(["--set", setting]);
        }
        command.args(more);
        command
    };
    let here = said(&success(within_limit(&["--dry-run"])));
    assert!(here.contains("3 impossible"), "{here}");
    let slurm = ["--launcher", "slurm", "--launcher-set", "encode_tasks=0"];
    let there = said(&success(within_limit(&slurm)));
    assert!(there.contains("handed over short: jobs 1 (3 runs)"), "{there}");
}

#[test]
fn scripts_are_printed_on_a_machine_without_slurm() {
    let setting = Setting::new();
    let mut dry = setting.hand_over(&["--dry-run", "--launcher-set", "chunk=2"]);
    let dry = success_with(dry.env("PATH", setting.path().join("nothing")));
    let scripts = said(&dry);
    assert_eq!(scripts.matches("# sbatch --job-name=promise-short-1-").count(), 2, "{scripts}");
    assert!(scripts.contains("--array=0-1 ") && scripts.contains("--array=0-0 "), "{scripts}");
    assert!(scripts.contains("#SBATCH --requeue"), "{scripts}");
    assert!(!setting.path().join("runs").exists());
    // What is needed to hand over is said.
    let mut refused = setting.hand_over(&[]);
    let refused = refused.env("PATH", setting.path().join("nothing")).output().expect("it starts");
    assert_eq!(refused.status.code(), Some(1));
    let text = errors(&refused);
    assert!(text.contains("is this a machine of a Slurm cluster?"), "{text}");
}

fn success_with(command: &mut Command) -> Output {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{}", errors(&output));
    output
}

#[test]
fn jobs_of_several_experiments_of_one_command_keep_one_limit_together() {
    let setting = Setting::new();
    let text = fs::read_to_string(setting.path().join(FILE)).expect("written");
    let other = text.replace("name = \"short\"", "name = \"other\"");
    fs::write(setting.path().join("other.toml"), other).expect("written");
    let mut both =
        setting.hand_over(&["--launcher-set", "max_tasks=2", "--launcher-set", "chunk=2"]);
    both.arg("other.toml");
    success(both);
    let jobs = fs::read_to_string(setting.path().join("answers/submitted")).expect("jobs");
    let waits: Vec<Option<&str>> = jobs
        .lines()
        .map(|line| line.split(' ').find_map(|word| word.strip_prefix("--dependency=")))
        .collect();
    assert_eq!(waits, [None, Some("afterany:1"), Some("afterany:2"), Some("afterany:3")], "{jobs}");
}

/// Whether this process may mount a file system of its own, in name spaces of its own.
fn may_mount() -> bool {
    let there = tempfile::tempdir().expect("a folder");
    Command::new("unshare")
        .args(["-rm", "sh", "-c", "mount -t tmpfs -o size=64k none ."])
        .current_dir(there.path())
        .output()
        .is_ok_and(|output| output.status.success())
}

#[test]
fn a_task_on_a_full_disk_says_so_in_its_log_and_the_state_is_read_from_there() {
    if !may_mount() {
        println!("skipped: this process may not mount a small disk");
        return;
    }
    let setting = Setting::new();
    // Room for the copy of the program, and some more.
    let program = fs::metadata(env!("CARGO_BIN_EXE_xtask")).expect("the program").len();
    let size = program / 1024 + 8192;
    // Where Slurm writes logs there is room.
    let script = format!(
        "mkdir runs && mount -t tmpfs -o size={size}k none runs || exit 70
         ablate() {{ \"$1\" -q ablate {FILE} \"$2\" $3 $4 $5 $6; }}
         ablate \"$1\" --launcher slurm --launcher-set encode_tasks=0 || exit 71
         logs=runs/short/.slurm/1/logs
         mount -t tmpfs -o size=64k none $logs || exit 72
         dd if=/dev/zero of=runs/filler bs=4k 2>/dev/null
         export SLURM_JOB_ID=7 SLURM_ARRAY_TASK_ID=0
         bash runs/short/.slurm/1/*.sh >$logs/runs-1_0.log 2>&1 && exit 73
         echo '1|0|FAILED|a|NonZeroExitCode' >answers/squeue
         for task in 1 2; do echo \"1|$task|PENDING|a|None\" >>answers/squeue; done
         cat $logs/runs-1_0.log >&2
         test -s runs/short/.slurm/1/ended/runs-0.json && exit 74
         test -s runs/short/.slurm/1/ended/runs-0.code && exit 75
         \"$1\" -q ablate {FILE} --status >status.txt || exit 76
         rm runs/filler
         ablate \"$1\" --launcher slurm >again.txt || exit 77
         ablate \"$1\" --launcher slurm --retry failed >retried.txt || exit 78"
    );
    let output = setting
        .command("unshare")
        .args(["-rm", "sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_xtask")])
        .output()
        .expect("a shell");
    let text = errors(&output);
    assert!(output.status.success(), "exit {:?}: {text}", output.status.code());
    assert!(text.contains("slurm-task ended: {\"job\":\"7\""), "the task: {text}");
    assert!(text.contains("slurm-task code: 7 0 1"), "its shell: {text}");
    let read = |name: &str| fs::read_to_string(setting.path().join(name)).expect("written");
    let status = read("status.txt");
    assert!(
        status.contains("| disk full | 1_0 | ") && status.contains("No space left"),
        "{status}"
    );
    assert!(status.contains("the end of "), "{status}");
    assert!(read("again.txt").contains("nothing to hand over"), "{}", read("again.txt"));
    assert!(read("retried.txt").contains("(1 runs)"), "{}", read("retried.txt"));
}
