//! An experiment: what stands in its way, and what it needs.

use std::{
    error::Error,
    sync::{Arc, atomic::AtomicBool},
};

use data_loaders::error_chain;
use promise::{
    campaign::{Campaign, Task},
    memory::gib,
    memory_need::Fit,
    needs::Needs,
    plan::Experiment,
    progress::Silent,
    run::Context,
    run_folder::{Change, Existing, RunState},
};

use crate::{Area, Machine, Question, Report};

pub(crate) fn examine(question: &Question, machine: &Machine, report: &mut Report) {
    let Some((path, settings)) = &question.experiment else { return };
    let experiment = match Experiment::load(path, settings) {
        Ok(experiment) => experiment,
        Err(error) => {
            let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            report.problem(Area::Experiment, format!("{}: {why}", path.display()), "mend the file");
            return;
        }
    };
    let context = Context {
        device: question.device,
        data_root: question.data_root.clone(),
        runs: question.runs.clone(),
        feature_cache: question.cache.clone(),
        memory: question.memory,
        existing: Existing::GoOn,
        progress: Arc::new(Silent),
        stop: Arc::new(AtomicBool::new(false)),
    };
    let experiments = [experiment];
    let campaign = match Campaign::open(&experiments, &context) {
        Ok(campaign) => campaign,
        Err(error) => {
            report.problem(Area::Experiment, error_chain(&error), "see above");
            return;
        }
    };
    if let Some(error) = campaign.unusable() {
        report.problem(Area::Device, error.to_string(), "see above");
    }
    runs(&campaign, report);
    needs(&campaign.needs(), question, machine, report);
}

fn runs(campaign: &Campaign<'_>, report: &mut Report) {
    let plan: Vec<_> = campaign.plan().collect();
    let done = plan.iter().filter(|run| run.is_done()).count();
    let to_do = plan.iter().filter(|run| run.is_to_do()).count();
    report.ok(Area::Experiment, format!("{} runs, {done} done, {to_do} to do", plan.len()));
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for run in &plan {
        match &run.task {
            Task::Impossible(reason) => {
                match reasons.iter_mut().find(|(known, _)| known == reason) {
                    Some((_, n)) => *n += 1,
                    None => reasons.push((reason, 1)),
                }
            }
            Task::Known(RunState::Stale { changed }) => report.warn(
                Area::Experiment,
                format!("{} is stale: {}", run.full_name(), Change::list(changed)),
                "`run` refuses it; `ablate` puts it aside and runs it anew",
            ),
            Task::Known(RunState::Failed { failure }) => report.warn(
                Area::Experiment,
                format!("{} failed: {failure}", run.full_name()),
                "it is tried again; `run.log` in its folder says what went before",
            ),
            Task::Known(_) => {}
        }
    }
    for (reason, n) in reasons {
        report.problem(
            Area::Experiment,
            format!("{n} runs cannot begin: {reason}"),
            "mend the file, the data folder or the weights",
        );
    }
}

fn needs(needs: &Needs, question: &Question, machine: &Machine, report: &mut Report) {
    if needs.images == 0 {
        return;
    }
    if let Some(need) = &needs.memory {
        let says = format!("needs {} of memory at least: {need}", gib(need.bytes()));
        let advice = "a smaller `train.batch_size`, fewer blocks (`prompt.options.taps`), a smaller backbone, or `--memory-gib`";
        let limit = &machine.memory.limit;
        match need.fit(limit) {
            Fit::Impossible => report.problem(Area::Experiment, format!("{says}; {limit}"), advice),
            _ if need.bytes() > machine.memory.available => {
                report.warn(Area::Experiment, format!("{says}; less is free"), advice);
            }
            Fit::Tight => {
                report.warn(Area::Experiment, format!("{says}; {limit}, which is little"), advice);
            }
            Fit::Ample => report.ok(Area::Experiment, says),
        }
    }
    let says = format!(
        "{} images through the encoder, once each; {} on the disk for their features",
        needs.images,
        gib(needs.stored_bytes)
    );
    let free = question
        .cache
        .root
        .ancestors()
        .find_map(|folder| match folder.as_os_str().is_empty() {
            true => fs4::available_space(".").ok(),
            false => fs4::available_space(folder).ok(),
        })
        .unwrap_or(u64::MAX);
    if needs.stored_bytes > question.cache.limit {
        report.warn(
            Area::Experiment,
            format!("{says}, and the cache may have {}", gib(question.cache.limit)),
            "`--cache-limit` allows more, `data.feature_cache = \"int8\"` takes less; else images are encoded again",
        );
    } else if needs.stored_bytes > free {
        report.warn(
            Area::Experiment,
            format!("{says}, unless they are there already, and {} are free", gib(free)),
            "make room, or name another folder with `--cache`; else images are encoded again",
        );
    } else {
        report.ok(Area::Experiment, says);
    }
}
