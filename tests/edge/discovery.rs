//! How a client that knows nothing but the URL finds its way in: the metadata document, and challenges that
//! name it.

use std::convert::Infallible;

use axum::{Router, body::Body, routing::any};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header::WWW_AUTHENTICATE};
use serde_json::{Value, json};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_secrets::{
    Authentication, JwtKey, JwtRotationLayer, Keyring, RegisteredClaims,
    layer::{Discovery, EmptyBody, Issuer, McpBody, Refusal, RefusalKind, ResourceMetadata},
    source::Memory,
};

use crate::{App, NEW, OLD, bearer, bundle, keyring, request, token, token_for};

const RESOURCE: &str = "https://api.example/mcp";
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
/// What each challenge ends with.
const NAMES_IT: &str =
    "resource_metadata=\"https://api.example/.well-known/oauth-protected-resource/mcp\"";

type Inner = tower::util::ServiceFn<fn(Request<()>) -> Answer>;
type Answer = std::future::Ready<Result<Response<Bytes>, Infallible>>;
type Tokens = JwtRotationLayer<App, RegisteredClaims, EmptyBody, Discovery>;

fn inner(request: Request<()>) -> Answer {
    let mut response = Response::new(Bytes::from_static(b"inner"));
    if let Some(caller) = request.extensions().get::<Authentication>() {
        response.extensions_mut().insert(caller.clone());
    }
    std::future::ready(Ok(response))
}

fn metadata() -> ResourceMetadata {
    ResourceMetadata::new(RESOURCE)
        .authorization_server("https://login.example")
        .scopes(["mcp:read", "offline_access"])
}

fn layer(keyring: &Keyring<App>) -> Tokens {
    let layer = JwtRotationLayer::new(keyring.clone());
    layer.resource_metadata(metadata()).unwrap()
}

async fn send<L>(layer: &L, request: Request<()>) -> Response<Bytes>
where
    L: Layer<Inner>,
    L::Service: Service<Request<()>, Response = Response<Bytes>, Error = Infallible>,
{
    let service = layer.layer(service_fn(inner as fn(_) -> _));
    service.oneshot(request).await.unwrap()
}

fn to<B: Default>(method: &str, uri: &str) -> Request<B> {
    let request = Request::builder().method(method).uri(uri);
    request.body(B::default()).unwrap()
}

fn challenge(response: &Response<Bytes>) -> &str {
    response.headers()[WWW_AUTHENTICATE].to_str().unwrap()
}

fn document() -> Value {
    json!({
        "resource": RESOURCE,
        "authorization_servers": ["https://login.example"],
        "scopes_supported": ["mcp:read"],
        "bearer_methods_supported": ["header"],
    })
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn the_document_is_there_for_everybody_at_both_places() {
    let (_source, keyring) = keyring().await;
    let layer = layer(&keyring);
    for path in [
        WELL_KNOWN.to_owned(),
        format!("{WELL_KNOWN}/mcp"),
        format!("{WELL_KNOWN}/mcp?resource=https://evil.example"),
        format!("http://evil.example{WELL_KNOWN}/mcp"),
    ] {
        let mut request: Request<()> = to("GET", &path);
        let forwarded = "evil.example".parse().unwrap();
        request.headers_mut().insert("x-forwarded-host", forwarded);
        let got = send(&layer, request).await;
        assert_eq!(got.status(), 200, "{path}");
        let body: Value = serde_json::from_slice(got.body()).unwrap();
        assert_eq!(body, document());
        assert_eq!(
            header(got.headers(), "content-type"),
            Some("application/json")
        );
        assert_eq!(
            header(got.headers(), "cache-control"),
            Some("public, max-age=3600")
        );

        let head = send(&layer, to("HEAD", &path)).await;
        assert_eq!((head.status().as_u16(), head.body().len()), (200, 0));
        let length = got.body().len().to_string();
        assert_eq!(header(head.headers(), "content-length"), Some(&*length));

        let options = send(&layer, to("OPTIONS", &path)).await;
        assert_eq!((options.status().as_u16(), options.body().len()), (204, 0));
        let methods = Some("GET, HEAD, OPTIONS");
        assert_eq!(
            header(options.headers(), "access-control-allow-methods"),
            methods
        );
        let allowed = header(options.headers(), "access-control-allow-headers").unwrap();
        assert!(allowed.contains("authorization") && allowed.contains("mcp-protocol-version"));

        for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"] {
            let other = send(&layer, to(method, &path)).await;
            assert_eq!((other.status().as_u16(), other.body().len()), (405, 0));
            assert_eq!(header(other.headers(), "allow"), methods, "{method}");
        }
        for answer in [&got, &head, &options] {
            assert_eq!(
                header(answer.headers(), "access-control-allow-origin"),
                Some("*")
            );
            assert!(!answer.headers().contains_key(WWW_AUTHENTICATE));
        }
    }
}

