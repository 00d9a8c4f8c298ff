//! Finding the files of a card in made-up trees.

use std::fs;
use std::path::Path;

use data_loaders::{Catalog, DataError, DataSet, Inventory};
use tempfile::TempDir;

use crate::support::{folder, message, path, write_pair};

/// A tree with every case of a split; `file` gives image and mask of a name.
fn tree(name: &str, split: &str, file: &dyn Fn(&str) -> (String, String)) -> TempDir {
    let root = folder();
    let first = folder();
    for member in Catalog::built_in().get(name).unwrap().members(split).unwrap() {
        let (image, mask) = file(&member.name);
        let (image, mask) = (path(&root, &image), path(&root, &mask));
        // Encoded once per extension, then copied: hundreds of files.
        let original = |what: &str, file: &Path| {
            first.path().join(what).with_extension(file.extension().unwrap())
        };
        let originals = [original("image", &image), original("mask", &mask)];
        if !originals[0].exists() {
            write_pair(&originals[0], &originals[1]);
        }
        fs::copy(&originals[0], image).unwrap();
        fs::copy(&originals[1], mask).unwrap();
    }
    root
}

fn open(name: &str, split: &str, root: &Path) -> Result<DataSet, DataError> {
    DataSet::open(name, split, Some(root), &Catalog::built_in())
}

/// Image and mask of a name.
type Files = Box<dyn Fn(&str) -> (String, String)>;

/// Paths in which `*` stands for the name.
fn pattern(image: &str, mask: &str) -> Files {
    let (image, mask) = (image.to_owned(), mask.to_owned());
    Box::new(move |id| (image.replace('*', id), mask.replace('*', id)))
}

