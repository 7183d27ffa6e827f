//! What the layers answer, and what they leave in a request.

use std::{
    convert::Infallible,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
use serde::Deserialize;
use serde_json::json;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_secrets::{
    Authentication, Claims, JwtKey, JwtRotationLayer, Keyring, RegisteredClaims, Secrets,
    SecretsLayer, VerifyErrorKind,
    layer::{Refusal, RefusalKind, TextBody},
    source::{Memory, Stage},
};

use crate::{App, NEW, OLD, bearer, bundle, keyring, request, token, token_for};

/// Request and response bodies that axum knows nothing of.
#[derive(Debug, Default, PartialEq)]
struct Ask(Vec<u16>);

#[derive(Debug, Default, PartialEq)]
struct Answer(Option<&'static str>);

/// What the inner service saw.
#[derive(Clone, Debug)]
struct Seen {
    secrets: Secrets<App>,
    authentication: Option<Authentication>,
    headers: HeaderMap,
}

async fn inner(request: Request<Ask>) -> Result<Response<Answer>, Infallible> {
    let mut response = Response::new(Answer(Some("inner")));
    let extensions = request.extensions();
    response.extensions_mut().insert(Seen {
        secrets: Secrets::from_extensions(extensions).unwrap(),
        authentication: extensions.get().cloned(),
        headers: request.headers().clone(),
    });
    Ok(response)
}

macro_rules! send {
    ($layer:expr, $request:expr) => {
        ServiceBuilder::new()
            .layer($layer)
            .service(service_fn(inner))
            .oneshot($request)
            .await
            .unwrap()
    };
}

fn seen(response: &Response<Answer>) -> &Seen {
    response
        .extensions()
        .get()
        .expect("the inner service was not reached")
}

#[track_caller]
fn assert_refused(response: &Response<Answer>, status: u16, kind: RefusalKind) {
    assert!(response.extensions().get::<Seen>().is_none());
    assert_eq!(*response.body(), Answer::default());
    assert_eq!(response.status(), status);
    let refusal = response.extensions().get::<Refusal>().unwrap();
    assert_eq!(refusal.kind(), kind);
    assert_eq!(
        refusal.challenge(),
        response.headers().get(WWW_AUTHENTICATE)
    );
}

fn challenge(response: &Response<Answer>) -> &str {
    response.headers()[WWW_AUTHENTICATE].to_str().unwrap()
}

#[tokio::test]
async fn a_good_token_brings_secrets_and_claims_of_one_generation() {
    let (_, keyring) = keyring().await;
    let response = send!(JwtRotationLayer::new(keyring.clone()), bearer(&token(OLD)));
    assert_eq!(*response.body(), Answer(Some("inner")));

    let Seen {
        secrets,
        authentication,
        headers,
    } = seen(&response);
    let authentication = authentication.as_ref().unwrap();
    assert_eq!(secrets.api_key, "first");
    assert_eq!(authentication.generation(), secrets.generation());
    assert_eq!(authentication.version(), secrets.version());
    assert_eq!(authentication.stage(), Stage::Current);
    assert!(!headers.contains_key(AUTHORIZATION));

    let claims: Claims = authentication.claims().unwrap();
    assert_eq!(claims.generation(), secrets.generation());
    assert_eq!(claims.version(), secrets.version());
    assert_eq!(claims.key_id(), authentication.key_id());
    let debug = format!("{authentication:?} {secrets:?}");
    assert!(!debug.contains(OLD) && !debug.contains("alice"), "{debug}");
}

#[tokio::test]
async fn claims_are_read_as_the_layer_was_told() {
    #[derive(Clone, Debug, Deserialize)]
    struct Roles {
        roles: Vec<String>,
    }

    let (_, keyring) = keyring().await;
    let token = token_for(OLD, 300, json!({ "roles": ["admin"] }));
    let response = send!(
        JwtRotationLayer::new(keyring).claims::<Roles>(),
        bearer(&token)
    );
    let authentication = seen(&response).authentication.as_ref().unwrap();
    assert_eq!(authentication.claims::<Roles>().unwrap().roles, ["admin"]);

    let error = authentication.claims::<RegisteredClaims>().unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("Roles") && text.contains("RegisteredClaims"),
        "{text}"
    );
}

#[tokio::test]
async fn the_replaced_key_goes_on_verifying_beside_the_new_one() {
    let (source, keyring) = keyring().await;
    let layer = JwtRotationLayer::new(keyring.clone());
    source.rotate(bundle(NEW, "second"));
    keyring.refresh().await.unwrap();

    for (secret, stage) in [(OLD, Stage::Previous), (NEW, Stage::Current)] {
        let response = send!(layer.clone(), bearer(&token(secret)));
        let seen = seen(&response);
        let authentication = seen.authentication.as_ref().unwrap();
        assert_eq!(authentication.stage(), stage);
        assert_eq!(authentication.generation(), seen.secrets.generation());
        assert_eq!(seen.secrets.api_key, "second");
    }
}

#[tokio::test]
async fn without_bearer_credentials_the_challenge_names_no_error() {
    let (_, keyring) = keyring().await;
    let layer = JwtRotationLayer::new(keyring);
    for request in [
        Request::new(Ask::default()),
        request("Basic dXNlcjpwdw=="),
        Request::builder()
            .uri(format!("/?access_token={}", token(OLD)))
            .body(Ask::default())
            .unwrap(),
    ] {
        let response = send!(layer.clone(), request);
        assert_refused(&response, 401, RefusalKind::NoCredentials);
        assert_eq!(challenge(&response), "Bearer realm=\"restricted\"");
    }
}

#[tokio::test]
async fn bad_grammar_is_an_invalid_request() {
    let (_, keyring) = keyring().await;
    let layer = JwtRotationLayer::new(keyring);
    let good = token(OLD);
    for value in [
        "Bearer",
        "Bearer ",
        "Bearer a b",
        &format!("Bearer {good}, x"),
        "Bearer\ta",
    ] {
        let response = send!(layer.clone(), request(value));
        assert_refused(&response, 400, RefusalKind::InvalidRequest);
        assert!(
            challenge(&response).contains("error=\"invalid_request\""),
            "{value}"
        );
    }
}

#[tokio::test]
async fn two_authorization_headers_are_an_invalid_request_whatever_they_hold() {
    let (_, keyring) = keyring().await;
    let mut request: Request<Ask> = bearer(&token(OLD));
    request
        .headers_mut()
        .append(AUTHORIZATION, HeaderValue::from_static("Basic x"));
    let response = send!(JwtRotationLayer::new(keyring), request);
    assert_refused(&response, 400, RefusalKind::InvalidRequest);
}

#[tokio::test]
async fn the_scheme_is_case_insensitive() {
    let (_, keyring) = keyring().await;
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        let value = format!("{scheme}  {}", token(OLD));
        let response = send!(JwtRotationLayer::new(keyring.clone()), request(&value));
        assert_eq!(response.status(), 200, "{scheme}");
    }
}

