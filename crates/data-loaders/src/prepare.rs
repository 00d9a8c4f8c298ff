//! Writing a data set as the network sees it: pairs of PNG files, and how to go back.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use bounded_read::MAX_LIST_BYTES;
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Case, DataSet, Skipped};

/// The file that says where each prepared image comes from.
const FRAMES: &str = "frames.csv";

/// Cases between two versions of [`FRAMES`]: what a killed process has to do again.
const CHUNK: usize = 32;

/// How an image became a prepared one: a point of the image lies at
/// `(x - crop_left) * scale_x, (y - crop_top) * scale_y` of the prepared image.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedFrame {
    /// Size of the image as it was read.
    pub image_width: u32,
    /// Size of the image as it was read.
    pub image_height: u32,
    /// First column that is shown.
    pub crop_left: u32,
    /// First row that is shown.
    pub crop_top: u32,
    /// Columns that are shown.
    pub crop_width: u32,
    /// Rows that are shown.
    pub crop_height: u32,
    /// Prepared pixels per pixel, along x.
    pub scale_x: f64,
    /// Prepared pixels per pixel, along y.
    pub scale_y: f64,
}

/// A case in the network's input.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// The square input.
    pub image: RgbImage,
    /// The mask in it, 0 and 255.
    pub mask: GrayImage,
    /// Where it comes from.
    pub frame: PreparedFrame,
}

/// What was done.
#[derive(Debug)]
pub struct Preparation {
    /// Pairs that were written.
    pub written: usize,
    /// Pairs that were there already.
    pub kept: usize,
    /// Cases that cannot be read.
    pub skipped: Vec<Skipped>,
    /// Whether it stopped before the end because it was asked to.
    pub interrupted: bool,
}

/// Why a data set could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A file or folder cannot be written, e.g. because the disk is full. What was finished before is kept.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system or the encoder said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The list of a former preparation cannot be read.
    #[error("not a list of prepared images: {}", path.display())]
    Frames {
        /// The list.
        path: PathBuf,
        /// What is wrong, with the line.
        source: csv::Error,
    },
    /// The folder holds images that were prepared in another way.
    #[error(
        "holds images prepared with {found_mode} at {found_size}, not with {mode} at {input_size}: {}",
        path.display()
    )]
    OtherSettings {
        /// Mode asked for.
        mode: String,
        /// Side asked for.
        input_size: u32,
        /// Mode found.
        found_mode: String,
        /// Side found.
        found_size: u32,
        /// The folder.
        path: PathBuf,
    },
    /// Two cases would be written to the same file.
    #[error("`{first}` and `{second}` would both be written to {}", path.display())]
    SameFile {
        /// Data set and id of one.
        first: String,
        /// Data set and id of the other.
        second: String,
        /// The file.
        path: PathBuf,
    },
}

/// A row of [`FRAMES`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    file: String,
    data: String,
    id: String,
    mode: String,
    input_size: u32,
    image_width: u32,
    image_height: u32,
    crop_left: u32,
    crop_top: u32,
    crop_width: u32,
    crop_height: u32,
    scale_x: f64,
    scale_y: f64,
}

