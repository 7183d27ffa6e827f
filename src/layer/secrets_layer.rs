//! Secrets for routes that need no token.

use std::{
    fmt,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    EmptyBody, Refusal, Respond, ResponseFuture,
    pinned::{Anonymous, pin},
    respond::refuse,
};
use crate::{claims::Authentication, keyring::Keyring};

/// Pins a snapshot on each request, so that its handler can take `Secrets<T>`; reads no token.
///
/// A snapshot of the same keyring that an outer layer pinned is kept. Answers 503 while the
/// keyring's `refuse_after` is exceeded.
///
/// ```
/// # use tower_secrets::{Keyring, SecretsLayer};
/// # struct App;
/// fn layer(keyring: &Keyring<App>) -> SecretsLayer<App> {
///     SecretsLayer::new(keyring.clone())
/// }
/// ```
#[must_use]
pub struct SecretsLayer<T, P = EmptyBody> {
    keyring: Keyring<T>,
    respond: P,
}

impl<T> SecretsLayer<T> {
    /// A layer over this keyring, which need not have a `jwt_key`.
    pub fn new(keyring: Keyring<T>) -> Self {
        Self {
            keyring,
            respond: EmptyBody,
        }
    }
}

impl<T, P> SecretsLayer<T, P> {
    /// How a refusal looks. Default: [`EmptyBody`].
    pub fn respond_with<P2>(self, respond: P2) -> SecretsLayer<T, P2> {
        SecretsLayer {
            keyring: self.keyring,
            respond,
        }
    }
}

impl<S, T, P: Clone> Layer<S> for SecretsLayer<T, P> {
    type Service = PinSecrets<S, T, P>;

    fn layer(&self, inner: S) -> Self::Service {
        PinSecrets {
            inner,
            keyring: self.keyring.clone(),
            respond: self.respond.clone(),
        }
    }
}

impl<T, P: Clone> Clone for SecretsLayer<T, P> {
    fn clone(&self) -> Self {
        Self {
            keyring: self.keyring.clone(),
            respond: self.respond.clone(),
        }
    }
}

impl<T, P> fmt::Debug for SecretsLayer<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretsLayer").finish_non_exhaustive()
    }
}

/// The service made by [`SecretsLayer`]. Cheap to clone.
#[must_use]
pub struct PinSecrets<S, T, P> {
    inner: S,
    keyring: Keyring<T>,
    respond: P,
}

impl<S, T: Send + Sync + 'static, P> PinSecrets<S, T, P> {
    fn admit<B>(&self, request: &mut Request<B>) -> Result<(), Refusal> {
        if self.keyring.refuses() {
            return Err(Refusal::stale());
        }
        let secrets = pin(&self.keyring, request.extensions());
        let extensions = request.extensions_mut();
        extensions.insert(secrets);
        // This layer reads no token, so what an outer one found out about the caller stands.
        if extensions.get::<Authentication>().is_none() && extensions.get::<Anonymous>().is_none() {
            extensions.insert(Anonymous::default());
        }
        Ok(())
    }
}

impl<S, T, P, B, R> Service<Request<B>> for PinSecrets<S, T, P>
where
    S: Service<Request<B>, Response = Response<R>>,
    T: Send + Sync + 'static,
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
            Err(refusal) => {
                let refusal = refusal.answering(request.method(), request.headers());
                ResponseFuture::reject(refuse(&self.respond, refusal))
            }
        }
    }
}

impl<S: Clone, T, P: Clone> Clone for PinSecrets<S, T, P> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            keyring: self.keyring.clone(),
            respond: self.respond.clone(),
        }
    }
}

impl<S: fmt::Debug, T, P> fmt::Debug for PinSecrets<S, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            inner,
            keyring: _,
            respond: _,
        } = self;
        f.debug_struct("PinSecrets")
            .field("inner", inner)
            .finish_non_exhaustive()
    }
}
