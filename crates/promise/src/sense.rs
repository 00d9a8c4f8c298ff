//! Whether the values of an experiment make sense, together and each by itself: what types cannot check.

use std::collections::BTreeSet;

use data_loaders::{Catalog, PHANTOM_SPLITS};
use sam_backbone::{ResizeMode, Variant};
use toml_diagnostics::count_in_words;

use crate::{
    no_prompt::NO_PROMPT,
    prompt_source::PromptSource,
    registry,
    schema::{COUNTS, Finding},
    spec::{DataSpec, ExperimentSpec, FOLDER_NAMES, ShiftModule, SourceSpec, is_folder_name},
};

/// The only set that is generated.
const PHANTOM: &str = "phantom";

/// Everything that makes no sense.
pub(crate) fn findings(spec: &ExperimentSpec, catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    top(spec, &mut findings);
    backbone(spec, &mut findings);
    let trains = spec.prompt.module != NO_PROMPT || spec.shift.module != ShiftModule::None;
    data(&spec.data, trains, catalog, &mut findings);
    parts(spec, &mut findings);
    train(spec, &mut findings);
    evaluate(spec, &mut findings);
    findings
}

fn top(spec: &ExperimentSpec, findings: &mut Vec<Finding>) {
    if !is_folder_name(&spec.name) {
        let reason = format!("`{}` is no folder name; {FOLDER_NAMES}", spec.name);
        findings.push(Finding::at("name", reason));
    }
    if spec.seeds.is_empty() {
        findings.push(Finding::at("seeds", "needs at least one seed"));
    }
    if let Some(twice) = twice(&spec.seeds) {
        findings.push(Finding::at("seeds", format!("holds a seed twice: {twice}")));
    }
}

fn backbone(spec: &ExperimentSpec, findings: &mut Vec<Finding>) {
    match spec.backbone.variant.parse::<Variant>() {
        Err(error) => findings.push(Finding::at("backbone.variant", error.to_string())),
        Ok(Variant::Micro) => {}
        Ok(variant) if spec.backbone.weights.is_none() => {
            let reason = format!(
                "`{variant}` has no embedded weights; give a file with `--set backbone.weights=FILE`"
            );
            findings.push(Finding::at("backbone.weights", reason));
        }
        Ok(_) => {}
    }
}

fn data(data: &DataSpec, trains: bool, catalog: &Catalog, findings: &mut Vec<Finding>) {
    for (key, split_key, sets, split) in [
        ("data.train", "data.train_split", &data.train, &data.train_split),
        ("data.test", "data.test_split", &data.test, &data.test_split),
    ] {
        if sets.is_empty() {
            findings.push(Finding::at(key, "needs at least one data set"));
        }
        if let Some(twice) = twice(sets) {
            findings.push(Finding::at(key, format!("names `{twice}` twice")));
        }
        for set in sets {
            match known_splits(set, split, data, catalog) {
                Ok(None) => {}
                Ok(Some(known)) => {
                    let reason = format!("data set `{set}` has no split `{split}`; it has {known}");
                    findings.push(Finding {
                        with: &["data.train", "data.test"],
                        ..Finding::at(split_key, reason)
                    });
                }
                Err(known) => {
                    let reason = format!(
                        "unknown data set `{set}`; known are {known}, and those of `[data.sources]`"
                    );
                    findings.push(Finding { with: &["data.sources"], ..Finding::at(key, reason) });
                }
            }
        }
    }
    if !(data.validation_fraction > 0.0 && data.validation_fraction < 1.0) {
        let reason = format!("is {}, must be above 0 and below 1", data.validation_fraction);
        findings.push(Finding::at("data.validation_fraction", reason));
    }
    if !(data.feature_memory_gib >= 0.0 && data.feature_memory_gib.is_finite()) {
        let reason = format!("is {}, must be a number of GiB, at least 0", data.feature_memory_gib);
        findings.push(Finding::at("data.feature_memory_gib", reason));
    }
    for (name, source) in &data.sources {
        if !is_folder_name(name) {
            let reason = format!("`{name}` is no folder name; {FOLDER_NAMES}");
            findings.push(Finding::under(&["data", "sources", name], reason));
            continue;
        }
        findings.extend(source_finding(name, source, data));
    }
    if trains && data.train_split == data.test_split {
        let mut both = data.train.iter().filter(|set| data.test.contains(set));
        if let Some(set) = both.find(|set| !data.allow_overlap.contains(set)) {
            let reason = format!(
                "`{set}` is trained and tested on with the same split, `{}`: every test image would be a training image; \
                 `data.allow_overlap = [\"{set}\"]` allows it, and tables mark it",
                data.test_split
            );
            findings.push(Finding {
                with: &["data.train", "data.test", "data.train_split", "data.allow_overlap"],
                ..Finding::at("data.test_split", reason)
            });
        }
    }
    if let Some(set) = data.allow_overlap.iter().find(|set| !data.test.contains(set)) {
        let reason = format!("names `{set}`, which is not tested on (`data.test`)");
        findings
            .push(Finding { with: &["data.test"], ..Finding::at("data.allow_overlap", reason) });
    }
    if let (Some(limit), Some(images)) = (data.train_limit, data.train_images) {
        let most = limit.saturating_mul(data.train.len());
        if images > most {
            let reason =
                format!("is {images}, but `data.train_limit` leaves {most} images at most");
            findings.push(Finding {
                with: &["data.train", "data.train_limit"],
                ..Finding::at("data.train_images", reason)
            });
        }
    }
}

