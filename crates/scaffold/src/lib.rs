//! Makes a new prompt module: its crate from a template, and the lines elsewhere that make it known.
//!
//! The template (`template/`) is a working module under the names `example_prompt`, `example-prompt` and
//! `ExamplePrompt`; tests of this crate compile it and check its contract, so what is made builds. Everything
//! that will be written is worked out before anything is, and if writing fails, what was there comes back.

mod changes;
mod edits;
mod name;

use std::path::{Path, PathBuf};

use changes::Changes;
pub use name::{ModuleName, NameError};

/// The template's files, and where they go; `example_prompt` and its like are replaced in both.
const TEMPLATE: [(&str, &str); 7] = [
    ("crates/example-prompt/Cargo.toml", include_str!("../template/Cargo.toml")),
    ("crates/example-prompt/README.md", include_str!("../template/README.md.template")),
    ("crates/example-prompt/src/lib.rs", include_str!("../template/src/lib.rs")),
    ("crates/example-prompt/src/module.rs", include_str!("../template/src/module.rs")),
    ("crates/example-prompt/src/spec.rs", include_str!("../template/src/spec.rs")),
    ("experiments/smoke/example_prompt.toml", include_str!("../template/smoke.toml")),
    ("docs/book/src/prompt-example-prompt.md", include_str!("../template/book.md.template")),
];

/// What the book's page of options says of the template.
const OPTIONS: &str = include_str!("../template/options.md.template");

/// A file by which a folder is known to be the workspace.
const REGISTRY: &str = "crates/promise/src/registry.rs";

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewModule {
    /// Its names.
    pub name: ModuleName,
    /// New files, relative to the workspace.
    pub made: Vec<PathBuf>,
    /// Files that were changed, relative to the workspace.
    pub changed: Vec<PathBuf>,
}

/// Why no module was made. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    /// Not a name for a module.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No workspace here or above.
    #[error("neither this folder nor one above it is the workspace: none has {REGISTRY}: {}", path.display())]
    NoWorkspace {
        /// Where it was looked for first.
        path: PathBuf,
    },
    /// Something of this name is there.
    #[error("`{name}` exists already: {}", path.display())]
    Exists {
        /// The name.
        name: String,
        /// What is there, or where it is named.
        path: PathBuf,
    },
    /// A file is not as this program knows it.
    #[error("{missing} is not to be found, so nothing can be added to {}", path.display())]
    Unknown {
        /// What was looked for.
        missing: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("cannot {what} {}", path.display())]
    File {
        /// Read, write or restore.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The workspace that a folder lies in.
///
/// # Errors
///
/// [`ScaffoldError::NoWorkspace`]
pub fn workspace_of(folder: &Path) -> Result<PathBuf, ScaffoldError> {
    let mut above = folder.ancestors();
    let found = above.find(|folder| folder.join(REGISTRY).is_file());
    found.map(Path::to_owned).ok_or_else(|| ScaffoldError::NoWorkspace { path: folder.to_owned() })
}

/// Makes a prompt module in a workspace: a crate, a line in the registry, the workspace's dependencies, the rule
/// about who may use Burn, a smoke experiment, and pages of the book.
///
/// # Errors
///
/// See [`ScaffoldError`]. The workspace is then as it was before.
pub fn new_prompt_module(workspace: &Path, name: &str) -> Result<NewModule, ScaffoldError> {
    let name: ModuleName = name.parse()?;
    let mut changes = Changes::new(workspace);
    refuse_existing(workspace, &name, &changes)?;
    for (path, text) in TEMPLATE {
        changes.make(&name.fill(path), name.fill(text));
    }
    for (path, edit) in edits::ALL {
        let text = changes.read(path)?;
        let edited = edit(&text, &name)
            .map_err(|missing| ScaffoldError::Unknown { missing, path: workspace.join(path) })?;
        changes.change(path, text, edited);
    }
    let (made, changed) = changes.write()?;
    Ok(NewModule { name, made, changed })
}

fn refuse_existing(
    workspace: &Path,
    name: &ModuleName,
    changes: &Changes,
) -> Result<(), ScaffoldError> {
    let exists = |path: PathBuf| Err(ScaffoldError::Exists { name: name.snake().to_owned(), path });
    let paths = TEMPLATE.iter().map(|(path, _)| workspace.join(name.fill(path)));
    let folder = workspace.join("crates").join(name.kebab());
    if let Some(path) = std::iter::once(folder).chain(paths).find(|path| path.exists()) {
        return exists(path);
    }
    // A dependency of the workspace, ours or not, or a package that one of them brings along.
    let manifest = "Cargo.toml";
    if edits::names_dependency(&changes.read(manifest)?, name.kebab()) {
        return exists(workspace.join(manifest));
    }
    let lock = "Cargo.lock";
    let package = |name: &str| format!("name = \"{name}\"");
    let locked = changes.read(lock)?;
    if [name.kebab(), name.snake()]
        .iter()
        .any(|name| locked.lines().any(|line| line == package(name)))
    {
        return exists(workspace.join(lock));
    }
    Ok(())
}
