//! The bars on stderr, and lines above them. Whatever writes to stderr goes through here: a line that is written while
//! bars are drawn is torn, or drawn over.

use std::{
    io::{self, IsTerminal as _, Write},
    sync::OnceLock,
};

use indicatif::MultiProgress;

/// All bars of this program.
pub fn all() -> &'static MultiProgress {
    static BARS: OnceLock<MultiProgress> = OnceLock::new();
    BARS.get_or_init(MultiProgress::new)
}

/// Whether somebody looks at them.
pub fn are_shown() -> bool {
    io::stderr().is_terminal()
}

/// A line above the bars. A reader that went away needs none.
pub fn line(text: &str) {
    above(format!("{text}\n").as_bytes());
}

fn above(bytes: &[u8]) {
    all().suspend(|| {
        let _ = io::stderr().lock().write_all(bytes);
    });
}

/// Stderr for the log: each event whole and above the bars.
pub struct Above;

impl Write for Above {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        above(event);
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
