//! The operator's page and what is behind it, asked as a client asks.

#![allow(clippy::unwrap_used)]

mod answers;
mod bind;
mod browser;
mod fleet;
mod guards;
#[path = "../support/left_out.rs"]
mod left_out;
mod orders;
mod world;
