//! Three `mcp_server` processes over one store, behind a round robin, while their secret rotates and
//! clients never pause.
//!
//! They take minutes, so `cargo test` leaves them out and says so. `tests/run` runs them; by hand:
//!
//! ```sh
//! cargo build --features full --example mcp_server
//! export TOWER_SECRETS_BAO="$(tests/beds/openbao)"
//! tests/beds/aws run cargo test --features full --test fleet -- --ignored --nocapture --test-threads 1
//! ```
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod balancer;
mod board;
mod callers;
mod fleet;
mod rotations;
mod ugly_day;
mod watch;

#[path = "../support/left_out.rs"]
mod left_out;

#[allow(dead_code, reason = "the tests of the source itself use more of it")]
#[path = "../vault/server.rs"]
mod bao;
#[allow(dead_code, reason = "the tests of one server use more of it")]
#[path = "../mcp_server/http.rs"]
mod http;
#[path = "../mcp_server/lambda.rs"]
mod lambda;
#[allow(dead_code, reason = "the tests of one server use more of it")]
#[path = "../mcp_server/process.rs"]
mod process;
#[allow(dead_code, reason = "the tests of the source itself use more of it")]
#[path = "../support/proxy.rs"]
mod proxy;
