//! The Vault sources against the real OpenBao server.

#![allow(clippy::unwrap_used)]

mod server;
mod tap;

mod kv;
mod session;
