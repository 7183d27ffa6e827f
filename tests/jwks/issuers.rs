//! More than one issuer in one layer.

use serde::Deserialize;
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_secrets::{
    Claims, JwtKey, JwtRotationLayer, Keyring, Secrets, SecretsLayer, VerifyErrorKind,
    clock::TokioClock,
    layer::{Issuer, Refusal, RefusalKind},
    provider::IdentityProvider,
    source::{Jwks, Memory, SourceError, SourceErrorKind, Stage},
};

use crate::{
    SECOND, ask_layer, builder,
    idp::{Answer, KeyServer, SigningKey, set},
};

const LOGIN: &str = "https://login.example";
const PARTNER: &str = "https://partner.example";
const OURS: &str = "https://mcp.example";

#[derive(Deserialize)]
struct App {
    api_key: String,
}

struct Idp {
    key: SigningKey,
    server: KeyServer,
    keyring: Keyring<JwtKey>,
}

impl Idp {
    async fn new(kid: &str) -> Self {
        let key = SigningKey::new(kid);
        let server = KeyServer::serving(&[&key]).await;
        let keyring = builder(Jwks::new(server.keys_url())).build().await.unwrap();
        Self {
            key,
            server,
            keyring,
        }
    }

    fn token(&self, iss: &str, aud: &str) -> String {
        self.key.token(json!({ "iss": iss, "aud": aud }))
    }
}

/// Without a `jwt_key`: the app has secrets, and none of them signs tokens.
async fn app() -> Keyring<App> {
    let source = Memory::new(r#"{"api_key":"k"}"#);
    Keyring::<App>::builder(source).build().await.unwrap()
}

async fn refusal<T: Send + Sync + 'static>(
    layer: &JwtRotationLayer<T>,
    token: &str,
) -> RefusalKind {
    full_refusal(layer, token).await.kind()
}

async fn full_refusal<T: Send + Sync + 'static>(
    layer: &JwtRotationLayer<T>,
    token: &str,
) -> Refusal {
    let service = layer.layer(service_fn(async |_: http::Request<()>| {
        Ok::<_, std::convert::Infallible>(http::Response::new(()))
    }));
    let request = http::Request::builder().header("authorization", format!("Bearer {token}"));
    let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
    response
        .extensions()
        .get::<Refusal>()
        .expect("it was let through")
        .clone()
}

#[tokio::test]
async fn iss_chooses_the_keys_and_no_key_verifies_anothers_token() {
    // Both call their key by the same name.
    let [login, partner] = [Idp::new("1").await, Idp::new("1").await];
    let layer = JwtRotationLayer::new(app().await)
        .trust(Issuer::new(LOGIN, login.keyring.clone()).audience(OURS))
        .trust(Issuer::new(PARTNER, partner.keyring.clone()).audience("partner-api"));
    let ask = async |token: String| ask_layer(&layer, &token).await.is_ok();

    // Twice: the second answer may come from the memory of tokens.
    for _ in 0..2 {
        assert!(ask(login.token(LOGIN, OURS)).await);
        assert!(ask(partner.token(PARTNER, "partner-api")).await);
        for (token, why) in [
            (
                login.token(PARTNER, "partner-api"),
                VerifyErrorKind::BadSignature,
            ),
            (partner.token(LOGIN, OURS), VerifyErrorKind::BadSignature),
            (
                login.token(LOGIN, "partner-api"),
                VerifyErrorKind::WrongAudience,
            ),
            (partner.token(PARTNER, OURS), VerifyErrorKind::WrongAudience),
            (
                login.token("https://login.example/", OURS),
                VerifyErrorKind::WrongIssuer,
            ),
            (login.token("", OURS), VerifyErrorKind::WrongIssuer),
            (
                login.key.token(json!({ "aud": OURS })),
                VerifyErrorKind::MissingClaim,
            ),
            ("a.b.c".to_owned(), VerifyErrorKind::Malformed),
        ] {
            assert_eq!(
                refusal(&layer, &token).await,
                RefusalKind::InvalidToken(why)
            );
        }
    }
}