/// `Ok(None)` if the set has the split, its splits if not, and all sets if there is no such set.
fn known_splits(
    set: &str,
    split: &str,
    data: &DataSpec,
    catalog: &Catalog,
) -> Result<Option<String>, String> {
    let listed = |names: Vec<String>| names.join(", ");
    if data.sources.contains_key(set) {
        // What it has stands in files.
        return Ok(None);
    }
    if set == PHANTOM {
        let known = PHANTOM_SPLITS.map(|(name, _)| name.to_owned());
        return Ok((!known.iter().any(|name| name == split)).then(|| listed(known.into())));
    }
    match catalog.get(set) {
        Some(card) => Ok((!card.has_split(split)).then(|| listed(card.split_names()))),
        None => {
            let cards = catalog.cards().iter().map(|card| card.name.clone());
            let names: BTreeSet<String> = cards.chain([PHANTOM.to_owned()]).collect();
            Err(listed(names.into_iter().collect()))
        }
    }
}

fn source_finding(name: &str, source: &SourceSpec, data: &DataSpec) -> Option<Finding> {
    let wrong = |reason: &str| Some(Finding::under(&["data", "sources", name], reason));
    let csv = source.csv.is_some();
    let folders = source.images.is_some() && source.masks.is_some();
    let mixed = csv && (source.images.is_some() || source.masks.is_some());
    if csv == folders || mixed {
        return wrong("needs either `csv`, or `images` and `masks`");
    }
    if csv && source.splits.is_some() {
        return wrong(
            "`splits` goes with `images` and `masks`; a `csv` says it in the column `train_type`",
        );
    }
    if folders && source.root.is_some() {
        return wrong("`root` goes with `csv`; `images` and `masks` are whole paths");
    }
    let both = [&data.train, &data.test].iter().all(|sets| sets.iter().any(|set| set == name));
    let allowed = data.allow_overlap.iter().any(|set| set == name);
    if both && folders && source.splits.is_none() && !allowed {
        let reason = format!("`{name}` is trained and tested on, so it needs `splits`");
        return wrong(&reason)
            .map(|finding| Finding { with: &["data.train", "data.test"], ..finding });
    }
    None
}

fn parts(spec: &ExperimentSpec, findings: &mut Vec<Finding>) {
    if let Err(error) = registry::find(&spec.prompt.module) {
        findings.push(Finding::at("prompt.module", error.to_string()));
    }
    if spec.shift.module == ShiftModule::None && spec.shift.options.is_some() {
        findings.push(Finding {
            with: &["shift.module"],
            ..Finding::at("shift.options", "`none` has no options")
        });
    }
}

