//! Those without HTTP: the signature alone, and `jsonwebtoken::decode` alone.

use jsonwebtoken::{Algorithm as Name, DecodingKey, Validation, jwk::Jwk};

use super::{PlainClaims, Setup};
use crate::{
    keys::Algorithm,
    measure::keep,
    tokens::{AUDIENCE, ISSUER, Ring, Token},
};

/// The least that a verification can cost: key prepared, parts of the token decoded.
pub fn signature(setup: &Setup, mut ring: Ring) -> impl FnMut() + use<> {
    let verify = setup.key.verifier();
    move || {
        let Token {
            message, signature, ..
        } = ring.token();
        assert!(verify(message.as_bytes(), signature), "a good signature");
    }
}

pub fn decode(setup: &Setup, mut ring: Ring) -> impl FnMut() + use<> {
    let decode = decoder(setup);
    move || keep(decode(&ring.token().text).expect("a good token"))
}

/// Whether `jsonwebtoken::decode` takes a token.
pub fn accepts(setup: &Setup, token: &Token) -> bool {
    decoder(setup)(&token.text).is_ok()
}

fn decoder(setup: &Setup) -> impl Fn(&str) -> jsonwebtoken::errors::Result<PlainClaims> + use<> {
    let jwk: Jwk = serde_json::from_value(setup.key.jwk()).expect("jsonwebtoken reads the key");
    let key = DecodingKey::from_jwk(&jwk).expect("jsonwebtoken takes the key");
    let mut validation = Validation::new(match setup.algorithm {
        Algorithm::Hs256 => Name::HS256,
        Algorithm::Rs256 => Name::RS256,
        Algorithm::Es256 => Name::ES256,
        Algorithm::EdDsa => Name::EdDSA,
    });
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.validate_nbf = true;
    move |token| Ok(jsonwebtoken::decode(token, &key, &validation)?.claims)
}
