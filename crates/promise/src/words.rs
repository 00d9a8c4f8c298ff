//! Choices that have a name on the command line and in files.

/// A choice among named ones.
pub trait Word: Copy + PartialEq + 'static {
    /// What is chosen, for messages.
    const WHAT: &'static str;
    /// Every choice with its name.
    const ALL: &'static [(&'static str, Self)];

    /// The name of this choice.
    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, choice)| *choice == self).map_or("", |(name, _)| name)
    }

    /// The choice of this name.
    ///
    /// # Errors
    ///
    /// [`UnknownWordError`]
    fn of(name: &str) -> Result<Self, UnknownWordError> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, choice)| *choice).ok_or_else(|| UnknownWordError {
            what: Self::WHAT,
            name: name.to_owned(),
            known: Self::ALL.iter().map(|(name, _)| *name).collect(),
        })
    }
}

/// A name that no choice has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown {what} `{name}`, expected {}",
    known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
)]
pub struct UnknownWordError {
    /// What is chosen.
    pub what: &'static str,
    /// What was asked for.
    pub name: String,
    /// What there is.
    pub known: Vec<&'static str>,
}
