//! The proof: 50 MCP clients keep calling a server while its secrets rotate 20 times in 30 s.
//!
//! ```sh
//! cargo run --example live_rotation --features file,axum,rmcp
//! ```
//!
//! The server is that of the example `mcp_server`, on a real socket, over a directory that is
//! written as the kubelet writes a mounted Secret. One of the rotations is a bundle that a probe
//! must refuse, and after one the old key is revoked, as after a breach. It exits non-zero on any
//! failure that the operator's own books do not explain.

#[cfg(unix)]
#[path = "../mcp_server/app.rs"]
mod app;
#[cfg(unix)]
mod authorized;
#[cfg(unix)]
mod client;
#[cfg(unix)]
mod operator;
#[cfg(unix)]
mod rotations;
#[cfg(unix)]
mod tally;
#[cfg(unix)]
#[path = "../mcp_server/tools.rs"]
mod tools;
#[cfg(unix)]
#[path = "../mcp_server/upstream.rs"]
mod upstream;
#[cfg(unix)]
mod wallet;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    rotations::main()
}

#[cfg(not(unix))]
fn main() {
    eprintln!("live_rotation needs SIGHUP and symbolic links: run it on Unix");
}
