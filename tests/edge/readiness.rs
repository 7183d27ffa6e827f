//! A layer reserves what it uses, and only that: `poll_ready` goes through, `call` is made on
//! the service that was polled, and a refusal neither loses nor keeps a permit.

use std::{convert::Infallible, task::Poll};

use http::{Request, Response};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};
use tower_secrets::{JwtRotationLayer, SecretsLayer, layer::RequireScopes};
use tower_test::{assert_request_eq, mock};

use crate::{OLD, bearer, keyring, token};

type Req = Request<String>;
type Resp = Response<String>;

/// What a mock can compare.
struct Path(Req);

impl PartialEq<&str> for Path {
    fn eq(&self, other: &&str) -> bool {
        self.0.uri().path() == *other
    }
}

impl std::fmt::Debug for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.uri().fmt(f)
    }
}

#[tokio::test]
async fn readiness_is_the_inner_service_s_own() {
    let (_, keyring) = keyring().await;
    let layers = ServiceBuilder::new()
        .layer(JwtRotationLayer::new(keyring.clone()))
        .layer(SecretsLayer::new(keyring))
        .layer(RequireScopes::new([""; 0]).unwrap());
    let (mut service, mut handle) = mock::spawn_with(|inner: mock::Mock<Path, Resp>| {
        layers.service(inner.map_request(Path as fn(Req) -> Path))
    });
    handle.allow(0);
    assert!(service.poll_ready().is_pending());

    handle.allow(1);
    assert!(service.poll_ready().is_ready());
    let response = service.call(bearer(&token(OLD)));
    assert_request_eq!(handle, "/").send_response(Response::new("inner".into()));
    assert_eq!(response.await.unwrap().body(), "inner");

    assert!(service.poll_ready().is_pending());
    handle.send_error("gone");
    match service.poll_ready() {
        Poll::Ready(Err(error)) => assert!(error.to_string().contains("gone"), "{error}"),
        other => panic!("the error was not passed on: {other:?}"),
    }
}

#[tokio::test]
async fn a_refusal_makes_no_call_and_leaves_the_service_ready() {
    let (_, keyring) = keyring().await;
    let layer = JwtRotationLayer::new(keyring);
    let (mut service, mut handle) = mock::spawn_with(|inner: mock::Mock<Path, Resp>| {
        layer.layer(inner.map_request(Path as fn(Req) -> Path))
    });
    handle.allow(1);
    assert!(service.poll_ready().is_ready());
    let response = service.call(bearer("bad"));
    assert_eq!(response.await.unwrap().status(), 401);

    // The one call that the inner service has promised is still there.
    assert!(service.poll_ready().is_ready());
    let response = service.call(bearer(&token(OLD)));
    assert_request_eq!(handle, "/").send_response(Response::new(String::new()));
    assert_eq!(response.await.unwrap().status(), 200);
}

#[tokio::test]
async fn errors_of_a_call_are_passed_on() {
    let (_, keyring) = keyring().await;
    let mut service = JwtRotationLayer::new(keyring).layer(service_fn(async |_: Req| {
        Err::<Resp, _>(std::io::Error::other("inner failure"))
    }));
    let ready = ServiceExt::<Req>::ready(&mut service).await.unwrap();
    let error = ready.call(bearer(&token(OLD))).await.unwrap_err();
    assert_eq!(error.to_string(), "inner failure");
}

#[tokio::test]
async fn under_a_concurrency_limit_of_one() {
    let (_, keyring) = keyring().await;
    let inner = service_fn(async |_: Req| Ok::<_, Infallible>(Resp::default()));
    let limit = ConcurrencyLimitLayer::new(1);

    // Inside the limit, outside of it, and in the clones that a server makes of either.
    let outer = ServiceBuilder::new()
        .layer(limit.clone())
        .layer(JwtRotationLayer::new(keyring.clone()))
        .layer(SecretsLayer::new(keyring.clone()))
        .service(inner);
    let inner = ServiceBuilder::new()
        .layer(JwtRotationLayer::new(keyring))
        .layer(limit)
        .service(inner);
    exercise(outer).await;
    exercise(inner).await;
}

async fn exercise<S>(mut service: S)
where
    S: Service<Req, Response = Resp, Error = Infallible> + Clone,
{
    for (token, status) in [
        ("bad", 401),
        ("bad", 401),
        (token(OLD).as_str(), 200),
        ("bad", 401),
        (token(OLD).as_str(), 200),
    ] {
        let response = service.ready().await.unwrap().call(bearer(token));
        assert_eq!(response.await.unwrap().status(), status);
    }
    for (token, status) in [("bad", 401), (token(OLD).as_str(), 200), ("bad", 401)] {
        let response = service.clone().oneshot(bearer(token)).await.unwrap();
        assert_eq!(response.status(), status);
    }
}
