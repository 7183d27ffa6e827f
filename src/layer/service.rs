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
    layer::{Judge, Settings},
    pinned::{Anonymous, pin},
    respond::refuse,
};
use crate::{
    Secrets,
    claims::Authentication,
    keyring::{
        Authority, Waiter,
        verify::{VerifyError, VerifyErrorKind, read_as},
    },
};

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
    fn admit<B>(&self, request: &mut Request<B>, view: View) -> Result<(), Refused> {
        let keyring = &self.settings.keyring;
        if !keyring.has_jwt_key() && self.settings.trusted.is_empty() {
            return Err(Refusal::misconfigured().into());
        }
        if keyring.refuses() {
            return Err(Refusal::stale().into());
        }
        let secrets = match view {
            View::Pinned => pin(keyring, request.extensions()),
            View::Newest => keyring.current(),
        };
        let authentication = self.authenticate(request.headers(), &secrets)?;

        if let Some(value) = request.headers_mut().get_mut(AUTHORIZATION) {
            value.set_sensitive(true);
        }
        // What an outer layer found out about the caller gives way: this layer is the nearer one.
        let extensions = request.extensions_mut();
        extensions.insert(secrets);
        if let Some(authentication) = authentication {
            extensions.remove::<Anonymous>();
            extensions.insert(authentication);
        } else {
            extensions.remove::<Authentication>();
            extensions.insert(Anonymous {
                challenge: Some(challenge(&self.settings.realm, None)),
            });
        }
        Ok(())
    }

    /// Headers and one snapshot in, the caller out; `None` is a caller who may be anonymous.
    fn authenticate(
        &self,
        headers: &HeaderMap,
        secrets: &Secrets<T>,
    ) -> Result<Option<Authentication>, Refused> {
        let settings = &*self.settings;
        let realm = &settings.realm;
        let token = match credentials(headers) {
            Credentials::Token(token) => token,
            Credentials::Absent | Credentials::OtherScheme if settings.allow_anonymous => {
                return Ok(None);
            }
            Credentials::Absent | Credentials::OtherScheme => {
                return Err(Refusal::no_credentials(realm).into());
            }
            Credentials::Malformed => return Err(Refusal::malformed(realm).into()),
            Credentials::Repeated => return Err(Refusal::repeated(realm).into()),
        };
        let judged = if settings.trusted.is_empty() {
            let snapshot = secrets.snapshot();
            match snapshot.verify::<C>(token, &settings.policy) {
                Ok(verified) => Ok(Authentication::new::<C, T>(verified, snapshot)),
                Err(error) => Err((error, snapshot.generation)),
            }
        } else {
            self.judge_by_issuer(token, secrets)?
        };
        judged.map(Some).map_err(|(error, generation)| Refused {
            refusal: if is_b64token(token) {
                Refusal::invalid_token(&error, realm)
            } else {
                Refusal::malformed(realm)
            },
            generation,
        })
    }

    fn judge_by_issuer(
        &self,
        token: &[u8],
        secrets: &Secrets<T>,
    ) -> Result<Result<Authentication, (VerifyError, u64)>, Refusal> {
        let judge = match self.settings.judge_of(token) {
            Ok(judge) => judge,
            Err(kind) => return Ok(Err((kind.into(), 0))),
        };
        let (authority, policy) = match judge {
            Judge::Own if !self.settings.keyring.has_jwt_key() => {
                return Err(Refusal::misconfigured());
            }
            Judge::Own => {
                let snapshot = secrets.snapshot();
                let verified = snapshot.verify::<C>(token, &self.settings.policy);
                let verified = verified.map_err(|error| (error, snapshot.generation));
                return Ok(verified.map(|it| Authentication::new::<C, T>(it, snapshot)));
            }
            Judge::Other(issuer) => (&issuer.authority, &issuer.policy),
        };
        if !authority.has_jwt_key() {
            return Err(Refusal::misconfigured());
        }
        if authority.refuses() {
            return Err(Refusal::stale());
        }
        let judged = authority.judge(token, policy, read_as::<C>);
        Ok(judged.map(|it| Authentication::by::<C>(it.claims, it.key)))
    }

    /// Whether other keys than those that judged the token may be better for it: newer ones that are
    /// there already, or those that a refresh may bring.
    fn hope(&self, headers: &HeaderMap, refused: &Refused) -> Option<Hope> {
        let is_for_its_key = matches!(
            refused.refusal.verify_error()?,
            VerifyErrorKind::UnknownKey
                | VerifyErrorKind::BadSignature
                | VerifyErrorKind::Unsupported
        );
        let Credentials::Token(token) = credentials(headers) else {
            return None;
        };
        if !is_for_its_key {
            return None;
        }
        let settings = &*self.settings;
        let (authority, policy): (&dyn Authority, _) = match settings.judge_of(token).ok()? {
            Judge::Own => (&settings.keyring, &settings.policy),
            Judge::Other(issuer) => (&*issuer.authority, &issuer.policy),
        };
        if authority.generation() != refused.generation {
            return Some(Hope::Now);
        }
        authority.wait_for_key(token, policy).map(Hope::Later)
    }
}

/// Which keys a request gets.
#[derive(Clone, Copy)]
enum View {
    /// Those that an outer layer pinned, else the newest.
    Pinned,
    Newest,
}

/// A refusal, and the generation of the keys that judged the token.
struct Refused {
    refusal: Refusal,
    generation: u64,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            generation: 0,
        }
    }
}

enum Hope {
    Now,
    Later(Waiter),
}

impl<S, T, C, P> JwtRotation<S, T, C, P>
where
    T: Send + Sync + 'static,
    C: DeserializeOwned + Send + Sync + 'static,
{
    /// Answers a request that was not admitted: with another look where its key may be known by now,
    /// with the wait for a refresh where that may bring it, else with the refusal.
    #[cold]
    fn look_again<B, R>(
        &mut self,
        mut request: Request<B>,
        mut refused: Refused,
    ) -> ResponseFuture<S::Future, R>
    where
        S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
        B: Send + 'static,
        R: 'static,
        P: Respond<R> + Clone + Send + 'static,
    {
        let mut hope = self.hope(request.headers(), &refused);
        if let Some(Hope::Now) = hope {
            match self.admit(&mut request, View::Newest) {
                Ok(()) => return ResponseFuture::call(self.inner.call(request)),
                Err(again) => refused = again,
            }
            hope = self.hope(request.headers(), &refused);
        }
        let Some(Hope::Later(waiter)) = hope else {
            return ResponseFuture::reject(refuse(&self.respond, refused.refusal));
        };
        // The service that is ready goes along, and its clone stays.
        let next = self.inner.clone();
        let mut ready = Self {
            inner: std::mem::replace(&mut self.inner, next),
            settings: self.settings.clone(),
            respond: self.respond.clone(),
            claims: PhantomData,
        };
        ResponseFuture::wait(Box::pin(async move {
            waiter.wait().await;
            match ready.admit(&mut request, View::Newest) {
                Ok(()) => Ok(ready.inner.call(request)),
                Err(refused) => Err(refuse(&ready.respond, refused.refusal)),
            }
        }))
    }
}

/// The bounds are those of a request that waits for a key: it takes the service with it.
impl<S, T, C, P, B, R> Service<Request<B>> for JwtRotation<S, T, C, P>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    T: Send + Sync + 'static,
    C: DeserializeOwned + Send + Sync + 'static,
    P: Respond<R> + Clone + Send + 'static,
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
        match self.admit(&mut request, View::Pinned) {
            Ok(()) => ResponseFuture::call(self.inner.call(request)),
            Err(refused) => self.look_again(request, refused),
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