#[tokio::test]
async fn the_layers_own_keyring_gives_the_secrets() {
    let login = Idp::new("1").await;
    let layer = JwtRotationLayer::new(app().await)
        .trust(Issuer::new(LOGIN, login.keyring.clone()).audience(OURS));
    let service = layer.layer(service_fn(async |request: http::Request<()>| {
        let secrets = Secrets::<App>::from_extensions(request.extensions()).unwrap();
        let claims: Claims = Claims::from_extensions(request.extensions()).unwrap();
        assert_eq!(secrets.api_key, "k");
        assert_eq!(claims.key_id().as_str(), "1");
        assert_eq!(claims.stage(), Stage::Current);
        assert_ne!(claims.version(), secrets.version());
        Ok::<_, std::convert::Infallible>(http::Response::new(()))
    }));
    let token = login.token(LOGIN, OURS);
    let request = http::Request::builder().header("authorization", format!("Bearer {token}"));
    let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn its_own_tokens_pass_beside_them_where_it_has_a_name() {
    let ours = Idp::new("ours").await;
    let login = Idp::new("login").await;
    let trusting = || Issuer::new(LOGIN, login.keyring.clone()).audience(OURS);
    let nameless = JwtRotationLayer::new(ours.keyring.clone()).trust(trusting());
    let named = JwtRotationLayer::new(ours.keyring.clone())
        .issuer("us")
        .trust(trusting());
    let own = ours.token("us", OURS);
    assert!(ask_layer(&named, &own).await.is_ok());
    assert_eq!(
        refusal(&nameless, &own).await,
        RefusalKind::InvalidToken(VerifyErrorKind::WrongIssuer)
    );
    let as_login = ours.token(LOGIN, OURS);
    assert!(ask_layer(&named, &as_login).await.is_err());
    assert!(ask_layer(&named, &login.token("us", OURS)).await.is_err());
    assert!(ask_layer(&named, &login.token(LOGIN, OURS)).await.is_ok());
}

#[tokio::test]
async fn an_unknown_key_asks_its_own_issuer_and_no_other() {
    let [login, partner] = [Idp::new("1").await, Idp::new("2").await];
    let layer = JwtRotationLayer::new(app().await)
        .trust(Issuer::new(LOGIN, login.keyring.clone()).audience(OURS))
        .trust(Issuer::new(PARTNER, partner.keyring.clone()).audience(OURS));
    let next = SigningKey::new("next");
    login
        .server
        .put("/keys", Answer::ok(set(&[&login.key, &next])));
    let (of_login, of_partner) = (login.server.requests(), partner.server.requests());
    let claims = json!({ "iss": LOGIN, "aud": OURS });
    assert!(ask_layer(&layer, &next.token(claims)).await.is_ok());
    assert_eq!(login.server.requests(), of_login + 1);
    assert_eq!(partner.server.requests(), of_partner);
}

#[tokio::test]
async fn claims_are_read_as_the_layers_type_whoever_issued_them() {
    #[derive(Deserialize)]
    struct Tenant {
        tenant: String,
    }

    let login = Idp::new("1").await;
    let issuer = Issuer::new(LOGIN, login.keyring.clone()).audience(OURS);
    let registered = JwtRotationLayer::new(app().await).trust(issuer.clone());
    let token = login
        .key
        .token(json!({ "iss": LOGIN, "aud": OURS, "tenant": "t" }));
    assert!(ask_layer(&registered, &token).await.is_ok());
    // The same value, after its token was remembered with claims of another type.
    let own = JwtRotationLayer::new(app().await)
        .trust(issuer)
        .claims::<Tenant>();
    let service = own.layer(service_fn(async |request: http::Request<()>| {
        let claims = Claims::<Tenant>::from_extensions(request.extensions()).unwrap();
        assert_eq!(claims.tenant, "t");
        Ok::<_, std::convert::Infallible>(http::Response::new(()))
    }));
    let request = http::Request::builder().header("authorization", format!("Bearer {token}"));
    let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn an_issuers_keyring_without_a_key_is_a_mistake_that_is_named() {
    let keyless = Keyring::<JwtKey>::builder(Memory::new(r#""0123456789abcdef0123456789abcdef""#));
    let keyless = keyless.build().await.unwrap();
    let layer =
        JwtRotationLayer::new(app().await).trust(Issuer::new(LOGIN, keyless).audience(OURS));
    let token = SigningKey::new("1").token(json!({ "iss": LOGIN }));
    assert_eq!(refusal(&layer, &token).await, RefusalKind::Misconfigured);
    let named = JwtRotationLayer::new(app().await).issuer("us");
    let login = Idp::new("1").await;
    let named = named.trust(Issuer::new(LOGIN, login.keyring.clone()).audience(OURS));
    let token = login.token("us", OURS);
    assert_eq!(refusal(&named, &token).await, RefusalKind::Misconfigured);
}

#[tokio::test]
async fn an_id_token_is_no_access_token() {
    let login = Idp::new("1").await;
    let trusting = || Issuer::new(LOGIN, login.keyring.clone()).audience(OURS);
    let layer = JwtRotationLayer::new(app().await).trust(trusting());
    let lax = JwtRotationLayer::new(app().await).trust(trusting().allow_id_tokens());
    for mark in [
        json!({ "nonce": "n" }),
        json!({ "at_hash": "h" }),
        json!({ "typ": "ID" }),
        json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {} } }),
    ] {
        let mut claims = json!({ "iss": LOGIN, "aud": OURS });
        claims
            .as_object_mut()
            .unwrap()
            .extend(mark.as_object().unwrap().clone());
        let token = login.key.token(claims);
        let kind = RefusalKind::InvalidToken(VerifyErrorKind::WrongUse);
        assert_eq!(refusal(&layer, &token).await, kind);
        assert!(ask_layer(&lax, &token).await.is_ok());
    }
}

#[tokio::test]
async fn an_issuer_has_rules_of_its_own() {
    let login = Idp::new("1").await;
    let issuer = Issuer::new(LOGIN, login.keyring.clone())
        .audience(OURS)
        .subject("alice")
        .required_claim("token_use", "access");
    let layer = JwtRotationLayer::new(app().await).trust(issuer);
    for (sub, token_use, wrong) in [
        ("alice", "access", None),
        ("bob", "access", Some(VerifyErrorKind::WrongSubject)),
        ("alice", "id", Some(VerifyErrorKind::WrongUse)),
    ] {
        let claims = json!({ "iss": LOGIN, "aud": OURS, "sub": sub, "token_use": token_use });
        let token = login.key.token(claims);
        match wrong {
            None => assert!(ask_layer(&layer, &token).await.is_ok()),
            Some(kind) => {
                let kind = RefusalKind::InvalidToken(kind);
                assert_eq!(refusal(&layer, &token).await, kind);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_issuer_whose_keys_are_too_old_judges_nothing() {
    let key = SigningKey::new("1");
    let source = Memory::new(set(&[&key]));
    let stale_after = 36_000 * SECOND;
    let keyring = builder(source.clone())
        .refuse_after(stale_after)
        .clock(TokioClock::new());
    let issuer = Issuer::new(LOGIN, keyring.build().await.unwrap()).audience(OURS);
    let layer = JwtRotationLayer::new(app().await).trust(issuer);
    let token = key.token(json!({ "iss": LOGIN, "aud": OURS, "exp": 4_000_000_000_u64 }));
    assert!(ask_layer(&layer, &token).await.is_ok());
    let down = SourceError::new(SourceErrorKind::Unavailable, "down");
    source.fail_next(usize::MAX, down);
    tokio::time::sleep(stale_after + SECOND).await;
    assert_eq!(refusal(&layer, &token).await, RefusalKind::Stale);
}

#[tokio::test]
async fn an_issuer_without_an_audience_is_a_mistake_that_is_named() {
    let login = Idp::new("1").await;
    let keyring = || login.keyring.clone();
    let trusting = |issuer: Issuer| JwtRotationLayer::new(keyring()).issuer("us").trust(issuer);
    let nobodys = Issuer::new(LOGIN, keyring());
    let of_auth0 = IdentityProvider::auth0("login.example");
    let token = login.token("https://login.example/", OURS);
    for layer in [
        trusting(nobodys.clone()),
        trusting(Issuer::of(&of_auth0, keyring())),
        JwtRotationLayer::new(keyring()).provider(&of_auth0),
        JwtRotationLayer::new(keyring()).audience_claim("client_id"),
        trusting(nobodys.clone().audience_claim("client_id")),
    ] {
        for token in [&*login.token(LOGIN, OURS), &*token, "a.b.c"] {
            let refusal = full_refusal(&layer, token).await;
            assert_eq!(refusal.kind(), RefusalKind::Misconfigured);
            assert_eq!(refusal.status(), 500);
            assert!(refusal.description().contains("`.audience(..)`"));
        }
    }
    for layer in [
        trusting(Issuer::of(&of_auth0, keyring()).any_audience()),
        trusting(Issuer::of(&of_auth0, keyring()).audience(OURS)),
        JwtRotationLayer::new(keyring())
            .any_audience()
            .provider(&of_auth0),
        JwtRotationLayer::new(keyring()),
    ] {
        assert!(ask_layer(&layer, &token).await.is_ok());
    }
}

#[tokio::test]
async fn two_providers_over_one_set_of_keys_are_a_mistake_that_is_named() {
    let login = Idp::new("1").await;
    let [one, two] = ["login.example", "partner.example"].map(IdentityProvider::auth0);
    let layer = JwtRotationLayer::new(login.keyring.clone()).audience(OURS);
    let layer = layer.provider(&one).provider(&two);
    for provider in [&one, &two] {
        let refusal = full_refusal(&layer, &login.token(provider.issuer(), OURS)).await;
        assert_eq!(refusal.kind(), RefusalKind::Misconfigured);
        assert!(refusal.description().contains("`.trust(Issuer::of(..))`"));
    }
}

#[tokio::test]
async fn the_length_of_a_token_is_bounded_alike_for_every_issuer() {
    let login = Idp::new("1").await;
    let trusted = || Issuer::new(LOGIN, login.keyring.clone()).audience(OURS);
    let of_length = |filler: usize| {
        let claims = json!({ "iss": LOGIN, "aud": OURS, "x": "x".repeat(filler) });
        login.key.token(claims)
    };
    let long = of_length(20_000);
    let (bytes, too_long) = (long.len(), of_length(20_003));
    for layer in [
        JwtRotationLayer::new(app().await)
            .max_token_bytes(bytes)
            .trust(trusted()),
        JwtRotationLayer::new(app().await)
            .trust(trusted())
            .max_token_bytes(bytes),
    ] {
        assert!(ask_layer(&layer, &long).await.is_ok());
        let kind = RefusalKind::InvalidToken(VerifyErrorKind::TooLong);
        assert_eq!(refusal(&layer, &too_long).await, kind);
    }
}

#[tokio::test]
async fn who_waits_for_an_issuers_key_keeps_the_secrets_that_were_pinned() {
    let login = Idp::new("1").await;
    let source = Memory::new(r#"{"api_key":"pinned"}"#);
    let app = Keyring::<App>::builder(source.clone());
    let app = app.build().await.unwrap();
    let tokens = JwtRotationLayer::new(app.clone())
        .trust(Issuer::new(LOGIN, login.keyring.clone()).audience(OURS))
        .layer(service_fn(async |request: http::Request<()>| {
            let secrets = Secrets::<App>::from_extensions(request.extensions()).unwrap();
            assert_eq!(secrets.api_key, "pinned");
            Ok::<_, std::convert::Infallible>(http::Response::new(()))
        }));
    let next = SigningKey::new("next");
    login
        .server
        .put("/keys", Answer::ok(set(&[&login.key, &next])));
    let outer = SecretsLayer::new(app.clone()).layer(service_fn(move |request| {
        let (source, app, tokens) = (source.clone(), app.clone(), tokens.clone());
        async move {
            source.rotate(r#"{"api_key":"newer"}"#);
            app.refresh().await.unwrap();
            tokens.oneshot(request).await
        }
    }));
    let token = next.token(json!({ "iss": LOGIN, "aud": OURS }));
    let request = http::Request::builder().header("authorization", format!("Bearer {token}"));
    let response = outer.oneshot(request.body(()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
}
