//! What is handed over to a cluster is worked off, without one: the scheduler is made up, the tasks are real.

mod common;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use common::context;
use launcher::{
    ended::{Ended, How},
    fake::FakeScheduler,
    profile::Profile,
    state::State,
    submission::Kind,
};
use promise::{
    campaign::{Campaign, OnFailure},
    cluster::{Assignment, Cluster, HandedOver, Next, work},
    plan::Experiment,
    progress::{OneAtATime, Silent},
    run::Context,
};

const SMOKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments/smoke/apm.toml");

struct Setting {
    _folder: tempfile::TempDir,
    context: Context,
    experiments: [Experiment; 1],
    fake: FakeScheduler,
    profile: Profile,
}

impl Setting {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let fake = FakeScheduler::new(1001);
        fake.set_own("7", "RUNNING None");
        Self {
            context: context(folder.path()),
            _folder: folder,
            experiments: [Experiment::load(Path::new(SMOKE), &[]).expect("valid")],
            fake,
            profile: Profile { encode_tasks: 2, ..Profile::default() },
        }
    }

    fn open(&self) -> Campaign<'_> {
        Campaign::open(&self.experiments, &self.context).expect("opened")
    }

    fn cluster(&self, retry_failed: bool) -> Cluster<'_> {
        Cluster {
            scheduler: &self.fake,
            profile: &self.profile,
            settings: &[],
            arguments: &[],
            directory: Path::new("/"),
            retry_failed,
            on_failure: OnFailure::Stop,
        }
    }

    fn hand_over(&self, retry_failed: bool) -> Vec<HandedOver> {
        self.open().hand_over(&self.cluster(retry_failed)).expect("handed over")
    }

    fn work(&self, over: &HandedOver, kind: Kind, number: usize, tries: u32, stop: bool) -> Ended {
        let context = Context { stop: Arc::new(AtomicBool::new(stop)), ..self.context.clone() };
        let submission = &over.folder;
        let assignment = Assignment { submission, kind, number, job: "7", tries };
        let (time_is_up, watch) = (AtomicBool::new(stop), OneAtATime(Arc::new(Silent)));
        let silent = |line: &str| panic!("it could be written: {line}");
        let ended = work(&assignment, &context, &self.fake, &time_is_up, &watch, &silent);
        let ended = ended.expect("it ends");
        assert_eq!(context.stop.load(Ordering::Relaxed), stop);
        ended
    }

    fn next(&self) -> (Next, Option<State>) {
        let view = self.open().on_cluster(&self.fake, false).expect("an answer");
        let run = view.runs.first().expect("a run");
        (run.next, run.task.as_ref().map(|task| task.state))
    }
}

#[test]
fn what_is_handed_over_is_worked_off_and_goes_on_after_an_interruption() {
    let setting = Setting::new();
    assert_eq!(setting.next(), (Next::HandOver, None));
    let handed_over = setting.hand_over(false);
    let [over] = handed_over.as_slice() else { panic!("one experiment") };
    let counts: Vec<_> = over.submission.jobs.iter().map(|job| (job.kind, job.count)).collect();
    assert_eq!(counts, [(Kind::Encode, 2), (Kind::Runs, 1)]);
    assert!(over.submission.program.exists(), "the program is copied");
    assert_eq!(setting.next(), (Next::Waits, Some(State::Pending)));
    assert!(setting.hand_over(true).is_empty(), "nothing is handed over twice");

    for share in 0..2 {
        assert_eq!(setting.work(over, Kind::Encode, share, 0, false).how, How::Done);
    }
    let stopped = setting.work(over, Kind::Runs, 0, 0, true);
    assert_eq!((stopped.how, setting.fake.requeued()), (How::Interrupted, vec!["7".to_owned()]));
    // The same again, and the time was too short for an epoch: another try would be no better.
    assert_eq!(setting.work(over, Kind::Runs, 0, 1, true).how, How::TimedOut);
    assert_eq!(setting.fake.requeued().len(), 1);
    setting.fake.set_all("FAILED");
    assert_eq!(setting.next(), (Next::FailedBefore, Some(State::TimedOut)));
    assert!(setting.hand_over(false).is_empty());

    let again = setting.hand_over(true);
    assert_eq!(again[0].submission.number, 2);
    assert_eq!(setting.work(&again[0], Kind::Runs, 0, 0, false).how, How::Done);
    assert_eq!(setting.next().0, Next::Done);
    assert!(setting.hand_over(true).is_empty());
}

#[test]
fn a_run_that_ends_while_the_command_looks_is_not_handed_over_again() {
    let setting = Setting::new();
    let over = setting.hand_over(false).remove(0);
    let (first, mut second) = (setting.open(), setting.open());
    // After its folder was looked at, and before Slurm is asked.
    assert_eq!(setting.work(&over, Kind::Runs, 0, 0, false).how, How::Done);
    setting.fake.set_all("COMPLETED");
    let view = first.on_cluster(&setting.fake, false).expect("an answer");
    assert_eq!(view.runs[0].next, Next::Done);
    assert!(second.hand_over(&setting.cluster(true)).expect("nothing to do").is_empty());
}