#[tokio::test]
async fn a_token_that_does_not_pass_is_an_invalid_token() {
    let (_, keyring) = keyring().await;
    let layer = JwtRotationLayer::new(keyring)
        .issuer("https://a.example")
        .issuer("https://b.example")
        .audience("mcp")
        .max_token_age(Duration::from_secs(600))
        .leeway(Duration::from_secs(5));
    let issued = |seconds: i64| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(now.as_secs()).unwrap() + seconds
    };
    let full = json!({ "iss": "https://b.example", "aud": ["other", "mcp"], "iat": issued(0) });
    let mut old = full.clone();
    old["iat"] = json!(issued(-700));
    let mut ageless = full.clone();
    ageless.as_object_mut().unwrap().remove("iat");
    let of = |iss: &str, aud: &str| json!({ "iss": iss, "aud": aud, "iat": issued(0) });
    let cases = [
        (token_for(OLD, -10, full.clone()), VerifyErrorKind::Expired),
        (token_for(OLD, 300, old), VerifyErrorKind::TooOld),
        (token_for(OLD, 300, ageless), VerifyErrorKind::MissingClaim),
        (
            token_for(NEW, 300, full.clone()),
            VerifyErrorKind::BadSignature,
        ),
        (
            token_for(
                OLD,
                300,
                json!({ "iss": "https://b.example", "iat": issued(0) }),
            ),
            VerifyErrorKind::MissingClaim,
        ),
        (
            token_for(OLD, 300, of("https://c.example", "mcp")),
            VerifyErrorKind::WrongIssuer,
        ),
        (
            token_for(OLD, 300, of("https://a.example", "x")),
            VerifyErrorKind::WrongAudience,
        ),
    ];
    for (token, kind) in cases {
        let response = send!(layer.clone(), bearer(&token));
        assert_refused(&response, 401, RefusalKind::InvalidToken(kind));
        let refusal = response.extensions().get::<Refusal>().unwrap();
        assert_eq!(refusal.verify_error(), Some(kind));
        let challenge = challenge(&response);
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        let description = format!("error_description=\"{}\"", refusal.description());
        assert!(challenge.contains(&description), "{challenge}");
        assert!(!format!("{refusal:?}").contains(&token));
    }
    let response = send!(layer, bearer(&token_for(OLD, -3, full)));
    assert_eq!(response.status(), 200, "within the leeway");
}

