//! What an error says, with its causes: why a case was skipped, in lists and in records.

use std::error::Error;

/// The messages of an error and of its causes, outermost first. A cause that the message before it
/// already quotes, as a transparent error does, is there once.
pub fn reasons(error: &dyn Error) -> Vec<String> {
    let mut all = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let message = cause.to_string();
        if !all.last().is_some_and(|before| before.contains(&message)) {
            all.push(message);
        }
        next = cause.source();
    }
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
        #[error("cannot write: {0}, sadly")]
        Quoted(#[source] std::io::Error),
        #[error("no run")]
        Deep(#[source] Box<Self>),
    }

    #[test]
    fn causes_follow_and_none_is_said_twice() {
        let full = || std::io::Error::other("disk full");
        assert_eq!(error_chain(&Outer::Write(full())), "cannot write: disk full");
        assert_eq!(error_chain(&Outer::Io(full())), "disk full");
        assert_eq!(error_chain(&Outer::Quoted(full())), "cannot write: disk full, sadly");
        let deep = Outer::Deep(Box::new(Outer::Write(full())));
        assert_eq!(reasons(&deep), ["no run", "cannot write", "disk full"]);
    }
}
