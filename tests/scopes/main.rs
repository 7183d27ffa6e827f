//! Scopes by name, before a real rmcp server: what gets through, what is answered, and that no way
//! around leads to a tool.
#![allow(clippy::unwrap_used)]

mod answers;
mod attacks;
mod bodies;
mod reading;
mod server;
