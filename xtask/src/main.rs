//! The command line of the workspace: `cargo xtask <command>`.
//!
//! Parses, calls, prints. What a test would want to check lives in the crates. Avoid adding
//! dependencies here.

mod bar;
mod commands;
mod live;
mod output;
mod stop;
mod watchdog;

use std::process::ExitCode;

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
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    output::start_logging(cli.quiet);
    match cli.command.run() {
        Ok(code) => code,
        Err(error) if stop::is_interruption(&error) => {
            eprintln!("{}", error.root_cause());
            ExitCode::from(stop::INTERRUPTED)
        }
        Err(error) => {
            output::print_error(&error);
            ExitCode::FAILURE
        }
    }
}
