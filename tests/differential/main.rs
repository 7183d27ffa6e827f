//! Our verifier against an oracle, `jsonwebtoken::decode`: we never accept what it refuses, and
//! refuse what it accepts only by a rule that is written down.
//!
//! The same harness runs under a fuzzer, see `fuzz/`.

#![allow(clippy::unwrap_used)]

mod corpus;
mod cost;
mod differences;
mod edits;
mod harness;
mod properties;
