//! `example_prompt`: foreground points at the mean places of cells that matter.
//!
//! ```text
//! embedding ──► conv 1x1 ──► softmax over cells ──► mean place ──► points (x, y)
//! [B, C, H, W]  [B, P, HW]                          [B, P, 2]
//! ```
//!
//! A start made by `cargo xtask new prompt example_prompt`. Say here what the module does instead, with formula and
//! source.
//!
//! # Axis letters
//!
//! `B` batch, `C` channels, `H W` space, `P` points.

mod module;
mod spec;

pub use module::{ExamplePrompt, ExamplePromptConfig};
pub use spec::ExamplePromptSpec;