#[test]
fn every_layout_of_the_cards_is_found() {
    let plain = |set: &str, mask: &str| {
        pattern(&format!("{set}/images/*.jpg"), &format!("{set}/masks/{mask}"))
    };
    let pranet = |folder: &str| {
        pattern(
            &format!("{folder}/*.png"),
            &format!("{}/masks/*.png", folder.split_once("/image").unwrap().0),
        )
    };
    let colondb = || pattern("CVC-ColonDB/*.tiff", "CVC-ColonDB/p*.tiff");
    let layouts: Vec<(&str, &str, Files)> = vec![
        ("kvasir-seg", "test", plain("kvasir-seg", "*.png")),
        ("kvasir-seg", "test", pattern("Kvasir-SEG/images/*.jpg", "Kvasir-SEG/masks/*.jpg")),
        ("kvasir-seg", "train", pranet("TrainDataset/image")),
        ("kvasir-seg", "train", pranet("TrainDataset/images")),
        ("kvasir-seg", "test", pranet("TestDataset/Kvasir/images")),
        ("cvc-clinicdb", "test", plain("cvc-clinicdb", "*.png")),
        (
            "cvc-clinicdb",
            "test",
            pattern("CVC-ClinicDB/Original/*.tif", "CVC-ClinicDB/Ground Truth/*.tif"),
        ),
        (
            "cvc-clinicdb",
            "test",
            pattern("CVC-ClinicDB/Original/*.PNG", "CVC-ClinicDB/Ground Truth/*.png"),
        ),
        ("cvc-clinicdb", "train", pranet("TrainDataset/image")),
        ("cvc-clinicdb", "train", pranet("TrainDataset/images")),
        ("cvc-clinicdb", "test", pranet("TestDataset/CVC-ClinicDB/images")),
        ("cvc-colondb", "test", plain("cvc-colondb", "*.png")),
        ("cvc-colondb", "test", colondb()),
        ("cvc-colondb", "test", pattern("CVC-ColonDB/*.tif", "CVC-ColonDB/p*.tiff")),
        ("cvc-colondb", "test", pranet("TestDataset/CVC-ColonDB/images")),
        ("cvc-300", "test", plain("cvc-300", "*.png")),
        ("cvc-300", "test", pranet("TestDataset/CVC-300/images")),
        ("cvc-300", "test", plain("cvc-colondb", "*.png")),
        ("cvc-300", "test", colondb()),
        ("cvc-300", "test", pranet("TestDataset/CVC-ColonDB/images")),
        ("etis-larib", "test", plain("etis-larib", "*.png")),
        ("etis-larib", "test", plain("etis-larib", "p*.tif")),
        (
            "etis-larib",
            "test",
            pattern(
                "ETIS-LaribPolypDB/ETIS-LaribPolypDB/*.tif",
                "ETIS-LaribPolypDB/Ground Truth/p*.tif",
            ),
        ),
        ("etis-larib", "test", pranet("TestDataset/ETIS-LaribPolypDB/images")),
        ("isic2018-task1", "sample_test", plain("isic2018-task1", "*_segmentation.png")),
        (
            "isic2018-task1",
            "sample_test",
            pattern(
                "ISIC2018_Task1-2_Training_Input/*.jpg",
                "ISIC2018_Task1_Training_GroundTruth/*_segmentation.png",
            ),
        ),
        ("ph2", "all", plain("ph2", "*.png")),
        ("ph2", "all", plain("ph2", "*_lesion.bmp")),
        (
            "ph2",
            "all",
            pattern(
                "PH2Dataset/PH2 Dataset images/*/*_Dermoscopic_Image/*.bmp",
                "PH2Dataset/PH2 Dataset images/*/*_lesion/*_lesion.bmp",
            ),
        ),
    ];
    for (name, split, files) in layouts {
        let root = tree(name, split, &files);
        let set = open(name, split, root.path()).unwrap();
        let catalog = Catalog::built_in();
        let members = catalog.get(name).unwrap().members(split).unwrap();
        assert!(set.ids().eq(members.iter().map(|member| member.name.as_str())));
        assert_eq!((set.name(), set.split()), (name, split));
        let pairs = Inventory::of_card(catalog.get(name).unwrap(), root.path()).unwrap().pairs;
        for member in members {
            let (image, mask) = files(&member.name);
            let found = pairs.iter().find(|pair| pair.id == member.name).unwrap();
            assert_eq!(found.image, root.path().join(image), "{name}");
            assert_eq!(found.mask, root.path().join(mask), "{name}");
        }
        let last = set.load(set.len() - 1).unwrap();
        assert_eq!((&*last.id, &*last.data), (set.id(set.len() - 1), name));
        assert_eq!(last.truth.foreground(), 2 * 4, "columns 0 and 1 of 4 rows");
    }
}

/// A card made for the test: the published parts have thousands of images.
fn small(card: &str, counts: &str) -> Catalog {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets").join(card);
    let text = fs::read_to_string(source.join("card.toml")).unwrap();
    let start = text.rfind("counts = ").unwrap();
    let text = format!("{}counts = {counts}\n", &text[..start])
        .replace(&format!("name = \"{card}\""), "name = \"small\"");
    let root = folder();
    for item in fs::read_dir(source.join("splits")).into_iter().flatten() {
        let item = item.unwrap();
        let file = item.file_name().into_string().unwrap();
        fs::copy(item.path(), path(&root, &format!("splits/{file}"))).unwrap();
    }
    fs::write(path(&root, "card.toml"), text).unwrap();
    let mut catalog = Catalog::built_in();
    catalog.add(&root.path().join("card.toml")).unwrap();
    catalog
}

