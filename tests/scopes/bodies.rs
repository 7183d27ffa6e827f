//! Which bodies are read before the server gets them, how far, and how they are passed on.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use futures::FutureExt;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn, util::BoxService};
use tower_secrets::{
    JwtRotationLayer,
    mcp::{BytesOr, ScopesLayer},
};

use crate::server::{Message, keyring, policy};

type Frames = VecDeque<Result<Frame<TwoParts>, &'static str>>;

/// Data that is not contiguous, as `Buf` allows.
type TwoParts = bytes::buf::Chain<Bytes, Bytes>;

/// A body that counts how often it is asked.
#[derive(Default)]
struct Counted {
    frames: Frames,
    polls: Arc<AtomicUsize>,
    length: Option<u64>,
}

impl Body for Counted {
    type Data = TwoParts;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<TwoParts>, Self::Error>>> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(self.frames.pop_front())
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

fn data(bytes: &[u8]) -> Result<Frame<TwoParts>, &'static str> {
    let (one, other) = bytes.split_at(bytes.len() / 2);
    let (one, other) = (Bytes::copy_from_slice(one), Bytes::copy_from_slice(other));
    Ok(Frame::data(one.chain(other)))
}

/// What the server saw of a request: how often the body had been asked before, whether its size was known,
/// and the bytes. As an extension of the response.
#[derive(Clone, Debug)]
struct Seen {
    polls: usize,
    size: Option<u64>,
    bytes: Result<Bytes, &'static str>,
}

type Service = BoxService<Request<Counted>, Response<BytesOr<Full<Bytes>>>, Infallible>;

fn service(scopes: ScopesLayer, polls: Arc<AtomicUsize>) -> Service {
    let inner = service_fn(move |request: Request<BytesOr<Counted>>| {
        let polls = polls.load(Ordering::Relaxed);
        async move {
            let body = request.into_body();
            let size = body.size_hint().exact();
            let bytes = body.collect().await.map(|body| body.to_bytes());
            let seen = Seen { polls, size, bytes };
            let response = Response::builder().extension(seen);
            Ok::<_, Infallible>(response.body(Full::default()).unwrap())
        }
    });
    // Every caller is anonymous here, and may do what needs no scope.
    let tokens = JwtRotationLayer::new(keyring()).allow_anonymous();
    let tokens = tokens.respond_with(|_: &_| unreachable!());
    BoxService::new(tokens.layer(scopes.layer(inner)))
}

fn scopes() -> ScopesLayer {
    ScopesLayer::new(policy()).unwrap()
}

/// Sends a message in these frames; the answer, and what the server saw.
fn send(scopes: ScopesLayer, message: &Message, frames: Frames) -> (u16, Option<Seen>, usize) {
    send_body(
        scopes,
        message,
        Counted {
            frames,
            ..Counted::default()
        },
    )
}

fn send_body(scopes: ScopesLayer, message: &Message, body: Counted) -> (u16, Option<Seen>, usize) {
    let polls = body.polls.clone();
    let mut request = Request::post("/").body(body).unwrap();
    for (name, value) in &message.headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    let service = service(scopes, polls.clone());
    let response = service.oneshot(request).now_or_never().unwrap().unwrap();
    let seen = response.extensions().get().cloned();
    (
        response.status().as_u16(),
        seen,
        polls.load(Ordering::Relaxed),
    )
}

fn time(wire: fn(serde_json::Value) -> Message) -> Message {
    wire(json!({ "name": "time", "arguments": { "x": "a".repeat(100) } }))
}

fn v2025(params: serde_json::Value) -> Message {
    Message::v2025("tools/call", params)
}

fn v2026(params: serde_json::Value) -> Message {
    Message::v2026("tools/call", Some("time"), params)
}

#[test]
fn where_headers_decide_the_body_is_not_touched() {
    let message = time(v2026);
    let (status, seen, _) = send(scopes(), &message, [data(&message.body)].into());
    let seen = seen.unwrap();
    assert_eq!((status, seen.polls), (200, 0));
    assert_eq!(seen.bytes.unwrap(), message.body);

    // Nor is that of a call that is refused.
    let refused = Message::v2026(
        "tools/call",
        Some("delete_file"),
        json!({ "name": "delete_file" }),
    );
    let (status, seen, polls) = send(scopes(), &refused, [data(&refused.body)].into());
    assert_eq!((status, polls), (401, 0));
    assert!(seen.is_none());

    // And it can be asked for.
    let (status, seen, _) = send(
        scopes().always_read_bodies(),
        &message,
        [data(&message.body)].into(),
    );
    assert_eq!((status, seen.unwrap().polls), (200, 2));
}

#[test]
fn a_method_without_a_body_passes_whatever_it_is() {
    let polls = Arc::default();
    let request = Request::get("/").body(Counted::default()).unwrap();
    let response = service(scopes(), polls)
        .oneshot(request)
        .now_or_never()
        .unwrap();
    let seen: Seen = response.unwrap().extensions_mut().remove().unwrap();
    assert_eq!(seen.polls, 0);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_body_is_passed_on_as_it_came_in_however_many_pieces(
        cuts in proptest::collection::vec(0_usize..220, 0..6),
        trailers in any::<bool>(),
    ) {
        let message = time(v2025);
        let mut cuts: Vec<_> = cuts.into_iter().map(|at| at.min(message.body.len())).collect();
        cuts.sort_unstable();
        let ends = cuts.iter().copied().chain([message.body.len()]);
        let starts = [0].into_iter().chain(cuts.iter().copied());
        let mut frames: Frames = starts.zip(ends).map(|(a, b)| data(&message.body[a..b])).collect();
        if trailers {
            frames.push_back(Ok(Frame::trailers(HeaderMap::new())));
        }
        let (status, seen, _) = send(scopes(), &message, frames);
        let seen = seen.unwrap();
        prop_assert_eq!(status, 200);
        prop_assert_eq!(seen.size, Some(message.body.len() as u64));
        prop_assert_eq!(seen.bytes.unwrap(), message.body);
    }
}

#[test]
fn a_body_is_held_up_to_its_limit() {
    let message = time(v2025);
    let length = message.body.len();
    let pieces = || message.body.chunks(50).map(data).collect::<Frames>();
    let count = pieces().len();

    let exact = send(scopes().max_body_bytes(length), &message, pieces());
    assert_eq!(exact.0, 200);
    let (status, seen, polls) = send(scopes().max_body_bytes(length - 1), &message, pieces());
    assert_eq!((status, polls), (413, count));
    assert!(seen.is_none());

    // A length that is too much in advance costs no reading at all.
    let length = Some(length as u64);
    let frames = pieces();
    let body = Counted {
        frames,
        length,
        ..Counted::default()
    };
    let (status, seen, polls) = send_body(scopes().max_body_bytes(20), &message, body);
    assert_eq!((status, polls), (413, 0));
    assert!(seen.is_none());
}

#[test]
fn a_body_that_breaks_off_goes_no_further() {
    let message = time(v2025);
    let frames = [data(&message.body), Err("broken")].into();
    let (status, seen, _) = send(scopes(), &message, frames);
    assert_eq!(status, 400);
    assert!(seen.is_none());

    // One that the server reads itself, it sees break.
    let message = time(v2026);
    let frames = [data(&message.body), Err("broken")].into();
    let (status, seen, _) = send(scopes(), &message, frames);
    assert_eq!((status, seen.unwrap().bytes), (200, Err("broken")));
}
