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
    Discover, NoDiscovery, Refusal, RefusalKind, Respond, ResponseFuture,
    bearer::{Credentials, credentials},
    judge::{Caller, Hope, Refused, View},
    layer::Settings,
    pinned::{leave_anonymous, leave_caller, pin},
    require_scopes::check_scopes,
    respond::refuse,
};
use crate::{
    Secrets,
    claims::Authentication,
    per_thread::{PerClone, PerThread},
};

const TAKEN_BY_ANOTHER: &str = "a JwtRotationLayer further out has verified the token and removed it: \
                                add `.keep_authorization()` to that one";

/// The service made by [`JwtRotationLayer`](super::JwtRotationLayer). Cheap to clone: the
/// configuration is shared.
#[must_use]
pub struct JwtRotation<S, T, C, P, D = NoDiscovery> {
    inner: S,
    settings: PerClone<Settings<T>>,
    respond: P,
    discovery: D,
    claims: PhantomData<fn() -> C>,
}

impl<S, T, C, P, D> JwtRotation<S, T, C, P, D> {
    pub(super) fn new(
        inner: S,
        settings: Arc<PerThread<Settings<T>>>,
        respond: P,
        discovery: D,
    ) -> Self {
        Self {
            inner,
            settings: PerClone::First(settings),
            respond,
            discovery,
            claims: PhantomData,
        }
    }
}

impl<S, T, C, P, D> JwtRotation<S, T, C, P, D>
where
    T: Send + Sync + 'static,
    C: DeserializeOwned + Send + Sync + 'static,
{
    /// Prepares the request for the inner service, or says why it may not get there.
    fn admit<B>(&self, request: &mut Request<B>, view: View) -> Result<(), Refused> {
        let settings = &*self.settings;
        if !settings.keyring.has_jwt_key() && settings.trusted.is_empty() {
            return Err(Refusal::no_jwt_key().into());
        }
        if let Some(fault) = settings.fault {
            return Err(Refusal::misconfigured(fault).into());
        }
        if settings.keyring.refuses() {
            return Err(Refusal::stale().into());
        }
        let secrets = match view {
            View::Pinned => pin(&settings.keyring, request.extensions()),
            View::Newest => settings.keyring.current(),
        };
        let caller = self.authenticate(request.headers(), &secrets)?;
        let authentication = match caller {
            Some(Caller::Own(verified)) => {
                Authentication::new::<C, T>(verified, secrets, settings.left_edge())
            }
            Some(Caller::Other(judged)) => {
                Authentication::by_other::<C, T>(judged, secrets, settings.left_edge())
            }
            // To a session, the same nobody as everybody else.
            None if request.extensions().get::<Authentication>().is_some() => {
                return Err(Refusal::misconfigured(TAKEN_BY_ANOTHER).into());
            }
            None => {
                hide_authorization(request.headers_mut());
                leave_anonymous(request.extensions_mut(), secrets, settings.edge.clone());
                return Ok(());
            }
        };
        if settings.keep_authorization {
            hide_authorization(request.headers_mut());
        } else {
            request.headers_mut().remove(AUTHORIZATION);
        }
        leave_caller::<T>(request.extensions_mut(), authentication);
        let required = &settings.edge.required_scopes;
        if !required.is_empty() {
            check_scopes(request.extensions(), required.iter())?;
        }
        Ok(())
    }

    /// Headers and one snapshot in, what was verified out; `None` is a caller who may be anonymous.
    fn authenticate(
        &self,
        headers: &HeaderMap,
        secrets: &Secrets<T>,
    ) -> Result<Option<Caller>, Refused> {
        let settings = &*self.settings;
        let edge = &settings.edge;
        let token = match credentials(headers) {
            Credentials::Token(token) => token,
            Credentials::Absent | Credentials::OtherScheme
                if settings.allow_anonymous && edge.required_scopes.is_empty() =>
            {
                return Ok(None);
            }
            Credentials::Absent | Credentials::OtherScheme => {
                return Err(Refusal::no_credentials(&[], edge).into());
            }
            Credentials::Malformed => return Err(Refusal::malformed(edge).into()),
            Credentials::Repeated => return Err(Refusal::repeated(edge).into()),
        };
        settings.judge::<C>(token, secrets).map(Some)
    }

    /// Judges a token once more that was refused for its key: by the keys that there are by now, or by
    /// those that a refresh brings.
    #[cold]
    fn look_again<B, R>(
        &mut self,
        mut request: Request<B>,
        mut hope: Hope,
    ) -> ResponseFuture<S::Future, R>
    where
        S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
        B: Send + 'static,
        R: 'static,
        P: Respond<R> + Clone + Send + 'static,
        D: Clone + Send + 'static,
    {
        let mut waiter = loop {
            if let Some(waiter) = hope.waiter {
                break waiter;
            }
            let refused = match self.admit(&mut request, hope.view) {
                Ok(()) => return ResponseFuture::call(self.inner.call(request)),
                Err(refused) => refused,
            };
            match self.settings.hope(request.headers(), &refused) {
                Some(next) => hope = next,
                None => return ResponseFuture::reject(self.refuse(refused.refusal, &request)),
            }
        };
        // The service that is ready goes along, and its clone stays.
        let next = self.inner.clone();
        let mut ready = Self {
            inner: std::mem::replace(&mut self.inner, next),
            settings: self.settings.clone(),
            respond: self.respond.clone(),
            discovery: self.discovery.clone(),
            claims: PhantomData,
        };
        ResponseFuture::wait(Box::pin(async move {
            loop {
                waiter.wait().await;
                let refused = match ready.admit(&mut request, hope.view) {
                    Ok(()) => return Ok(ready.inner.call(request)),
                    Err(refused) => refused,
                };
                match ready
                    .settings
                    .hope_again(request.headers(), &refused, waiter)
                {
                    Some(next) => waiter = next,
                    None => return Err(ready.refuse(refused.refusal, &request)),
                }
            }
        }))
    }

    fn refuse<B, R>(&self, refusal: Refusal, request: &Request<B>) -> Response<R>
    where
        P: Respond<R>,
    {
        let is_missing = refusal.kind() == RefusalKind::NoCredentials;
        // No client can mend that.
        let refusal = if is_missing && request.extensions().get::<Authentication>().is_some() {
            Refusal::misconfigured(TAKEN_BY_ANOTHER)
        } else {
            refusal
        };
        let refusal = refusal.answering(request.method(), request.headers());
        refuse(&self.respond, refusal)
    }
}

