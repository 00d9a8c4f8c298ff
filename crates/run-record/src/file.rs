//! Reading and writing of single files.

use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::RunRecordError;
use crate::record::FORMAT_VERSION;
use crate::rows::CsvRow;

/// The longest JSON file of a run that is read, 64 MiB. The longest are lists of cases that were left out, at some
/// 300 bytes each.
pub const MAX_JSON_BYTES: u64 = 64 << 20;

/// The longest other file of a run that is read, 1 GiB. `curves.csv` of 100,000 cases has half of it.
pub const MAX_ROWS_BYTES: u64 = 1 << 30;

/// Reads a JSON file, e.g. an [`Environment`](crate::Environment) or a list of
/// [`Panel`](crate::Panel)s. Unknown fields are ignored.
///
/// A record is read with [`RunRecord::read`](crate::RunRecord::read), which checks its version.
///
/// # Errors
///
/// [`RunRecordError::Read`] if the file cannot be read, [`RunRecordError::Json`] if it is
/// truncated, lacks a field or has a field of another type.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RunRecordError> {
    parse_json(&read_json_bytes(path)?, path)
}

/// Writes a JSON file, indented and with a newline at its end.
///
/// # Errors
///
/// [`RunRecordError::ToJson`] if the value has no JSON form, [`RunRecordError::Write`] if the
/// file cannot be written.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), RunRecordError> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|source| RunRecordError::ToJson { path: path.into(), source })?;
    bytes.push(b'\n');
    write_bytes(path, &bytes)
}

/// Reads a CSV file that [`write_rows`] wrote.
///
/// # Errors
///
/// [`RunRecordError::Read`] if the file cannot be read, [`RunRecordError::MissingColumn`] if it
/// lacks one of [`CsvRow::COLUMNS`] that is not among [`CsvRow::ADDED`], [`RunRecordError::Csv`] if a line has too few cells or a cell
/// does not fit its column, [`RunRecordError::Truncated`] if the last line has no end.
pub fn read_rows<T: CsvRow>(path: &Path) -> Result<Vec<T>, RunRecordError> {
    let csv_error = |source| RunRecordError::Csv { path: path.into(), source };
    let bytes = read_bytes(path)?;
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let found = reader.headers().map_err(csv_error)?;
    let demanded = T::COLUMNS.iter().copied().filter(|column| !T::ADDED.contains(column));
    for column in demanded {
        if !found.iter().any(|name| name == column) {
            return Err(RunRecordError::MissingColumn {
                column,
                found: found.iter().map(str::to_owned).collect(),
                path: path.into(),
            });
        }
    }
    let rows = reader.deserialize().collect::<Result<_, _>>().map_err(csv_error)?;
    if bytes.last() != Some(&b'\n') {
        return Err(RunRecordError::Truncated { path: path.into() });
    }
    Ok(rows)
}

/// Writes a CSV file with a header, which is there even if there is no row.
///
/// Numbers are written so that reading gives the same bits again.
///
/// # Errors
///
/// [`RunRecordError::ToCsv`] if a row has other fields than [`CsvRow::COLUMNS`] or is no flat
/// struct, [`RunRecordError::Write`] if the file cannot be written.
pub fn write_rows<T: CsvRow>(path: &Path, rows: &[T]) -> Result<(), RunRecordError> {
    write_bytes(path, &csv_bytes(path, rows)?)
}

/// The bytes that [`write_rows`] writes.
///
/// # Errors
///
/// [`RunRecordError::ToCsv`]
pub fn csv_bytes<T: CsvRow>(path: &Path, rows: &[T]) -> Result<Vec<u8>, RunRecordError> {
    let csv_error = |source| RunRecordError::ToCsv { path: path.into(), source };
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.write_record(T::COLUMNS).map_err(csv_error)?;
    for row in rows {
        writer.serialize(row).map_err(csv_error)?;
    }
    writer
        .into_inner()
        .map_err(|error| RunRecordError::Write { path: path.into(), source: error.into_error() })
}

/// Writes a file so that neither a reader nor a crash ever sees half of it, see [`atomic_file::write`].
///
/// # Errors
///
/// [`RunRecordError::Write`] if the folder is missing or any step fails; a file that was there
/// before is then unchanged.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), RunRecordError> {
    atomic_file::write(path, bytes)
        .map_err(|source| RunRecordError::Write { path: path.into(), source })
}

/// Reads a JSON file that says which version of the format it has.
pub(crate) fn read_versioned<T: DeserializeOwned>(path: &Path) -> Result<T, RunRecordError> {
    /// The one field that every version of the format has.
    #[derive(Deserialize)]
    struct Versioned {
        format_version: u32,
    }

    let bytes = read_json_bytes(path)?;
    // The version comes first: a file of another version would fail below for a field that is
    // only the symptom.
    let Versioned { format_version } = parse_json(&bytes, path)?;
    if format_version != FORMAT_VERSION {
        return Err(RunRecordError::FormatVersion {
            found: format_version,
            supported: FORMAT_VERSION,
            path: path.into(),
        });
    }
    parse_json(&bytes, path)
}

/// Reads a file as it lies there, up to [`MAX_ROWS_BYTES`].
///
/// # Errors
///
/// [`RunRecordError::NotAFile`] if it is no regular file, [`RunRecordError::Read`] if it cannot be read or is longer.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, RunRecordError> {
    read_up_to(path, MAX_ROWS_BYTES)
}

fn read_json_bytes(path: &Path) -> Result<Vec<u8>, RunRecordError> {
    read_up_to(path, MAX_JSON_BYTES)
}

fn read_up_to(path: &Path, limit: u64) -> Result<Vec<u8>, RunRecordError> {
    let read_error = |source| RunRecordError::Read { path: path.into(), source };
    if !fs::metadata(path).map_err(read_error)?.is_file() {
        return Err(RunRecordError::NotAFile { path: path.into() });
    }
    bounded_read::read(path, limit).map_err(read_error)
}

pub(crate) fn parse_json<T: DeserializeOwned>(
    bytes: &[u8],
    path: &Path,
) -> Result<T, RunRecordError> {
    serde_json::from_slice(bytes)
        .map_err(|source| RunRecordError::Json { path: path.into(), source })
}