#[test]
fn a_task_that_slurm_does_not_queue_again_is_interrupted_and_handed_over_without_asking() {
    let setting = Setting::new();
    let over = setting.hand_over(false).remove(0);
    // For a moment.
    setting.fake.refuse_requeues(2);
    let stopped = setting.work(&over, Kind::Runs, 0, 0, true);
    assert_eq!((stopped.how, setting.fake.requeued().len()), (How::Interrupted, 1));
    assert_eq!(stopped.reasons, Vec::<String>::new());
    // For good.
    setting.fake.refuse_requeues(usize::MAX);
    let stopped = setting.work(&over, Kind::Runs, 0, 0, true);
    assert_eq!((stopped.how, setting.fake.requeued().len()), (How::Interrupted, 1));
    assert!(stopped.reasons.join(" ").contains("did not queue it again"), "{stopped:?}");
    setting.fake.set_all("FAILED");
    assert_eq!(setting.next(), (Next::HandOver, Some(State::Interrupted)));
    // Its own word is kept.
    setting.fake.forget(1);
    setting.fake.forget(2);
    assert_eq!(setting.next(), (Next::HandOver, Some(State::Interrupted)));
}

#[test]
fn a_task_whose_run_fails_says_why() {
    let setting = Setting::new();
    let over = setting.hand_over(false).remove(0);
    // The copy that the task reads is broken.
    std::fs::write(over.folder.join("experiment.toml"), "name = 3\n").expect("written");
    let ended = setting.work(&over, Kind::Runs, 0, 0, false);
    assert_eq!(ended.how, How::Failed);
    assert!(ended.reasons.join(" ").contains("not a valid experiment"), "{:?}", ended.reasons);
    setting.fake.set_all("FAILED");
    assert_eq!(setting.next(), (Next::FailedBefore, Some(State::Failed)));
    let missing = setting.work(&over, Kind::Runs, 99, 0, false);
    assert_eq!(missing.how, How::Failed);
}

#[test]
fn a_run_that_does_not_know_what_it_was_handed_over_with_is_refused() {
    let setting = Setting::new();
    let over = setting.hand_over(false).remove(0);
    let path = over.folder.join("submission.json");
    let text = std::fs::read_to_string(&path).expect("written");
    let mut value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for (inputs, reason) in [
        (serde_json::json!([{ "weights_sha256": 3 }]), "invalid type"),
        (serde_json::json!([null]), "invalid type"),
        (serde_json::json!([]), "there is no entry 0"),
    ] {
        value["inputs"] = inputs;
        std::fs::write(&path, value.to_string()).expect("written");
        let ended = setting.work(&over, Kind::Runs, 0, 0, false);
        assert_eq!(ended.how, How::Failed);
        let text = ended.reasons.join(": ");
        assert!(text.contains(reason) && text.contains("--retry failed"), "{text}");
    }
}

#[test]
fn runs_whose_images_could_not_be_encoded_wait_for_retry_failed() {
    let setting = Setting::new();
    let over = setting.hand_over(false).remove(0);
    std::fs::write(over.folder.join("experiment.toml"), "name = 3\n").expect("written");
    assert_eq!(setting.work(&over, Kind::Encode, 1, 0, false).how, How::Failed);
    // Slurm ends what waits for a job that has failed.
    setting.fake.set(1, 0, "COMPLETED", "");
    setting.fake.set(1, 1, "FAILED", "NonZeroExitCode");
    setting.fake.set(2, 0, "PENDING", "DependencyNeverSatisfied");
    assert_eq!(setting.next(), (Next::Waits, Some(State::Pending)));
    setting.fake.set(2, 0, "CANCELLED", "");
    assert_eq!(setting.next(), (Next::FailedBefore, Some(State::Failed)));
    let view = setting.open().on_cluster(&setting.fake, false).expect("an answer");
    let reason = &view.runs[0].task.as_ref().expect("a task").reason;
    assert!(
        reason.contains("encode 1 has failed") && reason.contains("not a valid experiment"),
        "{reason}"
    );
    assert!(setting.hand_over(false).is_empty(), "only if asked for");
    assert_eq!(setting.hand_over(true).len(), 1);
    // An encoding that somebody cancelled is no failure, and neither are the runs behind it.
    setting.fake.set(3, 0, "CANCELLED", "by 0");
    setting.fake.set(4, 0, "CANCELLED", "");
    assert_eq!(setting.next().0, Next::HandOver);
}

#[test]
fn nothing_is_handed_over_while_slurm_does_not_answer() {
    let setting = Setting::new();
    let cluster = setting.cluster(true);
    // Without a Slurm there are scripts all the same.
    setting.fake.silence(&["squeue", "sacct", "scontrol"]);
    let shown = setting.open().scripts(&cluster).expect("scripts");
    assert!(shown.scripts.contains("--array=0-0"), "{}", shown.scripts);
    assert!(shown.no_array_size.is_some());

    setting.fake.silence(&[]);
    assert_eq!(setting.hand_over(false).len(), 1);
    setting.fake.silence(&["squeue"]);
    assert_eq!(setting.next(), (Next::Unknown, Some(State::Unknown)));
    let refused = setting.open().hand_over(&cluster).expect_err("it may wait or run");
    let text = refused.to_string();
    assert!(text.contains("`squeue` failed (exit status: 1): Unable to contact"), "{text}");
    // In the queue it is no more, but how it ended is not known.
    setting.fake.silence(&["sacct"]);
    setting.fake.forget(1);
    setting.fake.forget(2);
    assert_eq!(setting.next(), (Next::Unknown, Some(State::Unknown)));
    assert!(setting.hand_over(true).is_empty());
    setting.fake.silence(&[]);
    assert_eq!(setting.next().0, Next::HandOver);
}
