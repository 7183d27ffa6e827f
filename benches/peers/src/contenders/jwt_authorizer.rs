//! jwt-authorizer 0.15, on ring.

use axum::{Router, response::Response};
use axum_0_7::response::IntoResponse;
use jwt_authorizer::{AuthError, AuthorizerBuilder, IntoLayer, Validation};
use tower::ServiceBuilder;

use super::{PlainClaims, Setup, empty};
use crate::{
    keys::Algorithm,
    tokens::{AUDIENCE, ISSUER},
};

/// The crate is for axum 0.7. To stand before the same router as everybody, its errors become
/// responses of axum 0.8 here; a move of the response in and out of this is all that it adds.
struct Bridged(Response);

impl From<AuthError> for Bridged {
    fn from(error: AuthError) -> Self {
        let mut response = Response::default();
        *response.status_mut() = error.into_response().status();
        Self(response)
    }
}

pub fn router(setup: &Setup) -> Option<Router> {
    let key = &setup.key;
    let builder = match setup.algorithm {
        Algorithm::Hs256 => AuthorizerBuilder::<PlainClaims>::from_secret(key.secret()),
        Algorithm::Rs256 => AuthorizerBuilder::from_rsa_pem_text(&key.pem()),
        Algorithm::Es256 => AuthorizerBuilder::from_ec_pem_text(&key.pem()),
        Algorithm::EdDsa => AuthorizerBuilder::from_ed_pem_text(&key.pem()),
    };
    let validation = Validation::new().iss(&[ISSUER]).aud(&[AUDIENCE]).nbf(true);
    let authorizer = setup.wait(builder.validation(validation).build());
    let layer = authorizer.expect("the authorizer is built").into_layer();
    let stack = ServiceBuilder::new()
        .map_response(|Bridged(response)| response)
        .layer(layer)
        .map_response(Bridged);
    Some(empty().layer(stack))
}
