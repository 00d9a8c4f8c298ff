//! An audit as Markdown.

use crate::report::{Audit, Duplicate, Item, Leak, Same};

/// How many rows of a list are shown; the JSON form has all.
const ROWS: usize = 20;

/// A list of the report: its title, its columns, its rows.
pub(crate) type List = (&'static str, &'static [&'static str], Vec<Vec<String>>);

impl Audit {
    /// Tables of what was found; of long lists the first rows, with the number of the others.
    pub fn markdown(&self) -> String {
        let mut text = format!("# Check of `{}`\n\n", self.data);
        if let Some(warning) = self.refusal_sentence() {
            text.push_str(&format!("**{}**\n\n", escape(&warning)));
        }
        table(&mut text, &["what", "number"], &self.summary(), usize::MAX);
        section(&mut text, "Splits");
        table(
            &mut text,
            &["split", "layout", "expected", "found", "usable"],
            &self.split_rows(),
            usize::MAX,
        );
        for (title, header, rows) in self.lists() {
            if !rows.is_empty() {
                section(&mut text, &format!("{title} ({})", rows.len()));
                table(&mut text, header, &rows, ROWS);
            }
        }
        for leak in &self.leaks {
            section(&mut text, &format!("Leak: {}", leak.sentence()));
            if let Some(rows) = leak.rows() {
                table(&mut text, PAIR_HEADER, &rows, ROWS);
            }
        }
        text
    }

    /// That nothing runs on these folders, and why.
    pub(crate) fn refusal_sentence(&self) -> Option<String> {
        let reason = self.refusal.as_ref()?;
        Some(format!("No other command reads these folders: {reason}"))
    }

    /// What was found, as names and numbers.
    pub(crate) fn summary(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        let mut add = |what: &str, number: String| rows.push(vec![what.to_owned(), number]);
        add("pairs of image and mask", self.pairs.to_string());
        if self.unlisted > 0 {
            add("pairs in the folders that no split names (not read)", self.unlisted.to_string());
        }
        add("unreadable files", self.unreadable.len().to_string());
        add("images, masks or names without partner", self.unpaired.len().to_string());
        add("files and folders not read", self.ignored.len().to_string());
        add("pairs of different sizes", self.size_mismatches.len().to_string());
        let turned = self.orientation_mismatches.len();
        add("pairs whose EXIF orientations differ", turned.to_string());
        let dark = self.dark_16_bit_images.len();
        add("images of 16 bits below a quarter of white", dark.to_string());
        add("image sizes", self.sizes());
        let gray = self.mask_values.gray_masks.len();
        let values = self.mask_values.pixels.len();
        add("masks with values besides 0 and 255", gray.to_string());
        add("different mask values", values.to_string());
        add("masks with colors", self.mask_values.colored_masks.len().to_string());
        add("empty masks", self.empty_masks.len().to_string());
        add("masks without background", self.full_masks.len().to_string());
        let shares = self.foreground_share.map_or_else(
            || "-".to_owned(),
            |share| {
                let percent = [share.min, share.median, share.max].map(|one| 100.0 * one);
                format!("{:.2} / {:.2} / {:.2} %", percent[0], percent[1], percent[2])
            },
        );
        add("foreground share, least / median / greatest", shares);
        let differ =
            self.exact_duplicates.iter().filter(|one| one.same_mask == Some(false)).count();
        let exact = match differ {
            0 => self.exact_duplicates.len().to_string(),
            _ => format!("{} ({differ} with another mask)", self.exact_duplicates.len()),
        };
        add("exact duplicates", exact);
        let videos = self.near_duplicates.iter().filter(|pair| pair.same_sequence).count();
        let near = match videos {
            0 => self.near_duplicates.len().to_string(),
            _ => format!("{} ({videos} of one video)", self.near_duplicates.len()),
        };
        add("pairs of near duplicates", near);
        let against: Vec<String> = self
            .against
            .iter()
            .map(|other| match other.unreadable {
                0 => format!("{} ({})", other.data, other.images),
                bad => format!("{} ({}, {bad} unreadable)", other.data, other.images),
            })
            .collect();
        add("compared with", if against.is_empty() { "-".into() } else { against.join(", ") });
        add("leaks", self.leaks.len().to_string());
        rows
    }

    fn sizes(&self) -> String {
        const SHOWN: usize = 3;
        let shown = self.image_sizes.iter().take(SHOWN);
        let mut text: Vec<String> = shown
            .map(|size| format!("{} x {} ({})", size.width, size.height, size.images))
            .collect();
        if let Some(more) = self.image_sizes.len().checked_sub(SHOWN + 1) {
            text.push(format!("{} others", more + 1));
        }
        if text.is_empty() { "-".into() } else { text.join(", ") }
    }

    pub(crate) fn split_rows(&self) -> Vec<Vec<String>> {
        let row = |split: &crate::SplitCount| {
            vec![
                split.split.clone(),
                split.layout.clone().unwrap_or_else(|| "-".into()),
                split.expected.map_or_else(|| "-".into(), |expected| expected.to_string()),
                split.found.to_string(),
                split.usable.to_string(),
            ]
        };
        self.splits.iter().map(row).collect()
    }

    /// The lists of the report with their titles and columns.
    pub(crate) fn lists(&self) -> Vec<List> {
        let file = |path: &Option<std::path::PathBuf>| {
            path.as_ref().map_or_else(|| "-".into(), |path| path.display().to_string())
        };
        let unreadable = self
            .unreadable
            .iter()
            .map(|one| vec![one.id.clone(), one.path.display().to_string(), one.reason.clone()]);
        let unpaired = self.unpaired.iter().map(|one| {
            vec![one.id.clone(), file(&one.image), file(&one.mask), one.expected.clone()]
        });
        let ignored =
            self.ignored.iter().map(|one| vec![one.path.display().to_string(), one.reason.clone()]);
        let sizes = self.size_mismatches.iter().map(|one| {
            let [image, mask] =
                [one.image_size, one.mask_size].map(|size| format!("{} x {}", size[0], size[1]));
            let cause = one.exif_orientations.map_or_else(
                || "-".to_owned(),
                |[image, mask]| {
                    format!("EXIF orientation {image} of the image, {mask} of the mask")
                },
            );
            vec![one.item.id.clone(), image, mask, cause]
        });
        let orientations = self
            .orientation_mismatches
            .iter()
            .map(|one| vec![one.item.id.clone(), one.image.to_string(), one.mask.to_string()]);
        let dark = self
            .dark_16_bit_images
            .iter()
            .map(|one| vec![one.item.id.clone(), one.largest.to_string()]);
        let gray =
            self.mask_values.gray_masks.iter().map(|one| {
                vec![one.id.clone(), one.values.to_string(), one.gray_pixels.to_string()]
            });
        let colored = self
            .mask_values
            .colored_masks
            .iter()
            .map(|one| vec![one.id.clone(), one.colored_pixels.to_string()]);
        let items = |items: &[Item]| -> Vec<Vec<String>> {
            items.iter().map(|one| vec![one.id.clone(), one.splits.join(", ")]).collect()
        };
        vec![
            ("Unreadable files", &["id", "file", "reason"], unreadable.collect()),
            ("Without partner", &["id", "image", "mask", "looked for"], unpaired.collect()),
            ("Not read", &["path", "reason"], ignored.collect()),
            ("Different sizes", &["id", "image", "mask", "cause"], sizes.collect()),
            (
                "EXIF orientations of image and mask differ",
                &["id", "image", "mask"],
                orientations.collect(),
            ),
            (
                "Images of 16 bits below a quarter of white",
                &["id", "largest value"],
                dark.collect(),
            ),
            (
                "Masks with values besides 0 and 255",
                &["id", "different values", "pixels"],
                gray.collect(),
            ),
            ("Masks with colors", &["id", "pixels"], colored.collect()),
            ("Empty masks", &["id", "splits"], items(&self.empty_masks)),
            ("Masks without background", &["id", "splits"], items(&self.full_masks)),
            ("Exact duplicates", PAIR_HEADER, pair_rows(&self.exact_duplicates)),
            ("Near duplicates", PAIR_HEADER, pair_rows(&self.near_duplicates)),
        ]
    }
}

impl Leak {
    /// The leak in a sentence.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::SharedSequences { splits, sequences, images, of } => format!(
                "{} of {} images of `{}` and {} of {} of `{}` are frames of the same {} videos ({})",
                images[0],
                of[0],
                splits[0],
                images[1],
                of[1],
                splits[1],
                sequences.len(),
                sequences.join(", "),
            ),
            Self::SharedImages { splits, pairs } => {
                format!("{} images of `{}` are in `{}` too", pairs.len(), splits[0], splits[1])
            }
            Self::SimilarImages { splits, pairs } => format!(
                "{} images of `{}` look like one of `{}`",
                pairs.len(),
                splits[0],
                splits[1]
            ),
            Self::SharedWithOtherSet { data, images, of, exact, .. } => {
                format!("{images} of {of} images are in `{data}` too, {exact} of them exactly")
            }
        }
    }

    /// The pairs of images that show it.
    pub(crate) fn pairs(&self) -> Option<&[Duplicate]> {
        match self {
            Self::SharedSequences { .. } => None,
            Self::SharedImages { pairs, .. }
            | Self::SimilarImages { pairs, .. }
            | Self::SharedWithOtherSet { pairs, .. } => Some(pairs),
        }
    }

    fn rows(&self) -> Option<Vec<Vec<String>>> {
        self.pairs().map(pair_rows)
    }
}

