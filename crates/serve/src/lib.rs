//! `cargo xtask serve`: a local page on which a person prompts, compares methods, and watches runs.
//!
//! - [`Engine`]: what the page asks of a model; [`PromiseEngine`] answers with finished runs and frozen SAM
//! - [`Library`]: the images, of a data set, of a folder, or dropped onto the page
//! - [`RunList`]: run folders, finished and under way
//! - [`Server`]: the page and its requests
//!
//! The assets are part of the program: there is no build step, and the page asks nobody else for anything.
//!
//! Who may ask for what is decided in `guard` (hosts, origins, how many at once, how long) and in the types that look things
//! up: images and runs have names that are looked for in lists, and no part of a request becomes a path.

mod answer;
mod api;
mod assets;
pub mod bench;
mod encodings;
mod engine;
mod export;
mod guard;
mod library;
mod listen;
mod lru;
mod problem;
mod promise_engine;
mod runs;
mod server;
mod turns;
mod uploads;

pub use engine::{Embedding, Engine, MethodInfo};
pub use library::{Gallery, Library, LibraryError, Picture};
pub use promise_engine::{Models, ModelsError, PromiseEngine, default_runs};
pub use runs::{RunList, RunState, RunSummary};
pub use server::{AllowedHost, AllowedHostError, Limits, ServeError, Server, Settings};
