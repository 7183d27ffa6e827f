//! One contract, kept by every source: the same tests over memory, a directory, AWS Secrets
//! Manager and OpenBao.
//!
//! To add a source, implement [`Harness`](harness::Harness) for its store in a file of its own,
//! with a line `source_contract!` there. `Jwks` is not among them: what it serves is a set of keys, and has
//! no stages; `tests/jwks/contract.rs` has what of this holds without.
#![allow(clippy::unwrap_used)]

#[macro_use]
mod contract;
mod harness;

#[cfg(feature = "aws")]
mod aws;
#[cfg(all(unix, feature = "file"))]
mod file;
#[cfg(any(feature = "aws", feature = "vault"))]
#[path = "../support/left_out.rs"]
mod left_out;
mod memory;
#[cfg(any(feature = "aws", feature = "vault"))]
mod relay;
#[cfg(feature = "vault")]
mod vault;
