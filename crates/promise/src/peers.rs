//! Other implementations, run as programs: the Python that has them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use sam_backbone::EncoderPrecision;

use crate::device::DeviceKind;

/// Where and in which numbers an implementation computes, ours as well as a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arithmetic {
    /// Where tensors live.
    pub device: DeviceKind,
    /// In which numbers the image encoder computes.
    pub precision: EncoderPrecision,
}

impl Arithmetic {
    /// The options of `tools/peers/*.py` that say so.
    pub(crate) fn arguments(self) -> [String; 4] {
        [
            "--device".into(),
            self.device.torch_name(),
            "--precision".into(),
            self.precision.to_string(),
        ]
    }
}

/// A peer could not be run.
#[derive(Debug, thiserror::Error)]
#[error("`{command}` failed: {message}")]
pub struct PeerError {
    /// The command line.
    pub command: String,
    /// Its last words.
    pub message: String,
}

/// The Python that has the packages of `tools/peers/requirements.txt`: `python` if there is one given, else
/// that of a virtual environment in `folder`, which is made unless it is there.
///
/// # Errors
///
/// [`PeerError`] if Python or pip fail.
pub fn python(
    workspace: &Path,
    folder: &Path,
    python: Option<&Path>,
) -> Result<PathBuf, PeerError> {
    if let Some(python) = python {
        return Ok(python.to_owned());
    }
    python_with(&workspace.join("tools/peers/requirements.txt"), folder)
}

/// The Python of a virtual environment in `folder` that has the packages of a requirements file. It is made unless it is
/// there.
///
/// # Errors
///
/// [`PeerError`] if Python or pip fail.
pub fn python_with(requirements: &Path, folder: &Path) -> Result<PathBuf, PeerError> {
    let venv = folder.join("venv");
    let python = venv.join("bin/python");
    if !python.exists() {
        call(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    let pip = ["-m", "pip", "install", "--quiet", "-r"];
    call(Command::new(&python).args(pip).arg(requirements))?;
    Ok(python)
}

/// Runs a program to its end and returns what it printed.
///
/// # Errors
///
/// [`PeerError`] with the last line of its standard error.
pub fn call(command: &mut Command) -> Result<String, PeerError> {
    let failed =
        |command: &Command, message: String| PeerError { command: format!("{command:?}"), message };
    let output = command.output().map_err(|error| failed(command, error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let last = words.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message");
    Err(failed(command, last.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_a_program_are_kept() {
        let script = "echo early >&2; echo 'no module named torch' >&2; exit 3";
        let error = call(Command::new("sh").args(["-c", script])).expect_err("it failed");
        assert_eq!(error.message, "no module named torch");
        assert_eq!(call(Command::new("sh").args(["-c", "echo 7"])).expect("it works"), "7\n");
        let error = call(&mut Command::new("/no/such/program")).expect_err("not there");
        assert!(error.command.contains("/no/such/program"), "{error}");
    }
}
