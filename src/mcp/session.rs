//! Sessions that belong to their user.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    body::BytesOr,
    principal::{NoPrincipal, Principal},
    streams::is_event_stream,
};
use crate::keyring::{Keyring, SessionKeys};

mod answer;
use answer::Refused;

mod binding;
use binding::{Bindings, Kind};

mod events;
pub use events::SessionBody;

#[cfg(any(fuzzing, test))]
pub(crate) mod fuzz;

mod future;
pub use future::SessionFuture;

mod verified;
use verified::Verified;

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// The first version of MCP without sessions. Versions are dates, so they compare as texts do.
const FIRST_WITHOUT_SESSIONS: &[u8] = b"2026-07-28";

/// Binds each MCP session to the user that opened it.
///
/// rmcp takes any valid token in any session: whoever learns the session id of another user takes part in
/// that session. MCP forbids to authenticate by session id, and asks to bind session ids to the user
/// (2025-11-25, Security Best Practices, Session Hijacking). This layer does so, and keeps no state for
/// it: it appends to `Mcp-Session-Id` an HMAC-SHA256 over the session and its user, and takes it off again
/// before the inner service sees it. The user is who the claims `iss`, `sub` and the client id
/// ([`client_id`](crate::RegisteredClaims::client_id)) name; the token's own bytes are no part of it, so a
/// renewed token goes on.
///
/// ```
/// use tower::ServiceBuilder;
/// use tower_secrets::{JwtRotationLayer, Keyring, mcp::BindSessionsLayer};
/// # struct App;
///
/// # fn server<S>(keyring: Keyring<App>, mcp_service: S) {
/// let service = ServiceBuilder::new()
///     .layer(JwtRotationLayer::new(keyring)) // outside: it says who calls
///     .layer(BindSessionsLayer::of_process())
///     .service(mcp_service);
/// # drop(service);
/// # }
/// ```
///
/// | request | answer |
/// |---|---|
/// | `Mcp-Session-Id` of another user, without its HMAC, forged, or given twice | 404, with a JSON-RPC error object to a POST: what a client gets whose session is over, and opens a new one after (2025-11-25, Transports, Session Management) |
/// | the same beside `MCP-Protocol-Version: 2026-07-28` or newer, which has no sessions | the header is taken off, as one that means nothing there |
/// | `Last-Event-ID` of another user | 404 |
/// | a session is opened with a token that has neither `sub` nor a client id | 403: others may have such a token too. Calls that need no session are let through. The inner service has opened it by then, and nobody has its id: it ends by its own time limit (rmcp's `keep_alive`, five minutes by default) |
/// | a session is opened while no session key is trusted, that of current being revoked | 503, and such a session within |
/// | no layer outside of this one says who calls | 500, which names the mend |
///
/// Where no token is needed ([`allow_anonymous`](crate::JwtRotationLayer::allow_anonymous),
/// [`SecretsLayer`](crate::SecretsLayer)) those without one are one user, apart from all others.
///
/// # Streams
///
/// With an event store, rmcp replays the events after any `Last-Event-ID` to anybody, in whatever session or
/// in none. So the ids of events are bound in the same way, as they leave.
///
/// # Which keys
///
/// [`of_process`](Self::of_process) fits where sessions live in the memory of one process, as rmcp's do.
/// With a session store that replicas share, [`shared`](Self::shared) takes the keyring's session keys: a
/// session that one replica has opened goes on at the others, and across rotations, until the
/// [window](crate::Builder::session_key_window) of its key is over. A replica that has seen it before then
/// goes on with it: it remembers some 10,000 sessions, until their key is revoked, or the store withdraws it
/// or names an end (`not_after`). Keys that verify tokens
/// are no part of it: a JWKS is public, and anybody could mint bindings.
///
/// # What is not protected
///
/// A binding says whose session it is, not that it is open still: that is for the inner service to know.
/// Who holds the user's token and knows the session id is the user.
#[derive(Clone)]
#[must_use]
pub struct BindSessionsLayer {
    shared: Arc<Shared>,
}