const PAIR_HEADER: &[&str] = &["image", "other", "how"];

fn pair_rows(pairs: &[Duplicate]) -> Vec<Vec<String>> {
    let row = |pair: &Duplicate| {
        let [first, second] = [&pair.first, &pair.second].map(Item::label);
        vec![first, second, pair.how()]
    };
    pairs.iter().map(row).collect()
}

impl Item {
    /// Name, data set and splits in one line.
    pub(crate) fn label(&self) -> String {
        format!("{} ({} {})", self.id, self.data, self.splits.join(", "))
    }
}

impl Duplicate {
    /// In which way both are the same, in words.
    pub(crate) fn how(&self) -> String {
        let how = match self.same {
            Same::File => "the same file".to_owned(),
            Same::Bytes => "same bytes".to_owned(),
            Same::Pixels => "same pixels".to_owned(),
            Same::Look { hash_distance, correlation } => {
                format!("correlation {correlation:.3}, {hash_distance} of 256 bits differ")
            }
        };
        let video = if self.same_sequence { "; one video" } else { "" };
        let is_exact = !matches!(self.same, Same::Look { .. });
        let masks = if is_exact && self.same_mask == Some(false) { "; masks differ" } else { "" };
        format!("{how}{video}{masks}")
    }
}

fn section(text: &mut String, title: &str) {
    text.push_str(&format!("\n## {title}\n\n"));
}

fn table(text: &mut String, header: &[&str], rows: &[Vec<String>], shown: usize) {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    text.push_str(&line(header.iter().map(|&cell| cell.into()).collect()));
    text.push_str(&line(vec!["---".into(); header.len()]));
    for row in rows.iter().take(shown) {
        text.push_str(&line(row.iter().map(|cell| escape(cell)).collect()));
    }
    if let Some(more) = rows.len().checked_sub(shown).filter(|&more| more > 0) {
        text.push_str(&format!("\n… and {more} more; `--json` has all\n"));
    }
}

/// A file name may hold anything; a cell is one line without bars.
fn escape(cell: &str) -> String {
    cell.chars()
        .flat_map(|letter| match letter {
            '|' => vec!['\\', '|'],
            letter if letter.is_control() => vec!['\u{FFFD}'],
            letter => vec![letter],
        })
        .collect()
}