#[tokio::test]
async fn a_token_may_have_so_many_bytes() {
    let (_, keyring) = keyring().await;
    let token = token(OLD);
    let layer = JwtRotationLayer::new(keyring).max_token_bytes(token.len());
    assert_eq!(send!(layer.clone(), bearer(&token)).status(), 200);
    let layer = layer.max_token_bytes(token.len() - 1);
    assert_eq!(send!(layer, bearer(&token)).status(), 401);
}

#[tokio::test]
async fn anonymous_requests_pass_where_allowed_and_bad_tokens_do_not() {
    let (_, keyring) = keyring().await;
    let layer = JwtRotationLayer::new(keyring).allow_anonymous();
    for request in [Request::new(Ask::default()), request("Basic dXNlcjpwdw==")] {
        let response = send!(layer.clone(), request);
        assert_eq!(seen(&response).secrets.api_key, "first");
        assert!(seen(&response).authentication.is_none());
    }
    let response = send!(layer.clone(), bearer(&token(NEW)));
    assert_eq!(response.status(), 401);
    let response = send!(layer.clone(), request("Bearer a b"));
    assert_refused(&response, 400, RefusalKind::InvalidRequest);
    let response = send!(layer, bearer(&token(OLD)));
    assert!(seen(&response).authentication.is_some());
}

#[tokio::test]
async fn a_keyring_without_a_jwt_key_is_a_500_that_names_the_step() {
    let source = Memory::new(bundle(OLD, "first"));
    let keyring = Keyring::<App>::builder(source).build().await.unwrap();
    for request in [Request::new(Ask::default()), bearer(&token(OLD))] {
        let layer = JwtRotationLayer::new(keyring.clone()).allow_anonymous();
        let response = send!(layer, request);
        assert_refused(&response, 500, RefusalKind::Misconfigured);
        let refusal = response.extensions().get::<Refusal>().unwrap();
        assert!(refusal.description().contains(".jwt_key(..)"));
    }
    let response = send!(SecretsLayer::new(keyring), Request::new(Ask::default()));
    assert_eq!(seen(&response).secrets.api_key, "first");
}

#[tokio::test]
async fn responders_choose_the_body_and_the_realm_is_checked() {
    let (_, keyring) = keyring().await;
    let layer = JwtRotationLayer::new(keyring)
        .respond_with(|refusal: &Refusal| Response::new(Answer(Some(refusal.kind().as_str()))));
    assert!(layer.clone().realm("a\r\nb").is_err());
    let response = send!(layer.realm("tools").unwrap(), Request::new(Ask::default()));
    assert_eq!(response.status(), 401);
    assert_eq!(*response.body(), Answer(Some("no_credentials")));
    assert_eq!(challenge(&response), "Bearer realm=\"tools\"");
}

#[tokio::test]
async fn text_bodies_for_what_is_made_from_bytes() {
    let (_, keyring) = keyring().await;
    let response = ServiceBuilder::new()
        .layer(JwtRotationLayer::new(keyring).respond_with(TextBody))
        .service(service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Response::new(bytes::Bytes::new()))
        }))
        .oneshot(Request::new(()))
        .await
        .unwrap();
    assert_eq!(*response.body(), "this resource needs a bearer token");
}

