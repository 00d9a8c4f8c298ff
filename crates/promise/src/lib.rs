//! The one place where the parts meet: experiments, training, evaluation, prediction.
//!
//! A TOML file becomes [`spec::ExperimentSpec`], variants and seeds become [`plan::RunPlan`]s,
//! [`campaign::Campaign`] says what is to do and executes it into run folders. The parts stay apart below this crate:
//! prompt modules know nothing of token shifts, neither knows data or metrics, and the frozen SAM
//! knows none of them.

mod accepted;
mod adapter_output;
pub mod backbone;
pub mod bench_forward;
pub mod bench_launcher;
pub mod bench_loader;
pub mod bench_metrics;
pub mod bench_scaling;
pub mod bench_train;
pub mod campaign;
mod checkpoints;
pub mod claim;
pub mod cluster;
pub mod device;
pub mod dialogue;
mod drawing;
pub mod encode;
pub mod encode_check;
pub mod environment;
mod epoch_metrics;
pub mod evaluate;
pub mod feature_store;
pub mod features;
pub mod fetch;
mod fit;
pub mod frame;
mod grid;
mod hypotheses;
pub mod interactive;
mod learner;
mod loader;
mod loss;
pub mod memory;
pub mod memory_limit;
pub mod memory_need;
pub mod model;
pub mod needs;
mod no_prompt;
pub mod peers;
pub mod person;
pub mod plan;
pub mod png;
pub mod predict;
#[cfg(test)]
mod probe;
pub mod progress;
pub mod prompt_source;
pub mod reference;
pub mod registry;
pub mod run;
pub mod run_folder;
mod run_lock;
pub mod run_log;
mod schema;
mod scratch;
mod sense;
pub mod simulated_user;
mod sources;
pub mod spec;
mod spread;
mod target;
pub mod threads;
mod train;
mod viewed_set;
pub mod words;
pub mod workers;
