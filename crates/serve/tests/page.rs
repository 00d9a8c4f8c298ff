//! What the page asks for, and what it gets.

mod common;

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use common::{BLOCKS, Fake, Gate, Page};
use promise::person::{ImagePointLabel, PromptFile};
use serde_json::{Value, json};
use serve::{Gallery, Library, Limits, Settings};

fn click(image: &str) -> Value {
    json!({ "image": image, "method": 0, "points": [{ "x": 10.0, "y": 8.0, "label": "foreground" }] })
}

/// Every `from "./x.js"`, `src="/x"` and `href="/x"`.
fn references(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (before, strip) in [("from \".", ""), ("src=\"", ""), ("href=\"", "")] {
        for part in text.split(before).skip(1) {
            let path = part.split('"').next().unwrap_or_default().trim_start_matches(strip);
            if path.starts_with('/') {
                found.insert(path.to_owned());
            }
        }
    }
    found
}

#[test]
fn every_file_that_the_page_names_is_there_and_nothing_comes_from_elsewhere() {
    let page = Page::of(&Settings::default(), Fake::default());
    let (mut seen, mut next) = (BTreeSet::new(), vec!["/".to_owned()]);
    while let Some(path) = next.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let reply = page.get(&path);
        assert_eq!(reply.status, 200, "{path}");
        let text = reply.text();
        for elsewhere in ["https://", "//cdn", "@import"] {
            assert!(!text.contains(elsewhere), "{path} has {elsewhere}");
        }
        // What the policy would refuse: inline scripts and styles.
        if path == "/" {
            assert!(
                !text.contains("style=") && !text.contains("onclick") && !text.contains("<style")
            );
            assert_eq!(text.matches("<script").count(), 1);
        }
        next.extend(references(&text));
    }
    assert!(seen.len() >= 11, "{seen:?}");
}

#[test]
fn an_image_is_encoded_once_however_often_it_is_asked_for() {
    let fake = Fake::default();
    let encoded = fake.encoded.clone();
    let page = Page::of(&Settings::default(), fake);
    page.encode("g3");
    page.encode("g3");
    for _ in 0..3 {
        assert_eq!(page.post("/api/answers", &click("g3")).status, 200);
    }
    assert_eq!(encoded.load(Ordering::SeqCst), 1);
}

