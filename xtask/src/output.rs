//! What goes to the terminal: results to stdout, everything else to stderr.

use std::io::{IsTerminal as _, Write as _};

use anyhow::Context;
use serde::Serialize;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// Logs to stderr, since stdout is for results.
pub fn start_logging(quiet: u8) {
    let level = match quiet {
        0 => LevelFilter::INFO,
        1 => LevelFilter::WARN,
        _ => LevelFilter::ERROR,
    };
    // Other crates' details (burn-train logs every iteration) are for their developers.
    let ours = [
        "data_loaders",
        "feature_cache",
        "promise",
        "pretraining",
        "reporting",
        "sam_backbone",
        "xtask",
    ];
    let filter = Targets::new()
        .with_default(LevelFilter::WARN.min(level))
        .with_targets(ours.map(|name| (name, level)));
    let format = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .with_target(false);
    tracing_subscriber::registry().with(format).with(filter).init();
}

/// One readable chain: what failed, then why, a line each.
pub fn print_error(error: &anyhow::Error) {
    eprintln!("error: {error}");
    let mut former = error.to_string();
    for cause in error.chain().skip(1) {
        // A transparent error repeats its cause.
        let text = cause.to_string();
        if text != former {
            eprintln!("  because: {text}");
        }
        former = text;
    }
}

/// Exactly one JSON document on stdout.
pub fn print_json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    print_line(&serde_json::to_string_pretty(value).context("cannot print JSON")?);
    Ok(())
}

/// One line on stdout. A reader that went away (`| head`) ends the program quietly.
pub fn print_line(text: &str) {
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// `println!` through [`print_line`].
#[macro_export]
macro_rules! outln {
    ($($arguments:tt)*) => { $crate::output::print_line(&format!($($arguments)*)) };
}