struct Shared {
    bindings: Bindings,
    /// `None` where keys do not rotate.
    verified: Option<Verified>,
}

impl BindSessionsLayer {
    /// With a random key that no other process has.
    pub fn of_process() -> Self {
        Self::new(SessionKeys::of_process())
    }

    /// With the session keys of the keyring, which all replicas have.
    ///
    /// # Errors
    /// When the keyring has none.
    pub fn shared<T: Send + Sync + 'static>(keyring: &Keyring<T>) -> Result<Self, NoSessionKey> {
        keyring
            .session_keys()
            .map(Self::new)
            .ok_or(NoSessionKey(()))
    }

    /// With these keys.
    pub fn new(keys: SessionKeys) -> Self {
        let verified = keys.is_shared().then(Verified::default);
        Self {
            shared: Arc::new(Shared {
                bindings: Bindings::new(keys),
                verified,
            }),
        }
    }
}

impl<S> Layer<S> for BindSessionsLayer {
    type Service = BindSessions<S>;

    fn layer(&self, inner: S) -> BindSessions<S> {
        BindSessions {
            inner,
            shared: self.shared.clone(),
        }
    }
}

impl fmt::Debug for BindSessionsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BindSessionsLayer")
            .field("keys", self.shared.bindings.keys())
            .finish_non_exhaustive()
    }
}

/// The service made by [`BindSessionsLayer`]. Cheap to clone.
#[derive(Clone)]
#[must_use]
pub struct BindSessions<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S: fmt::Debug> fmt::Debug for BindSessions<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner, shared: _ } = self;
        f.debug_struct("BindSessions")
            .field("inner", inner)
            .finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for BindSessions<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes>,
{
    type Response = Response<SessionBody<R>>;
    type Error = S::Error;
    type Future = SessionFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.admit(&mut request) {
            Ok(call) => SessionFuture::call(self.inner.call(request), call),
            Err(refused) => SessionFuture::answer(refused.response(request.method())),
        }
    }
}

impl<S> BindSessions<S> {
    /// Takes the bindings off the request, or says why it may not get in.
    fn admit<B>(&self, request: &mut Request<B>) -> Result<Call, Refused> {
        let principal = match Principal::of(request.extensions()) {
            Ok(principal) => Some(principal),
            Err(NoPrincipal::Nameless) => None,
            Err(NoPrincipal::MissingLayer) => return Err(Refused::MissingLayer),
        };
        let mut call = Call {
            shared: self.shared.clone(),
            principal,
            presented: None,
            ends: request.method() == Method::DELETE,
        };
        match call.opened(sole(request, SESSION_ID)) {
            Ok(None) => {}
            Ok(Some((session, presented))) => {
                request.headers_mut().insert(SESSION_ID, session.clone());
                call.presented = Some((session, presented));
            }
            // Nobody gets into a session whose id is not there.
            Err(_) if has_no_sessions(request) => {
                request.headers_mut().remove(SESSION_ID);
            }
            Err(refused) => return Err(refused),
        }
        if let Some(presented) = sole(request, LAST_EVENT_ID)? {
            let event = call
                .open(Kind::Event, &presented)
                .ok_or(Refused::NotTheirs)?;
            request.headers_mut().insert(LAST_EVENT_ID, event);
        }
        Ok(call)
    }
}

/// The value of a header that is there once, if at all.
fn sole<B>(request: &Request<B>, name: HeaderName) -> Result<Option<HeaderValue>, Refused> {
    let mut values = request.headers().get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value.cloned()),
        (_, Some(_)) => Err(Refused::NotTheirs),
    }
}

fn has_no_sessions<B>(request: &Request<B>) -> bool {
    let version = request.headers().get(PROTOCOL_VERSION);
    version.is_some_and(|version| version.as_bytes() >= FIRST_WITHOUT_SESSIONS)
}

