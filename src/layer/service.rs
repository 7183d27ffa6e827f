//! The service that verifies tokens.

use std::{
    fmt,
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use serde::de::DeserializeOwned;
use tower_service::Service;

use super::{
    Refusal, Respond, ResponseFuture,
    bearer::{Credentials, credentials, is_b64token},
    challenge::challenge,
    layer::Settings,
    pinned::{leave_anonymous, leave_caller, pin},
    respond::refuse,
};
use crate::{Secrets, claims::Authentication, keyring::verify::Verified};

/// The service made by [`JwtRotationLayer`](super::JwtRotationLayer). Cheap to clone: the
/// configuration is shared.
#[must_use]
pub struct JwtRotation<S, T, C, P> {
    inner: S,
    settings: Arc<Settings<T>>,
    respond: P,
    claims: PhantomData<fn() -> C>,
}

impl<S, T, C, P> JwtRotation<S, T, C, P> {
    pub(super) fn new(inner: S, settings: Arc<Settings<T>>, respond: P) -> Self {
        Self {
            inner,
            settings,
            respond,
            claims: PhantomData,
        }
    }
}

impl<S, T, C, P> JwtRotation<S, T, C, P>
where
    T: Send + Sync + 'static,
    C: DeserializeOwned + Send + Sync + 'static,
{
    /// Prepares the request for the inner service, or says why it may not get there.
    fn admit<B>(&self, request: &mut Request<B>) -> Result<(), Refusal> {
        let keyring = &self.settings.keyring;
        if !keyring.has_jwt_key() {
            return Err(Refusal::misconfigured());
        }
        if keyring.refuses() {
            return Err(Refusal::stale());
        }
        let secrets = pin(keyring, request.extensions());
        let verified = self.authenticate(request.headers(), &secrets)?;

        if let Some(value) = request.headers_mut().get_mut(AUTHORIZATION) {
            value.set_sensitive(true);
        }
        let extensions = request.extensions_mut();
        match verified {
            Some(verified) => {
                leave_caller::<T>(extensions, Authentication::new::<C, T>(verified, secrets));
            }
            None => leave_anonymous(extensions, secrets, challenge(&self.settings.realm, None)),
        }
        Ok(())
    }

    /// Headers and one snapshot in, what was verified out; `None` is a caller who may be anonymous.
    fn authenticate(
        &self,
        headers: &HeaderMap,
        secrets: &Secrets<T>,
    ) -> Result<Option<Verified>, Refusal> {
        let Settings {
            keyring: _,
            policy,
            realm,
            allow_anonymous,
        } = &*self.settings;
        let token = match credentials(headers) {
            Credentials::Token(token) => token,
            Credentials::Absent | Credentials::OtherScheme if *allow_anonymous => return Ok(None),
            Credentials::Absent | Credentials::OtherScheme => {
                return Err(Refusal::no_credentials(realm));
            }
            Credentials::Malformed => return Err(Refusal::malformed(realm)),
            Credentials::Repeated => return Err(Refusal::repeated(realm)),
        };
        match secrets.snapshot().verify::<C>(token, policy) {
            Ok(verified) => Ok(Some(verified)),
            Err(_) if !is_b64token(token) => Err(Refusal::malformed(realm)),
            Err(error) => Err(Refusal::invalid_token(&error, realm)),
        }
    }
}

impl<S, T, C, P, B, R> Service<Request<B>> for JwtRotation<S, T, C, P>
where
    S: Service<Request<B>, Response = Response<R>>,
    T: Send + Sync + 'static,
    C: DeserializeOwned + Send + Sync + 'static,
    P: Respond<R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.admit(&mut request) {
            Ok(()) => ResponseFuture::call(self.inner.call(request)),
            Err(refusal) => ResponseFuture::reject(refuse(&self.respond, refusal)),
        }
    }
}

impl<S: Clone, T, C, P: Clone> Clone for JwtRotation<S, T, C, P> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            settings: self.settings.clone(),
            respond: self.respond.clone(),
            claims: PhantomData,
        }
    }
}

impl<S: fmt::Debug, T, C, P> fmt::Debug for JwtRotation<S, T, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            inner,
            settings,
            respond: _,
            claims: _,
        } = self;
        f.debug_struct("JwtRotation")
            .field("inner", inner)
            .field("settings", settings)
            .field("claims", &std::any::type_name::<C>())
            .finish_non_exhaustive()
    }
}