/// Nothing else gets past the check, however alike it looks.
#[tokio::test]
async fn no_other_path_is_open() {
    let (_source, keyring) = keyring().await;
    let layer = layer(&keyring);
    for path in [
        "/",
        "/mcp",
        "/.well-known",
        "/.well-known/oauth-protected",
        "/.well-known/oauth-protected-resource/",
        "/.well-known/oauth-protected-resource//mcp",
        "/.well-known/oauth-protected-resource/mcp/",
        "/.well-known/oauth-protected-resource/mcp/tools",
        "/.well-known/oauth-protected-resource/mcp/..",
        "/.well-known/oauth-protected-resource/MCP",
        "/.well-known/oauth-protected-resource/%6dcp",
        "/.well-known/oauth-protected-resource%2fmcp",
        "/.well-known/oauth-protected-resource/mcp%00",
        "/.well-known/oauth-protected-resource/mcp;x",
        "/.well-known/oauth-protected-resource/other",
        "/.well-known/oauth-protected-resourcemcp",
        "/.well-known/oauth-protected-resources",
        "/.Well-Known/oauth-protected-resource",
        "/.well-known/OAuth-protected-resource",
        "/%2ewell-known/oauth-protected-resource",
        "/.well-known//oauth-protected-resource",
        "//.well-known/oauth-protected-resource",
        "/./.well-known/oauth-protected-resource",
        "/mcp/../.well-known/oauth-protected-resource",
        "/mcp/.well-known/oauth-protected-resource",
        "/.well-known/oauth-authorization-server",
        "/?/.well-known/oauth-protected-resource",
    ] {
        for method in ["GET", "OPTIONS"] {
            let response = send(&layer, to(method, path)).await;
            assert_eq!(response.status(), 401, "{method} {path}");
        }
    }
    // Without metadata there is no such place at all.
    let plain = JwtRotationLayer::new(keyring.clone());
    let response = send(&plain, to("GET", WELL_KNOWN)).await;
    assert_eq!(response.status(), 401);
    assert_eq!(challenge(&response), "Bearer realm=\"restricted\"");
}

#[tokio::test]
async fn a_resource_at_the_root_has_one_place() {
    let (_source, keyring) = keyring().await;
    for resource in ["https://api.example", "https://api.example/"] {
        let metadata =
            ResourceMetadata::new(resource).authorization_server("https://login.example");
        let layer = JwtRotationLayer::new(keyring.clone());
        let layer = layer.resource_metadata(metadata).unwrap();
        let response = send(&layer, to("GET", WELL_KNOWN)).await;
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body["resource"], resource);
        let response = send(&layer, to("GET", "/")).await;
        let expected = "Bearer realm=\"restricted\", \
                        resource_metadata=\"https://api.example/.well-known/oauth-protected-resource\"";
        assert_eq!(challenge(&response), expected);
        // An empty path and a slash are one URL.
        for aud in ["https://api.example", "https://api.example/"] {
            let token = token_for(OLD, 300, json!({ "aud": aud }));
            assert_eq!(send(&layer, bearer(&token)).await.status(), 200);
        }
    }
}

#[tokio::test]
async fn it_is_answered_whatever_is_wrong_with_the_rest() {
    let source = Memory::new(bundle(OLD, "first"));
    let no_key = Keyring::<App>::builder(source).build().await.unwrap();
    let layer = layer(&no_key);
    assert_eq!(send(&layer, to("GET", "/mcp")).await.status(), 500);
    assert_eq!(send(&layer, to("GET", WELL_KNOWN)).await.status(), 200);
}

