//! What happens to weights files that do not fit, or are none.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use fixtures::Fixture;
use sam_backbone::{
    MICRO_WEIGHTS, Sam, Variant, WeightsError, WeightsSource, load_weights, save_weights,
    tensor_hash,
};

use crate::support::{config, official_pth, sized};

fn tiny() -> Sam {
    config().init(&Device::flex())
}

fn load(sam: &mut Sam, path: &Path) -> Result<sam_backbone::LoadReport, WeightsError> {
    load_weights(sam, &WeightsSource::File(path.to_owned()))
}

#[test]
fn safetensors_hold_what_the_pth_held() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tiny.safetensors");
    let mut from_pth = tiny();
    let report = load(&mut from_pth, &official_pth()).expect("fits");
    assert_eq!(report.n_tensors, 202);
    save_weights(&from_pth, &path, DType::F32, ("made_by", "a test")).expect("written");
    let again = folder.path().join("again.safetensors");
    save_weights(&from_pth, &again, DType::F32, ("made_by", "a test")).expect("written");
    let bytes = |path: &Path| std::fs::read(path).expect("written");
    assert!(bytes(&path) == bytes(&again), "the same weights are the same bytes");
    let mut from_safetensors = tiny();
    load(&mut from_safetensors, &path).expect("fits");
    assert_eq!(tensor_hash(&from_pth), tensor_hash(&from_safetensors));
}

#[test]
fn half_precision_files_become_single_precision_modules() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("half.safetensors");
    let mut sam = tiny();
    load(&mut sam, &official_pth()).expect("fits");
    save_weights(&sam, &path, DType::F16, ("made_by", "a test")).expect("written");
    load(&mut sam, &path).expect("fits");
    assert_eq!(sam.prompt_encoder.dense_pe().dtype(), DType::F32);
}

#[test]
fn numbers_that_are_none_are_refused_with_the_name_of_the_tensor() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("damaged.safetensors");
    let mut sam = tiny();
    load(&mut sam, &official_pth()).expect("fits");
    save_weights(&sam, &path, DType::F32, ("made_by", "a test")).expect("written");
    let mut bytes = std::fs::read(&path).expect("written");
    let end = bytes.len();
    bytes[end - 8..].fill(0xff);
    std::fs::write(&path, bytes).expect("written");
    let error = load(&mut sam, &path).expect_err("NaN");
    assert!(matches!(error, WeightsError::NotFinite { .. }), "{error}");
    assert!(error.to_string().contains("damaged.safetensors"), "{error}");
}

#[test]
fn missing_tensors_are_named() {
    let mut deeper = sized(5, 64).init(&Device::flex());
    let error = load(&mut deeper, &official_pth()).expect_err("one block too few");
    let WeightsError::Mismatch { missing, unused, misshapen, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(missing.len(), 14, "{missing:?}");
    assert!(missing.iter().all(|name| name.starts_with("image_encoder.blocks.4.")));
    assert!(missing.contains(&"image_encoder.blocks.4.norm1.weight".to_owned()));
    assert!(unused.is_empty() && misshapen.is_empty());
    assert!(error.to_string().contains("missing   image_encoder.blocks.4.attn.qkv.weight"));
}

#[test]
fn unused_tensors_are_named() {
    let mut shallower = sized(3, 64).init(&Device::flex());
    let error = load(&mut shallower, &official_pth()).expect_err("one block too many");
    let WeightsError::Mismatch { missing, unused, .. } = &error else { panic!("{error}") };
    assert!(missing.is_empty());
    assert_eq!(unused.len(), 14, "{unused:?}");
    assert!(unused.contains(&"image_encoder.blocks.3.mlp.lin1.bias".to_owned()));
}

#[test]
fn misshapen_tensors_are_named_in_the_layout_of_the_file() {
    let mut wider = sized(4, 96).init(&Device::flex());
    let error = load(&mut wider, &official_pth()).expect_err("another MLP");
    let WeightsError::Mismatch { misshapen, .. } = &error else { panic!("{error}") };
    let names: Vec<_> = misshapen.iter().map(|shape| shape.name.as_str()).collect();
    let layer = |index, tensor| format!("mask_decoder.transformer.layers.{index}.mlp.{tensor}");
    let expected: Vec<_> = (0..2)
        .flat_map(|index| ["lin1.bias", "lin1.weight", "lin2.weight"].map(|t| layer(index, t)))
        .collect();
    assert_eq!(names, expected);
    let weight = &misshapen[1];
    assert_eq!(
        (weight.expected.as_slice(), weight.actual.as_slice()),
        (&[96, 32][..], &[64, 32][..])
    );
    let line = format!("misshapen {}: [64, 32], expected [96, 32]", weight.name);
    assert!(error.to_string().contains(&line), "{error}");
}

/// A file of `weights-check`, written by its `make.py`.
fn hostile(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../weights-check/fixtures/hostile").join(name)
}

/// What a person is told: the error and its cause.
fn words(error: &WeightsError) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    format!("{error}: {}", cause.unwrap_or_default())
}

