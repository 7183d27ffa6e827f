//! aliri_tower 0.6, on ring.

use aliri::{
    Jwks,
    jwa::Algorithm as Name,
    jwt::{Audience, Audiences, CoreClaims, CoreValidator, Issuer, IssuerRef, Subject, SubjectRef},
};
use aliri_clock::UnixTime;
use aliri_oauth2::{Authority, HasScope, Scope};
use aliri_tower::Oauth2Authorizer;
use axum::{Router, body::Body};
use serde::Deserialize;

use super::{Setup, empty};
use crate::{
    keys::Algorithm,
    tokens::{AUDIENCE, ISSUER},
};

/// Plain fields: the claims type that comes with the crate is flattened, which costs it more.
#[derive(Clone, Deserialize)]
struct Claims {
    iss: Issuer,
    sub: Subject,
    aud: Audiences,
    exp: UnixTime,
    nbf: Option<UnixTime>,
    scope: Scope,
}

impl CoreClaims for Claims {
    fn nbf(&self) -> Option<UnixTime> {
        self.nbf
    }

    fn exp(&self) -> Option<UnixTime> {
        Some(self.exp)
    }

    fn aud(&self) -> &Audiences {
        &self.aud
    }

    fn iss(&self) -> Option<&IssuerRef> {
        Some(&self.iss)
    }

    fn sub(&self) -> Option<&SubjectRef> {
        Some(&self.sub)
    }
}

impl HasScope for Claims {
    fn scope(&self) -> &Scope {
        &self.scope
    }
}

pub fn router(setup: &Setup) -> Option<Router> {
    let name = match setup.algorithm {
        Algorithm::Hs256 => Name::HS256,
        Algorithm::Rs256 => Name::RS256,
        Algorithm::Es256 => Name::ES256,
        Algorithm::EdDsa => return None,
    };
    let validator = CoreValidator::default()
        .add_approved_algorithm(name)
        .add_allowed_audience(Audience::from_static(AUDIENCE))
        .require_issuer(Issuer::from_static(ISSUER))
        // `check_not_before` would require an `nbf`.
        .check_expiration();
    // A `Jwks` skips keys that it cannot read; this does not.
    let mut jwks = Jwks::default();
    let jwk = setup.key.jwk().to_string();
    jwks.add_key(serde_json::from_str(&jwk).expect("aliri reads the key"));
    let layer = Oauth2Authorizer::new()
        .with_claims::<Claims>()
        .with_terse_error_handler::<Body>()
        .jwt_layer(Authority::new(jwks, validator));
    Some(empty().layer(layer))
}