#[test]
fn progress_is_told_and_another_image_is_prompted_meanwhile() {
    let gate = Arc::new(Gate::default());
    let page =
        Page::of(&Settings::default(), Fake { blocks: Some(gate.clone()), ..Fake::default() });
    gate.open(BLOCKS);
    page.encode("g0");
    page.post("/api/images/g1/encoding", &Value::Null);
    let third = page.post("/api/images/g2/encoding", &Value::Null).json();
    assert_eq!(third["state"], "waiting");
    gate.open(2);
    let progress = loop {
        let progress = page.until("g1", "encoding");
        if progress["done"] == 2 {
            break progress;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert_eq!(progress["all"], BLOCKS);
    // The encoder waits; prompts do not.
    assert_eq!(page.post("/api/answers", &click("g0")).status, 200);
    gate.open(2 + BLOCKS);
    page.until("g1", "ready");
    page.until("g2", "ready");
}

#[test]
fn an_encoding_ends_at_the_next_block_when_nobody_waits_any_more() {
    let gate = Arc::new(Gate::default());
    let fake = Fake { blocks: Some(gate.clone()), ..Fake::default() };
    let (encoded, ended) = (fake.encoded.clone(), fake.ended.clone());
    let page = Page::of(&Settings::default(), fake);
    let join = |key: &str| {
        page.post(&format!("/api/images/{key}/encoding"), &Value::Null).json()["ticket"].clone()
    };
    let leave = |key: &str, ticket: &Value| {
        let path = format!("/api/images/{key}/encoding?ticket={ticket}");
        assert_eq!(page.send("DELETE", &path, &[], b"").status, 204);
    };
    let (first, second) = (join("g0"), join("g0"));
    let waiting = join("g1");
    page.until("g0", "encoding");
    leave("g0", &first);
    gate.open(1);
    while page.until("g0", "encoding")["done"] != 1 {
        std::thread::sleep(Duration::from_millis(2));
    }
    // One that only waits is gone at once, and never begins.
    leave("g1", &waiting);
    assert_eq!(page.get("/api/images/g1/encoding").json()["state"], "absent");
    leave("g0", &second);
    gate.open(1);
    page.until("g0", "absent");
    assert_eq!(ended.load(Ordering::SeqCst), 1);
    assert_eq!(encoded.load(Ordering::SeqCst), 1);
    // And it can be asked for again.
    gate.open(BLOCKS);
    page.encode("g0");
}

#[test]
fn a_file_that_is_no_image_fails_with_its_reason_and_the_next_is_encoded() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a.png"), "no image").expect("written");
    image::RgbImage::new(8, 8).save(folder.path().join("b.png")).expect("written");
    let library = Library::new(Gallery::of_folder(folder.path(), None).expect("images"));
    let page = Page::start(&Settings::default(), Fake::default(), library);
    page.post("/api/images/g0/encoding", &Value::Null);
    let failed = page.until("g0", "failed");
    assert!(failed["reason"].as_str().is_some_and(|reason| reason.contains("a.png")), "{failed}");
    assert_eq!(page.get("/api/images/g0/thumbnail.jpg").status, 422);
    page.encode("g1");
}

#[test]
fn a_mask_comes_in_runs_with_scores_against_the_truth() {
    let page = Page::of(&Settings::default(), Fake::default());
    page.encode("g0");
    let described = page.get("/api/images/g0").json();
    let side = |name: &str| described[name].as_u64().expect("a number") as usize;
    let (width, height) = (side("width"), side("height"));
    let answer = page.post("/api/answers", &click("g0")).json();
    let expand = |runs: &Value| -> Vec<bool> {
        let lengths = runs["runs"].as_array().expect("runs").iter();
        let by_turns = lengths.enumerate().flat_map(|(turn, length)| {
            std::iter::repeat_n(turn % 2 == 1, length.as_u64().expect("a length") as usize)
        });
        by_turns.collect()
    };
    let mask = expand(&answer["mask"]);
    assert_eq!(mask.len(), width * height);
    assert_eq!(mask.iter().filter(|on| **on).count(), 16, "4 x 4 pixels");
    assert!(mask[8 * width + 10] && !mask[12 * width + 10]);
    // Dice by its definition.
    let truth = expand(&page.get("/api/images/g0/truth").json());
    let both = mask.iter().zip(&truth).filter(|(a, b)| **a && **b).count() as f64;
    let sizes = (16 + truth.iter().filter(|on| **on).count()) as f64;
    let dice = answer["dice"].as_f64().expect("a score");
    assert!((dice - 2.0 * both / sizes).abs() < 1e-12, "{dice}");
}

#[test]
fn an_image_without_a_mask_is_prompted_and_has_no_truth() {
    let folder = tempfile::tempdir().expect("a folder");
    let [images, masks] = ["images", "masks"].map(|name| folder.path().join(name));
    for path in [&images, &masks] {
        std::fs::create_dir(path).expect("made");
    }
    for name in ["a.png", "b.png"] {
        image::RgbImage::new(20, 16).save(images.join(name)).expect("written");
    }
    image::GrayImage::from_pixel(20, 16, image::Luma([255]))
        .save(masks.join("a.png"))
        .expect("written");
    let library = Library::new(Gallery::of_folder(&images, Some(&masks)).expect("a pair"));
    let page = Page::start(&Settings::default(), Fake::default(), library);
    for (key, has_truth) in [("g0", true), ("g1", false)] {
        let described = page.get(&format!("/api/images/{key}"));
        assert_eq!(described.status, 200, "{}", described.text());
        assert_eq!(described.json()["truth"], has_truth);
        assert_eq!(page.get(&format!("/api/images/{key}/thumbnail.jpg")).status, 200);
        page.encode(key);
        let answer = page.post("/api/answers", &click(key)).json();
        assert_eq!(answer["dice"].is_number(), has_truth, "{answer}");
        assert_eq!(answer["mask"]["width"], 20);
    }
    let reply = page.get("/api/images/g1/truth");
    assert_eq!((reply.status, reply.error().as_str()), (404, "the true mask is not known"));
}

/// Waits until so many answers wait at the gate, and then a while longer for any that should not.
fn settled(gate: &Gate, count: usize) -> usize {
    while gate.waiting.load(Ordering::SeqCst) < count {
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(Duration::from_millis(300));
    gate.waiting.load(Ordering::SeqCst)
}

#[test]
fn exports_ask_the_model_in_turn_with_clicks() {
    let gate = Arc::new(Gate::default());
    let fake = Fake { answers: Some(gate.clone()), ..Fake::default() };
    let page = Page::of(&Settings::default(), fake);
    page.encode("g0");
    let (body, panel) = (click("g0"), json!({ "cells": [click("g0"), click("g0")] }));
    std::thread::scope(|scope| {
        let sent = [("/api/exports/panel/svg", &panel), ("/api/exports/mask.png", &body)];
        let exports = sent.map(|(path, body)| scope.spawn(|| page.post(path, body).status));
        let clicked = scope.spawn(|| page.post("/api/answers", &click("g0")).status);
        assert_eq!(settled(&gate, 1), 1, "one at a time");
        gate.open(usize::MAX / 2);
        for export in exports {
            assert_eq!(export.join().expect("answered"), 200);
        }
        assert_eq!(clicked.join().expect("answered"), 200);
    });
}

/// Blocks that are done when a prompt is held for a while beside an encoding that nothing else holds.
fn done_beside_a_prompt(give_way: Duration) -> Value {
    let gate = Arc::new(Gate::default());
    let fake = Fake { answers: Some(gate.clone()), ..Fake::default() };
    let settings =
        Settings { limits: Limits { give_way, ..Limits::default() }, ..Settings::default() };
    let page = Page::of(&settings, fake);
    page.encode("g0");
    std::thread::scope(|scope| {
        let clicked = scope.spawn(|| page.post("/api/answers", &click("g0")).status);
        assert_eq!(settled(&gate, 1), 1);
        page.post("/api/images/g1/encoding", &Value::Null);
        std::thread::sleep(Duration::from_millis(300));
        let progress = page.get("/api/images/g1/encoding").json();
        gate.open(1);
        assert_eq!(clicked.join().expect("answered"), 200);
        page.until("g1", "ready");
        progress
    })
}

#[test]
fn an_encoding_waits_between_blocks_while_a_prompt_is_answered_but_not_for_ever() {
    let held = done_beside_a_prompt(Duration::from_secs(3600));
    assert_eq!((&held["state"], &held["done"]), (&json!("encoding"), &json!(0)), "{held}");
    let through = done_beside_a_prompt(Duration::ZERO);
    assert_eq!(through["state"], "ready", "{through}");
}

#[test]
fn a_waiting_encoding_is_cancelled_at_once() {
    let gate = Arc::new(Gate::default());
    let fake = Fake { answers: Some(gate.clone()), ..Fake::default() };
    let give_way = Duration::from_secs(3600);
    let settings =
        Settings { limits: Limits { give_way, ..Limits::default() }, ..Settings::default() };
    let page = Page::of(&settings, fake);
    page.encode("g0");
    std::thread::scope(|scope| {
        let clicked = scope.spawn(|| page.post("/api/answers", &click("g0")).status);
        assert_eq!(settled(&gate, 1), 1);
        let ticket = page.post("/api/images/g1/encoding", &Value::Null).json()["ticket"].clone();
        page.until("g1", "encoding");
        page.send("DELETE", &format!("/api/images/g1/encoding?ticket={ticket}"), &[], b"");
        page.until("g1", "absent");
        gate.open(1);
        assert_eq!(clicked.join().expect("answered"), 200);
    });
}

#[test]
fn exported_prompts_are_a_file_of_prompts_and_the_mask_has_the_images_size() {
    let page = Page::of(&Settings::default(), Fake::default());
    page.encode("g1");
    let body = json!({ "image": "g1", "method": 1, "automatic": true, "box": [2.0, 3.0, 30.0, 40.5],
        "points": [{ "x": 10.5, "y": 8.25, "label": "background" }] });
    let sent = page.post("/api/exports/prompts.json", &body);
    let file = PromptFile::parse(&sent.text(), "p.json".as_ref()).expect("a file of prompts");
    let name = page.get("/api/images/g1").json()["name"].as_str().expect("a name").to_owned();
    let prompts = &file.images[&name];
    assert_eq!(prompts.box_xyxy, Some([2.0, 3.0, 30.0, 40.5]));
    assert!(prompts.automatic);
    let point = prompts.points[0];
    assert_eq!((point.x, point.y, point.label), (10.5, 8.25, ImagePointLabel::Background));

    let png = page.post("/api/exports/mask.png", &body);
    let mask = image::load_from_memory(&png.body).expect("a picture").to_luma8();
    let described = page.get("/api/images/g1").json();
    assert_eq!(described["width"], mask.width());
    assert_eq!(described["height"], mask.height());
    // Centers of pixels that are at most 2 from (10.5, 8.25): five columns, four rows.
    assert_eq!(mask.pixels().filter(|pixel| pixel.0[0] == 255).count(), 20);
    assert!(mask.pixels().all(|pixel| matches!(pixel.0[0], 0 | 255)));
}

#[test]
fn a_run_under_way_shows_its_curve_and_a_broken_one_breaks_nothing() {
    let runs = tempfile::tempdir().expect("a folder");
    let run = |name: &str| {
        let path = runs.path().join("e").join(name);
        std::fs::create_dir_all(&path).expect("made");
        std::fs::write(path.join("resolved.json"), "{}").expect("written");
        path
    };
    let going = run("going-seed1");
    let rows = "epoch,split,loss,dice,iou,learning_rate\n1,train,0.9,0.1,0.05,0.001\n1,valid,0.8,0.25,0.15,\n";
    std::fs::write(going.join("epochs.csv"), rows).expect("written");
    std::fs::write(going.join("run.log"), "begins\nepoch 1 of 2\n").expect("written");
    let failed = run("failed-seed1");
    std::fs::write(failed.join("failure.json"), r#"{"reasons":["no disk"]}"#).expect("written");
    std::fs::write(failed.join("epochs.csv"), "not,a,table").expect("written");
    let library = Library::new(Gallery::of_data("phantom", "test", None).expect("generated"));
    let list = serve::RunList::new(runs.path().to_owned(), Vec::new());
    let page = Page::with_runs(&Settings::default(), Fake::default(), library, list);
    let all = page.get("/api/runs").json();
    let states: Vec<_> = all["runs"]
        .as_array()
        .expect("runs")
        .iter()
        .map(|run| (run["run"].as_str().expect("a name"), run["state"].as_str().expect("a state")))
        .collect();
    assert_eq!(states, [("failed-seed1", "failed"), ("going-seed1", "running")]);
    let details = page.get("/api/runs/e/going-seed1").json();
    assert_eq!(details["epochs"], 1);
    assert_eq!(details["best_dice"], 0.25);
    assert_eq!(details["log"], json!(["begins", "epoch 1 of 2"]));
    assert_eq!(details["curve"].as_array().expect("rows").len(), 2);
    assert_eq!(page.get("/api/runs/e/failed-seed1").json()["failure"], "no disk");
    assert_eq!(page.get("/api/results").json()["rows"], json!([]));
    assert_eq!(page.get("/api/figures/e/boxes.svg").status, 422);
    assert_eq!(page.get("/api/figures/e/nothing.svg").status, 404);
}
