//! Several secrets in one bundle, through a keyring and as a client sees it.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod outages;
mod probes;
mod shapes;
mod windows;
mod world;
