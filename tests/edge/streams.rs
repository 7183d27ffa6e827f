//! Event streams that end with the token that opened them.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt;
use http::{Method, Request, Response, header::CONTENT_TYPE};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::{sync::mpsc, time::Instant};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_secrets::{
    JwtRotationLayer, Keyring, SecretsLayer,
    mcp::{EndStreamsLayer, EndingBody},
};

use crate::{App, NEW, bearer, bundle, timed};

const EVENTS: &str = "text/event-stream; charset=utf-8";

/// A body that a server goes on writing.
struct Told(mpsc::UnboundedReceiver<&'static str>);

impl Default for Told {
    fn default() -> Self {
        Self(mpsc::unbounded_channel().1)
    }
}

impl Body for Told {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let told = self.0.poll_recv(cx);
        told.map(|text| text.map(|text| Ok(Frame::data(Bytes::from(text)))))
    }
}

struct Stream {
    tell: mpsc::UnboundedSender<&'static str>,
    body: EndingBody<Told>,
}

impl Stream {
    /// Asks a server that answers with `media_type`, behind these layers.
    async fn open<L>(tokens: &L, method: Method, media_type: &'static str, token: &str) -> Self
    where
        L: Layer<BoxService>,
        L::Service: Service<Request<String>, Response = Response<EndingBody<Told>>>,
        <L::Service as Service<Request<String>>>::Error: std::fmt::Debug,
    {
        Self::of(tokens, (method, None), media_type, token).await
    }

    /// Names the method of MCP, as the wire of 2026-07-28 has it.
    async fn of<L>(
        tokens: &L,
        (method, called): (Method, Option<&str>),
        media_type: &'static str,
        token: &str,
    ) -> Self
    where
        L: Layer<BoxService>,
        L::Service: Service<Request<String>, Response = Response<EndingBody<Told>>>,
        <L::Service as Service<Request<String>>>::Error: std::fmt::Debug,
    {
        let (tell, told) = mpsc::unbounded_channel();
        let told = std::sync::Mutex::new(Some(Told(told)));
        let told = std::sync::Arc::new(told);
        let server = service_fn(move |_: Request<String>| {
            let body = told.lock().unwrap().take().unwrap();
            let response = Response::builder().header(CONTENT_TYPE, media_type);
            std::future::ready(Ok::<_, Infallible>(response.body(body).unwrap()))
        });
        let inner = BoxService::new(EndStreamsLayer::new().layer(server));
        let mut request: Request<String> = bearer(token);
        *request.method_mut() = method;
        if let Some(called) = called {
            let called = called.parse().unwrap();
            request.headers_mut().insert("mcp-method", called);
        }
        let response = tokens.layer(inner).oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let body = response.into_body();
        Self { tell, body }
    }

    async fn next(&mut self) -> Option<Bytes> {
        let frame = self.body.frame().await?.unwrap();
        Some(frame.into_data().unwrap())
    }

    fn goes_on(&mut self) -> bool {
        self.tell.send("event").is_ok()
            && self.next().now_or_never() == Some(Some(Bytes::from("event")))
            && self.next().now_or_never().is_none()
    }
}

type BoxService =
    tower::util::BoxCloneService<Request<String>, Response<EndingBody<Told>>, Infallible>;

fn layer(keyring: &Keyring<App>) -> JwtRotationLayer<App> {
    JwtRotationLayer::new(keyring.clone()).leeway(Duration::ZERO)
}

#[tokio::test(start_paused = true)]
async fn an_event_stream_ends_when_its_token_does() {
    let (_source, keyring, token) = timed(600).await;
    let mut stream = Stream::open(&layer(&keyring), Method::GET, EVENTS, &token).await;
    let begin = Instant::now();
    tokio::time::advance(Duration::from_secs(599)).await;
    assert!(stream.goes_on());
    assert_eq!(stream.next().await, None);
    assert_eq!(begin.elapsed().as_secs(), 600);
    // It stays ended, whatever the server has to say.
    let _ = stream.tell.send("more");
    assert_eq!(stream.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_always_has_something_to_say_is_cut_off_too() {
    let (_source, keyring, token) = timed(1).await;
    let mut stream = Stream::open(&layer(&keyring), Method::GET, EVENTS, &token).await;
    for _ in 0..100 {
        stream.tell.send("event").unwrap();
    }
    assert!(stream.next().await.is_some());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(stream.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_the_window_or_the_revocation_of_its_key() {
    let (source, keyring, token) = timed(86_400).await;
    let mut replaced = Stream::open(&layer(&keyring), Method::GET, EVENTS, &token).await;
    let mut revoked = Stream::open(&layer(&keyring), Method::GET, EVENTS, &token).await;
    source.rotate(bundle(NEW, "second"));
    keyring.refresh().await.unwrap();
    assert!(replaced.goes_on() && revoked.goes_on());
    let begin = Instant::now();
    assert_eq!(replaced.next().await, None);
    assert!(begin.elapsed() >= Duration::from_secs(900));

    let (_source, keyring, token) = timed(86_400).await;
    let mut revoked = Stream::open(&layer(&keyring), Method::GET, EVENTS, &token).await;
    assert!(revoked.goes_on());
    let current = keyring.current().version().clone();
    keyring.revoke(&current);
    let begin = Instant::now();
    assert_eq!(revoked.next().await, None);
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_call_and_what_is_no_event_stream_go_on() {
    for (asked, media_type) in [
        ((Method::POST, None), EVENTS),
        ((Method::POST, Some("tools/call")), EVENTS),
        ((Method::GET, None), "application/json"),
    ] {
        let (_source, keyring, token) = timed(600).await;
        let mut stream = Stream::of(&layer(&keyring), asked, media_type, &token).await;
        tokio::time::advance(Duration::from_secs(601)).await;
        assert!(stream.goes_on(), "{media_type}");
    }
}

/// The stream of 2026-07-28, which has no GET.
#[tokio::test(start_paused = true)]
async fn a_subscription_ends_when_its_token_does() {
    let (_source, keyring, token) = timed(600).await;
    let asked = (Method::POST, Some("subscriptions/listen"));
    let mut stream = Stream::of(&layer(&keyring), asked, EVENTS, &token).await;
    tokio::time::advance(Duration::from_secs(599)).await;
    assert!(stream.goes_on());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(stream.next().now_or_never(), Some(None));
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_token_has_no_end() {
    let (_source, keyring, _token) = timed(600).await;
    let secrets = SecretsLayer::new(keyring);
    let mut stream = Stream::open(&secrets, Method::GET, EVENTS, "unread").await;
    tokio::time::advance(Duration::from_secs(86_400)).await;
    assert!(stream.goes_on());
}

/// The lines that are logged, by this thread.
#[derive(Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn outside_of_the_token_layer_it_says_that_it_ends_nothing() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let logged = || String::from_utf8(log.0.lock().unwrap().clone()).unwrap();

    let (_source, keyring, token) = timed(600).await;
    Stream::open(&layer(&keyring), Method::GET, EVENTS, &token).await;
    let anyone = SecretsLayer::new(keyring);
    Stream::open(&anyone, Method::GET, EVENTS, "unread").await;
    let no_layer = tower::layer::layer_fn(|inner: BoxService| inner);
    Stream::open(&no_layer, Method::POST, EVENTS, "unread").await;
    assert!(!logged().contains("EndStreamsLayer"), "{}", logged());
    Stream::open(&no_layer, Method::GET, EVENTS, "unread").await;
    let logged = logged();
    assert_eq!(logged.matches("EndStreamsLayer").count(), 1, "{logged}");
    assert!(logged.contains("JwtRotationLayer"), "{logged}");
}
