//! What reviews found in the verifier, its keys and its memory; each test failed once, or guards a
//! neighbour of what did.

#![allow(clippy::unwrap_used)]

use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, SystemTime},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{Request, Response};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_secrets::{JwtKey, JwtRotationLayer, Keyring, RegisteredClaims, Secrets, source::Memory};

#[path = "support/load.rs"]
mod load;

#[derive(Deserialize)]
struct App {
    jwt: JwtKey,
}

async fn build(key: &serde_json::Value, cache: usize) -> Result<(Keyring<App>, Memory), String> {
    let source = Memory::new(json!({ "jwt": key }).to_string());
    let built = Keyring::<App>::builder(source.clone())
        .activation_delay(std::time::Duration::ZERO)
        .jwt_key(|app| &app.jwt)
        .token_cache(cache)
        .build()
        .await;
    built
        .map(|keyring| (keyring, source))
        .map_err(|error| error.to_string())
}

async fn status<C>(layer: &JwtRotationLayer<App, C>, token: &str) -> u16
where
    C: serde::de::DeserializeOwned + Send + Sync + 'static,
{
    let service = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(String::new()))
    }));
    let request = Request::builder()
        .header("authorization", format!("Bearer {token}"))
        .body(())
        .unwrap();
    service.oneshot(request).await.unwrap().status().as_u16()
}

// --- keys ------------------------------------------------------------------------------------

const ED25519_SPKI: &str = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";

