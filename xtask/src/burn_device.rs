//! Burn's default device, said before Burn is asked for it.

use std::{env, process::Command};

/// The variable that Burn reads.
const VARIABLE: &str = "BURN_DEVICE";

/// Goes on as the same program with `BURN_DEVICE=flex`, unless it is set.
///
/// Everything of ours names its device. Burn's optimizer does not when it reads a checkpoint: it takes the default, which
/// is CUDA wherever that is built in, and which panics without a driver even if the run is on the CPU. A process cannot
/// safely change its own environment, so the program starts itself anew, on Unix in the same process. Elsewhere the
/// variable is up to the user.
pub fn settle() {
    if env::var_os(VARIABLE).is_some() {
        return;
    }
    let Ok(program) = env::current_exe() else { return };
    let mut words = env::args_os();
    let name = words.next();
    let mut command = Command::new(program);
    command.args(words).env(VARIABLE, "flex");
    become_it(command, name);
}

#[cfg(unix)]
fn become_it(mut command: Command, name: Option<std::ffi::OsString>) {
    use std::os::unix::process::CommandExt as _;

    if let Some(name) = name {
        command.arg0(name);
    }
    // Only comes back if it failed; then Burn's default is what it is.
    drop(command.exec());
}

#[cfg(not(unix))]
fn become_it(_command: Command, _name: Option<std::ffi::OsString>) {}
