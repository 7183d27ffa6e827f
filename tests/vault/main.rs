//! The Vault sources against the real OpenBao server.

#![allow(clippy::unwrap_used)]

#[path = "../support/left_out.rs"]
mod left_out;
#[path = "../support/mod.rs"]
mod support;

mod server;
mod tap;

#[cfg(all(feature = "file", feature = "jwks"))]
mod bundle;
mod database;
mod faults;
mod kubernetes;
mod kv;
mod session;
