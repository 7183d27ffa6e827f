//! The response, after the body was read where it had to be.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http::{Request, Response, request::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    answer::{self, Unread},
    layer::Rules,
};
use crate::mcp::BytesOr;

pin_project! {
    /// The response future of [`ScopesService`](super::ScopesService): the inner service's own, an answer that
    /// is ready, or first the reading of the body.
    pub struct ScopesFuture<S, F, B> {
        #[pin]
        kind: Kind<S, F, B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<S, F, B> {
        Pass { #[pin] future: F },
        Answer { response: Option<Response<Bytes>> },
        Read { #[pin] body: B, held: Held, call: Option<Call<S>> },
    }
}

/// The rest of a request whose body is read, and the service that is ready for it.
struct Call<S> {
    service: S,
    parts: Parts,
    rules: Arc<Rules>,
}

impl<S, F, B> Kind<S, F, B> {
    fn answer(response: Response<Bytes>) -> Self {
        let response = Some(response);
        Self::Answer { response }
    }
}

impl<S, F, B> ScopesFuture<S, F, B> {
    pub(super) fn pass(future: F) -> Self {
        Self {
            kind: Kind::Pass { future },
        }
    }

    pub(super) fn answer(response: Response<Bytes>) -> Self {
        let kind = Kind::answer(response);
        Self { kind }
    }

    pub(super) fn read(service: S, rules: Arc<Rules>, request: Request<B>) -> Self {
        let (parts, body) = request.into_parts();
        let call = Some(Call {
            service,
            parts,
            rules,
        });
        Self {
            kind: Kind::Read {
                body,
                held: Held::Nothing,
                call,
            },
        }
    }
}

impl<S, F, B, R> Future for ScopesFuture<S, F, B>
where
    S: Service<Request<BytesOr<B>>, Response = Response<R>, Future = F>,
    F: Future<Output = Result<Response<R>, S::Error>>,
    B: Body,
{
    type Output = Result<Response<BytesOr<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut kind = self.project().kind;
        loop {
            let next = match kind.as_mut().project() {
                KindProj::Pass { future } => {
                    let response = ready!(future.poll(cx));
                    return Poll::Ready(response.map(|response| response.map(BytesOr::body)));
                }
                KindProj::Answer { response } => {
                    let response = response.take().expect("polled after it was ready");
                    return Poll::Ready(Ok(response.map(BytesOr::bytes)));
                }
                KindProj::Read { body, held, call } => {
                    let limit = call.as_ref().map_or(0, |call| call.rules.max_body_bytes);
                    let result = ready!(held.poll_fill(cx, body, limit));
                    let call = call.take().expect("a call for each body");
                    match result {
                        Ok(bytes) => call.go_on(bytes),
                        Err(reason) => Kind::answer(answer::unread(reason)),
                    }
                }
            };
            kind.set(next);
        }
    }
}

impl<S> Call<S> {
    fn go_on<B>(self, bytes: Bytes) -> Kind<S, S::Future, B>
    where
        S: Service<Request<BytesOr<B>>>,
    {
        let Self {
            mut service,
            parts,
            rules,
        } = self;
        match rules.after_body(&parts, &bytes) {
            Some(response) => Kind::answer(response),
            None => Kind::Pass {
                future: service.call(Request::from_parts(parts, BytesOr::bytes(bytes))),
            },
        }
    }
}

/// What was read of a body. One that comes in one piece, as most do, is not copied.
#[derive(Debug)]
enum Held {
    Nothing,
    One(Bytes),
    Several(BytesMut),
}

impl Held {
    /// Reads to the end. Trailers, which no MCP message has a use for, are not kept.
    fn poll_fill<B: Body>(
        &mut self,
        cx: &mut Context<'_>,
        mut body: Pin<&mut B>,
        limit: usize,
    ) -> Poll<Result<Bytes, Unread>> {
        let is_over = |bytes: u64| usize::try_from(bytes).map_or(true, |bytes| bytes > limit);
        if is_over(body.size_hint().lower().saturating_add(self.len() as u64)) {
            return Poll::Ready(Err(Unread::TooLong));
        }
        loop {
            let mut data = match ready!(body.as_mut().poll_frame(cx)) {
                None => return Poll::Ready(Ok(self.take())),
                Some(Err(_)) => return Poll::Ready(Err(Unread::BrokenOff)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(_) => continue,
                },
            };
            if data.remaining() > limit.saturating_sub(self.len()) {
                return Poll::Ready(Err(Unread::TooLong));
            }
            self.push(data.copy_to_bytes(data.remaining()));
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(bytes) => bytes.len(),
            Self::Several(bytes) => bytes.len(),
        }
    }

    fn push(&mut self, data: Bytes) {
        *self = match std::mem::replace(self, Self::Nothing) {
            Self::Nothing => Self::One(data),
            Self::One(first) => {
                let mut bytes = BytesMut::with_capacity(first.len() + data.len());
                bytes.extend_from_slice(&first);
                bytes.extend_from_slice(&data);
                Self::Several(bytes)
            }
            Self::Several(mut bytes) => {
                bytes.extend_from_slice(&data);
                Self::Several(bytes)
            }
        };
    }

    fn take(&mut self) -> Bytes {
        match std::mem::replace(self, Self::Nothing) {
            Self::Nothing => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Several(bytes) => bytes.freeze(),
        }
    }
}

impl<S, F, B> fmt::Debug for ScopesFuture<S, F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Pass { .. } => "Pass",
            Kind::Answer { .. } => "Answer",
            Kind::Read { .. } => "Read",
        };
        f.debug_tuple("ScopesFuture").field(&kind).finish()
    }
}
