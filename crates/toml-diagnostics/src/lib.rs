//! Where a key stands in a TOML text, and what is wrong with it, in words of people who do not know Rust.
//!
//! Experiment files and profiles of clusters are written by hand, so what is wrong with them is said with line, column
//! and what is accepted. Which keys there are is no business of this crate.

mod place;
mod words;

pub use place::{Place, path_at, place_of, remove_key};
pub use words::{count_in_words, in_words, names_behind, quoted};
