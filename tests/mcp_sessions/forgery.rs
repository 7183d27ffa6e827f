//! Attempts to mint a binding from all that is public.

use aws_lc_rs::{hkdf, hmac};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tower_secrets::source::Memory;

use crate::world::{
    ALICE, BOB, Hands, Replica, User, bundle, jwt_secret, keyring, session_secret, sessions,
};

/// The layer's own computation, written down once more from its description: how, is no secret.
fn bound(session: &str, user: User, key: &[u8]) -> String {
    let mut message = vec![1];
    let field = |message: &mut Vec<u8>, bytes: &[u8]| {
        message.extend((bytes.len() as u64).to_be_bytes());
        message.extend(bytes);
    };
    field(&mut message, session.as_bytes());
    message.push(1);
    for claim in [user.0, user.1, user.2] {
        message.push(u8::from(claim.is_some()));
        field(&mut message, claim.unwrap_or_default().as_bytes());
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&key, &message));
    format!("{session}.{tag}")
}

fn derived(secret: &[u8], label: &str) -> [u8; 32] {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"tower-secrets session key v1");
    let mut key = [0; 32];
    let labels = [label.as_bytes()];
    let okm = salt.extract(secret);
    okm.expand(&labels, hkdf::HKDF_SHA256)
        .unwrap()
        .fill(&mut key)
        .unwrap();
    key
}

/// Bob knows Alice's session, her claims, how bindings are made, and every key that is public; here even
/// the secret that signs tokens.
#[tokio::test]
async fn all_that_is_public_is_of_no_use() {
    let source = Memory::new(bundle("1", "1"));
    let keyring = keyring(source.clone(), &Hands::new()).await;
    let replica = Replica::sharing(&keyring, &sessions());
    let real = replica.alice().open().await;
    let session = real.rsplit_once('.').unwrap().0;
    let labels = ["session binding", "request state", "key id", ""];

    // That the check can fail: with the secret itself, this is how a binding is made.
    let secret = session_secret("1");
    assert_eq!(
        bound(
            session,
            ALICE,
            &derived(secret.as_bytes(), "session binding")
        ),
        real
    );

    let signer_id = {
        let token = keyring
            .signer()
            .sign(&tower_secrets::RegisteredClaims::new("bob"))
            .unwrap();
        let header = URL_SAFE_NO_PAD
            .decode(token.split('.').next().unwrap())
            .unwrap();
        let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
        header["kid"].as_str().unwrap().to_owned()
    };
    let session_key_id = {
        let shown = format!("{:?}", keyring.session_keys().unwrap());
        shown.split('"').nth(1).unwrap().to_owned()
    };
    let jwks = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;
    let known = [
        jwt_secret("1"),
        signer_id,
        session_key_id,
        jwks.to_owned(),
        session.to_owned(),
        real.clone(),
        String::new(),
        "tower-secrets session key v1".to_owned(),
        "session binding".to_owned(),
    ];
    let bob = replica.user(BOB);
    let mut tried = 0;
    for secret in &known {
        for label in labels {
            let keys = [
                derived(secret.as_bytes(), label).to_vec(),
                secret.as_bytes().to_vec(),
            ];
            for key in keys {
                for user in [ALICE, BOB] {
                    let forged = bound(session, user, &key);
                    assert_eq!(bob.whoami(&forged).await.unwrap_err(), 404, "{forged}");
                    tried += 1;
                }
            }
        }
    }
    // The real secret with the label of another use, and Bob's own binding on her session.
    for label in labels.iter().skip(1) {
        let forged = bound(session, BOB, &derived(secret.as_bytes(), label));
        assert_eq!(bob.whoami(&forged).await.unwrap_err(), 404);
    }
    let own = bob.open().await;
    let forged = format!("{session}.{}", own.rsplit_once('.').unwrap().1);
    assert_eq!(bob.whoami(&forged).await.unwrap_err(), 404);
    println!("{tried} forged bindings, none of them accepted");

    assert_eq!(replica.alice().whoami(&real).await, Ok("alice".to_owned()));
}

/// Two fields next to each other are never read as others.
#[tokio::test]
async fn claims_that_run_together_are_not_the_same_user() {
    let source = Memory::new(bundle("1", "1"));
    let replica = Replica::sharing(&keyring(source.clone(), &Hands::new()).await, &sessions());
    let users = [
        User(None, Some("ab"), Some("c")),
        User(None, Some("a"), Some("bc")),
        User(Some("a"), Some("b"), Some("c")),
        User(Some(""), Some("ab"), Some("c")),
        User(None, Some("ab"), None),
        User(None, Some("ab"), Some("")),
        User(None, None, Some("ab")),
        User(None, Some(""), Some("ab")),
    ];
    for (at, user) in users.into_iter().enumerate() {
        let session = replica.user(user).open().await;
        for (other_at, other) in users.into_iter().enumerate() {
            let entered = replica.user(other).whoami(&session).await.is_ok();
            assert_eq!(entered, at == other_at, "{user:?} {other:?}");
        }
    }
}
