//! What an error says, with its causes.

use std::error::Error;

/// The messages of an error and of its causes, outermost first. A transparent error repeats its
/// cause; such a message is there once.
pub(crate) fn reasons(error: &dyn Error) -> Vec<String> {
    let mut all = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        all.push(cause.to_string());
        next = cause.source();
    }
    all.dedup();
    all
}

/// The same in one line.
pub fn error_chain(error: &dyn Error) -> String {
    reasons(error).join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("cannot write")]
        Write(#[source] std::io::Error),
        #[error(transparent)]
        Io(std::io::Error),
    }

    #[test]
    fn causes_follow_and_none_is_said_twice() {
        let full = || std::io::Error::other("disk full");
        assert_eq!(error_chain(&Outer::Write(full())), "cannot write: disk full");
        assert_eq!(error_chain(&Outer::Io(full())), "disk full");
    }
}
