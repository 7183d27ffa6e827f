//! Keys of an identity provider over HTTP, against key servers on loopback.
#![cfg(feature = "jwks")]
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tower_secrets::{
    Builder, JwtKey, Keyring,
    source::{Jwks, Source},
};

#[allow(dead_code, reason = "the others mint tokens with it, too")]
#[path = "../support/mod.rs"]
mod support;
use support::{ask, ask_layer};

mod caching;
mod chaos;
mod contract;
mod discovery;
mod http_rules;
mod idp;
mod issuers;
#[path = "../support/left_out.rs"]
mod left_out;
mod polling;
mod providers;
mod real_provider;
mod scopes;
mod withdrawn;

const SECOND: Duration = Duration::from_secs(1);

/// The least program, with a time for polls that no test waits for.
fn builder(source: impl Source) -> Builder<JwtKey> {
    Keyring::<JwtKey>::builder(source)
        .jwt_key(|keys| keys)
        .refresh_every(3600 * SECOND)
}

async fn keyring(source: Jwks) -> Keyring<JwtKey> {
    builder(source).build().await.unwrap()
}