#[test]
fn a_pickle_that_calls_os_system_is_refused_by_name_and_not_executed() {
    // Each would make a file in the working directory, as its `make.py` shows with Python.
    let marks = ["EXECUTED", "evil_pth_was_executed"];
    assert!(marks.iter().all(|mark| !Path::new(mark).exists()));
    for path in [
        Fixture::open("sam_tiny").sibling("evil.pth"),
        hostile("os_system.pth"),
        hostile("os_system_popped.pth"),
        hostile("legacy_os_system.pth"),
        hostile("plain_os_system.pth"),
    ] {
        let error = load(&mut tiny(), &path).expect_err("a call");
        assert!(matches!(error, WeightsError::Refused { .. }), "{error}");
        let words = words(&error);
        assert!(words.contains("its pickle names `posix.system`"), "{words}");
        assert!(words.contains("nothing was executed"), "{words}");
    }
    assert!(marks.iter().all(|mark| !Path::new(mark).exists()));
}

#[test]
fn absurd_shapes_are_refused_before_a_tensor_is_read() {
    for (name, expected) in [
        ("repeated.pth", "tensor `odd` has 10000000000 bytes, more than the file"),
        ("compressed.pth", "is compressed"),
        ("overflow.pth", "overflows"),
        ("negative_shape.pth", "shape must be non-negative, got -4"),
        ("negative_stride.pth", "stride must be non-negative, got -1"),
        ("beyond_storage.pth", "needs 6 elements, but storage '0' declares 4"),
        ("memo_bomb.pth", "what its pickle makes has"),
        ("nested.pth", "levels of nesting"),
    ] {
        let error = load(&mut tiny(), &hostile(name)).expect_err(name);
        let words = words(&error);
        assert!(words.contains(expected) && words.contains(name), "{name}: {words}");
    }
}

#[test]
fn good_files_of_other_models_pass_the_checks_and_do_not_fit() {
    for name in ["good.pth", "legacy_good.pth", "overlapping.pth"] {
        let error = load(&mut tiny(), &hostile(name)).expect_err(name);
        assert!(matches!(error, WeightsError::NoSam { .. }), "{name}: {error}");
    }
}

#[test]
fn truncated_empty_and_absent_files_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = std::fs::read(official_pth()).expect("the fixture");
    for (name, content) in
        [("cut.pth", &bytes[..bytes.len() / 2]), ("empty.pth", &[]), ("cut.safetensors", &[9, 0])]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        let error = load(&mut tiny(), &path).expect_err(name);
        assert!(matches!(error, WeightsError::Format { .. }), "{name}: {error}");
        assert!(error.to_string().ends_with(name), "{error}");
    }
    let error = load(&mut tiny(), &folder.path().join("none.pth")).expect_err("absent");
    assert!(matches!(error, WeightsError::Read { .. }), "{error}");
}

#[test]
fn a_published_name_with_other_bytes_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sam_vit_b_01ec64.pth");
    std::fs::copy(official_pth(), &path).expect("copied");
    let error = load(&mut tiny(), &path).expect_err("not the release");
    let WeightsError::Checksum { expected, .. } = &error else { panic!("{error}") };
    assert!(expected.starts_with("ec2df627"));
}

#[test]
fn mobile_sams_name_with_other_bytes_is_refused_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mobile_sam.pt");
    std::fs::copy(official_pth(), &path).expect("copied");
    let error = load(&mut tiny(), &path).expect_err("not the release");
    let WeightsError::Checksum { expected, .. } = &error else { panic!("{error}") };
    assert!(expected.starts_with("6dbb9052"));
}

/// SAM's tensors under SAM's names, without a prefix, and no checksum to compare with.
#[test]
fn a_file_named_as_medsams_loads_by_its_tensors_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("medsam_vit_b.pth");
    std::fs::copy(official_pth(), &path).expect("copied");
    let mut sam = tiny();
    let report = load(&mut sam, &path).expect("fits");
    assert_eq!((report.known, report.n_tensors), (None, 202));
    let mut expected = tiny();
    load(&mut expected, &official_pth()).expect("fits");
    assert_eq!(tensor_hash(&sam), tensor_hash(&expected));
}

#[test]
fn the_embedded_micro_weights_fit() {
    let mut sam = Variant::Micro.config().init(&Device::flex());
    let report = load_weights(&mut sam, &MICRO_WEIGHTS).expect("fits");
    assert_eq!(report.known, None);
    let WeightsSource::Embedded { bytes, .. } = MICRO_WEIGHTS else { panic!("embedded") };
    assert!(bytes.len() <= 8_000_000, "{} bytes are too many to ship", bytes.len());
}