/// Writes every case of `set` to `folder`: `images/<id>.png`, `masks/<id>.png`, and a row in
/// `frames.csv` (sorted by file) with the crop and the scale, by which predictions go back to the image.
///
/// `render` makes the input of a case, of side `input_size`; `mode` is the name of how it does. All
/// threads of the current rayon pool work; `progress` is told how many cases are done. Every file is
/// complete or absent. If the folder holds a part of it already, from a run that was killed, that part is kept:
/// a pair counts as done if both files and their row are there. (Whether its sources have changed since is not
/// looked at.) Cases of other sets in the same folder stay.
///
/// # Errors
///
/// See [`PrepareError`]. Cases that cannot be read are no error: see [`Preparation::skipped`].
pub fn prepare(
    set: &DataSet,
    folder: &Path,
    mode: &str,
    input_size: u32,
    render: impl Fn(&Case) -> Prepared + Sync,
    progress: impl Fn(usize),
    stop: &AtomicBool,
) -> Result<Preparation, PrepareError> {
    let files = file_names(set, folder)?;
    let (images, masks) = (folder.join("images"), folder.join("masks"));
    for folder in [&images, &masks] {
        fs::create_dir_all(folder).map_err(|error| write_error(folder, error))?;
    }
    let list = folder.join(FRAMES);
    let mut rows = read_rows(&list)?;
    if let Some(other) = rows.values().find(|row| row.mode != mode || row.input_size != input_size)
    {
        return Err(PrepareError::OtherSettings {
            mode: mode.into(),
            input_size,
            found_mode: other.mode.clone(),
            found_size: other.input_size,
            path: folder.into(),
        });
    }
    // Frames of several sets are called `1`, `2`, …
    for (file, entry) in files.iter().zip(set.entries.iter()) {
        if let Some(row) = rows.get(file).filter(|row| row.data != *entry.data) {
            return Err(PrepareError::SameFile {
                first: format!("{}/{}", row.data, row.id),
                second: format!("{}/{}", entry.data, entry.id),
                path: images.join(format!("{file}.png")),
            });
        }
    }
    let done = |index: usize, rows: &BTreeMap<String, Row>| {
        let file = &files[index];
        let there = |folder: &Path| folder.join(format!("{file}.png")).is_file();
        rows.get(file).is_some_and(|row| row.id == set.id(index)) && there(&images) && there(&masks)
    };
    let open: Vec<usize> = (0..set.len()).filter(|&index| !done(index, &rows)).collect();
    let kept = set.len() - open.len();
    let mut result = Preparation { written: 0, kept, skipped: Vec::new(), interrupted: false };
    progress(kept);
    for chunk in open.chunks(CHUNK) {
        if stop.load(Ordering::Relaxed) {
            result.interrupted = true;
            break;
        }
        let one = |&index: &usize| match set.load(index) {
            Err(reason) => Ok(Err(Skipped { index, id: set.id(index).to_owned(), reason })),
            Ok(case) => {
                let file = &files[index];
                let prepared = render(&case);
                let name = format!("{file}.png");
                write_png(&images.join(&name), prepared.image.into())?;
                write_png(&masks.join(&name), prepared.mask.into())?;
                Ok(Ok(Row::new(file, &case, mode, input_size, &prepared.frame)))
            }
        };
        let outcomes: Vec<Result<Result<Row, Skipped>, PrepareError>> =
            chunk.par_iter().map(one).collect();
        let mut failed = None;
        for outcome in outcomes {
            match outcome {
                Ok(Ok(row)) => {
                    result.written += 1;
                    rows.insert(row.file.clone(), row);
                }
                Ok(Err(skipped)) => result.skipped.push(skipped),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        // Also after a failure: what the other threads finished is not lost.
        let listed = write_rows(&list, &rows);
        if let Some(error) = failed {
            return Err(error);
        }
        listed?;
        progress(kept + result.written + result.skipped.len());
    }
    Ok(result)
}

impl Row {
    fn new(file: &str, case: &Case, mode: &str, input_size: u32, frame: &PreparedFrame) -> Self {
        Self {
            file: file.into(),
            data: case.data.clone(),
            id: case.id.clone(),
            mode: mode.into(),
            input_size,
            image_width: frame.image_width,
            image_height: frame.image_height,
            crop_left: frame.crop_left,
            crop_top: frame.crop_top,
            crop_width: frame.crop_width,
            crop_height: frame.crop_height,
            scale_x: frame.scale_x,
            scale_y: frame.scale_y,
        }
    }
}

/// The file name of each case, without ending: its id, in which separators of paths become `_`.
fn file_names(set: &DataSet, folder: &Path) -> Result<Vec<String>, PrepareError> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut names = Vec::with_capacity(set.len());
    for (index, id) in set.ids().enumerate() {
        let name = id.replace(['/', '\\', ':'], "_");
        if let Some(first) = seen.insert(name.clone(), index) {
            return Err(PrepareError::SameFile {
                first: set.id(first).into(),
                second: id.into(),
                path: folder.join("images").join(format!("{name}.png")),
            });
        }
        names.push(name);
    }
    Ok(names)
}

fn read_rows(path: &Path) -> Result<BTreeMap<String, Row>, PrepareError> {
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let error = |source| PrepareError::Frames { path: path.into(), source };
    let bytes = bounded_read::read(path, MAX_LIST_BYTES).map_err(|source| error(source.into()))?;
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let rows = reader.deserialize().map(|row: Result<Row, _>| {
        let row = row.map_err(error)?;
        Ok((row.file.clone(), row))
    });
    rows.collect()
}

fn write_rows(path: &Path, rows: &BTreeMap<String, Row>) -> Result<(), PrepareError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows.values() {
        writer.serialize(row).map_err(|error| write_error(path, error))?;
    }
    let bytes = writer.into_inner().map_err(|error| write_error(path, error.into_error()))?;
    write_whole(path, &bytes)
}

fn write_png(path: &Path, image: DynamicImage) -> Result<(), PrepareError> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).map_err(|error| write_error(path, error))?;
    write_whole(path, bytes.get_ref())
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), PrepareError> {
    atomic_file::write(path, bytes).map_err(|error| write_error(path, error))
}

fn write_error(
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> PrepareError {
    PrepareError::Write { path: path.into(), source: source.into() }
}
