//! Weights files: published ones by their checksum.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use file_watchdog::watched;
use sam_backbone::{KNOWN_CHECKPOINTS, KnownCheckpoint};
use sha2::{Digest as _, Sha256};

use crate::{Area, Question, Report};

pub(crate) fn examine(question: &Question, report: &mut Report) {
    let folder = &question.weights;
    let mut files: Vec<_> = match watched(folder, || fs::read_dir(folder)) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            report.problem(
                Area::Weights,
                format!("the folder cannot be listed ({error}): {}", folder.display()),
                "look at its rights",
            );
            return;
        }
    };
    files.retain(|path| {
        let ending = path.extension().unwrap_or_default();
        ["pth", "pt", "safetensors"].iter().any(|known| ending == *known)
    });
    files.sort();
    if files.is_empty() {
        report.ok(
            Area::Weights,
            format!(
                "none in {}; `micro` needs none, `cargo xtask data fetch vit_b` gets ViT-B",
                folder.display()
            ),
        );
    }
    for path in files {
        file(&path, KNOWN_CHECKPOINTS, report);
    }
}

fn file(path: &Path, published: &[KnownCheckpoint], report: &mut Report) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let by_name = published.iter().find(|known| known.file_name == name);
    let size = fs::metadata(path).map(|file| file.len()).unwrap_or_default();
    // The checksum of some gigabytes takes a while: only where it can tell something.
    let sha256 =
        match published.iter().any(|known| known.size == Some(size) && known.sha256.is_some()) {
            true => match digest(path) {
                Ok(sha256) => sha256,
                Err(error) => {
                    report.problem(
                        Area::Weights,
                        format!("cannot be read ({error}): {}", path.display()),
                        "look at the file's rights, or fetch it again",
                    );
                    return;
                }
            },
            false => String::new(),
        };
    let place = path.display();
    if let Some(known) = published.iter().find(|known| known.sha256 == Some(&*sha256)) {
        let says = format!("{place}: as published as {}", known.file_name);
        return report.ok(Area::Weights, says);
    }
    match by_name {
        Some(known @ KnownCheckpoint { size: Some(full), sha256: Some(_), .. }) => report.problem(
            Area::Weights,
            format!(
                "damaged: {size} bytes of {full}{}: {place}",
                if size == *full { ", with another checksum" } else { "" },
            ),
            format!("remove it, and `cargo xtask data fetch {}` gets it again", known.name),
        ),
        Some(known) => report.ok(
            Area::Weights,
            format!(
                "{place}: called as {} is, whose checksum is not known; {size} bytes",
                known.origin.title
            ),
        ),
        None => {
            report.ok(Area::Weights, format!("{place}: not a published checkpoint; {size} bytes"))
        }
    }
}

fn digest(path: &Path) -> io::Result<String> {
    let (mut file, mut hasher) = (watched(path, || File::open(path))?, Sha256::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        match watched(path, || file.read(&mut buffer)) {
            Ok(0) => return Ok(hex::encode(hasher.finalize())),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verdict;

    #[test]
    fn published_files_are_known_by_their_bytes_and_damaged_ones_by_their_name() {
        // `echo -n abc | sha256sum`
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let known = KnownCheckpoint {
            file_name: "sam.pth",
            size: Some(3),
            sha256: Some(abc),
            ..KNOWN_CHECKPOINTS[0]
        };
        let unsure = KnownCheckpoint { file_name: "other.pth", size: None, sha256: None, ..known };
        let published = [known, unsure];
        let folder = tempfile::tempdir().expect("a folder");
        for (name, content, verdict, part) in [
            ("sam.pth", "abc", Verdict::Ok, "as published as sam.pth"),
            ("mine.pth", "abc", Verdict::Ok, "as published as sam.pth"),
            ("mine.pth", "abd", Verdict::Ok, "not a published checkpoint; 3 bytes"),
            ("mine.pth", "abcd", Verdict::Ok, "not a published checkpoint; 4 bytes"),
            (
                "other.pth",
                "abd",
                Verdict::Ok,
                "called as Segment Anything is, whose checksum is not known",
            ),
            ("other.pth", "abc", Verdict::Ok, "as published as sam.pth"),
            ("sam.pth", "ab", Verdict::Problem, "damaged: 2 bytes of 3:"),
            ("sam.pth", "abd", Verdict::Problem, "with another checksum"),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, content).expect("written");
            let mut report = Report::default();
            file(&path, &published, &mut report);
            let finding = &report.findings[0];
            assert_eq!(finding.verdict, verdict, "{name} {content}");
            assert!(finding.says.contains(part), "{}", finding.says);
        }
    }
}
