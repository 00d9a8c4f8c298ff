//! `cargo xtask cache`

use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use feature_cache::FeatureCache;
use indicatif::HumanBytes;
use promise::progress::Progress as _;
use serde_json::json;

use super::CacheOptions;
use crate::{bar::Bar, outln, output::print_json};

/// Show, verify or clear the feature cache.
#[derive(Args)]
pub struct Cache {
    #[command(subcommand)]
    command: CacheCommand,
    #[command(flatten)]
    options: CacheOptions,
    /// Print one JSON document.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum CacheCommand {
    /// Show what is in it.
    Stat,
    /// Read every entry and remove the damaged ones.
    Verify,
    /// Remove everything.
    Clear,
}

impl Cache {
    /// Does it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let folder = self.options.folder();
        let cannot = || format!("cannot use the feature cache {}", folder.root.display());
        // Opening makes a cache; a name that was mistyped shall not.
        ensure!(folder.root.is_dir(), "there is no feature cache: {}", folder.root.display());
        let cache = FeatureCache::open(&folder.root, folder.limit).with_context(cannot)?;
        match self.command {
            CacheCommand::Stat => {
                let survey = cache.survey().with_context(cannot)?;
                if self.json {
                    print_json(&survey)?;
                    return Ok(ExitCode::SUCCESS);
                }
                outln!(
                    "{} entries, {} of {}: {}",
                    survey.entries,
                    HumanBytes(survey.bytes),
                    HumanBytes(survey.limit),
                    folder.root.display()
                );
                if !survey.backbones.is_empty() {
                    outln!(
                        "| encoder | weights | preparation | stored as | images | entries | size |"
                    );
                    outln!("| --- | --- | --- | --- | ---: | ---: | ---: |");
                }
                for group in survey.backbones {
                    outln!(
                        "| {} | {:.8} | {} | {} | {} | {} | {} |",
                        group.encoder,
                        group.weights,
                        group.preparation,
                        group.precision,
                        group.images,
                        group.entries,
                        HumanBytes(group.bytes)
                    );
                }
                if survey.unreadable > 0 {
                    outln!(
                        "{} entries that cannot be read now; `cache verify` says why, and removes those that are damaged",
                        survey.unreadable
                    );
                }
                for folder in survey.other_versions {
                    outln!("of another version; `cache clear` removes it: {}", folder.display());
                }
                Ok(ExitCode::SUCCESS)
            }
            CacheCommand::Verify => {
                let bar = Bar::new();
                bar.start("verify", 0);
                let mut begun = false;
                let verification = cache
                    .verify(|done, n| {
                        if !begun {
                            bar.start("verify", n as u64);
                            begun = true;
                        }
                        bar.set(done as u64);
                    })
                    .with_context(cannot)?;
                bar.finish();
                if self.json {
                    print_json(&verification)?;
                } else {
                    outln!("{} entries are whole", verification.whole);
                    for entry in &verification.damaged {
                        outln!("removed: {}: {}", entry.reason, entry.path.display());
                    }
                    for entry in &verification.unreadable {
                        outln!("cannot be read: {}: {}", entry.reason, entry.path.display());
                    }
                }
                // As a check in a script: something was found.
                let whole = verification.damaged.is_empty() && verification.unreadable.is_empty();
                Ok(ExitCode::from(u8::from(!whole)))
            }
            CacheCommand::Clear => {
                let freed = cache.clear().with_context(cannot)?;
                if self.json {
                    print_json(&json!({ "freed_bytes": freed }))?;
                } else {
                    outln!("{} freed", HumanBytes(freed));
                }
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}
