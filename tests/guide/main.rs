//! What the guide promises, held against the crate: its table of settings, its numbers, and the runbook of a
//! breach, whose commands are run as they stand in the page.
//!
//! The runbook over AWS and OpenBao needs test beds, and all of it `sh`, `curl` and `jq`. `tests/run` starts the
//! beds; by hand: `TOWER_SECRETS_BAO=$(tests/beds/openbao) tests/beds/aws run cargo test --features full --test guide`.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

#[path = "../support/left_out.rs"]
mod left_out;
#[path = "../support/mod.rs"]
mod support;

mod page;

mod exposure;
mod settings;
mod speed;

mod fleet;
mod shell;
mod stores;

mod breach;
mod scheduled_rotation;
