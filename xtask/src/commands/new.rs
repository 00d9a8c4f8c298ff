//! `cargo xtask new`

use std::{env, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use scaffold::NewModule;
use serde_json::json;

use crate::{outln, output::print_json};

/// Begin a new part of the workspace.
#[derive(Args)]
pub struct New {
    #[command(subcommand)]
    part: Part,
}

/// What can be begun.
#[derive(Subcommand)]
enum Part {
    /// Make a prompt module: a crate that builds, trains and is tested, and the lines that make it known.
    Prompt(Prompt),
}

/// Make a prompt module.
#[derive(Args)]
struct Prompt {
    /// Its name in experiment files, in snake_case, e.g. `heat_map`.
    name: String,
    /// The workspace; by default the one that the current folder lies in.
    #[arg(long, value_name = "FOLDER")]
    workspace: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

impl New {
    /// Makes it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Part::Prompt(Prompt { name, workspace, json }) = self.part;
        let folder = match workspace {
            Some(folder) => folder,
            None => env::current_dir().context("the current folder is gone")?,
        };
        let workspace = scaffold::workspace_of(&folder)?;
        let NewModule { name, made, changed } = scaffold::new_prompt_module(&workspace, &name)?;
        if json {
            print_json(&json!({ "name": name.snake(), "made": made, "changed": changed }))?;
            return Ok(ExitCode::SUCCESS);
        }
        let (snake, kebab) = (name.snake(), name.kebab());
        for (what, paths) in [("made", made), ("changed", changed)] {
            for path in paths {
                outln!("{what:8} {}", path.display());
            }
        }
        outln!("\nIt builds and trains as it is:");
        outln!("  cargo fmt -p {kebab}");
        outln!("  cargo test -p {kebab} -p xtask --lib");
        outln!("  cargo xtask run experiments/smoke/{snake}.toml");
        outln!("Then make it yours; docs/book/src/add-a-prompt-module.md says how.");
        Ok(ExitCode::SUCCESS)
    }
}
