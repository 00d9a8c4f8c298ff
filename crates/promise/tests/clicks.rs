//! A finished run is corrected by clicks: of a simulated user, and of a person who makes the same ones.

mod common;

use std::{collections::BTreeMap, fs, num::NonZeroUsize, path::Path};

use common::context;
use data_loaders::{Catalog, DataSet};
use promise::{
    dialogue::{MaskChoice, MaskInput},
    evaluate::CasePrompts,
    person::{Combine, ImagePoint, ImagePointLabel, ImagePrompt, PROMPT_FILE_VERSION, PromptFile},
    plan::Experiment,
    prompt_source::PromptSource,
    run::{evaluate_run, run_experiment, simulate_run},
    simulated_user::{Simulation, Start, keep},
};
use run_record::{CaseRow, ClickRow, RunFolder, read_rows};

const ONE: NonZeroUsize = NonZeroUsize::MIN;

const SIMULATION: Simulation = Simulation {
    rounds: ONE.saturating_add(2),
    start: None,
    mask_input: MaskInput::Previous,
    mask_choice: MaskChoice::Used,
};

/// The smoke experiment with these settings, in `runs`.
fn run(settings: &[&str], runs: &Path) -> RunFolder {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/smoke/apm.toml");
    let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
    let experiment = Experiment::load(&file, &settings).expect("valid");
    run_experiment(&experiment, &context(runs)).expect("it runs").remove(0).folder
}

/// A file of prompts with the clicks of these rows.
fn clicked(rows: &[ClickRow], automatic: bool) -> PromptFile {
    let mut images: BTreeMap<String, ImagePrompt> = BTreeMap::new();
    for row in rows {
        let prompt = images.entry(format!("{}.png", row.file)).or_default();
        prompt.automatic = automatic;
        if let (Some(x), Some(y)) = (row.x, row.y) {
            let foreground = row.label == Some(1);
            prompt.points.push(ImagePoint {
                x: x as f32,
                y: y as f32,
                label: match foreground {
                    true => ImagePointLabel::Foreground,
                    false => ImagePointLabel::Background,
                },
            });
        }
    }
    PromptFile { version: PROMPT_FILE_VERSION, images }
}

/// Mean Dice after so many clicks.
fn mean_dice(rows: &[ClickRow], clicks: usize) -> f64 {
    let scores: Vec<f64> =
        rows.iter().filter(|row| row.clicks == clicks).filter_map(|row| row.dice).collect();
    scores.iter().sum::<f64>() / scores.len() as f64
}

