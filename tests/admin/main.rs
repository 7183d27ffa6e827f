//! The operator's page and what is behind it, asked as a client asks.

#![allow(clippy::unwrap_used)]

mod answers;
mod bind;
mod browser;
mod fleet;
mod guards;
mod orders;
mod world;
