//! The example `mcp_server` as its users run it: a process of its own, over real sockets, files
//! and signals.
#![cfg(all(unix, feature = "file", feature = "axum", feature = "rmcp"))]
#![allow(clippy::unwrap_used)]

#[cfg(feature = "aws")]
mod aws;
mod http;
#[cfg(feature = "jwks")]
mod identity_provider;
mod inspector;
#[cfg(feature = "aws")]
mod lambda;
#[path = "../support/left_out.rs"]
mod left_out;
#[allow(dead_code, reason = "the conformance suite uses more of it")]
#[path = "../support/node.rs"]
mod node;
mod process;
#[path = "../clients/program.rs"]
mod program;
mod python;
#[cfg(feature = "admin")]
mod reload;
mod rotation;
mod toy;

#[cfg(feature = "vault")]
#[allow(dead_code, reason = "the tests of the source itself use more of it")]
#[path = "../vault/server.rs"]
mod bao;
#[cfg(feature = "vault")]
mod vault;
