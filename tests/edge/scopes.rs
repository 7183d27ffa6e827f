//! Scopes for all requests of a layer, and for one route.

use std::convert::Infallible;

use axum::{
    Router,
    body::Body,
    routing::{delete, get},
};
use bytes::Bytes;
use http::{Request, Response, header::WWW_AUTHENTICATE};
use serde_json::json;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_secrets::{
    JwtRotationLayer, RegisteredClaims, SecretsLayer,
    layer::{Refusal, RefusalKind, RequireScopes, ResourceMetadata, TextBody},
};

use crate::{OLD, bearer, keyring, token_for};

type Inner = tower::util::ServiceFn<fn(Request<()>) -> Answer>;
type Answer = std::future::Ready<Result<Response<Bytes>, Infallible>>;

fn inner(_: Request<()>) -> Answer {
    std::future::ready(Ok(Response::new(Bytes::from_static(b"inner"))))
}

/// The status, and the challenge of a refusal.
async fn send<L>(layer: L, scopes: Option<&str>) -> (u16, String)
where
    L: Layer<Inner>,
    L::Service: Service<Request<()>, Response = Response<Bytes>, Error = Infallible>,
{
    let request = match scopes {
        Some(scopes) => bearer(&token_for(OLD, 300, json!({ "scope": scopes }))),
        None => Request::default(),
    };
    let service = layer.layer(service_fn(inner as fn(_) -> _));
    let response = service.oneshot(request).await.unwrap();
    let passed = response.status() == 200;
    assert_eq!(passed, response.body() == "inner");
    let challenge = response.headers().get(WWW_AUTHENTICATE);
    let challenge = challenge.map_or("", |challenge| challenge.to_str().unwrap());
    (response.status().as_u16(), challenge.to_owned())
}

fn forbidden(scope: &str) -> (u16, String) {
    let challenge = format!(
        "Bearer realm=\"restricted\", scope=\"{scope}\", error=\"insufficient_scope\", \
         error_description=\"the token does not allow what this call needs\""
    );
    (403, challenge)
}

fn unauthorized(scope: &str) -> (u16, String) {
    let challenge = format!("Bearer realm=\"restricted\", scope=\"{scope}\"");
    (401, challenge)
}

fn passed() -> (u16, String) {
    (200, String::new())
}

#[tokio::test]
async fn the_layer_requires_all_of_its_scopes_of_every_request() {
    let (_source, keyring) = keyring().await;
    let layer = JwtRotationLayer::new(keyring)
        .required_scopes(["a", "b"])
        .unwrap()
        .required_scopes(["c"])
        .unwrap();
    assert_eq!(send(layer.clone(), Some("c b x a")).await, passed());
    for scopes in ["", "a", "a b", "ab c", "A B C", "a,b,c", "abc"] {
        assert_eq!(send(layer.clone(), Some(scopes)).await, forbidden("a b c"));
    }
    assert_eq!(send(layer.clone(), None).await, unauthorized("a b c"));
    // Who has no token has no scope.
    assert_eq!(
        send(layer.allow_anonymous(), None).await,
        unauthorized("a b c")
    );
}

#[tokio::test]
async fn a_bad_token_is_told_the_scopes_too() {
    let (_source, keyring) = keyring().await;
    let layer = JwtRotationLayer::new(keyring)
        .required_scopes(["a"])
        .unwrap();
    let service = layer.layer(service_fn(inner as fn(_) -> _));
    let response = service.oneshot(bearer("x.y.z")).await.unwrap();
    assert_eq!(response.status(), 401);
    let challenge = response.headers()[WWW_AUTHENTICATE].to_str().unwrap();
    let begin = "Bearer realm=\"restricted\", scope=\"a\", error=\"invalid_token\"";
    assert!(challenge.starts_with(begin), "{challenge}");
}

#[tokio::test]
async fn one_route_requires_scopes_of_its_own() {
    let (_source, keyring) = keyring().await;
    let tokens = JwtRotationLayer::new(keyring)
        .required_scopes(["read"])
        .unwrap();
    let stack = || {
        ServiceBuilder::new()
            .layer(tokens.clone())
            .layer(RequireScopes::new(["write", "read"]).unwrap())
    };
    assert_eq!(send(stack(), Some("read write")).await, passed());
    // One challenge names what both layers ask for, each once.
    assert_eq!(send(stack(), Some("read")).await, forbidden("read write"));
    assert_eq!(send(stack(), Some("write")).await, forbidden("read"));
    assert_eq!(send(stack(), None).await, unauthorized("read"));
}

