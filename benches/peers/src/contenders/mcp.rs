//! tower-mcp 0.25, on aws-lc-rs.

use axum::Router;
use tower_mcp::oauth::{JwksValidator, JwtValidator, OAuthLayer, ProtectedResourceMetadata};

use super::{Setup, empty};
use crate::{
    keys::Algorithm,
    tokens::{AUDIENCE, ISSUER, LONG},
};

pub fn router(setup: &Setup) -> Option<Router> {
    let key = &setup.key;
    let validator = match setup.algorithm {
        Algorithm::Hs256 => JwtValidator::from_secret(key.secret().as_bytes()),
        Algorithm::Rs256 => JwtValidator::from_rsa_pem(key.pem().as_bytes()).expect("an RSA key"),
        Algorithm::Es256 => JwtValidator::from_ec_pem(key.pem().as_bytes()).expect("an EC key"),
        // The only way to such a key, and a slower one.
        Algorithm::EdDsa => return Some(with_jwks(setup)),
    };
    let validator = validator
        .expected_issuer(ISSUER)
        .expected_audience(AUDIENCE);
    Some(empty().layer(OAuthLayer::new(validator, metadata())))
}

fn with_jwks(setup: &Setup) -> Router {
    let validator = JwksValidator::builder(format!("{}/jwks", setup.provider))
        .expected_issuer(ISSUER)
        .expected_audience(AUDIENCE)
        .default_ttl(LONG)
        .build();
    let validator = setup.wait(validator).expect("the keys are fetched");
    empty().layer(OAuthLayer::new(validator, metadata()))
}

fn metadata() -> ProtectedResourceMetadata {
    ProtectedResourceMetadata::new(AUDIENCE).authorization_server(ISSUER)
}
