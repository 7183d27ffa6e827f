//! Scopes for one route.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Extensions, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    EmptyBody, InvalidScope, Refusal, Respond, ResponseFuture, pinned::Anonymous, respond::refuse,
    scopes::Scopes,
};
use crate::claims::Authentication;

/// Lets a request through whose token [grants](Authentication::grants) every one of these scopes; goes
/// around a route, inside of [`JwtRotationLayer`](super::JwtRotationLayer).
///
/// Others get a 403 whose challenge names all of them, and those that the outer layer requires. Who has no
/// token, where the outer layer allows that, gets a 401 with the same scopes. Without an outer layer
/// that reads tokens, every request is answered with a 500 that says so.
///
/// ```
/// # #[cfg(feature = "axum")]
/// # mod example {
/// use axum::{Router, routing::{delete, get}};
/// use tower_secrets::{JwtRotationLayer, Keyring, layer::{InvalidScope, RequireScopes}};
///
/// # struct App;
/// # async fn files() {}
/// # async fn remove() {}
/// fn app(keyring: Keyring<App>) -> Result<Router, InvalidScope> {
///     let removal = delete(remove).layer(RequireScopes::new(["files:write"])?);
///     Ok(Router::new()
///         .route("/files", get(files).merge(removal))
///         .layer(JwtRotationLayer::new(keyring).required_scopes(["files:read"])?))
/// }
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct RequireScopes<P = EmptyBody> {
    scopes: Arc<Scopes>,
    respond: P,
}

impl RequireScopes {
    /// Requires all of these.
    ///
    /// # Errors
    /// When one is not of the form of a scope (RFC 6749 section 3.3).
    pub fn new(scopes: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, InvalidScope> {
        Ok(Self {
            scopes: Arc::new(Scopes::new(scopes)?),
            respond: EmptyBody,
        })
    }
}

impl<P> RequireScopes<P> {
    /// How a refusal looks. Default: [`EmptyBody`].
    pub fn respond_with<P2>(self, respond: P2) -> RequireScopes<P2> {
        RequireScopes {
            scopes: self.scopes,
            respond,
        }
    }
}

impl<S, P: Clone> Layer<S> for RequireScopes<P> {
    type Service = CheckScopes<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        CheckScopes {
            inner,
            scopes: self.scopes.clone(),
            respond: self.respond.clone(),
        }
    }
}

impl<P> fmt::Debug for RequireScopes<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scopes, respond: _ } = self;
        f.debug_struct("RequireScopes")
            .field("scopes", scopes)
            .finish_non_exhaustive()
    }
}

/// The service made by [`RequireScopes`]. Cheap to clone.
#[derive(Clone)]
#[must_use]
pub struct CheckScopes<S, P = EmptyBody> {
    inner: S,
    scopes: Arc<Scopes>,
    respond: P,
}

impl<S, P, B, R> Service<Request<B>> for CheckScopes<S, P>
where
    S: Service<Request<B>, Response = Response<R>>,
    P: Respond<R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match check_scopes(request.extensions(), self.scopes.iter()) {
            Ok(()) => ResponseFuture::call(self.inner.call(request)),
            Err(refusal) => {
                let refusal = refusal.answering(request.method(), request.headers());
                ResponseFuture::reject(refuse(&self.respond, refusal))
            }
        }
    }
}

impl<S: fmt::Debug, P> fmt::Debug for CheckScopes<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            inner,
            scopes,
            respond: _,
        } = self;
        f.debug_struct("CheckScopes")
            .field("inner", inner)
            .field("scopes", scopes)
            .finish_non_exhaustive()
    }
}

/// Whether whoever a token layer has found may do what needs all of these. What needs none, an anonymous
/// caller may do too.
pub(crate) fn check_scopes<'s>(
    extensions: &Extensions,
    needed: impl Iterator<Item = &'s str> + Clone,
) -> Result<(), Refusal> {
    if let Some(caller) = extensions.get::<Authentication>() {
        return if needed.clone().all(|scope| caller.grants(scope)) {
            Ok(())
        } else {
            Err(caller.insufficient_scope(needed))
        };
    }
    let anonymous = extensions.get::<Anonymous>();
    let Some(edge) = anonymous.and_then(|anonymous| anonymous.edge.as_deref()) else {
        return Err(Refusal::no_token_layer());
    };
    let needed: Vec<&str> = needed.collect();
    if needed.is_empty() {
        return Ok(());
    }
    Err(Refusal::no_credentials(&needed, edge))
}
