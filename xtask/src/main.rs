//! The command line of the workspace: `cargo xtask <command>`.
//!
//! Parses, calls, prints. What a test would want to check lives in the crates. Avoid adding
//! dependencies here.

mod bar;
mod bars;
#[cfg(feature = "cuda")]
mod burn_device;
mod commands;
mod live;
mod output;
mod stop;
mod watchdog;

use std::{env, num::NonZeroU64, process::ExitCode, time::Duration};

use clap::Parser;

/// Pages that an allocator gives back are pages that the next tensor faults in again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Adapts a frozen SAM to medical images: trains, ablates, evaluates, draws.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: commands::Command,
    /// Show less; twice shows errors only.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    quiet: u8,
    /// Show more; twice shows everything. Without either, PROMISE_LOG may say which level (`debug`) or which parts
    /// (`promise=debug,feature_cache=trace`). The log of a run (`run.log`) has warnings and epochs in any case.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Seconds after which a file or folder that does not answer ends the command: a network share may hang for ever.
    #[arg(long, global = true, value_name = "SECONDS", default_value = "600")]
    read_timeout: NonZeroU64,
    /// How one process at a time works on a run: `system` asks the system for locks, `lease` keeps to files that the owner
    /// renews. For folders on network file systems whose locks hang or do not hold.
    #[arg(long, global = true, env = "PROMISE_LOCKS", value_enum, default_value_t = Locks::System)]
    locks: Locks,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Locks {
    System,
    Lease,
}

fn main() -> ExitCode {
    #[cfg(feature = "cuda")]
    burn_device::settle();
    let cli = Cli::parse();
    if let Err(error) = output::start_logging(i16::from(cli.verbose) - i16::from(cli.quiet)) {
        output::print_error(&error);
        return ExitCode::from(USAGE);
    }
    if cli.locks == Locks::Lease {
        file_lock::do_without_system_locks();
    }
    watchdog::start(Duration::from_secs(cli.read_timeout.get()));
    let threads = env::var("RAYON_NUM_THREADS").ok();
    let began =
        stop::outlive_file_limits().and_then(|()| Ok(promise::threads::start(threads.as_deref())?));
    match began.and_then(|()| cli.command.run(cli.read_timeout)) {
        Ok(_) if output::was_lost() => ExitCode::FAILURE,
        Ok(code) => code,
        Err(error) if stop::is_interruption(&error) => {
            let kept = error.downcast_ref::<stop::Kept>().map(ToString::to_string);
            bars::line(&kept.unwrap_or_else(|| error.root_cause().to_string()));
            ExitCode::from(stop::interrupted())
        }
        Err(error) => {
            output::print_error(&error);
            stop::code().map_or(ExitCode::FAILURE, ExitCode::from)
        }
    }
}

/// Exit code of a command line that cannot be understood; clap's.
const USAGE: u8 = 2;