#[tokio::test]
async fn an_anonymous_caller_is_asked_for_a_token_with_the_routes_scopes() {
    let (_source, keyring) = keyring().await;
    let metadata = ResourceMetadata::new("https://api.example/mcp")
        .authorization_server("https://login.example")
        .scopes(["basic"]);
    let tokens = JwtRotationLayer::new(keyring.clone())
        .allow_anonymous()
        .realm("tools")
        .unwrap()
        .resource_metadata(metadata)
        .unwrap();
    let stack = |scopes: &[&str]| {
        ServiceBuilder::new()
            .layer(tokens.clone())
            .layer(RequireScopes::new(scopes.to_vec()).unwrap())
    };
    let challenge = "Bearer realm=\"tools\", scope=\"write\", resource_metadata=\
                     \"https://api.example/.well-known/oauth-protected-resource/mcp\"";
    assert_eq!(
        send(stack(&["write"]), None).await,
        (401, challenge.to_owned())
    );
    assert_eq!(send(stack(&[]), None).await, passed());
    // A layer between that reads no token does not hide what the outer one asks for.
    let stack = ServiceBuilder::new()
        .layer(tokens.clone())
        .layer(SecretsLayer::new(keyring))
        .layer(RequireScopes::new(["write"]).unwrap());
    assert_eq!(send(stack, None).await, (401, challenge.to_owned()));
}

#[tokio::test]
async fn the_rule_of_the_layer_decides_what_a_scope_is() {
    let (_source, keyring) = keyring().await;
    let includes = |claims: &RegisteredClaims, scope: &str| {
        claims
            .scopes()
            .any(|granted| granted == scope || granted == "write" && scope == "read")
    };
    let tokens = JwtRotationLayer::new(keyring)
        .scope_rule(includes)
        .required_scopes(["read"])
        .unwrap();
    let stack = |scope: &str| {
        ServiceBuilder::new()
            .layer(tokens.clone())
            .layer(RequireScopes::new([scope]).unwrap())
    };
    assert_eq!(send(stack("read"), Some("write")).await, passed());
    assert_eq!(send(stack("write"), Some("write")).await, passed());
    assert_eq!(
        send(stack("write"), Some("read")).await,
        forbidden("read write")
    );
    assert_eq!(send(stack("read"), Some("other")).await, forbidden("read"));
}

#[tokio::test]
async fn a_rule_goes_with_the_type_of_the_claims() {
    let (_source, keyring) = keyring().await;
    let tokens = JwtRotationLayer::new(keyring)
        .required_scopes(["read"])
        .unwrap()
        .scope_rule(|_: &RegisteredClaims, _: &str| true);
    assert_eq!(send(tokens.clone(), Some("other")).await, passed());
    let other = tokens.claims::<serde_json::Value>();
    assert_eq!(send(other.clone(), Some("other")).await, forbidden("read"));
    assert_eq!(send(other, Some("read")).await, passed());
}

#[tokio::test]
async fn without_a_layer_that_reads_tokens_it_names_the_mend() {
    let (_source, keyring) = keyring().await;
    let check = || RequireScopes::new(["a"]).unwrap().respond_with(TextBody);
    let inner = || service_fn(inner as fn(_) -> _);
    let alone = check().layer(inner());
    let secrets = SecretsLayer::new(keyring).layer(check().layer(inner()));
    let request = || bearer(&token_for(OLD, 300, json!({ "scope": "a" })));
    let responses: [Response<Bytes>; 2] = [
        alone.oneshot(request()).await.unwrap(),
        secrets.oneshot(request()).await.unwrap(),
    ];
    for response in responses {
        assert_eq!(response.status(), 500);
        let refusal = response.extensions().get::<Refusal>().unwrap();
        assert_eq!(refusal.kind(), RefusalKind::Misconfigured);
        let text = std::str::from_utf8(response.body()).unwrap();
        assert!(text.contains("JwtRotationLayer::new(keyring)"), "{text}");
        assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
    }
}

#[tokio::test]
async fn in_axum_it_goes_around_one_method() {
    let (_source, keyring) = keyring().await;
    let removal = delete(async || "gone").layer(RequireScopes::new(["write"]).unwrap());
    let app: Router = Router::new()
        .route("/files", get(async || "files").merge(removal))
        .layer(JwtRotationLayer::new(keyring));
    for (method, scopes, status) in [
        ("GET", "read", 200),
        ("DELETE", "read", 403),
        ("DELETE", "write", 200),
    ] {
        let token = token_for(OLD, 300, json!({ "scope": scopes }));
        let mut request: Request<Body> = bearer(&token);
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = "/files".parse().unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{method} {scopes}");
    }
}

#[tokio::test]
async fn what_is_no_scope_is_refused_at_build() {
    let (_source, keyring) = keyring().await;
    for bad in ["", "a b", "a\"", "a\\", "a\r\nx: y", "\u{e9}"] {
        assert!(RequireScopes::new(["a", bad]).is_err(), "{bad:?}");
        let layer = JwtRotationLayer::new(keyring.clone());
        assert!(layer.required_scopes([bad]).is_err(), "{bad:?}");
    }
}
