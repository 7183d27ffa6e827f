//! tower-secrets.

use axum::Router;
use serde::Deserialize;
use serde_json::json;
use tower_secrets::{JwtKey, JwtRotationLayer, Keyring, source::Memory};

use super::{Setup, empty};
use crate::{
    keys::Key,
    tokens::{AUDIENCE, ISSUER, LONG},
};

#[derive(Deserialize)]
struct Bundle {
    jwt_key: JwtKey,
}

/// Whether verified tokens are remembered, in as many entries as by default.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    Off,
    On,
}

pub fn router(setup: &Setup, cache: Cache) -> Router {
    guarded(setup, Memory::new(document(&setup.key)), cache)
}

/// One that also takes the tokens of the key before.
pub fn router_with_previous(setup: &Setup, previous: &Key) -> Router {
    let source = Memory::new(document(previous));
    source.rotate(document(&setup.key));
    guarded(setup, source, Cache::Off)
}

fn guarded(setup: &Setup, source: Memory, cache: Cache) -> Router {
    let mut builder = Keyring::<Bundle>::builder(source)
        .jwt_key(|bundle| &bundle.jwt_key)
        .refresh_every(LONG);
    if cache == Cache::Off {
        builder = builder.token_cache(0);
    }
    let keyring = setup.wait(builder.build()).expect("the keyring is built");
    let layer = JwtRotationLayer::new(keyring)
        .issuer(ISSUER)
        .audience(AUDIENCE);
    empty().layer(layer)
}

fn document(key: &Key) -> String {
    json!({ "jwt_key": key.jwk() }).to_string()
}
