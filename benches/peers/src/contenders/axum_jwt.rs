//! axum-jwt-auth 0.7, on the back-end of jsonwebtoken 10 that this process has installed.

use std::sync::Arc;

use axum::{Router, routing::get};
use axum_jwt_auth::{Claims, Decoder, LocalDecoder};
use jsonwebtoken_10::{Algorithm as Name, DecodingKey, Validation, jwk::Jwk};

use super::{PlainClaims, Setup};
use crate::{
    keys::Algorithm,
    tokens::{AUDIENCE, ISSUER},
};

pub fn router(setup: &Setup) -> Option<Router> {
    let jwk: Jwk = serde_json::from_value(setup.key.jwk()).expect("jsonwebtoken reads the key");
    let mut validation = Validation::new(match setup.algorithm {
        Algorithm::Hs256 => Name::HS256,
        Algorithm::Rs256 => Name::RS256,
        Algorithm::Es256 => Name::ES256,
        Algorithm::EdDsa => Name::EdDSA,
    });
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    let keys = vec![DecodingKey::from_jwk(&jwk).expect("jsonwebtoken takes the key")];
    let decoder = LocalDecoder::new(keys, validation).expect("the decoder is complete");
    let decoder: Decoder<PlainClaims> = Arc::new(decoder);
    // It has no layer: the extractor is what its users write.
    let handler = get(|_: Claims<PlainClaims>| async {});
    Some(Router::new().route("/", handler).with_state(decoder))
}