#[tokio::test]
async fn stacked_layers_of_one_keyring_share_one_snapshot() {
    let (source, keyring) = keyring().await;
    let tokens = JwtRotationLayer::new(keyring.clone()).layer(service_fn(inner));
    let rotating = keyring.clone();
    // A rotation between two layers is what would tear a request apart.
    let service = SecretsLayer::new(keyring).layer(service_fn(async |request: Request<Ask>| {
        source.rotate(bundle(NEW, "second"));
        rotating.refresh().await.unwrap();
        tokens.clone().oneshot(request).await
    }));
    let response = service.oneshot(bearer(&token(OLD))).await.unwrap();
    let seen = seen(&response);
    assert_eq!(seen.secrets.api_key, "first");
    let authentication = seen.authentication.as_ref().unwrap();
    assert_eq!(authentication.generation(), seen.secrets.generation());
    assert_eq!(authentication.stage(), Stage::Current);
}

#[tokio::test]
async fn another_keyring_of_the_same_bundle_type_is_not_trusted() {
    let (_, ours) = keyring().await;
    let theirs = Keyring::<App>::builder(Memory::new(bundle(NEW, "theirs")))
        .jwt_key(|app: &App| &app.jwt_secret)
        .build()
        .await
        .unwrap();
    let layers = || {
        ServiceBuilder::new()
            .layer(SecretsLayer::new(theirs.clone()))
            .layer(JwtRotationLayer::new(ours.clone()))
            .service(service_fn(inner))
    };
    let response = layers().oneshot(bearer(&token(NEW))).await.unwrap();
    assert_eq!(response.status(), 401);
    let response = layers().oneshot(bearer(&token(OLD))).await.unwrap();
    assert_eq!(seen(&response).secrets.api_key, "first");
}

#[tokio::test]
async fn a_secrets_layer_inside_keeps_the_caller() {
    let (_, keyring) = keyring().await;
    let service = ServiceBuilder::new()
        .layer(JwtRotationLayer::new(keyring.clone()))
        .layer(SecretsLayer::new(keyring))
        .service(service_fn(inner));
    let response = service.oneshot(bearer(&token(OLD))).await.unwrap();
    assert!(seen(&response).authentication.is_some());
}

/// Who was verified further out does not become nobody, whoever took the header.
#[tokio::test]
async fn an_inner_layer_makes_no_anonymous_caller_of_a_known_one() {
    let (_, keyring) = keyring().await;
    let service = ServiceBuilder::new()
        .layer(JwtRotationLayer::new(keyring.clone()))
        .map_request(|mut request: Request<Ask>| {
            request.headers_mut().remove(AUTHORIZATION);
            request
        })
        .layer(JwtRotationLayer::new(keyring).allow_anonymous())
        .service(service_fn(inner));
    let response = service.oneshot(bearer(&token(OLD))).await.unwrap();
    assert_eq!(response.status(), 500);
}

/// A bundle of another type with the same members.
#[derive(Deserialize)]
struct Other {
    jwt_secret: JwtKey,
    api_key: String,
}

async fn app(api_key: &str) -> Keyring<App> {
    let builder = Keyring::<App>::builder(Memory::new(bundle(OLD, api_key)));
    let builder = builder.jwt_key(|app| &app.jwt_secret);
    builder.build().await.unwrap()
}

/// In generation 2, to be told from [`app`]'s.
async fn other() -> Keyring<Other> {
    let source = Memory::new(bundle(OLD, "not yet"));
    let builder = Keyring::<Other>::builder(source.clone()).jwt_key(|other| &other.jwt_secret);
    let keyring = builder.build().await.unwrap();
    source.rotate(bundle(OLD, "other"));
    keyring.refresh().await.unwrap();
    keyring
}

/// The API keys of both types' bundles, and the generation of what the caller was verified by.
type Left = [Option<String>; 3];

/// What these layers leave in the request, and in a clone of its extensions.
macro_rules! left {
    ($($layer:expr),+) => {{
        let service = ServiceBuilder::new()
            $(.layer($layer))+
            .service(service_fn(async |request: Request<Ask>| {
                let own = left(request.extensions());
                assert_eq!(left(&request.extensions().clone()), own);
                let mut response = Response::new(Answer::default());
                response.extensions_mut().insert(own);
                Ok::<_, Infallible>(response)
            }));
        let response = service.oneshot(bearer(&token(OLD))).await.unwrap();
        response.extensions().get::<Left>().unwrap().clone()
    }};
}