#[tokio::test]
async fn in_axum_it_is_found_around_routes_nests_and_services() {
    let (_source, keyring) = keyring().await;
    let tool = || Router::new().route("/", any(async || "tool"));
    let service =
        service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::from("tool"))));
    let routers = [
        Router::new().route("/mcp", any(async || "tool")),
        Router::new().nest("/mcp", tool()),
        Router::new().nest_service("/mcp", service),
        Router::new()
            .route("/mcp", any(async || "tool"))
            .fallback(async || "none"),
    ];
    for router in routers {
        let app: Router = router.layer(layer(&keyring));
        let get = async |path: &str, token: Option<&str>| {
            let mut request: Request<Body> = token.map(bearer).unwrap_or_default();
            *request.uri_mut() = path.parse().unwrap();
            app.clone().oneshot(request).await.unwrap()
        };
        let refused = get("/mcp", None).await;
        assert_eq!(refused.status(), 401);
        // As a client does: the place is what the challenge says.
        let challenge = refused.headers()[WWW_AUTHENTICATE].to_str().unwrap();
        let place = challenge.split("resource_metadata=\"https://api.example");
        let place = place.last().unwrap().trim_end_matches('"');
        for path in [place, WELL_KNOWN] {
            let found = get(path, None).await;
            assert_eq!(found.status(), 200);
            let body = axum::body::to_bytes(found.into_body(), 4096).await.unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), document());
        }
        let mut head: Request<Body> = to("HEAD", place);
        *head.method_mut() = Method::HEAD;
        let head = app.clone().oneshot(head).await.unwrap();
        let length = document().to_string().len().to_string();
        assert_eq!(header(head.headers(), "content-length"), Some(&*length));

        let token = token_for(OLD, 300, json!({ "aud": RESOURCE }));
        assert_eq!(get("/mcp", Some(&token)).await.status(), 200);
    }
}

/// RFC 6750 section 3.1, and the scopes of MCP's Scope Selection Strategy.
#[tokio::test]
async fn every_challenge_names_the_document_and_the_scopes() {
    let (_source, keyring) = keyring().await;
    let plain = layer(&keyring);
    let required = plain.clone().required_scopes(["mcp:call"]).unwrap();
    let mut two: Request<()> = bearer(&token(OLD));
    two.headers_mut()
        .append("authorization", "Bearer x".parse().unwrap());
    let wrong_aud = token_for(OLD, 300, json!({ "aud": "https://other.example" }));
    let no_scope = token_for(OLD, 300, json!({ "aud": RESOURCE }));
    let cases = [
        (&plain, Request::new(()), 401, "mcp:read", ""),
        (&plain, request("Basic dXNlcjpwdw=="), 401, "mcp:read", ""),
        (
            &plain,
            bearer(&token(NEW)),
            401,
            "mcp:read",
            "invalid_token",
        ),
        (&plain, bearer(&wrong_aud), 401, "mcp:read", "invalid_token"),
        (
            &plain,
            request("Bearer a b"),
            400,
            "mcp:read",
            "invalid_request",
        ),
        (&plain, two, 400, "mcp:read", "invalid_request"),
        (&required, Request::new(()), 401, "mcp:call", ""),
        (
            &required,
            bearer(&token(NEW)),
            401,
            "mcp:call",
            "invalid_token",
        ),
        (
            &required,
            bearer(&no_scope),
            403,
            "mcp:call",
            "insufficient_scope",
        ),
    ];
    for (layer, request, status, scope, error) in cases {
        let response = send(layer, request).await;
        assert_eq!(response.status(), status);
        let refusal = response.extensions().get::<Refusal>().unwrap();
        let begin = format!("Bearer realm=\"restricted\", scope=\"{scope}\"");
        let error = match error {
            "" => String::new(),
            error => format!(
                ", error=\"{error}\", error_description=\"{}\"",
                refusal.description()
            ),
        };
        let expected = format!("{begin}{error}, {NAMES_IT}");
        assert_eq!(challenge(&response), expected);
    }
}