fn train(spec: &ExperimentSpec, findings: &mut Vec<Finding>) {
    let (train, data) = (&spec.train, &spec.data);
    let counts = [
        Some(train.epochs),
        Some(train.batch_size),
        Some(train.views),
        train.patience,
        Some(spec.evaluate.points),
        data.train_limit,
        data.train_images,
        data.test_limit,
    ];
    for ((key, least, most), value) in COUNTS.into_iter().zip(counts) {
        if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
            let reason = format!("is {value}, must be {}", count_in_words(least, most));
            findings.push(Finding::at(key, reason));
        }
    }
    if let Some(patience) = train.patience
        && patience >= train.epochs
        && train.epochs > 0
    {
        let reason = format!(
            "is {patience}, which {} epochs cannot wait for; make it smaller than `train.epochs`, or leave it out",
            train.epochs
        );
        findings.push(Finding { with: &["train.epochs"], ..Finding::at("train.patience", reason) });
    }
    if !(train.learning_rate > 0.0 && train.learning_rate <= 1.0) {
        let reason = format!("is {}, must be above 0 and at most 1", train.learning_rate);
        findings.push(Finding::at("train.learning_rate", reason));
    }
    if let Some(augmentation) = &train.augmentation {
        if let Err(error) = augmentation.check() {
            findings.push(Finding::at("train.augmentation", error.to_string()));
        }
        if spec.backbone.resize == ResizeMode::LongestSide {
            findings.push(Finding {
                with: &["train.augmentation"],
                ..Finding::at(
                    "backbone.resize",
                    "SAM pads `longest_side` after normalization, where nothing can be augmented; with `train.augmentation` use `plain` or `border_crop`",
                )
            });
        }
        if train.views > 1 {
            findings.push(Finding {
                with: &["train.augmentation"],
                ..Finding::at("train.views", "augmented images are never seen twice; leave out one")
            });
        }
    }
    let reason = match (train.prompts, spec.prompt.module != NO_PROMPT) {
        (None, _) | (Some(PromptSource::Auto), true) | (Some(PromptSource::GroundTruth), false) => {
            return;
        }
        (Some(PromptSource::Auto), false) => {
            "`auto` needs a prompt module, and `prompt.module` is `none`".into()
        }
        (Some(PromptSource::GroundTruth), true) => {
            "with `ground_truth` the prompt module would learn nothing; use `auto`, or `prompt.module = \"none\"`".into()
        }
        (Some(other), _) => {
            format!("`{other}` teaches nothing; expected `auto` or `ground_truth`")
        }
    };
    findings.push(Finding { with: &["prompt.module"], ..Finding::at("train.prompts", reason) });
}

fn evaluate(spec: &ExperimentSpec, findings: &mut Vec<Finding>) {
    let (prompts, has_module) = (&spec.evaluate.prompts, spec.prompt.module != NO_PROMPT);
    if prompts.is_empty() {
        let known = PromptSource::ALL.map(|source| format!("`{source}`")).join(", ");
        let reason = format!("needs at least one of {known}");
        findings.push(Finding::at("evaluate.prompts", reason));
    } else if !prompts.iter().any(|&source| has_module || source != PromptSource::Auto) {
        let reason = "leaves a method without any prompt source: `auto` needs a prompt module";
        findings
            .push(Finding { with: &["prompt.module"], ..Finding::at("evaluate.prompts", reason) });
    }
    if let Some(twice) = twice(prompts) {
        findings.push(Finding::at("evaluate.prompts", format!("names `{twice}` twice")));
    }
}

/// The first value that stands in a list a second time.
fn twice<T: PartialEq>(values: &[T]) -> Option<&T> {
    values
        .iter()
        .enumerate()
        .find(|(place, value)| values[..*place].contains(value))
        .map(|(_, value)| value)
}
