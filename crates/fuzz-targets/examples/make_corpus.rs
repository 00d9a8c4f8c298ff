//! Writes the seeds of every target to `corpus/`: small good files of each kind, and odd ones.
//!
//! ```sh
//! cargo run -p fuzz-targets --example make_corpus
//! ```
//!
//! Seeds that a fuzzer found are added by hand and stay: this program removes nothing.

use std::error::Error;
use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use feature_cache::{FeatureCache, FeatureKey, Precision};
use fuzz_targets::{PARTS, SEPARATOR};
use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba};
use metrics::{LEVELS, LevelCounts};
use run_record::{CaseRow, ClickRow, CurveRow, EpochRow, RunRecord, write_rows};
use serde_json::{Value, json};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// A zip archive in memory.
type Archive = ZipWriter<Cursor<Vec<u8>>>;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result {
    weights()?;
    images()?;
    tables()?;
    settings()?;
    records()?;
    feature_entries()?;
    archives()?;
    checkpoints()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The path of a seed; its folder is made.
fn path(target: &str, name: &str) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    Ok(folder.join(name))
}

fn seed(target: &str, name: &str, bytes: &[u8]) -> Result {
    Ok(fs::write(path(target, name)?, bytes)?)
}

fn weights() -> Result {
    let hostile = repository().join("crates/weights-check/fixtures/hostile");
    for item in fs::read_dir(hostile)? {
        let file = item?.path();
        if file.extension().is_some_and(|extension| extension == "pth") {
            let name = file.file_name().ok_or("no name")?.to_string_lossy().into_owned();
            seed("weights", &name, &fs::read(&file)?)?;
        }
    }
    let header = r#"{"__metadata__":{"made_by":"a seed"},"a.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[],"data_offsets":[8,10]}}"#;
    let length = header.len() as u64;
    let file = [&length.to_le_bytes()[..], header.as_bytes(), &[0; 10]].concat();
    seed("weights", "good.safetensors", &file)
}

fn images() -> Result {
    let rgb = RgbImage::from_fn(9, 7, |x, y| Rgb([x as u8 * 20, y as u8 * 30, 99]));
    let gray = GrayImage::from_fn(8, 8, |x, y| Luma([if x > y { 255 } else { 0 }]));
    let deep: ImageBuffer<Luma<u16>, _> =
        ImageBuffer::from_fn(5, 4, |x, _| Luma([x as u16 * 9999]));
    let alpha: ImageBuffer<LumaA<u8>, _> =
        ImageBuffer::from_fn(3, 5, |x, y| LumaA([x as u8 * 80, y as u8]));
    let deep_color: ImageBuffer<Rgba<u16>, _> =
        ImageBuffer::from_fn(4, 3, |x, y| Rgba([x as u16 * 9999, y as u16, 7, 65_535]));
    let all: [(&str, DynamicImage); 5] = [
        ("rgb", rgb.into()),
        ("gray", gray.into()),
        ("gray_16", deep.into()),
        ("gray_alpha", alpha.into()),
        ("rgba_16", deep_color.into()),
    ];
    for (name, image) in all {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Bmp, ImageFormat::Tiff] {
            let mut bytes = Cursor::new(Vec::new());
            // Not every format has every kind of pixel.
            if image.write_to(&mut bytes, format).is_ok() {
                let extension = format.extensions_str()[0];
                seed("images", &format!("{name}.{extension}"), bytes.get_ref())?;
            }
        }
    }
    // An orientation: 6, turned by a quarter.
    let jpeg = fs::read(path("images", "rgb.jpg")?)?;
    let exif = b"Exif\0\0MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let length = (exif.len() as u16 + 2).to_be_bytes();
    let turned = [&jpeg[..2], &[0xFF, 0xE1], &length, exif, &jpeg[2..]].concat();
    seed("images", "turned.jpg", &turned)
}

fn case(file: &str) -> CaseRow {
    CaseRow {
        experiment: "seed".into(),
        method: "apm".into(),
        seed: 1,
        data: "set".into(),
        split: "test".into(),
        prompts: "auto".into(),
        protocol: "default".into(),
        file: file.into(),
        width: 8,
        height: 8,
        dice: Some(0.75),
        iou: Some(0.6),
        mae: 0.125,
        hd95: Some(1.5),
        nsd: Some(0.5),
        ..CaseRow::default()
    }
}

fn epoch(epoch: usize, split: &str) -> EpochRow {
    let learning_rate = (split == EpochRow::TRAIN).then_some(1e-4);
    EpochRow { epoch, split: split.into(), loss: 0.5, dice: 0.75, iou: 0.6, learning_rate }
}

