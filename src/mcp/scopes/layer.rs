//! The layer, and the service that it makes.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response, request::Parts};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    ScopePolicy, ScopesFuture, answer,
    judge::{by_body, by_headers, may},
    policy::Needs,
};
use crate::{layer::InvalidScope, mcp::BytesOr};

/// Lets a message through to an MCP server when the caller's token grants the scopes that a
/// [`ScopePolicy`] asks for.
///
/// See the [module documentation](super) for how it decides, what it answers and an example.
#[derive(Clone, Debug)]
#[must_use]
pub struct ScopesLayer {
    rules: Arc<Rules>,
}

#[derive(Clone, Debug)]
pub(super) struct Rules {
    policy: ScopePolicy,
    pub(super) max_body_bytes: usize,
    always_read_bodies: bool,
}

impl ScopesLayer {
    /// A layer that asks for what the policy says.
    ///
    /// # Errors
    /// When a scope of the policy is none.
    pub fn new(policy: ScopePolicy) -> Result<Self, InvalidScope> {
        policy.valid().map(Self::asking)
    }

    fn asking(policy: ScopePolicy) -> Self {
        Self {
            rules: Arc::new(Rules {
                policy,
                max_body_bytes: 4 * 1024 * 1024,
                always_read_bodies: false,
            }),
        }
    }

    /// How many bytes of a body are held while it is read; a longer one is answered with 413. It is for
    /// the bodies that are read here: a server has a limit of its own. Default: 4 MiB, as rmcp's.
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        Arc::make_mut(&mut self.rules).max_body_bytes = bytes;
        self
    }

    /// Never decides by headers, for a server that does not compare them with the body as rmcp does.
    /// Default: headers decide where rmcp compares them.
    pub fn always_read_bodies(mut self) -> Self {
        Arc::make_mut(&mut self.rules).always_read_bodies = true;
        self
    }
}

/// A layer that asks for nothing.
impl Default for ScopesLayer {
    fn default() -> Self {
        Self::asking(ScopePolicy::new())
    }
}

impl<S> Layer<S> for ScopesLayer {
    type Service = ScopesService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ScopesService {
            inner,
            rules: self.rules.clone(),
        }
    }
}

/// The service made by [`ScopesLayer`]. Cheap to clone.
#[derive(Clone, Debug)]
#[must_use]
pub struct ScopesService<S> {
    inner: S,
    rules: Arc<Rules>,
}

/// What is to be done with a request of which nothing was read yet.
enum Decided {
    Pass,
    Read,
    Answer(Response<Bytes>),
}

impl Rules {
    fn before_body<B>(&self, request: &Request<B>) -> Decided {
        // Messages to a server are POSTed; GET and DELETE carry none.
        if request.method() != Method::POST || self.policy.is_empty() {
            return Decided::Pass;
        }
        let (headers, extensions) = (request.headers(), request.extensions());
        let needs = by_headers(&self.policy, headers).filter(|_| !self.always_read_bodies);
        // Who has no layer of tokens hears of that before anything is read.
        match may(extensions, needs.as_ref().unwrap_or(&Needs::default())) {
            Err(refusal) => Decided::Answer(answer::refused(refusal, headers, None)),
            Ok(()) if needs.is_some() => Decided::Pass,
            Ok(()) => Decided::Read,
        }
    }

    /// The answer to a message that goes no further.
    pub(super) fn after_body(&self, parts: &Parts, body: &[u8]) -> Option<Response<Bytes>> {
        let (id, needs) = by_body(&self.policy, body);
        let needs = match needs {
            Ok(needs) => needs,
            Err(reason) => return Some(answer::unreadable(reason, id)),
        };
        let refusal = may(&parts.extensions, &needs).err()?;
        Some(answer::refused(refusal, &parts.headers, id))
    }
}

/// The inner service is `Clone` for the sake of a body that is read first: its request takes the service
/// that is ready with it.
impl<S, B, R> Service<Request<B>> for ScopesService<S>
where
    S: Service<Request<BytesOr<B>>, Response = Response<R>> + Clone,
    B: Body,
{
    type Response = Response<BytesOr<R>>;
    type Error = S::Error;
    type Future = ScopesFuture<S, S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.rules.before_body(&request) {
            Decided::Pass => ScopesFuture::pass(self.inner.call(request.map(BytesOr::body))),
            Decided::Read => {
                let next = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, next);
                ScopesFuture::read(ready, self.rules.clone(), request)
            }
            Decided::Answer(response) => ScopesFuture::answer(response),
        }
    }
}
