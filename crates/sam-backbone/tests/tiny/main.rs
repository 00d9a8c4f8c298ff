//! A tiny SAM with the random weights of fixture `sam_tiny`: parity with PyTorch, gradients through
//! the frozen decoder, and weights files that do or do not fit.

mod frozen;
mod mobile;
mod parity;
mod support;
mod training;
mod weights;