/// What layers further in ask for may come from anywhere.
#[tokio::test]
async fn no_scope_breaks_the_header_or_asks_for_offline_access() {
    let (_source, keyring) = keyring().await;
    let layer = layer(&keyring)
        .required_scopes(["a", "offline_access"])
        .unwrap();
    let claims = json!({ "aud": RESOURCE, "scope": "a offline_access" });
    let response = send(&layer, bearer(&token_for(OLD, 300, claims))).await;
    let caller = response.extensions().get::<Authentication>().unwrap();
    let refusal = caller.insufficient_scope([
        "b\", error=\"invalid_token",
        "c\r\nSet-Cookie: x",
        "d\\",
        "",
        "two words",
        "caf\u{e9}",
        "offline_access",
        "b",
        "a",
        "b",
    ]);
    let expected = format!(
        "Bearer realm=\"restricted\", scope=\"a b\", error=\"insufficient_scope\", \
         error_description=\"{}\", {NAMES_IT}",
        refusal.description()
    );
    assert_eq!(refusal.challenge().unwrap(), &expected);
}

#[tokio::test]
async fn what_would_break_a_header_or_lead_clients_astray_is_refused_at_build() {
    let (_source, keyring) = keyring().await;
    let server = "https://login.example";
    for resource in [
        "",
        "mcp",
        "/mcp",
        "http://api.example/mcp",
        "ftp://api.example/mcp",
        "https://api.example/mcp#top",
        "https://api.example/mcp?tenant=a",
        "https://user:pw@api.example/mcp",
        "https://api.example/\", error=\"x",
        "https://api.example/a\r\nSet-Cookie: x",
        "https://api.example/a b",
        "https://api.example/a/../b",
        "https://api.example:443/mcp",
        "https://API.example/mcp",
        "https://b\u{fc}cher.example/mcp",
    ] {
        let metadata = ResourceMetadata::new(resource).authorization_server(server);
        let layer = JwtRotationLayer::new(keyring.clone());
        assert!(layer.resource_metadata(metadata).is_err(), "{resource:?}");
    }
    for bad in [
        ResourceMetadata::new(RESOURCE),
        ResourceMetadata::new(RESOURCE).authorization_server("login.example"),
        ResourceMetadata::new(RESOURCE).authorization_server("http://login.example"),
        metadata().scopes(["a b"]),
        metadata().scopes(["a\""]),
        metadata().documentation("javascript:alert(1)"),
    ] {
        let layer = JwtRotationLayer::new(keyring.clone());
        assert!(layer.resource_metadata(bad.clone()).is_err(), "{bad:?}");
    }
}

/// A token for somebody else must not do, in whichever order the layer was told.
#[tokio::test]
async fn the_audience_is_the_resource_unless_one_is_named() {
    let (_source, keyring) = keyring().await;
    let tokens = || JwtRotationLayer::new(keyring.clone());
    let other = "https://other.example";
    let ours = [RESOURCE];
    let theirs = [other];
    let cases = [
        (layer(&keyring), &ours[..]),
        (
            tokens()
                .leeway(std::time::Duration::ZERO)
                .resource_metadata(metadata())
                .unwrap(),
            &ours,
        ),
        (layer(&keyring).claims(), &ours),
        (
            layer(&keyring)
                .resource_metadata(
                    ResourceMetadata::new(other).authorization_server("https://login.example"),
                )
                .unwrap(),
            &theirs,
        ),
        (layer(&keyring).audience(other), &theirs),
        (
            tokens()
                .audience(other)
                .resource_metadata(metadata())
                .unwrap(),
            &theirs,
        ),
        (layer(&keyring).any_audience(), &[RESOURCE, other, ""]),
    ];
    for (index, (layer, accepted)) in cases.iter().enumerate() {
        for aud in [RESOURCE, other, "https://api.example/mcp/", ""] {
            let claims = match aud {
                "" => json!({}),
                aud => json!({ "aud": ["x", aud] }),
            };
            let response = send(layer, bearer(&token_for(OLD, 300, claims))).await;
            let passes = accepted.contains(&aud) || accepted.len() > 2;
            assert_eq!(response.status() == 200, passes, "{index}: {aud}");
        }
    }
}

