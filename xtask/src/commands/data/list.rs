//! `data list`

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use data_loaders::{Card, Catalog, DataError, Inventory};
use serde_json::{Value, json};

use crate::{outln, output::print_json};

/// Options of `data list`.
#[derive(Args)]
pub struct List {
    /// Folder below which data sets are looked for.
    #[arg(long, env = "PROMISE_DATA")]
    data_root: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

impl List {
    /// Prints every card, and what of it lies under the data root.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let catalog = Catalog::built_in();
        let mut rows = Vec::new();
        for card in catalog.cards() {
            let found = match &self.data_root {
                Some(root) => match Inventory::of_card(card, root) {
                    Ok(inventory) => Some(inventory),
                    Err(DataError::LayoutMissing { .. }) => None,
                    Err(error @ DataError::Folder { .. }) => {
                        tracing::warn!("{}: {:#}", card.name, anyhow::Error::from(error));
                        None
                    }
                    Err(error) => return Err(error.into()),
                },
                None => None,
            };
            rows.push((card, found));
        }
        if self.json {
            let rows: Vec<Value> =
                rows.iter().map(|(card, found)| as_json(card, found.as_ref())).collect();
            print_json(&json!({ "data_root": self.data_root, "data_sets": rows }))?;
            return Ok(ExitCode::SUCCESS);
        }
        outln!(
            "| name | cases | splits | found (layout) | terms |\n| --- | --- | --- | --- | --- |"
        );
        for (card, found) in rows {
            let splits: Vec<String> = card
                .splits
                .iter()
                .flat_map(|by| by.counts.iter().map(|(name, count)| format!("{name} {count}")))
                .collect();
            let found = found.map_or_else(|| "-".to_owned(), |found| describe(&found));
            let (name, cases) = (&card.name, card.cases());
            outln!(
                "| {name} | {cases} | {} | {found} | {} |",
                splits.join(", "),
                card.short_terms()
            );
        }
        if self.data_root.is_none() {
            outln!("\nWith --data-root or PROMISE_DATA, the column `found` says what is there.");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Every split that is there: how much of it, and in which layout.
fn describe(found: &Inventory) -> String {
    let splits = found.splits.iter().filter_map(|split| {
        let layout = split.layout.as_ref()?;
        let expected = split.expected.unwrap_or(split.found);
        Some(format!("{} {} of {expected} ({layout})", split.name, split.found))
    });
    splits.collect::<Vec<_>>().join(", ")
}

fn as_json(card: &Card, found: Option<&Inventory>) -> Value {
    let splits = |by: &data_loaders::SplitFile| json!({ "name": by.name, "counts": by.counts });
    let found = found.map(|found| {
        let splits: Vec<Value> = found
            .splits
            .iter()
            .map(|split| {
                let (layout, expected) = (&split.layout, split.expected);
                json!({ "split": split.name, "layout": layout, "expected": expected, "found": split.found })
            })
            .collect();
        splits
    });
    json!({
        "name": card.name,
        "title": card.title,
        "modality": card.modality,
        "cases": card.cases(),
        "splits": card.splits.iter().map(splits).collect::<Vec<_>>(),
        "found": found,
        "home_page": card.home_page,
        "terms": card.terms,
        "citation": card.citation,
    })
}
