//! `cargo xtask reference`

use std::{env, fmt::Write as _, fs, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Arg, Args, Command, CommandFactory as _};

use crate::{Cli, outln};

/// Write the pages of the book that are made from the code: keys, options, commands, files, columns.
#[derive(Args)]
pub struct Reference {
    /// Write nothing, name the pages that are not what the code says, and fail if there are any.
    #[arg(long)]
    check: bool,
    /// The workspace; by default the one that the current folder lies in.
    #[arg(long, value_name = "FOLDER")]
    workspace: Option<PathBuf>,
}

/// Where the pages lie in the workspace.
const BOOK: &str = "docs/book/src";

impl Reference {
    /// Writes, or compares.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let folder = match self.workspace {
            Some(folder) => folder,
            None => env::current_dir().context("the current folder is gone")?,
        };
        let book = scaffold::workspace_of(&folder)?.join(BOOK);
        let pages = [
            ("experiment-keys.md", promise::reference::experiment_keys()),
            ("prompt-options.md", promise::reference::prompt_options()),
            ("commands.md", commands()),
            ("run-folder.md", reporting::reference::run_folder()),
            ("csv-columns.md", reporting::reference::csv_columns()),
        ];
        let mut differs = false;
        for (name, text) in pages {
            let path = book.join(name);
            if fs::read_to_string(&path).is_ok_and(|written| written == text) {
                continue;
            }
            differs = true;
            if self.check {
                outln!(
                    "{BOOK}/{name} is not what the code says; `cargo xtask reference` writes it anew"
                );
            } else {
                run_record::write_bytes(&path, text.as_bytes())?;
                outln!("wrote {}", path.display());
            }
        }
        Ok(if differs && self.check { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// The page of all commands, in Markdown.
fn commands() -> String {
    let mut program = Cli::command();
    program.build();
    let mut page = String::from(
        "# Commands\n\n\
         Made from the code by `cargo xtask reference`; a test fails when the two differ. `--help` of a command says the same.\n\n\
         Exit codes: [Reliability](reliability.md#exit-codes).\n\n## With every command\n\n",
    );
    arguments(&program, true, &mut page);
    for command in program.get_subcommands() {
        section(command, &mut page);
    }
    page
}

/// What a command takes, and its own commands.
fn section(command: &Command, page: &mut String) {
    // `help` explains itself.
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string);
    let about = about.unwrap_or_default();
    // Writing into a text cannot fail.
    let about = about.trim();
    let stop = if about.ends_with('.') { "" } else { "." };
    let _ = write!(page, "\n## `{name}`\n\n{about}{stop}\n\n");
    if command.has_subcommands() {
        for inner in command.get_subcommands() {
            section(inner, page);
        }
        return;
    }
    let usage = command.clone().render_usage().to_string();
    let _ = write!(page, "```text\n{}\n```\n\n", usage.trim_start_matches("Usage:").trim());
    arguments(command, false, page);
}

/// Arguments as a table; those that every command takes stand once, at the top.
fn arguments(command: &Command, global: bool, page: &mut String) {
    let shown = |arg: &&Arg| {
        let of_all = ["quiet", "verbose"].contains(&arg.get_id().as_str());
        !arg.is_hide_set()
            && of_all == global
            && !["help", "version"].contains(&arg.get_id().as_str())
    };
    let mut arguments = command.get_arguments().filter(shown).peekable();
    if arguments.peek().is_none() {
        page.push_str("No options.\n");
        return;
    }
    page.push_str("| argument | default | meaning |\n| --- | --- | --- |\n");
    for argument in arguments {
        let _ = writeln!(
            page,
            "| {} | {} | {} |",
            name(argument),
            default(argument),
            meaning(argument)
        );
    }
}

/// `-o`, `--out FILE`
fn name(argument: &Arg) -> String {
    let takes = argument.get_action().takes_values();
    let values = argument.get_value_names().filter(|_| takes).unwrap_or_default();
    let values: Vec<&str> = values.iter().map(clap::builder::Str::as_str).collect();
    let values = values.join(" ");
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    match (short, long) {
        (None, None) => format!("`{values}`"),
        (short, long) => {
            let names: Vec<String> = short.into_iter().chain(long).collect();
            let last = names.len() - 1;
            let with_values =
                |(place, name): (usize, String)| match place == last && !values.is_empty() {
                    true => format!("`{name} {values}`"),
                    false => format!("`{name}`"),
                };
            names.into_iter().enumerate().map(with_values).collect::<Vec<_>>().join(", ")
        }
    }
}

fn default(argument: &Arg) -> String {
    let defaults: Vec<String> = argument
        .get_default_values()
        .iter()
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    match (argument.is_required_set(), argument.get_action().takes_values()) {
        (true, _) => "*required*".into(),
        (_, true) => defaults.join(", "),
        // A switch is off.
        _ => String::new(),
    }
}

fn meaning(argument: &Arg) -> String {
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string);
    let mut meaning = help.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    if !meaning.is_empty() && !meaning.ends_with('.') {
        meaning.push('.');
    }
    let words: Vec<String> = match argument.get_action().takes_values() {
        true => argument
            .get_possible_values()
            .iter()
            .map(|word| format!("`{}`", word.get_name()))
            .collect(),
        false => Vec::new(),
    };
    if !words.is_empty() {
        let _ = write!(meaning, " One of {}.", words.join(", "));
    }
    if let Some(variable) = argument.get_env() {
        let _ =
            write!(meaning, " Also by the environment variable `{}`.", variable.to_string_lossy());
    }
    // A bar would end the cell, and what looks like HTML would vanish.
    meaning.replace('|', "\\|").replace('<', "&lt;")
}
