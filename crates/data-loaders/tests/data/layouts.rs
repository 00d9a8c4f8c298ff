//! Finding the files of a card in made-up trees.

use std::fs;
use std::path::Path;

use data_loaders::{Catalog, DataError, DataSet};
use tempfile::TempDir;

use crate::support::{folder, message, path, write_pair};

/// A tree with every case of a split; `file` gives image and mask of a name.
fn tree(name: &str, split: &str, file: impl Fn(&str) -> (String, String)) -> TempDir {
    let root = folder();
    let first = folder();
    for member in Catalog::built_in().get(name).unwrap().members(split).unwrap() {
        let (image, mask) = file(&member.name);
        let (image, mask) = (path(&root, &image), path(&root, &mask));
        // Encoded once per extension, then copied: hundreds of files.
        let original = |file: &Path| {
            first.path().join(file.file_name().unwrap()).with_file_name(format!(
                "{}.{}",
                file.parent().unwrap().file_name().unwrap().display(),
                file.extension().unwrap().display()
            ))
        };
        if !original(&image).exists() {
            write_pair(&original(&image), &original(&mask));
        }
        fs::copy(original(&image), image).unwrap();
        fs::copy(original(&mask), mask).unwrap();
    }
    root
}

fn open(name: &str, split: &str, root: &Path) -> Result<DataSet, DataError> {
    DataSet::open(name, split, Some(root), &Catalog::built_in())
}

#[test]
fn every_layout_of_the_cards_is_found() {
    type Files = fn(&str) -> (String, String);
    let layouts: [(&str, &str, Files); 7] = [
        ("kvasir-seg", "test", |id| {
            (format!("kvasir-seg/images/{id}.jpg"), format!("kvasir-seg/masks/{id}.png"))
        }),
        ("kvasir-seg", "test", |id| {
            (format!("Kvasir-SEG/images/{id}.jpg"), format!("Kvasir-SEG/masks/{id}.jpg"))
        }),
        ("cvc-clinicdb", "test", |id| {
            (format!("cvc-clinicdb/images/{id}.jpg"), format!("cvc-clinicdb/masks/{id}.png"))
        }),
        ("cvc-clinicdb", "test", |id| {
            (
                format!("CVC-ClinicDB/Original/{id}.tif"),
                format!("CVC-ClinicDB/Ground Truth/{id}.tif"),
            )
        }),
        ("cvc-clinicdb", "test", |id| {
            (
                format!("CVC-ClinicDB/Original/{id}.PNG"),
                format!("CVC-ClinicDB/Ground Truth/{id}.png"),
            )
        }),
        ("isic2018-task1", "sample_test", |id| {
            (
                format!("isic2018-task1/images/{id}.jpg"),
                format!("isic2018-task1/masks/{id}_segmentation.png"),
            )
        }),
        ("isic2018-task1", "sample_test", |id| {
            (
                format!("ISIC2018_Task1-2_Training_Input/{id}.jpg"),
                format!("ISIC2018_Task1_Training_GroundTruth/{id}_segmentation.png"),
            )
        }),
    ];
    for (name, split, files) in layouts {
        let root = tree(name, split, files);
        let set = open(name, split, root.path()).unwrap();
        let catalog = Catalog::built_in();
        let members = catalog.get(name).unwrap().members(split).unwrap();
        assert!(set.ids().eq(members.iter().map(|member| member.name.as_str())));
        assert_eq!((set.name(), set.split()), (name, split));
        let last = set.load(set.len() - 1).unwrap();
        assert_eq!((&*last.id, &*last.data), (set.id(set.len() - 1), name));
        assert_eq!(last.truth.foreground(), 2 * 4, "columns 0 and 1 of 4 rows");
    }
}

#[test]
fn the_complete_layout_is_used_when_another_one_is_not() {
    let root = tree("kvasir-seg", "test", |id| {
        (format!("Kvasir-SEG/images/{id}.jpg"), format!("Kvasir-SEG/masks/{id}.jpg"))
    });
    write_pair(&path(&root, "kvasir-seg/images/a.jpg"), &path(&root, "kvasir-seg/masks/a.png"));
    assert_eq!(open("kvasir-seg", "test", root.path()).unwrap().len(), 100);
}

#[test]
fn files_on_the_disk_need_a_root() {
    let error = DataSet::open("kvasir-seg", "test", None, &Catalog::built_in()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "data set `kvasir-seg` is read from files: say where they are with --data-root or \
         PROMISE_DATA"
    );
    let root = folder();
    let error = open("kvasir-seg", "test", &root.path().join("typo")).unwrap_err();
    assert_eq!(
        message(&error, root.path()),
        "the data root (--data-root or PROMISE_DATA) is not a folder: ROOT/typo"
    );
    let error = open("kvasir-seg", "test", root.path()).unwrap_err();
    assert_eq!(
        message(&error, root.path()),
        "data set `kvasir-seg` not found: none of `kvasir-seg/images`, `Kvasir-SEG/images` is a \
         folder under the data root (--data-root or PROMISE_DATA) ROOT"
    );
}

#[test]
fn missing_files_are_counted_and_the_first_named() {
    let root = tree("cvc-clinicdb", "test", |id| {
        (format!("cvc-clinicdb/images/{id}.jpg"), format!("cvc-clinicdb/masks/{id}.png"))
    });
    let set = open("cvc-clinicdb", "test", root.path()).unwrap();
    let ids: Vec<String> = set.ids().map(String::from).collect();
    fs::remove_file(root.path().join(format!("cvc-clinicdb/masks/{}.png", ids[1]))).unwrap();
    for id in &ids[5..] {
        fs::remove_file(root.path().join(format!("cvc-clinicdb/images/{id}.jpg"))).unwrap();
    }
    let error = open("cvc-clinicdb", "test", root.path()).unwrap_err();
    let image = |id: &str| format!("cvc-clinicdb/images/{id}.{{jpg,jpeg,png,tif,tiff}}");
    let first = [
        format!("cvc-clinicdb/masks/{}.{{png,tif,tiff,jpg,jpeg}}", ids[1]),
        image(&ids[5]),
        image(&ids[6]),
        image(&ids[7]),
        image(&ids[8]),
    ];
    assert_eq!(
        message(&error, root.path()),
        format!(
            "58 of 62 cases of `cvc-clinicdb` lack their image or mask, first: {}; in ROOT",
            first.join(", ")
        )
    );
}

#[test]
fn a_layout_without_its_mask_folder_is_an_error_with_the_folder() {
    let root = folder();
    fs::create_dir_all(root.path().join("kvasir-seg/images")).unwrap();
    let error = open("kvasir-seg", "test", root.path()).unwrap_err();
    assert_eq!(message(&error, root.path()), "cannot list the folder ROOT/kvasir-seg/masks");
}