#[test]
fn a_person_who_makes_the_simulated_clicks_gets_the_simulated_masks() {
    let runs = tempfile::tempdir().expect("a folder");
    let context = context(runs.path());
    let folder = run(&["train.epochs=1"], runs.path());
    let rows = simulate_run(&folder, None, None, SIMULATION, &context).expect("clicked");
    let record = folder.read_record().expect("a record");

    // Before the first click there is what the run made of the images.
    let cases = read_rows::<CaseRow>(&folder.cases()).expect("case rows");
    let auto: Vec<_> = cases.iter().filter(|case| case.prompts == "auto").collect();
    assert_eq!(auto.len(), 2);
    for case in &auto {
        let of_case: Vec<_> = rows.iter().filter(|row| row.file == case.file).collect();
        let numbers: Vec<_> = of_case.iter().map(|row| row.clicks).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
        assert_eq!(of_case[0].dice, case.dice);
        assert_eq!(of_case[0].start, "auto");
        assert!(of_case[0].x.is_none() && of_case[0].label.is_none());
    }

    // A click tells the truth about its pixel.
    let set = DataSet::open("phantom", "test", None, &Catalog::built_in()).expect("built in");
    for index in 0..set.len() {
        let case = set.load(index).expect("a case");
        for row in rows.iter().filter(|row| row.file == case.id && row.clicks > 0) {
            let (x, y) = row.x.zip(row.y).expect("nothing was right at once");
            assert_eq!(i32::from(case.truth.at(x, y)), row.label.expect("a label"));
        }
        if index == 1 {
            break;
        }
    }

    // The same clicks in rounds, from a file.
    let file = clicked(&rows, true);
    let prompts = [CasePrompts::Person { file: &file, combine: Some(Combine::Correct) }];
    let corrected = evaluate_run(&folder, None, &prompts, None, &context).expect("evaluated");
    assert_eq!(corrected.rows[0].prompts, "person_correct");
    assert_eq!((corrected.rows[0].n, corrected.rows[0].oracle), (2, false));
    assert_eq!(corrected.rows[0].dice, Some(mean_dice(&rows, 3)));

    // What is said on the command line holds for every image, whatever the file says.
    let without = clicked(&rows, false);
    let prompts = [CasePrompts::Person { file: &without, combine: Some(Combine::Correct) }];
    let corrected = evaluate_run(&folder, None, &prompts, None, &context).expect("evaluated");
    assert_eq!(corrected.rows[0].dice, Some(mean_dice(&rows, 3)));
    let replaced = |file, combine| {
        let prompts = [CasePrompts::Person { file, combine }];
        let mut record = evaluate_run(&folder, None, &prompts, None, &context).expect("evaluated");
        record.rows.remove(0)
    };
    let (by_file, by_word) = (replaced(&without, None), replaced(&file, Some(Combine::Replace)));
    assert_eq!((by_file.prompts.as_str(), by_word.prompts.as_str()), ("person", "person_replace"));
    assert_eq!(by_file.dice, by_word.dice);
    assert_ne!(by_word.dice, replaced(&file, None).dice, "with automatic prompts it is another");

    // Without feeding masks back, rounds are the same as all at once.
    let at_once = Simulation { mask_input: MaskInput::None, ..SIMULATION };
    let rows = simulate_run(&folder, None, None, at_once, &context).expect("clicked");
    let file = clicked(&rows, true);
    let prompts = [CasePrompts::Person { file: &file, combine: None }];
    let added = evaluate_run(&folder, None, &prompts, None, &context).expect("evaluated");
    assert_eq!(added.rows[0].prompts, "person");
    assert_eq!(added.rows[0].dice, Some(mean_dice(&rows, 3)));

    // And alone they are what a start without automatic prompts would have clicked, had it clicked there.
    let one = Simulation { rounds: ONE, start: Some(Start::Click), ..SIMULATION };
    let rows = simulate_run(&folder, None, None, one, &context).expect("clicked");
    assert!(rows.iter().all(|row| row.clicks == 1 && row.start == "click" && row.label == Some(1)));
    let mut file = clicked(&rows, false);
    let prompts = [CasePrompts::Person { file: &file, combine: None }];
    let alone = evaluate_run(&folder, None, &prompts, None, &context).expect("evaluated");
    assert_eq!(alone.rows[0].dice, Some(mean_dice(&rows, 1)));

    // A file may leave cases out, but name none that are not there.
    let first = file.images.keys().next().expect("an image").clone();
    file.images.retain(|name, _| *name == first);
    let prompts = [CasePrompts::Person { file: &file, combine: None }];
    let some = evaluate_run(&folder, None, &prompts, None, &context).expect("evaluated");
    assert_eq!(some.rows[0].n, 1);
    let prompt = file.images[&first].clone();
    file.images.insert("gone.png".into(), prompt);
    let prompts = [CasePrompts::Person { file: &file, combine: None }];
    let error = evaluate_run(&folder, None, &prompts, None, &context).expect_err("no such case");
    assert_eq!(
        error.to_string(),
        "there are prompts for `gone.png`, which `phantom` does not have; one set is named by `--data`"
    );
    file.images.remove("gone.png");
    file.images.get_mut(&first).expect("an image").points[0].x = 5000.0;
    let prompts = [CasePrompts::Person { file: &file, combine: None }];
    let error = evaluate_run(&folder, None, &prompts, None, &context).expect_err("outside");
    assert!(error.to_string().starts_with("(5000, "), "{error}");
    assert!(error.to_string().ends_with(&first.replace(".png", "")), "{error}");
    assert_eq!(folder.read_record().expect("a record"), record, "nothing of it was touched");
}