/// SECURITY.md: "A public key is never taken for a secret."
#[tokio::test]
async fn a_public_key_is_never_taken_for_a_secret() {
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{ED25519_SPKI}\n-----END PUBLIC KEY-----\n");
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let hex: String = STANDARD
        .decode(ED25519_SPKI)
        .unwrap()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut taken = Vec::new();
    for (form, text) in [
        ("base64 of a PEM, as in a Secret's `data`", STANDARD.encode(&pem)),
        ("a JWK in a JSON string in a JSON string", serde_json::to_string(&jwk.to_string()).unwrap()),
        ("base64 of a JWK", STANDARD.encode(jwk.to_string())),
        ("ssh-ed25519", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBm/RAlphM3+hUG6wWfcO5bIUIaqMLa2ywxcOK1wMWbh me@host".to_owned()),
        ("ssh-rsa", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7 me@host".to_owned()),
        ("RFC 4716", "---- BEGIN SSH2 PUBLIC KEY ----\nAAAAB3NzaC1yc2EAAAADAQABAAAB\n---- END SSH2 PUBLIC KEY ----".to_owned()),
        ("DER in hexadecimal", hex),
    ] {
        if build(&json!(text), 0).await.is_ok() {
            taken.push(form);
        }
    }
    assert!(taken.is_empty(), "taken for an HMAC secret: {taken:#?}");
}

// --- memory of tokens ------------------------------------------------------------------------

static LIVE: AtomicUsize = AtomicUsize::new(0);

struct Counted;

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer)?;
        LIVE.fetch_add(1, Ordering::Relaxed);
        Ok(Self)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that holds its `Secrets` for hours must not hold the claims of every caller of its
/// generation: nobody verifies against a replaced snapshot any more.
#[tokio::test]
async fn a_replaced_snapshot_lets_go_of_its_tokens_though_a_stream_holds_it() {
    let key = load::Key::new(load::Kind::EdDsa);
    let (keyring, source) = build(&json!(key.text), 1_000).await.unwrap();
    let layer = JwtRotationLayer::new(keyring.clone()).claims::<Counted>();
    let stream: Secrets<App> = keyring.current();
    for caller in 0..100 {
        let claims = RegisteredClaims::new(format!("user-{caller}"))
            .expires_at(SystemTime::now() + Duration::from_secs(300));
        let token = keyring.signer().sign(&claims).unwrap();
        assert_eq!(status(&layer, &token).await, 200);
    }
    assert_eq!(LIVE.load(Ordering::Relaxed), 100);
    let next = load::Key::new(load::Kind::Es256);
    source.rotate(json!({ "jwt": next.text }).to_string());
    assert!(keyring.refresh().await.unwrap().is_swapped());
    let held = LIVE.load(Ordering::Relaxed);
    drop(stream);
    assert_eq!(held, 0, "claims held by a snapshot that was replaced");
}

#[tokio::test]
async fn every_capacity_of_the_cache_works() {
    let key = load::Key::new(load::Kind::EdDsa);
    for capacity in [1, 2, 3, 31, 32, 33, 64, usize::MAX / 2, usize::MAX] {
        let (keyring, _) = build(&json!(key.text), capacity).await.unwrap();
        let layer = JwtRotationLayer::new(keyring.clone());
        for caller in 0..200 {
            let claims = RegisteredClaims::new(format!("user-{caller}"))
                .expires_at(SystemTime::now() + Duration::from_secs(300));
            let token = keyring.signer().sign(&claims).unwrap();
            assert_eq!(status(&layer, &token).await, 200, "{capacity}");
            assert_eq!(status(&layer, &token).await, 200, "{capacity}");
        }
    }
}

#[tokio::test]
async fn durations_of_any_size_are_no_panic() {
    let key = load::Key::new(load::Kind::EdDsa);
    let (keyring, _) = build(&json!(key.text), 10).await.unwrap();
    for (leeway, age) in [
        (Duration::MAX, Duration::MAX),
        (Duration::ZERO, Duration::MAX),
        (Duration::MAX, Duration::ZERO),
    ] {
        let layer = JwtRotationLayer::new(keyring.clone())
            .leeway(leeway)
            .max_token_age(age);
        for claims in [
            json!({ "exp": 0, "iat": i64::MAX, "nbf": i64::MAX }),
            json!({ "exp": i64::MAX, "iat": i64::MIN, "nbf": i64::MIN }),
            json!({ "exp": 9.2e18, "iat": -9.2e18, "nbf": 0.999_999_999_9 }),
        ] {
            let token = keyring.signer().sign(&claims).unwrap();
            status(&layer, &token).await;
            status(&layer, &token).await;
        }
    }
}

// --- features of serde_json that another crate of the user's graph may switch on ---------------

/// With `serde_json/arbitrary_precision`, `serde_json::Number` reads this object as a number.
#[tokio::test]
async fn an_object_is_no_time_whatever_the_features_of_serde_json() {
    let (keyring, _) = build(&json!("0123456789abcdef0123456789abcdef"), 0)
        .await
        .unwrap();
    let layer = JwtRotationLayer::new(keyring.clone()).claims::<Skip>();
    let token = sign_text(&keyring, r#"{"exp":4000000000}"#);
    assert_eq!(status(&layer, &token).await, 200);
    let token = sign_text(
        &keyring,
        r#"{"exp":{"$serde_json::private::Number":"4000000000"}}"#,
    );
    assert_eq!(status(&layer, &token).await, 401);
}

#[derive(Deserialize)]
struct Skip {}

fn sign_text(keyring: &Keyring<App>, claims: &str) -> String {
    let template = keyring.signer().sign(&json!({ "exp": 1 })).unwrap();
    let header = template.split('.').next().unwrap();
    let input = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let key = aws_lc_rs::hmac::Key::new(
        aws_lc_rs::hmac::HMAC_SHA256,
        b"0123456789abcdef0123456789abcdef",
    );
    let tag = aws_lc_rs::hmac::sign(&key, input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// A claims type that nests or flattens `RegisteredClaims` refuses every token.
#[test]
fn registered_claims_are_read_whatever_the_features_of_serde_json() {
    for text in [r#"{"exp":5}"#, r#"{"exp":5.5,"iat":1,"nbf":2}"#] {
        let read = serde_json::from_str::<RegisteredClaims>(text);
        assert!(read.is_ok(), "{text}: {read:?}");
    }
}

#[tokio::test]
async fn a_custom_claims_type_around_registered_claims_verifies() {
    #[derive(Deserialize)]
    #[allow(dead_code, reason = "only read")]
    struct Mine {
        #[serde(flatten)]
        registered: RegisteredClaims,
        role: Option<String>,
    }
    let (keyring, _) = build(&json!("0123456789abcdef0123456789abcdef"), 0)
        .await
        .unwrap();
    let layer = JwtRotationLayer::new(keyring.clone()).claims::<Mine>();
    let token = sign_text(&keyring, r#"{"exp":4000000000,"sub":"a"}"#);
    assert_eq!(status(&layer, &token).await, 200);
}

#[test]
fn a_number_in_the_place_of_a_key_is_named_whatever_the_features_of_serde_json() {
    let error = serde_json::from_str::<App>(r#"{"jwt":5}"#)
        .err()
        .map(|error| error.to_string());
    assert!(
        error
            .as_deref()
            .is_some_and(|error| error.contains("a number")),
        "{error:?}"
    );
}

// --- choice of keys --------------------------------------------------------------------------

fn secret_jwk(byte: u8, kid: &str) -> serde_json::Value {
    json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode([byte; 32]), "kid": kid })
}

/// A replica that has met the new version signs under the new name already.
#[tokio::test]
async fn the_name_that_current_has_in_the_pending_version_is_known_before_the_flip() {
    let (keyring, source) = build(&secret_jwk(1, "a"), 0).await.unwrap();
    let (ahead, _) = build(&secret_jwk(1, "b"), 0).await.unwrap();
    let layer = JwtRotationLayer::new(keyring.clone());
    let claims =
        RegisteredClaims::new("s").expires_at(SystemTime::now() + Duration::from_secs(300));
    let token = ahead.signer().sign(&claims).unwrap();
    assert_eq!(status(&layer, &token).await, 401);
    source.stage_pending(json!({ "jwt": secret_jwk(1, "b") }).to_string());
    keyring.refresh().await.unwrap();
    assert_eq!(status(&layer, &token).await, 200);
}

/// Design, rule 3: windows follow the key's identity, and a change beside the key "opens no window
/// and refuses no token".
#[tokio::test]
async fn a_key_that_gets_another_kid_goes_on_verifying_the_tokens_of_the_old_one() {
    let (keyring, source) = build(&secret_jwk(1, "a"), 0).await.unwrap();
    let layer = JwtRotationLayer::new(keyring.clone());
    let claims =
        RegisteredClaims::new("s").expires_at(SystemTime::now() + Duration::from_secs(300));
    let token = keyring.signer().sign(&claims).unwrap();
    assert_eq!(status(&layer, &token).await, 200);
    source.rotate(json!({ "jwt": secret_jwk(1, "b") }).to_string());
    assert!(keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(status(&layer, &token).await, 200);
}