fn hide_authorization(headers: &mut HeaderMap) {
    if let Some(value) = headers.get_mut(AUTHORIZATION) {
        value.set_sensitive(true);
    }
}

/// The bounds are those of a request that waits for a key: it takes the service with it.
impl<S, T, C, P, D, B, R> Service<Request<B>> for JwtRotation<S, T, C, P, D>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    T: Send + Sync + 'static,
    C: DeserializeOwned + Send + Sync + 'static,
    P: Respond<R> + Clone + Send + 'static,
    D: Discover<R> + Clone + Send + 'static,
    B: Send + 'static,
    R: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(document) = self.discovery.answer(request.method(), request.uri()) {
            return ResponseFuture::reject(document);
        }
        match self.admit(&mut request, View::Pinned) {
            Ok(()) => ResponseFuture::call(self.inner.call(request)),
            Err(refused) => match self.settings.hope(request.headers(), &refused) {
                None => ResponseFuture::reject(self.refuse(refused.refusal, &request)),
                Some(hope) => self.look_again(request, hope),
            },
        }
    }
}

impl<S: Clone, T, C, P: Clone, D: Clone> Clone for JwtRotation<S, T, C, P, D> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            settings: self.settings.clone(),
            respond: self.respond.clone(),
            discovery: self.discovery.clone(),
            claims: PhantomData,
        }
    }
}

impl<S: fmt::Debug, T, C, P, D> fmt::Debug for JwtRotation<S, T, C, P, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            inner,
            settings,
            respond: _,
            discovery: _,
            claims: _,
        } = self;
        f.debug_struct("JwtRotation")
            .field("inner", inner)
            .field("settings", &**settings)
            .field("claims", &std::any::type_name::<C>())
            .finish_non_exhaustive()
    }
}