#[test]
fn the_same_clicks_are_the_same_bytes_and_frozen_sam_begins_with_a_click() {
    let runs = tempfile::tempdir().expect("a folder");
    let context = context(runs.path());
    let frozen = ["prompt={ module = \"none\" }", "shift={ module = \"none\" }"];
    let folder = run(&frozen, runs.path());
    let simulate = |simulation| simulate_run(&folder, None, None, simulation, &context);
    let rows = simulate(SIMULATION).expect("clicked");
    let numbers: Vec<_> = rows.iter().map(|row| row.clicks).collect();
    assert_eq!(numbers, [1, 2, 3, 1, 2, 3]);
    keep(&folder, rows.clone()).expect("written");
    let bytes = fs::read(folder.clicks()).expect("it is there");
    let again = simulate(SIMULATION).expect("clicked");
    assert_eq!(again, rows);
    keep(&folder, again).expect("written");
    assert_eq!(fs::read(folder.clicks()).expect("it is there"), bytes);

    // Another way of clicking stands beside it, and made again takes its own place.
    let best = Simulation { rounds: ONE, mask_choice: MaskChoice::Best, ..SIMULATION };
    for _ in 0..2 {
        keep(&folder, simulate(best).expect("clicked")).expect("written");
        let kept: Vec<ClickRow> = read_rows(&folder.clicks()).expect("click rows");
        assert_eq!(kept.len(), 6 + 2);
    }
    let auto = Simulation { start: Some(Start::Auto), ..SIMULATION };
    // What a run without a module cannot do is said before data are opened, so also where there are none.
    let nowhere = Some("nowhere");
    let error = simulate_run(&folder, nowhere, None, auto, &context).expect_err("no module");
    let error = error.to_string();
    assert!(error.contains("no automatic prompts to start from; `--start click`"), "{error}");
    let file = clicked(&rows, true);
    let refused = |prompts: CasePrompts<'_>| {
        let evaluated = evaluate_run(&folder, nowhere, &[prompts], None, &context);
        evaluated.expect_err("no module").to_string()
    };
    let of_file = |file, combine| refused(CasePrompts::Person { file, combine });
    let error = of_file(&file, None);
    assert!(error.contains("to add those of `") && error.contains("`automatic` of the"), "{error}");
    let error = of_file(&file, Some(Combine::Add));
    assert!(error.contains("as `--combine add` has it"), "{error}");
    let mut automatic = file.clone();
    automatic.images.values_mut().for_each(|prompt| prompt.points.clear());
    for combine in [None, Some(Combine::Add), Some(Combine::Correct)] {
        let error = of_file(&automatic, combine);
        assert!(error.contains("automatic prompts are all that the file has for `"), "{error}");
    }
    let error = of_file(&automatic, Some(Combine::Replace));
    assert!(error.contains("which `--combine replace` leaves out"), "{error}");
    let error = refused(PromptSource::Auto.into());
    assert!(error.contains("cannot be evaluated with `auto`"), "{error}");

    // Both kinds of prompts in one table.
    let file = clicked(&rows, false);
    let prompts = [
        CasePrompts::Source(PromptSource::Center),
        CasePrompts::Person { file: &file, combine: Some(Combine::Correct) },
    ];
    let both = evaluate_run(&folder, None, &prompts, None, &context).expect("evaluated");
    assert_eq!(both.rows.len(), 2);
    assert_eq!(both.rows[1].dice, Some(mean_dice(&rows, 3)));
}
