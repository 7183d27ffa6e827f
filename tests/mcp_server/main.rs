//! The example `mcp_server` as its users run it: a process of its own, over real sockets, files
//! and signals.
#![cfg(all(unix, feature = "file", feature = "axum", feature = "rmcp"))]
#![allow(clippy::unwrap_used)]

#[cfg(feature = "aws")]
mod aws;
mod http;
mod process;
mod python;
mod rotation;