fn tables() -> Result {
    let published = "image_name,train_type,mask_name\nimages/a.png,train,masks/a.png\n\"b,c.png\",val,masks/b.png\n";
    seed("tables", "published.csv", published.as_bytes())?;
    seed("tables", "splits.csv", b"name,split,sequence\n0000,test,1\n0001,train,\n")?;
    write_rows(&path("tables", "cases.csv")?, &[case("a"), case("b")])?;
    write_rows(
        &path("tables", "epochs.csv")?,
        &[epoch(1, EpochRow::TRAIN), epoch(1, EpochRow::VALID)],
    )?;
    let before = ClickRow { file: "a".into(), dice: Some(0.5), ..ClickRow::default() };
    let after = ClickRow { clicks: 1, x: Some(3), y: Some(4), label: Some(1), ..before.clone() };
    write_rows(&path("tables", "clicks.csv")?, &[before, after])?;
    let mut levels = LevelCounts { foreground: [0; LEVELS], background: [0; LEVELS] };
    (levels.foreground[255], levels.background[0], levels.background[7]) = (10, 50, 4);
    write_rows(&path("tables", "curves.csv")?, &[CurveRow::new(&case("a"), &levels)])?;
    Ok(())
}

fn settings() -> Result {
    let experiments = repository().join("experiments");
    for name in
        ["quickstart.toml", "own_data.toml", "smoke/ablation.toml", "main/quickstart_3_seeds.toml"]
    {
        let bytes = fs::read(experiments.join(name))?;
        seed("experiments", &name.replace('/', "_"), &bytes)?;
    }
    seed(
        "prompts",
        "prompts.json",
        br#"{ "version": 1, "images": { "polyp.png": { "points": [{ "x": 120.5, "y": 80.5, "label": "foreground" },
{ "x": 10, "y": 10, "label": "background" }], "box": [40, 30, 200, 180], "automatic": true }, "b": { "automatic": true } } }
"#,
    )?;
    seed(
        "cards",
        "profile.toml",
        b"[launcher]\npartition = \"gpu\"\ntime = \"04:00:00\"\nmemory = \"16G\"\ncpus = 8\nmodules = [\"cuda/12.4\"]\n\
          environment = { PROMISE_DATA = \"/data\" }\noptions = [\"--exclude=node7\"]\nmax_tasks = 50\nchunk = 1000\n",
    )?;
    seed("recipes", "micro.toml", &fs::read(experiments.join("pretrain/micro.toml"))?)?;
    let card = include_str!("card.toml");
    seed("cards", "card.toml", card.as_bytes())?;
    seed(
        "cards",
        "augmentation.toml",
        b"rotate_degrees = [-10.0, 10.0]\nflip_x_probability = 0.5\n",
    )?;
    seed("cards", "published.toml", &fs::read(repository().join("datasets/polypgen/card.toml"))?)
}

fn record() -> Value {
    let row = json!({
        "method": "apm", "data": "set", "split": "test", "prompts": "auto", "oracle": false,
        "protocol": "default", "seed": 1, "n": 2, "skipped_empty": 0,
        "dice": 0.75, "dice_sd": 0.0, "dice_low": 0.75, "dice_high": 0.75,
        "iou": 0.6, "iou_sd": 0.0, "iou_low": 0.6, "iou_high": 0.6, "mae": 0.125,
        "measures": {}, "maxima": {},
    });
    json!({
        "format_version": 1, "experiment": "seed", "method": "apm", "seed": 1,
        "experiment_sha256": "00",
        "backbone": { "variant": "micro", "weights_source": "embedded", "weights_sha256": "00" },
        "parameters": { "trainable": 3, "prompt": 3, "shift": 0, "frozen": 10 },
        "frozen_hash_before": "f0", "frozen_hash_after": "f0",
        "training": null,
        "skipped": [], "rows": [row], "files": {},
    })
}

