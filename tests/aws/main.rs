//! `source::SecretsManager` against servers that speak AWS's protocol, most often through a proxy
//! that breaks the calls.
//!
//! They need the test beds. `tests/run` starts them; by hand:
//! `tests/beds/aws run cargo test --features full --test aws`.

#![allow(clippy::unwrap_used)]

#[allow(
    dead_code,
    reason = "its servers are started together, or none of them"
)]
#[path = "../support/left_out.rs"]
mod left_out;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/mod.rs"]
mod support;

mod bed;
mod secret;
mod stopped_time;

mod faults;
mod identity;
mod microburst;
mod ministack;
mod polls;
mod reader;
mod stages;
mod stale;
mod windows;
