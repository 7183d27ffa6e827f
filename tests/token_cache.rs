//! The memory of accepted tokens as a client sees it: it changes no answer.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_lc_rs::{
    encoding::AsBigEndian,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Request, Response, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use support::{ask, token};
use tower::{Layer, ServiceExt, service_fn};
use tower_secrets::{
    Authentication, JwtKey, JwtRotationLayer, Keyring, RegisteredClaims, VerifyErrorKind,
    layer::Refusal,
    source::{Memory, Stage},
};

#[derive(Deserialize)]
struct App {
    jwt: JwtKey,
}

/// The claims that one of two layers is asked for.
#[derive(Debug, Deserialize, PartialEq)]
struct Tenant {
    tenant: String,
}

/// A bundle with a new private key, of the kind whose tokens are remembered.
fn bundle() -> String {
    let pair = Ed25519KeyPair::generate().unwrap();
    let seed = pair.seed().unwrap().as_be_bytes().unwrap();
    let jwk = json!({
        "kty": "OKP",
        "crv": "Ed25519",
        "x": URL_SAFE_NO_PAD.encode(pair.public_key()),
        "d": URL_SAFE_NO_PAD.encode(seed.as_ref()),
    });
    json!({ "jwt": jwk }).to_string()
}

async fn keyring(token_cache: usize) -> (Memory, Keyring<App>) {
    let source = Memory::new(bundle());
    let keyring = Keyring::<App>::builder(source.clone())
        .activation_delay(std::time::Duration::ZERO)
        .jwt_key(|app| &app.jwt)
        .token_cache(token_cache)
        .build()
        .await
        .unwrap();
    (source, keyring)
}

fn token_with(keyring: &Keyring<App>, more: Value) -> String {
    let later = SystemTime::now() + Duration::from_secs(1_000_000);
    let registered = RegisteredClaims::new("alice").expires_at(later);
    let mut claims = serde_json::to_value(registered).unwrap();
    let more = more.as_object().unwrap().clone();
    claims.as_object_mut().unwrap().extend(more);
    keyring.signer().sign(&claims).unwrap()
}

/// The claims that a handler behind the layer sees, or why the token was refused.
async fn claims<C>(layer: &JwtRotationLayer<App, C>, token: &str) -> Result<Arc<C>, VerifyErrorKind>
where
    C: DeserializeOwned + Send + Sync + 'static,
{
    let handler = service_fn(async |request: Request<()>| {
        let caller = request.extensions().get::<Authentication>().unwrap();
        let claims = caller.claims::<C>().unwrap().into_inner();
        Ok::<_, Infallible>(Response::builder().extension(claims).body(()).unwrap())
    });
    let request = Request::builder()
        .header("authorization", format!("Bearer {token}"))
        .body(())
        .unwrap();
    let response = layer.layer(handler).oneshot(request).await.unwrap();
    match response.extensions().get::<Refusal>() {
        Some(refusal) => Err(refusal.verify_error().unwrap()),
        None => Ok(response.extensions().get::<Arc<C>>().unwrap().clone()),
    }
}

#[tokio::test]
async fn a_token_seen_before_is_not_read_again() {
    for (entries, is_remembered) in [(10, true), (0, false)] {
        let (_, keyring) = keyring(entries).await;
        let layer = JwtRotationLayer::new(keyring.clone());
        let token = token_with(&keyring, json!({}));
        let first = claims(&layer, &token).await.unwrap();
        let second = claims(&layer, &token).await.unwrap();
        assert_eq!(first, second);
        assert_eq!(Arc::ptr_eq(&first, &second), is_remembered);
    }
}

#[tokio::test]
async fn no_layer_takes_anothers_acceptance_for_its_own() {
    let (_, keyring) = keyring(10).await;
    let a = JwtRotationLayer::new(keyring.clone()).audience("a");
    let b = JwtRotationLayer::new(keyring.clone()).audience("b");
    // Made from the layer that accepts, and stricter; and one of another claims type.
    let stricter = a.clone().issuer("i");
    let tenants = a.clone().claims::<Tenant>();
    let token = token_with(&keyring, json!({ "aud": "a", "tenant": "t" }));
    let without_tenant = token_with(&keyring, json!({ "aud": "a" }));
    let tenant = Tenant {
        tenant: "t".to_owned(),
    };
    for _ in 0..3 {
        assert_eq!(claims(&a, &token).await.unwrap().sub(), Some("alice"));
        assert_eq!(
            claims(&b, &token).await,
            Err(VerifyErrorKind::WrongAudience)
        );
        assert_eq!(
            claims(&stricter, &token).await,
            Err(VerifyErrorKind::MissingClaim)
        );
        assert_eq!(*claims(&tenants, &token).await.unwrap(), tenant);
        assert!(claims(&a, &without_tenant).await.is_ok());
        assert_eq!(
            claims(&tenants, &without_tenant).await,
            Err(VerifyErrorKind::WrongClaims)
        );
    }
}

#[tokio::test]
async fn a_rotation_and_a_revocation_hold_from_the_next_request_on() {
    let refused = Err(StatusCode::UNAUTHORIZED);
    let (source, keyring) = keyring(10).await;
    let old = token(&keyring.signer());
    let first = keyring.current().version().clone();
    for _ in 0..2 {
        assert_eq!(ask(&keyring, &old).await, Ok(Stage::Current));
    }
    source.rotate(bundle());
    keyring.refresh().await.unwrap();
    for _ in 0..2 {
        assert_eq!(ask(&keyring, &old).await, Ok(Stage::Previous));
    }
    keyring.revoke(&first);
    assert_eq!(ask(&keyring, &old).await, refused);
    assert!(keyring.restore(&first));
    assert_eq!(ask(&keyring, &old).await, Ok(Stage::Previous));
    // A second rotation ends the oldest key.
    source.rotate(bundle());
    keyring.refresh().await.unwrap();
    assert_eq!(ask(&keyring, &old).await, refused);
}
