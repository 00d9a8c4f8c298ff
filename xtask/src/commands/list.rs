//! `cargo xtask list`

use std::process::ExitCode;

use clap::Args;
use data_loaders::{Catalog, PHANTOM_SPLITS};
use promise::{
    prompt_source::PromptSource,
    reference::{self, OptionDoc, learning_name},
    registry::PROMPT_MODULES,
    spec::{ShiftModule, shift_options},
};
use reporting::FigureKind;
use sam_backbone::Variant;
use serde_json::json;

use crate::{outln, output::print_json};

/// Show what experiment files and commands can name.
#[derive(Args)]
pub struct List {
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

impl List {
    /// Prints.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let catalog = Catalog::built_in();
        let mut data: Vec<(String, Vec<String>)> =
            catalog.cards().iter().map(|card| (card.name.clone(), card.split_names())).collect();
        let phantom = PHANTOM_SPLITS.iter().map(|(split, _)| (*split).to_owned()).collect();
        data.push(("phantom".into(), phantom));
        let backbones = Variant::ALL.map(|variant| variant.name());
        let shifts = ShiftModule::ALL.map(ShiftModule::name);
        let sources = PromptSource::ALL.map(|source| source.name());
        if self.json {
            let protocols: Vec<_> = metrics::Protocol::ALL.iter().map(|p| p.name()).collect();
            let figures: Vec<_> = FigureKind::ALL.iter().map(|kind| kind.name()).collect();
            let modules: Vec<_> = PROMPT_MODULES
                .iter()
                .map(|entry| {
                    json!({
                        "name": entry.name,
                        "summary": entry.summary,
                        "learning": learning_name((entry.default_learning)()),
                        "default_options": (entry.default_options)(),
                        "options": (entry.options)(),
                    })
                })
                .collect();
            let data: Vec<_> = data
                .iter()
                .map(|(name, splits)| json!({ "name": name, "splits": splits }))
                .collect();
            print_json(&json!({
                "prompt_modules": modules,
                "shift_modules": shifts,
                "shift_default_options": shift_options(),
                "shift_options": reference::shift_options(),
                "backbones": backbones,
                "data": data,
                "prompt_sources": sources,
                "protocols": protocols,
                "figures": figures,
            }))?;
            return Ok(ExitCode::SUCCESS);
        }
        outln!("prompt modules ([prompt] module = …)");
        for entry in PROMPT_MODULES {
            let learning = learning_name((entry.default_learning)());
            outln!("  {:16} {} ({learning})", entry.name, entry.summary);
            print_options(&(entry.options)());
        }
        outln!("token shifts ([shift] module = …)\n  {}", shifts.join("\n  "));
        print_options(&reference::shift_options());
        outln!("backbones\n  {}", backbones.join(", "));
        outln!("data sets");
        for (name, splits) in data {
            outln!("  {name:20} {}", splits.join(", "));
        }
        outln!("prompt sources\n  {}", sources.join(", "));
        outln!("protocols");
        for protocol in metrics::Protocol::ALL {
            outln!("  {:20} {}", protocol.name(), protocol.summary());
        }
        outln!("figures");
        for kind in FigureKind::ALL {
            outln!("  {:20} {}", kind.name(), kind.summary());
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// One option a line: key, default or type, meaning.
fn print_options(options: &[OptionDoc]) {
    for OptionDoc { name, kind, default, doc } in options {
        let default = default.as_deref().unwrap_or("none");
        outln!("      {name} = {default}");
        outln!("          {kind}. {doc}");
    }
}