#[test]
fn a_split_by_folder_is_every_pair_of_its_folder() {
    let layouts = [
        (
            "isic2018-task1",
            [("train", "Training"), ("val", "Validation"), ("test", "Test")].map(
                |(split, part)| {
                    let images = format!("ISIC2018_Task1-2_{part}_Input/*.jpg");
                    let masks = format!("ISIC2018_Task1_{part}_GroundTruth/*_segmentation.png");
                    (split, pattern(&images, &masks))
                },
            ),
        ),
        (
            "isic2018-task1",
            ["train", "val", "test"].map(|split| {
                let folder = format!("isic2018-task1/{split}");
                (
                    split,
                    pattern(&format!("{folder}/images/*.jpg"), &format!("{folder}/masks/*.png")),
                )
            }),
        ),
        (
            "polypgen",
            ["C1", "C4", "C6"].map(|center| {
                let folder = format!("PolypGen2021_MultiCenterData_v3/data_{center}");
                let images = format!("{folder}/images_{center}/*.jpg");
                (center, pattern(&images, &format!("{folder}/masks_{center}/*_mask.jpg")))
            }),
        ),
        (
            "polypgen",
            ["C1", "C4", "C6"].map(|center| {
                let folder = format!("polypgen/{center}");
                (
                    center,
                    pattern(&format!("{folder}/images/*.jpg"), &format!("{folder}/masks/*.png")),
                )
            }),
        ),
    ];
    for (card, splits) in layouts {
        let names = [&splits[0].0, &splits[1].0, &splits[2].0];
        let counts = format!("{{ {} = 2, {} = 1, {} = 3 }}", names[0], names[1], names[2]);
        let catalog = match card {
            "polypgen" => small(card, "{ C1 = 2, C2 = 1, C3 = 1, C4 = 1, C5 = 1, C6 = 3 }"),
            _ => small(card, &counts),
        };
        let root = folder();
        for ((split, files), count) in splits.iter().zip([2, 1, 3]) {
            for number in 0..count {
                let (image, mask) = files(&format!("{split}_{number}"));
                write_pair(&path(&root, &image), &path(&root, &mask));
            }
        }
        for ((split, files), count) in splits.iter().zip([2, 1, 3]) {
            let set = DataSet::open("small", split, Some(root.path()), &catalog).unwrap();
            let expected: Vec<String> = (0..count).map(|one| format!("{split}_{one}")).collect();
            assert!(set.ids().eq(expected.iter()), "{card} {split}");
            assert_eq!(set.load(0).unwrap().truth.foreground(), 2 * 4);
            assert_eq!(set.id(0), format!("{split}_0"));
            let (image, _) = files("more");
            fs::copy(root.path().join(files(&expected[0]).0), root.path().join(image)).unwrap();
            let error = DataSet::open("small", split, Some(root.path()), &catalog).unwrap_err();
            let expected = format!("1 of {} cases of `small` lack their image or mask", count + 1);
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
    }
}

#[test]
fn a_folder_with_another_number_of_pairs_is_an_error_with_both_numbers() {
    let root = folder();
    let folders = ["ISIC2018_Task1-2_Test_Input", "ISIC2018_Task1_Test_GroundTruth"];
    for name in ["ISIC_1", "ISIC_2"] {
        write_pair(
            &path(&root, &format!("{}/{name}.jpg", folders[0])),
            &path(&root, &format!("{}/{name}_segmentation.png", folders[1])),
        );
    }
    let error = open("isic2018-task1", "test", root.path()).unwrap_err();
    assert_eq!(
        message(&error, root.path()),
        "split `test` of `isic2018-task1` has 2 pairs, its card says 1000; in \
         ROOT/ISIC2018_Task1-2_Test_Input"
    );
    fs::remove_dir_all(root.path().join(folders[0])).unwrap();
    fs::create_dir(root.path().join(folders[0])).unwrap();
    let error = open("isic2018-task1", "challenge/test", root.path()).unwrap_err();
    assert_eq!(message(&error, root.path()), "no image (jpg) in ROOT/ISIC2018_Task1-2_Test_Input");
}

/// PolypGen has one mask whose name lacks an underscore.
#[test]
fn the_odd_mask_name_of_polypgen_is_found() {
    let catalog = small("polypgen", "{ C1 = 1, C2 = 1, C3 = 2, C4 = 1, C5 = 1, C6 = 1 }");
    let root = folder();
    let folder = "PolypGen2021_MultiCenterData_v3/data_C3";
    for (image, mask) in [
        ("C3_EndoCV2021_00489_", "C3_EndoCV2021_00489_mask"),
        ("C3_EndoCV2021_00490", "C3_EndoCV2021_00490_mask"),
    ] {
        write_pair(
            &path(&root, &format!("{folder}/images_C3/{image}.jpg")),
            &path(&root, &format!("{folder}/masks_C3/{mask}.jpg")),
        );
    }
    assert_eq!(DataSet::open("small", "C3", Some(root.path()), &catalog).unwrap().len(), 2);
}

#[test]
fn a_folder_per_case_that_is_absent_is_a_case_without_image() {
    let root = tree(
        "ph2",
        "all",
        &*pattern(
            "PH2Dataset/PH2 Dataset images/*/*_Dermoscopic_Image/*.bmp",
            "PH2Dataset/PH2 Dataset images/*/*_lesion/*_lesion.bmp",
        ),
    );
    let images = root.path().join("PH2Dataset/PH2 Dataset images");
    fs::remove_dir_all(images.join("IMD003")).unwrap();
    fs::remove_dir_all(images.join("IMD004/IMD004_lesion")).unwrap();
    let error = open("ph2", "all", root.path()).unwrap_err();
    assert_eq!(
        message(&error, root.path()),
        "2 of 200 cases of `ph2` lack their image or mask, first: PH2Dataset/PH2 Dataset \
         images/IMD003/IMD003_Dermoscopic_Image/IMD003.bmp, PH2Dataset/PH2 Dataset \
         images/IMD004/IMD004_lesion/IMD004_lesion.bmp; in ROOT"
    );
}

#[test]
fn the_complete_layout_is_used_when_another_one_is_not() {
    let root = tree("kvasir-seg", "test", &|id| {
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
        "data set `kvasir-seg` not found: none of `kvasir-seg/images`, `Kvasir-SEG/images`, \
         `TestDataset/Kvasir/images` is a folder under the data root (--data-root or PROMISE_DATA) ROOT"
    );
}

#[test]
fn missing_files_are_counted_and_the_first_named() {
    let root = tree("cvc-clinicdb", "test", &|id| {
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

/// A link to itself: the system says neither that it is there nor that it is not, as of a folder in one
/// that may not be entered. Rights are no way to test that, since root has them all.
#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_looked_at_is_not_called_absent() {
    use std::error::Error as _;
    use std::os::unix::fs::symlink;

    let root = folder();
    symlink("kvasir-seg", root.path().join("kvasir-seg")).unwrap();
    let catalog = Catalog::built_in();
    let open = |root: &Path| DataSet::open("kvasir-seg", "train", Some(root), &catalog);
    let card = catalog.get("kvasir-seg").unwrap();
    for error in
        [open(root.path()).unwrap_err(), Inventory::of_card(card, root.path()).unwrap_err()]
    {
        let expected = "cannot list the folder ROOT/kvasir-seg/images";
        assert_eq!(message(&error, root.path()), expected);
        let system = error.source().unwrap().to_string();
        assert!(system.contains("symbolic link"), "{system}");
    }
    let error = open(&root.path().join("kvasir-seg")).unwrap_err();
    assert_eq!(message(&error, root.path()), "cannot list the folder ROOT/kvasir-seg");

    // Another layout that is there and complete does.
    let image = |name: &str| path(&root, &format!("TestDataset/Kvasir/images/{name}.png"));
    for member in card.members("test").unwrap() {
        let mask = path(&root, &format!("TestDataset/Kvasir/masks/{}.png", member.name));
        write_pair(&image(&member.name), &mask);
    }
    assert_eq!(
        DataSet::open("kvasir-seg", "test", Some(root.path()), &catalog).unwrap().len(),
        100
    );
    let inventory = Inventory::of_card(card, root.path()).unwrap();
    assert_eq!(inventory.pairs.len(), 100);
    let named =
        inventory.ignored.iter().any(|one| one.path == root.path().join("kvasir-seg/images"));
    assert!(named, "{:?}", inventory.ignored);
}
