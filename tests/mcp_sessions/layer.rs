//! The layer over services that are not rmcp's.

use std::convert::Infallible;

use axum::body::{Body, to_bytes};
use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_secrets::{SecretsLayer, mcp::BindSessionsLayer, source::Memory};

use crate::world::{Hands, bundle, keyring};

/// What an echo of the session id that got through, as a header and as events, comes out as.
async fn echo(bind: &BindSessionsLayer, session: Option<&str>) -> (u16, Option<String>, String) {
    let keyring = keyring(Memory::new(bundle("1", "1")), &Hands::new()).await;
    let inner = service_fn(async |request: Request<Body>| {
        let session = request.headers().get("mcp-session-id");
        let session = session.map_or("fresh", |it| it.to_str().unwrap());
        let response = Response::builder()
            .header("mcp-session-id", session)
            .header("content-type", "text/event-stream; charset=utf-8")
            .header("content-length", "14")
            .body(Body::from("id: 1\ndata: x\n\n"));
        Ok::<_, Infallible>(response.unwrap())
    });
    let service = SecretsLayer::new(keyring).layer(bind.layer(inner));
    let mut request = Request::builder();
    if let Some(session) = session {
        request = request.header("mcp-session-id", session);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    assert!(!parts.headers.contains_key("content-length"));
    let session = parts.headers.get("mcp-session-id");
    let session = session.map(|it| it.to_str().unwrap().to_owned());
    let body = to_bytes(Body::new(body), 1024).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    (parts.status.as_u16(), session, body)
}

#[tokio::test]
async fn an_id_that_is_repeated_is_the_one_that_the_client_has() {
    let bind = BindSessionsLayer::of_process();
    let (status, session, body) = echo(&bind, None).await;
    let session = session.unwrap();
    assert!(status == 200 && session.starts_with("fresh."), "{session}");
    assert!(
        body.starts_with("id: 1.") && body.ends_with("\ndata: x\n\n"),
        "{body}"
    );
    let (status, repeated, _) = echo(&bind, Some(&session)).await;
    assert_eq!((status, repeated), (200, Some(session)));
    let (status, session, body) = echo(&bind, Some("fresh")).await;
    assert_eq!(
        (status, session, body.as_str()),
        (404, None, "Session not found")
    );
}

#[tokio::test]
async fn without_a_layer_that_says_who_calls_the_answer_names_the_mend() {
    let inner =
        service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty())));
    let service = BindSessionsLayer::of_process().layer(inner);
    let request = Request::post("/mcp").body(Body::empty()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 500);
    let body = to_bytes(Body::new(response.into_body()), 1024)
        .await
        .unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let message = body["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("JwtRotationLayer::new(keyring)"),
        "{message}"
    );
}