fn records() -> Result {
    let panel = json!([{
        "data": "set", "split": "test", "prompts": "auto", "file": "a", "dice": 0.75, "iou": 0.6,
        "image": "set-auto/000-image.png", "truth": "set-auto/000-truth.png",
        "prediction": "set-auto/000-prediction.png",
        "points": [{ "x": 1.5, "y": 2.0, "label": 1 }], "box_xyxy": [1.0, 2.0, 3.0, 4.0],
    }]);
    // A field that the format got since would make this a seed of nothing.
    let _: RunRecord = serde_json::from_value(record())?;
    let all = [
        ("record.json", record()),
        ("panels.json", panel.clone()),
        (
            "timing.json",
            json!({ "evaluations": [{ "data": "set", "split": "test", "prompts": "auto", "cases": 2, "case_secs": 0.5 }] }),
        ),
        ("failure.json", json!({ "reasons": ["no room", "the disk is full"] })),
        ("outline.json", json!({ "format_version": 1, "methods": ["apm"], "claims": [] })),
    ];
    for (name, value) in all {
        seed("records", name, &serde_json::to_vec_pretty(&value)?)?;
    }
    let folder = tempfile::tempdir()?;
    let [cases, epochs] = ["cases.csv", "epochs.csv"].map(|name| folder.path().join(name));
    write_rows(&cases, &[case("a"), case("b")])?;
    write_rows(&epochs, &[epoch(1, EpochRow::TRAIN), epoch(1, EpochRow::VALID)])?;
    let resolved = json!({ "spec": { "train": { "epochs": 1 }, "seeds": [1] }, "toml": "", "data_sha256": {} });
    let parts = [
        serde_json::to_vec(&record())?,
        fs::read(&cases)?,
        fs::read(&epochs)?,
        serde_json::to_vec(&resolved)?,
        serde_json::to_vec(&json!([]))?,
    ];
    assert_eq!(parts.len(), PARTS.len());
    // A method that is not trained has no epochs.
    let untrained = [&parts[0][..], &parts[1], b"", &parts[3], &parts[4]].join(SEPARATOR);
    seed("run_folders", "untrained", &untrained)?;
    let mut trained = record();
    trained["training"] = json!({
        "epochs_run": 1, "epochs_planned": 1, "best_epoch": 1, "selection": "validation",
        "stopped_early": false, "train_cases": 4, "valid_cases": 1,
    });
    let trained = [&serde_json::to_vec(&trained)?[..], &parts[1], &parts[2], &parts[3], &parts[4]]
        .join(SEPARATOR);
    seed("run_folders", "trained", &trained)
}

fn feature_entries() -> Result {
    for precision in Precision::ALL {
        let folder = tempfile::tempdir()?;
        let cache = FeatureCache::open(folder.path(), 1 << 20)?;
        let key = FeatureKey {
            image: "00".into(),
            preparation: "plain 8".into(),
            view: "identity".into(),
            weights: "00".into(),
            encoder: "tiny f32".into(),
            tensor: "image_embedding".into(),
            precision,
        };
        cache.put(&key, &[2, 1, 2], &[0.5, -1.0, 2.0, 0.0])?;
        let digest = key.digest();
        let entry = folder.path().join("v1").join(&digest[..2]).join(format!("{digest}.feature"));
        seed("feature_entries", &precision.to_string(), &fs::read(entry)?)?;
    }
    Ok(())
}

fn archives() -> Result {
    let options = |method| SimpleFileOptions::default().compression_method(method);
    let zip = |build: &dyn Fn(&mut Archive) -> Result| -> Result<Vec<u8>> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        build(&mut writer)?;
        Ok(writer.finish()?.into_inner())
    };
    let deflated = zip(&|writer| {
        writer.add_directory("set/images", options(CompressionMethod::Stored))?;
        writer.start_file("set/images/a.txt", options(CompressionMethod::Deflated))?;
        writer.write_all(&b"some text ".repeat(30))?;
        writer.start_file("set/b.txt", options(CompressionMethod::Stored))?;
        Ok(writer.write_all(b"stored")?)
    })?;
    seed("archives", "deflated.zip", &deflated)?;
    let outside = zip(&|writer| {
        writer.start_file("../outside", options(CompressionMethod::Stored))?;
        Ok(writer.write_all(b"x")?)
    })?;
    seed("archives", "outside.zip", &outside)?;
    let link = zip(&|writer| {
        writer.add_symlink("set/link", "/etc", options(CompressionMethod::Stored))?;
        writer.start_file("set/link/x", options(CompressionMethod::Stored))?;
        Ok(writer.write_all(b"x")?)
    })?;
    seed("archives", "link.zip", &link)?;
    let bomb = zip(&|writer| {
        writer.start_file("zeros", options(CompressionMethod::Deflated))?;
        Ok(writer.write_all(&vec![0; 2 << 20])?)
    })?;
    seed("archives", "bomb.zip", &bomb)
}

fn checkpoints() -> Result {
    let linear = burn::nn::LinearConfig::new(2, 3).init(&Device::flex());
    let file = path("checkpoints", "linear.bpk")?;
    // The library refuses to replace a file.
    if !file.exists() {
        linear.into_record().save(&file)?;
    }
    Ok(())
}
