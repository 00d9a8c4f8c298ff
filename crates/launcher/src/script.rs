//! What `sbatch` is given.

use std::{fmt::Write as _, path::Path};

use crate::{
    ended::{BEFORE, BEGINS, LAST_CODE},
    profile::Profile,
};

/// Arguments that only a submission knows come beside the script, so that a path may have any name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Name of its file.
    pub name: String,
    /// The text.
    pub text: String,
    /// Options of `sbatch` besides those in the text.
    pub arguments: Vec<String>,
}

/// A job array whose tasks call one command.
pub struct Array<'a> {
    /// Name of the job, which is how its tasks are found in the queue.
    pub job_name: &'a str,
    /// What its tasks ask for.
    pub profile: &'a Profile,
    /// The folder that the command is called in.
    pub directory: &'a Path,
    /// Where what the tasks say goes; a file for each.
    pub log: &'a Path,
    /// Where a task leaves how its program ended, for tasks whose program cannot say so itself: `<number>.code`.
    pub ended: &'a Path,
    /// Beginning of the names in `ended`, e.g. `runs-`.
    pub kind: &'a str,
    /// Number of the first task; a task is the sum of it and its place in the array.
    pub first: usize,
    /// How many tasks.
    pub count: usize,
    /// Program and arguments; the number of the task is added.
    pub command: &'a [String],
}

impl Array<'_> {
    /// The script.
    pub fn script(&self) -> Script {
        let Self { job_name, profile, count, .. } = self;
        let limit = profile.max_tasks.map_or_else(String::new, |limit| format!("%{limit}"));
        let arguments = vec![
            format!("--job-name={job_name}"),
            format!("--array=0-{}{limit}", count.saturating_sub(1)),
            // Of a path `%` would be the beginning of a pattern.
            format!("--output={}-%A_%a.log", self.log.display().to_string().replace('%', "%%")),
        ];
        Script { name: format!("{job_name}.sh"), text: self.text(), arguments }
    }

    fn text(&self) -> String {
        let Self { profile, directory, ended, kind, first, command, .. } = self;
        let mut text = String::from(
            "#!/bin/bash\n# Written by `ablate --launcher slurm`. A copy of what was handed over.\n",
        );
        let mut option = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                // Writing into a text does not fail.
                let _ = writeln!(text, "#SBATCH --{name}={value}");
            }
        };
        option("partition", profile.partition.clone());
        option("account", profile.account.clone());
        option("qos", profile.qos.clone());
        option("constraint", profile.constraint.clone());
        option("time", profile.time.clone());
        option("mem", profile.memory.clone());
        option("cpus-per-task", profile.cpus.map(|cpus| cpus.to_string()));
        option("gres", (profile.gpus > 0).then(|| format!("gpu:{}", profile.gpus)));
        // To the shell alone: what ends a job early is sent to all of its processes.
        option("signal", Some(format!("B:USR1@{}", profile.signal_lead)));
        option("open-mode", Some("append".into()));
        option("kill-on-invalid-dep", Some("yes".into()));
        text.push_str("#SBATCH --requeue\n");
        for option in &profile.options {
            let _ = writeln!(text, "#SBATCH {option}");
        }
        let _ = writeln!(text, "\npromise_task=$(({first} + SLURM_ARRAY_TASK_ID))");
        // Job and try, so that what a former try left is not taken for this one's.
        text.push_str("promise_try=\"$SLURM_JOB_ID ${SLURM_RESTART_COUNT:-0}\"\n");
        let _ = writeln!(text, "echo \"{BEGINS}$promise_try\"");
        let code = quoted(&ended.join(kind).display().to_string());
        let _ = writeln!(
            text,
            r#"# How it ended, for a program that cannot say so itself; in the log if no file can be written.
promise_stage={BEFORE}
promise_left() {{
    trap - EXIT
    printf '%s %s %s\n' "$promise_try" "$1" "$promise_stage" >|{code}"$promise_task.code" ||
        echo "{LAST_CODE}$promise_try $1 $promise_stage" >&2
    exit "$1"
}}"#
        );
        text.push_str(
            r#"# Slurm may stop it before the program has begun.
promise_asked=
trap 'promise_asked=USR1' USR1
trap 'promise_asked=TERM' TERM
promise_failed() {
    [ -z "$promise_asked" ] || promise_left 143
    promise_left "$1"
}
# Also at `exit`, and at `set -e`.
trap 'promise_failed $?' EXIT
"#,
        );
        let directory = quoted(&directory.display().to_string());
        let _ = writeln!(text, "cd {directory} || promise_failed 1");
        for module in &profile.modules {
            let _ = writeln!(text, "module load {} || promise_failed 1", quoted(module));
        }
        for command in &profile.pre_commands {
            // Each by its own exit code: a trap of errors would be at work in what they source, too.
            let _ = writeln!(
                text,
                "{}\npromise_code=$?; [ \"$promise_code\" = 0 ] || promise_failed \"$promise_code\"",
                command.trim_end()
            );
        }
        if !profile.pre_commands.is_empty() {
            // What they have set is for themselves.
            text.push_str("set +eu\ntrap - ERR\ntrap 'promise_failed $?' EXIT\n");
        }
        for (name, value) in &profile.environment {
            let _ = writeln!(text, "export {name}={}", quoted(value));
        }
        if let Some(cpus) = profile.cpus {
            let _ = writeln!(text, "export RAYON_NUM_THREADS={cpus}");
        }
        let command: Vec<String> = command.iter().map(|word| quoted(word)).collect();
        let _ = writeln!(text, "\n{} \"$promise_task\" &", command.join(" "));
        text.push_str(
            r#"promise_program=$!
promise_stage=
trap 'kill -USR1 "$promise_program" 2>/dev/null' USR1
trap 'kill -TERM "$promise_program" 2>/dev/null' TERM
[ -z "$promise_asked" ] || kill "-$promise_asked" "$promise_program"
# A signal ends a wait, and not the program.
wait "$promise_program"
while kill -0 "$promise_program" 2>/dev/null; do wait "$promise_program"; done
wait "$promise_program"
promise_left $?
"#,
        );
        text
    }
}