/// What is known of a request until its response comes.
struct Call {
    shared: Arc<Shared>,
    /// `None` for a token that names nobody.
    principal: Option<Principal>,
    /// The session that the request is in, without its binding and with it.
    presented: Option<(HeaderValue, HeaderValue)>,
    /// Whether the request is to end the session.
    ends: bool,
}

impl Call {
    fn open(&self, kind: Kind, presented: &HeaderValue) -> Option<HeaderValue> {
        let principal = self.principal.as_ref()?;
        let opened = self
            .shared
            .bindings
            .open(kind, presented.as_bytes(), principal)?;
        HeaderValue::from_bytes(opened.id).ok()
    }

    /// The session, and the header that names it.
    fn opened(
        &self,
        presented: Result<Option<HeaderValue>, Refused>,
    ) -> Result<Option<(HeaderValue, HeaderValue)>, Refused> {
        let Some(presented) = presented? else {
            return Ok(None);
        };
        let session = self.open_session(&presented);
        let session = session.ok_or(Refused::NotTheirs)?;
        Ok(Some((session, presented)))
    }

    fn open_session(&self, presented: &HeaderValue) -> Option<HeaderValue> {
        let Shared { bindings, verified } = &*self.shared;
        let principal = self.principal.as_ref()?;
        let presented = presented.as_bytes();
        let session = match bindings.open(Kind::Session, presented, principal) {
            Some(opened) => {
                if let Some(verified) = verified {
                    verified.remember(presented, principal, opened.key);
                }
                opened.id
            }
            None => {
                let key = verified.as_ref()?.key_of(presented, principal)?;
                (!bindings.keys().was_cut(&key)).then(|| binding::id_of(presented))??
            }
        };
        HeaderValue::from_bytes(session).ok()
    }

    /// Binds what the inner service answered.
    fn bind<R>(self, response: Response<R>) -> Response<SessionBody<R>>
    where
        R: Body<Data = Bytes>,
    {
        let (mut parts, body) = response.into_parts();
        if self.ends && parts.status.is_success() {
            self.forget_session();
        }
        if let Some(session) = parts.headers.get(SESSION_ID) {
            match self.bound_session(session) {
                Ok(bound) => parts.headers.insert(SESSION_ID, bound),
                Err(refused) => return refused.response(&Method::POST),
            };
        }
        let is_stream = is_event_stream(&parts.headers);
        let body = BytesOr::body(body);
        let body = match self.principal.filter(|_| is_stream) {
            Some(principal) => {
                parts.headers.remove(header::CONTENT_LENGTH);
                SessionBody::events(body, self.shared.bindings.clone(), principal)
            }
            None => SessionBody::plain(body),
        };
        Response::from_parts(parts, body)
    }

    fn bound_session(&self, session: &HeaderValue) -> Result<HeaderValue, Refused> {
        // A client goes by the id that it was given first.
        if let Some((known, presented)) = &self.presented
            && known == session
        {
            return Ok(presented.clone());
        }
        let principal = self.principal.as_ref().ok_or(Refused::Nameless)?;
        let Shared { bindings, verified } = &*self.shared;
        let (bound, key) = bindings
            .bind(Kind::Session, session.as_bytes(), principal)
            .ok_or(Refused::NoKey)?;
        if let Some(verified) = verified {
            verified.remember(&bound, principal, key);
        }
        HeaderValue::from_bytes(&bound).map_err(|_| Refused::NoHeader)
    }

    fn forget_session(&self) {
        if let Shared {
            verified: Some(verified),
            ..
        } = &*self.shared
            && let (Some(principal), Some((_, presented))) = (&self.principal, &self.presented)
        {
            verified.forget(presented.as_bytes(), principal);
        }
    }
}

/// There is no session key to share: the keyring's builder was told of none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSessionKey(pub(super) ());

impl fmt::Display for NoSessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the keyring has no session key to share: add `.session_key(..)` to its builder, or say \
             `of_process()` where nothing crosses from one process to another",
        )
    }
}

impl std::error::Error for NoSessionKey {}
