//! The book: pages to read from top to bottom. What a type or a setting does in detail stands at its own docs, and
//! the pages link to it.
//!
//! # In this order
//!
//! 1. [Getting started](getting_started): a server that rotates, in one file.
//! 2. [Concepts](concepts): versions, stages, snapshots, windows, and what happens at a rotation.
//! 3. Where your secrets are: [AWS](aws), [Vault or OpenBao](vault), [Kubernetes](kubernetes), [ECS](ecs).
//! 4. What you rotate besides keys that verify tokens: [databases], and [`mcp`] for a server of tools.
//! 5. [Fleets](fleets): more than one replica, and what to set interval, overlap, token lifetime and activation delay to.
//! 6. [Testing your own server](testing) with `Memory`.
//! 7. [The security model](security), and what is not protected.
//! 8. [Faults](faults): what goes wrong, what happens then, and the test that shows it.
//! 9. [Performance](performance), and how to measure it again.
//!
//! # When something has to happen now
//!
//! [The runbooks](runbooks): [a scheduled rotation](runbooks::scheduled_rotation), [a breach](runbooks::breach),
//! [a key found in logs](runbooks::key_in_logs).
//!
//! # When you have something already
//!
//! [Coming from](coming_from) a `Mutex<Secrets>`, jwt-authorizer, axum-jwt-auth or the AWS caching client.

#[cfg(all(feature = "axum", feature = "file"))]
pub mod getting_started;

pub mod concepts;

#[cfg(feature = "aws")]
pub mod aws;

#[cfg(feature = "vault")]
pub mod vault;

#[cfg(all(feature = "admin", feature = "file"))]
pub mod kubernetes;

#[cfg(all(feature = "admin", feature = "aws"))]
pub mod ecs;

pub mod databases;

#[cfg(all(feature = "file", feature = "jwks", feature = "axum", feature = "rmcp"))]
pub mod mcp;

#[cfg(feature = "admin")]
pub mod fleets;

#[cfg(feature = "admin")]
pub mod runbooks;

pub mod testing;

pub mod security;

pub mod faults;

pub mod performance;

#[cfg(all(feature = "aws", feature = "axum", feature = "jwks"))]
pub mod coming_from;
