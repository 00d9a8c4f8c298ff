//! Downloads from a server that misbehaves, and archives from strangers.
#![allow(clippy::unwrap_used)]

mod fetch;
mod install;
mod server;
mod unpack;
