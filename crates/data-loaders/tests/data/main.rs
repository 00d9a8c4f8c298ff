//! Data sets as their users meet them: cards, files on the disk, bad input, splits.

#![allow(clippy::unwrap_used)]

mod bad_files;
mod cards;
mod csv_format;
mod folders;
mod inventory;
mod layouts;
mod pixel_formats;
mod prepared;
mod real_data;
mod support;
mod synthetic_sets;
mod validation;
