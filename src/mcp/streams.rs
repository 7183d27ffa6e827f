//! Event streams that end with the token that opened them.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Response, header::CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{Authentication, layer::Anonymous};

const METHOD: HeaderName = HeaderName::from_static("mcp-method");

/// Ends the event stream that a `GET`, or `subscriptions/listen`, has opened when its token would be refused:
/// at `exp`, the layer's leeway added; when the window of its key ends; when the key is revoked
/// ([`Authentication::expired`]).
///
/// A stream outlives the request that was authenticated, for hours. This ends it as if the server had
/// nothing more to say, between two events: clients of Streamable HTTP open it again (MCP 2025-11-25,
/// Transports, "Resumability and Redelivery"), and then need a token that is good.
///
/// `subscriptions/listen` is known by the header `Mcp-Method` (2026-07-28, Standard MCP Request Headers). The
/// answer to any other `POST` is left alone, for a `tools/call` that has begun is not to be cut off; so is
/// a stream of a request without a token. It goes inside of
/// [`JwtRotationLayer`](crate::JwtRotationLayer), around the MCP service; elsewhere it ends nothing, and
/// logs an error for each such request.
///
/// ```
/// # use tower_secrets::{Keyring, JwtRotationLayer};
/// use tower::ServiceBuilder;
/// use tower_secrets::mcp::EndStreamsLayer;
///
/// # fn wrap<S, App: Send + Sync + 'static>(mcp_service: S, keyring: Keyring<App>) {
/// let service = ServiceBuilder::new()
///     .layer(JwtRotationLayer::new(keyring))
///     .layer(EndStreamsLayer::new())
///     .service(mcp_service);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct EndStreamsLayer(());

impl EndStreamsLayer {
    /// Ends the streams of all requests that have a token.
    pub fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for EndStreamsLayer {
    type Service = EndStreams<S>;

    fn layer(&self, inner: S) -> EndStreams<S> {
        EndStreams { inner }
    }
}

/// The service made by [`EndStreamsLayer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct EndStreams<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for EndStreams<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<EndingBody<R>>;
    type Error = S::Error;
    type Future = EndingFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let opens_stream = opens_stream(&request);
        let caller = request.extensions().get::<Authentication>();
        if opens_stream && caller.is_none() && request.extensions().get::<Anonymous>().is_none() {
            tracing::error!(
                "secrets_stream_without_end: EndStreamsLayer does not know whose stream it is: put \
                 JwtRotationLayer::new(keyring) outside of it"
            );
        }
        // Made of what the request is verified by, and not of what a handler leaves there.
        let end = caller
            .filter(|_| opens_stream)
            .map(|caller| Box::pin(caller.expired()) as End);
        EndingFuture {
            future: self.inner.call(request),
            end,
        }
    }
}

fn opens_stream<B>(request: &Request<B>) -> bool {
    match *request.method() {
        Method::GET => true,
        Method::POST => request
            .headers()
            .get(METHOD)
            .is_some_and(|method| method == "subscriptions/listen"),
        _ => false,
    }
}

type End = Pin<Box<dyn Future<Output = ()> + Send>>;

pin_project! {
    /// The response future of [`EndStreams`].
    pub struct EndingFuture<F> {
        #[pin]
        future: F,
        end: Option<End>,
    }
}

impl<F, R, E> Future for EndingFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<EndingBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.future.poll(cx))?;
        let end = this
            .end
            .take()
            .filter(|_| is_event_stream(response.headers()));
        Poll::Ready(Ok(response.map(|body| EndingBody { body, end })))
    }
}

impl<F: fmt::Debug> fmt::Debug for EndingFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { future, end } = self;
        f.debug_struct("EndingFuture")
            .field("future", future)
            .field("may_end", &end.is_some())
            .finish()
    }
}

/// By its media type, in any case and with any parameters (RFC 9110 section 8.3.1).
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE);
    let essence = media_type.and_then(|value| value.as_bytes().split(|byte| *byte == b';').next());
    essence.is_some_and(|essence| {
        essence
            .trim_ascii()
            .eq_ignore_ascii_case(b"text/event-stream")
    })
}

pin_project! {
    /// A body that may end before its source does.
    pub struct EndingBody<R> {
        #[pin]
        body: R,
        // `None`: it goes on for as long as its source.
        end: Option<End>,
    }
}

impl<R: Body> Body for EndingBody<R> {
    type Data = R::Data;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<R::Data>, R::Error>>> {
        let this = self.project();
        // First, for a source that always has something would never let it end.
        if let Some(end) = this.end
            && end.as_mut().poll(cx).is_ready()
        {
            // Kept, and ready for ever after: the body has ended.
            *end = Box::pin(std::future::ready(()));
            return Poll::Ready(None);
        }
        this.body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.end {
            None => self.body.size_hint(),
            Some(_) => SizeHint::default(),
        }
    }
}

impl<R: Default> Default for EndingBody<R> {
    fn default() -> Self {
        Self {
            body: R::default(),
            end: None,
        }
    }
}

impl<R: From<Bytes>> From<Bytes> for EndingBody<R> {
    fn from(bytes: Bytes) -> Self {
        Self {
            body: R::from(bytes),
            end: None,
        }
    }
}

impl<R: fmt::Debug> fmt::Debug for EndingBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { body, end } = self;
        f.debug_struct("EndingBody")
            .field("body", body)
            .field("may_end", &end.is_some())
            .finish()
    }
}