/// Beginning of the names that a script has for itself; what it sources shall not have them by chance.
pub(crate) const OWN_NAMES: &str = "promise_";

/// A word that the shell takes as it is, in quotes if it needs any.
pub(crate) fn word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=%:,+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { quoted(word) }
}

/// The same, in quotes.
pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_asks_for_what_the_profile_says() {
        let profile = Profile {
            partition: Some("gpu".into()),
            account: Some("lab".into()),
            time: Some("04:00:00".into()),
            memory: Some("16G".into()),
            cpus: std::num::NonZeroU32::new(8),
            gpus: 1,
            modules: vec!["cuda/12.4".into()],
            pre_commands: vec!["source ~/.profile".into()],
            environment: [("PROMISE_DATA".to_owned(), "/data/it's here".to_owned())].into(),
            options: vec!["--exclude=node7".into()],
            max_tasks: std::num::NonZeroU32::new(50),
            ..Profile::default()
        };
        let command =
            ["/runs/.slurm/programs/ab/xtask", "slurm-task", "/runs/a b"].map(String::from);
        let array = Array {
            job_name: "promise-points-3-runs-1000",
            profile: &profile,
            directory: Path::new("/home/a b"),
            log: Path::new("/runs/50% points/.slurm/3/logs/runs"),
            ended: Path::new("/runs/50% points/.slurm/3/ended"),
            kind: "runs-",
            first: 1000,
            count: 260,
            command: &command,
        };
        let script = array.script();
        insta::assert_snapshot!(format!("sbatch {}\n{}", script.arguments.join(" "), script.text));
    }

    /// Whatever commands do that come before the program, how the task ended is known.
    #[cfg(unix)]
    #[test]
    fn a_script_that_ends_before_its_program_leaves_word() {
        let leaves = |commands: &[&str], command: &[&str]| {
            let folder = tempfile::tempdir().expect("a folder");
            let pre_commands = commands.iter().map(|&command| command.into()).collect();
            let profile = Profile { pre_commands, ..Profile::default() };
            let command: Vec<String> = command.iter().map(|&word| word.into()).collect();
            let array = Array {
                job_name: "a",
                profile: &profile,
                directory: folder.path(),
                log: &folder.path().join("log"),
                ended: folder.path(),
                kind: "runs-",
                first: 3,
                count: 1,
                command: &command,
            };
            // Of a former try.
            std::fs::write(folder.path().join("runs-4.code"), "16 0 0\n").expect("written");
            let output = std::process::Command::new("bash")
                .args(["-c", &array.script().text])
                .env("SLURM_JOB_ID", "17")
                .env("SLURM_ARRAY_TASK_ID", "1")
                .env_remove("SLURM_RESTART_COUNT")
                .output()
                .expect("a shell");
            let code = std::fs::read_to_string(folder.path().join("runs-4.code"));
            (code.unwrap_or_default().trim_end().to_owned(), output.status.code())
        };
        let ends = |code| ["sh", "-c", if code == 0 { "exit 0" } else { "exit 7" }];
        let before = |code: i32| (format!("17 0 {code} before"), Some(code));
        let after = |code: i32| (format!("17 0 {code}"), Some(code));
        assert_eq!(leaves(&["exit 5"], &ends(0)), before(5));
        assert_eq!(leaves(&["exit 0"], &ends(0)), before(0));
        assert_eq!(leaves(&["set -e", "f() { ls /nonexistent; }; f; true"], &ends(0)).1, Some(2));
        let unset = leaves(&["set -u", "echo $nothing_of_that_name"], &ends(0)).0;
        assert!(unset.ends_with(BEFORE), "{unset}: some shells say 1, some 127");
        assert_eq!(leaves(&["false"], &ends(0)), before(1));
        assert_eq!(leaves(&["false || true"], &ends(0)), after(0));
        let sourced = |text: &str| format!("source /dev/stdin <<'END'\n{text}\nEND");
        // A command in a sourced file may fail; its last one is how the file ended.
        assert_eq!(leaves(&[&sourced("false\ntrue")], &ends(7)), after(7));
        assert_eq!(leaves(&[&sourced("true\nfalse")], &ends(7)), before(1));
        // Names of others, and a shell that overwrites no file.
        let names = ["task", "this", "stage", "asked", "program", "left", "failed"];
        let taken: Vec<String> = names
            .iter()
            .map(|name| format!("{name}=taken; {name}() {{ exit 9; }}"))
            .chain(["set -C".into()])
            .collect();
        let taken: Vec<&str> = taken.iter().map(String::as_str).collect();
        assert_eq!(leaves(&taken, &ends(7)), after(7));
        assert_eq!(leaves(&["trap - EXIT; set -eu"], &ends(7)), after(7));
        assert_eq!(leaves(&["set -eu"], &ends(0)), after(0));
        assert_eq!(leaves(&[], &["/nonexistent"]), after(127));
    }

    #[test]
    fn a_word_with_quotes_stays_one_word() {
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("printf %s {}", quoted("it's $HOME `x` \"y\" \\"))])
            .output()
            .expect("a shell");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "it's $HOME `x` \"y\" \\");
    }
}