#[tokio::test]
async fn trusted_issuers_tokens_are_for_the_resource_too() {
    let (_source, keyring) = keyring().await;
    let issuer = async |name: &str, secret: &str| {
        let source = Memory::new(json!(secret).to_string());
        let keys = Keyring::<JwtKey>::builder(source).jwt_key(|key| key);
        Issuer::new(name, keys.build().await.unwrap())
    };
    let partner = issuer("https://partner.example", NEW).await;
    let tokens = || JwtRotationLayer::new(keyring.clone());
    let token = |aud: Option<&str>| {
        let mut claims = json!({ "iss": "https://partner.example" });
        if let Some(aud) = aud {
            claims["aud"] = aud.into();
        }
        token_for(NEW, 300, claims)
    };
    let before = tokens()
        .trust(partner.clone())
        .resource_metadata(metadata())
        .unwrap();
    let after = layer(&keyring).trust(partner.clone());
    for layer in [before, after] {
        for (aud, status) in [
            (Some(RESOURCE), 200),
            (Some("https://other.example"), 401),
            (None, 401),
        ] {
            let response = send(&layer, bearer(&token(aud))).await;
            assert_eq!(response.status(), status, "{aud:?}");
        }
    }
    let named = layer(&keyring).trust(partner.clone().audience("theirs"));
    assert_eq!(
        send(&named, bearer(&token(Some("theirs")))).await.status(),
        200
    );
    assert_eq!(
        send(&named, bearer(&token(Some(RESOURCE)))).await.status(),
        401
    );

    // Without metadata and audience it is still a mistake, and so is a claim with nothing to compare.
    let nothing = send(&tokens().trust(partner.clone()), bearer(&token(None))).await;
    assert_eq!(nothing.status(), 500);
    let claim = layer(&keyring).trust(partner.audience_claim("client_id"));
    assert_eq!(send(&claim, bearer(&token(None))).await.status(), 500);
}

#[tokio::test]
async fn clients_of_mcp_get_an_object_and_others_a_text() {
    let (_source, keyring) = keyring().await;
    let layer = layer(&keyring).respond_with(McpBody);
    let mut call: Request<()> = to("POST", "/mcp");
    let headers = call.headers_mut();
    headers.insert("content-type", "application/json".parse().unwrap());
    let both = "application/json, text/event-stream".parse().unwrap();
    headers.insert("accept", both);
    let response = send(&layer, call).await;
    assert_eq!(response.status(), 401);
    assert!(challenge(&response).ends_with(NAMES_IT));
    assert_eq!(
        header(response.headers(), "content-type"),
        Some("application/json")
    );
    let expected = json!({
        "jsonrpc": "2.0",
        "id": null,
        "error": { "code": -32600, "message": "this resource needs a bearer token" },
    });
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body, expected);
    // As the client of rmcp reads it.
    #[cfg(feature = "rmcp")]
    {
        let read: rmcp::model::JsonRpcError = serde_json::from_value(expected).unwrap();
        assert_eq!(read.error.message, "this resource needs a bearer token");
    }
    let response = send(&layer, to("GET", "/mcp")).await;
    assert_eq!(response.body(), "this resource needs a bearer token");
}

#[tokio::test]
async fn a_responder_of_ones_own_sees_the_kind_and_the_client() {
    let (_source, keyring) = keyring().await;
    let own = |refusal: &Refusal| {
        let text = format!("{} {}", refusal.kind().as_str(), refusal.is_mcp());
        Response::builder()
            .status(refusal.status())
            .body(Bytes::from(text))
            .unwrap()
    };
    let layer = layer(&keyring).respond_with(own);
    let mut call: Request<()> = bearer(&token(NEW));
    call.headers_mut()
        .insert("mcp-protocol-version", "2026-07-28".parse().unwrap());
    let response = send(&layer, call).await;
    assert_eq!(response.body(), "invalid_token true");
    let kind = response.extensions().get::<Refusal>().unwrap().kind();
    assert!(matches!(kind, RefusalKind::InvalidToken(_)));
    let response = send(&layer, Request::new(())).await;
    assert_eq!(response.body(), "no_credentials false");
    let stacked = ServiceBuilder::new().layer(layer);
    assert_eq!(send(&stacked, to("GET", WELL_KNOWN)).await.status(), 200);
}
