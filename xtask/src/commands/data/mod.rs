//! What can be done with data sets before an experiment.

mod check;
mod fetch;
mod list;
mod prepare;
mod preview;
mod source;

use std::process::ExitCode;

use clap::{Args, Subcommand};

pub use source::Source;

/// List, check, prepare and fetch data sets.
#[derive(Args)]
pub struct Data {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Subcommand)]
enum DataCommand {
    /// Show every data set that has a card, and whether its files are there.
    List(list::List),
    /// Read a whole data set and report what is wrong with it.
    Check(check::Check),
    /// Download a data set or a checkpoint, if its terms allow it.
    Fetch(fetch::Fetch),
    /// Write images and masks as the network will see them.
    Prepare(prepare::Prepare),
    /// Write a contact sheet of augmented images.
    Preview(preview::Preview),
}

impl Data {
    /// Does it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            DataCommand::List(command) => command.run(),
            DataCommand::Check(command) => command.run(),
            DataCommand::Fetch(command) => command.run(),
            DataCommand::Prepare(command) => command.run(),
            DataCommand::Preview(command) => command.run(),
        }
    }
}
