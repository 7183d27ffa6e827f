//! The signature alone, without HTTP and in a layer, and `jsonwebtoken::decode` alone.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Router,
    http::{Request, header::AUTHORIZATION},
};
use base64_simd::{Out, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm as Name, DecodingKey, Validation, jwk::Jwk};
use tower::{Service, layer::layer_fn};

use super::{PlainClaims, Setup, empty};
use crate::{
    keys::{Algorithm, Verifier},
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

/// The signature alone again, by a layer that does nothing else: what it costs to call it between the
/// steps of a request, whose code and data it has to share the processor's caches with.
pub fn signature_in_layer(setup: &Setup) -> Router {
    let verify: Arc<Verifier> = setup.key.verifier().into();
    empty().layer(layer_fn(move |inner| SignatureOnly {
        inner,
        verify: verify.clone(),
    }))
}

#[derive(Clone)]
struct SignatureOnly<S> {
    inner: S,
    verify: Arc<Verifier>,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for SignatureOnly<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        let authorization = request.headers()[AUTHORIZATION].as_bytes();
        let token = &authorization["Bearer ".len()..];
        let dot = token.iter().rposition(|byte| *byte == b'.');
        let (message, signature) = token.split_at(dot.expect("a token has dots"));
        let mut buffer = [0; 512];
        let signature = URL_SAFE_NO_PAD
            .decode(&signature[1..], Out::from_slice(&mut buffer))
            .expect("a signature is base64url");
        assert!((self.verify)(message, signature), "a good signature");
        self.inner.call(request)
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
