//! Dense prompting: a mask as prompt, decoded from frozen SAM features.
//!
//! SAM takes a rough mask of an earlier round as a prompt. Here a small decoder draws that mask, and is trained
//! through SAM's frozen prompt encoder and mask decoder: whatever makes SAM's answer better is a good prompt, and
//! need not look like a mask.
//!
//! ```text
//! embedding, taps ──► CellFusion ──► 2x up ──► 2x up ──► conv 3x3 ──► 20 tanh(z / 20) ──► mask input
//! [B, C, H, W] ...    [B, F, H, W]   F / 2     F / 4     [B, 1, 4H, 4W]
//! ```
//!
//! The loss on SAM's mask comes back through the frozen decoder; beside it the drawn mask is compared with the true
//! one (`mask_weight`): binary cross-entropy plus soft Dice. With the former alone, SAM's answer to a drawn mask that says nothing is soon an empty
//! one, and there is no way out of it.
//!
//! Up: transposed 2x2 convolution of stride 2 and GELU. The bound keeps the prompt where SAM's own logits are, the
//! range that its prompt encoder has seen. With `point` the mask's center of mass is a foreground point
//! besides: SAM's decoder was never trained on a mask alone, but on masks with the clicks that led to them.
//!
//! Source of the idea: Shaharabany, Dahan, Giryes, Wolf, "AutoSAM: Adapting SAM to Medical Images by Overloading the
//! Prompt Encoder", BMVC 2023 (arXiv 2306.06370). There a network of its own looks at the image and takes the place
//! of the prompt encoder; here the prompt encoder stays, frozen, and the decoder sees SAM's features. The bound and
//! the point are ours.
//!
//! [`DenseSpec`] is what people write under `[prompt.options]`, [`DenseConfig`] what it means for one backbone,
//! [`DensePrompter`] the module, a [`prompting::PromptModule`].
//!
//! # Axis letters
//!
//! `B` batch, `C F` channels, `H W` space.

mod center;
mod module;
mod spec;

pub use center::center_of_mass;
pub use module::{DenseConfig, DensePrompter};
pub use spec::DenseSpec;
