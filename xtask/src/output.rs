//! What goes to the terminal: results to stdout, everything else to stderr.

use std::{
    io::{ErrorKind, Write as _},
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::Context;
use promise::run_log;
use serde::Serialize;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer as _, filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::bars;

/// Names a filter for what is shown, e.g. `debug` or `promise=debug,feature_cache=trace`.
const FILTER: &str = "PROMISE_LOG";

/// Logs to stderr, since stdout is for results, and what belongs to a run into its folder.
///
/// - `louder`: how often `-v` was given, less how often `-q`; `PROMISE_LOG` counts if neither was
///
/// # Errors
///
/// If `PROMISE_LOG` is no filter.
pub fn start_logging(louder: i16) -> anyhow::Result<()> {
    let level = match louder {
        ..=-2 => LevelFilter::ERROR,
        -1 => LevelFilter::WARN,
        0 => LevelFilter::INFO,
        1 => LevelFilter::DEBUG,
        2.. => LevelFilter::TRACE,
    };
    let named = std::env::var(FILTER).ok().filter(|text| louder == 0 && !text.trim().is_empty());
    let shown = match named.map(|text| (text.parse::<LevelFilter>(), text)) {
        None => ours(level),
        Some((Ok(level), _)) => ours(level),
        Some((Err(_), text)) => text.parse::<Targets>().with_context(|| {
            format!("{FILTER} is `{text}`, expected a level (`debug`) or targets (`promise=debug,feature_cache=trace`)")
        })?,
    };
    // What the log of a run says of its course a terminal has from bars and tables.
    let terminal = fmt::layer()
        .with_writer(|| bars::Above)
        .with_ansi(bars::are_shown())
        .without_time()
        .with_target(false)
        .with_filter(shown.with_target(run_log::TARGET, LevelFilter::OFF));
    let kept = ours(level.max(LevelFilter::INFO)).with_target(run_log::TARGET, LevelFilter::TRACE);
    let run = fmt::layer()
        .with_writer(run_log::writer)
        .with_ansi(false)
        .with_target(false)
        .with_filter(kept);
    tracing_subscriber::registry().with(terminal).with(run).init();
    Ok(())
}

/// Our events from a level on. Other crates' details (burn-train logs every iteration) are for their developers.
fn ours(level: LevelFilter) -> Targets {
    let ours = [
        "data_audit",
        "data_loaders",
        "doctor",
        "download",
        "feature_cache",
        "promise",
        "pretraining",
        "reporting",
        "sam_backbone",
        "scoring",
        "xtask",
    ];
    Targets::new()
        .with_default(LevelFilter::WARN.min(level))
        .with_targets(ours.map(|name| (name, level)))
}

/// One readable chain: what failed, then why, a line each.
pub fn print_error(error: &anyhow::Error) {
    bars::line(&format!("error: {error}"));
    let mut former = error.to_string();
    for cause in error.chain().skip(1) {
        // A transparent error repeats its cause.
        let text = cause.to_string();
        if text != former {
            bars::line(&format!("  because: {text}"));
        }
        former = text;
    }
}

/// Exactly one JSON document on stdout.
pub fn print_json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    print_line(&serde_json::to_string_pretty(value).context("cannot print JSON")?);
    Ok(())
}

/// Whether something for stdout was lost.
static LOST: AtomicBool = AtomicBool::new(false);

/// One line on stdout. A reader that went away (`| head`) is missed by nobody: the work goes on, and its exit code counts.
/// Any other failure, e.g. of a full disk, is said once.
pub fn print_line(text: &str) {
    let mut stdout = std::io::stdout();
    if let Err(error) = writeln!(stdout, "{text}").and_then(|()| stdout.flush())
        && error.kind() != ErrorKind::BrokenPipe
        && !LOST.swap(true, Ordering::Relaxed)
    {
        print_error(&anyhow::Error::from(error).context("cannot write the output"));
    }
}

/// Whether something for stdout was lost, but for a reader that went away.
pub fn was_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

/// `println!` through [`print_line`].
#[macro_export]
macro_rules! outln {
    ($($arguments:tt)*) => { $crate::output::print_line(&format!($($arguments)*)) };
}