fn left(extensions: &http::Extensions) -> Left {
    let app = Secrets::<App>::from_extensions(extensions).ok();
    let other = Secrets::<Other>::from_extensions(extensions).ok();
    let caller = extensions.get::<Authentication>();
    [
        app.map(|app| app.api_key.clone()),
        other.map(|other| other.api_key.clone()),
        caller.map(|caller| caller.generation().to_string()),
    ]
}

/// The nearer layer's caller counts, and each type's nearest bundle is within reach.
#[tokio::test]
async fn layers_over_several_keyrings_hide_nothing_but_what_is_farther_of_the_same_type() {
    let [a, b] = [app("a").await, app("b").await];
    let other = other().await;
    let tokens_a = || JwtRotationLayer::new(a.clone()).keep_authorization();
    let tokens_b = || JwtRotationLayer::new(b.clone()).keep_authorization();
    let tokens_other = || JwtRotationLayer::new(other.clone()).keep_authorization();
    let none = None::<&str>;
    let cases = [
        (left!(tokens_a()), [Some("a"), none, Some("1")]),
        (left!(tokens_a(), tokens_b()), [Some("b"), none, Some("1")]),
        (
            left!(tokens_a(), tokens_other()),
            [Some("a"), Some("other"), Some("2")],
        ),
        (
            left!(tokens_other(), tokens_a()),
            [Some("a"), Some("other"), Some("1")],
        ),
        (
            left!(tokens_a(), tokens_other(), tokens_b()),
            [Some("b"), Some("other"), Some("1")],
        ),
        (
            left!(tokens_a(), SecretsLayer::new(b.clone())),
            [Some("b"), none, Some("1")],
        ),
        (
            left!(SecretsLayer::new(b.clone()), tokens_a()),
            [Some("a"), none, Some("1")],
        ),
        (
            left!(tokens_a(), SecretsLayer::new(b.clone()), tokens_other()),
            [Some("b"), Some("other"), Some("2")],
        ),
        (
            left!(tokens_a(), SecretsLayer::new(other.clone())),
            [Some("a"), Some("other"), Some("1")],
        ),
    ];
    for (index, (left, expected)) in cases.into_iter().enumerate() {
        assert_eq!(left, expected.map(|it| it.map(str::to_owned)), "{index}");
    }
}

#[tokio::test]
async fn a_layer_of_another_keyring_makes_no_nobody_of_a_known_caller() {
    let (outer, inner) = (app("a").await, other().await);
    let service = ServiceBuilder::new()
        .layer(JwtRotationLayer::new(outer))
        .map_request(|mut request: Request<Ask>| {
            request.headers_mut().remove(AUTHORIZATION);
            request
        })
        .layer(JwtRotationLayer::new(inner).allow_anonymous())
        .service(service_fn(async |_: Request<Ask>| {
            Ok::<_, Infallible>(Response::new(Answer::default()))
        }));
    let response = service.oneshot(bearer(&token(OLD))).await.unwrap();
    assert_eq!(response.status(), 500);
}

/// Whoever keeps claims for a session keeps no bundle in memory with them.
#[tokio::test]
async fn claims_hold_no_snapshot() {
    let (source, keyring) = keyring().await;
    let response = send!(JwtRotationLayer::new(keyring.clone()), bearer(&token(OLD)));
    let Seen {
        secrets,
        authentication,
        ..
    } = seen(&response).clone();
    drop(response);
    let bundle = std::sync::Arc::downgrade(&secrets.bundle());
    let claims: Claims = authentication.as_ref().unwrap().claims().unwrap();
    for api_key in ["second", "third"] {
        source.rotate(crate::bundle(NEW, api_key));
        keyring.refresh().await.unwrap();
    }
    drop(secrets);
    assert!(bundle.upgrade().is_some(), "held by the request");
    drop(authentication);
    assert!(bundle.upgrade().is_none());
    assert_eq!((claims.sub(), claims.generation()), (Some("alice"), 1));
}
