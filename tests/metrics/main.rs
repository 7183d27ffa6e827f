//! What is exported as metrics over the life of a secret, and what the dashboard and the alerts make
//! of it.

#![allow(clippy::unwrap_used)]

#[path = "../support/load.rs"]
mod load;
#[path = "../support/mod.rs"]
mod support;

mod files;
mod life;
mod recorder;
