//! The axum edge: [`Secrets`] and [`Claims`] as arguments of handlers.
//!
//! Both only look at what a layer has put in the request. A missing layer is a 500 whose text
//! names the layer and the type, in the `Option` forms too.

use std::future::{Future, ready};

use axum_core::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::{header::WWW_AUTHENTICATE, request::Parts};

use crate::{
    Secrets,
    claims::Claims,
    layer::{ExtractError, ExtractErrorKind},
};

/// The request's pinned snapshot.
impl<S, T> FromRequestParts<S> for Secrets<T>
where
    T: Send + Sync + 'static,
{
    type Rejection = ExtractError;

    fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> impl Future<Output = Result<Self, ExtractError>> + Send {
        ready(Self::from_extensions(&parts.extensions))
    }
}

/// Never `None`: every layer of this crate pins a snapshot, and a request that passed none over a
/// `Keyring<T>` is a mistake in the program.
impl<S, T> OptionalFromRequestParts<S> for Secrets<T>
where
    T: Send + Sync + 'static,
{
    type Rejection = ExtractError;

    fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> impl Future<Output = Result<Option<Self>, ExtractError>> + Send {
        ready(Self::from_extensions(&parts.extensions).map(Some))
    }
}

/// The claims of the request's token.
impl<S, C> FromRequestParts<S> for Claims<C>
where
    C: Send + Sync + 'static,
{
    type Rejection = ExtractError;

    fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> impl Future<Output = Result<Self, ExtractError>> + Send {
        ready(Self::from_extensions(&parts.extensions))
    }
}

/// `None` where `.allow_anonymous()` or `SecretsLayer` let the request through without a token.
impl<S, C> OptionalFromRequestParts<S> for Claims<C>
where
    C: Send + Sync + 'static,
{
    type Rejection = ExtractError;

    fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> impl Future<Output = Result<Option<Self>, ExtractError>> + Send {
        ready(Self::optional_from_extensions(&parts.extensions))
    }
}

impl IntoResponse for ExtractError {
    fn into_response(self) -> Response {
        match self.kind() {
            ExtractErrorKind::NoToken => tracing::debug!("secrets_extractor_rejected: {self}"),
            _ => tracing::error!("secrets_extractor_rejected: {self}"),
        }
        let mut response = (self.status(), self.to_string()).into_response();
        if let Some(challenge) = self.challenge() {
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, challenge.clone());
        }
        response
    }
}
