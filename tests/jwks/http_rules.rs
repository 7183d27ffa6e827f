//! What is not taken for a set of keys, and what keeps being in use then.

use serde_json::json;
use tower_secrets::{
    JwtKey, Keyring,
    refresh::BuildErrorKind,
    source::{Jwks, Source, SourceErrorKind},
};

use crate::{
    ask, builder,
    idp::{Answer, KeyServer, SigningKey, set},
    keyring,
};

async fn refused(source: Jwks) -> (SourceErrorKind, String) {
    let error = source.fetch().await.unwrap_err();
    (error.kind(), error.to_string())
}

#[tokio::test]
async fn no_bad_answer_touches_the_keys_at_hand() {
    let a = SigningKey::new("a");
    let server = KeyServer::serving(&[&a]).await;
    let keyring = keyring(Jwks::new(server.keys_url())).await;
    let token = a.token(json!({}));
    let page = "<html><body>Sign in</body></html>";
    let key = |n: &str| json!({ "keys": [{ "kty": "RSA", "kid": "x", "n": n, "e": "AQAB" }] });
    for (what, answer, part) in [
        ("an empty set", Answer::ok(r#"{"keys":[]}"#), "is empty"),
        (
            "a page",
            Answer::ok(page).with("content-type", "text/html"),
            "text/html",
        ),
        ("nothing", Answer::ok(""), "no JSON"),
        (
            "other JSON",
            Answer::ok(r#"{"error":"x"}"#),
            "no array `keys`",
        ),
        (
            "a weak key",
            Answer::ok(key("AQAB").to_string()),
            "no key of the JWKS can be used",
        ),
        (
            "secrets",
            Answer::ok(r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#),
            "none of the 1 keys",
        ),
        (
            "too much",
            Answer::ok(vec![b' '; 1024 * 1024 + 1]),
            "longer than 1 MiB",
        ),
        ("a 304", Answer::new(304, ""), "304"),
        ("no page", Answer::new(404, ""), "404"),
        ("an error", Answer::new(500, ""), "500"),
        ("no content", Answer::new(204, ""), "204"),
    ] {
        server.put("/keys", answer);
        let error = keyring.refresh().await.unwrap_err();
        assert!(error.to_string().contains(part), "{what}: {error}");
        assert!(
            error.to_string().contains(&server.keys_url()),
            "{what}: {error}"
        );
        assert!(ask(&keyring, &token).await.is_ok(), "{what}");
    }
    server.put("/keys", Answer::ok(set(&[&a])));
    keyring.refresh().await.unwrap();
}

#[tokio::test]
async fn a_status_says_what_kind_of_failure_it_is() {
    let server = KeyServer::start().await;
    for (status, kind) in [
        (401, SourceErrorKind::Unauthenticated),
        (403, SourceErrorKind::PermissionDenied),
        (404, SourceErrorKind::NotFound),
        (410, SourceErrorKind::NotFound),
        (429, SourceErrorKind::Throttled),
        (500, SourceErrorKind::Unavailable),
        (503, SourceErrorKind::Unavailable),
        (418, SourceErrorKind::Other),
    ] {
        server.put("/keys", Answer::new(status, ""));
        let (found, text) = refused(Jwks::new(server.keys_url())).await;
        assert_eq!(found, kind, "{text}");
    }
    let gone = server.keys_url();
    drop(server);
    let (kind, text) = refused(Jwks::new(gone)).await;
    assert_eq!(kind, SourceErrorKind::Unavailable, "{text}");
}

#[tokio::test]
async fn one_unusable_key_does_not_fail_the_rest() {
    let a = SigningKey::new("a");
    let server = KeyServer::start().await;
    let keys = json!({ "keys": [
        { "kty": "RSA", "kid": "short", "n": "AQAB", "e": "AQAB" },
        { "kty": "EC", "crv": "secp256k1", "kid": "other-curve", "x": "AA", "y": "AA" },
        { "kty": "oct", "kid": "secret", "k": "c2VjcmV0" },
        "no key",
        a.public(),
    ]});
    server.put("/keys", Answer::ok(keys.to_string()));
    let keyring = keyring(Jwks::new(server.keys_url())).await;
    assert!(ask(&keyring, &a.token(json!({}))).await.is_ok());
}

#[tokio::test]
async fn redirects_are_followed_up_to_three() {
    let a = SigningKey::new("a");
    let server = KeyServer::serving(&[&a]).await;
    for n in 1..=4 {
        let next = if n == 1 {
            "/keys".to_owned()
        } else {
            format!("/{}", n - 1)
        };
        server.put(
            &format!("/{n}"),
            Answer::new(302, "").with("location", next),
        );
    }
    let at = |path: &str| Jwks::new(format!("{}{path}", server.origin));
    at("/3").fetch().await.unwrap();
    let (_, text) = refused(at("/4")).await;
    assert!(text.contains("more than 3 redirects"), "{text}");
    let elsewhere = Answer::new(302, "").with("location", "http://idp.example/keys");
    server.put("/away", elsewhere);
    let (_, text) = refused(at("/away")).await;
    assert!(text.contains("away from https"), "{text}");
}

#[tokio::test]
async fn http_is_for_loopback_unless_the_danger_is_named() {
    let build =
        async |source: Jwks| -> Result<Keyring<JwtKey>, _> { builder(source).build().await };
    for url in [
        "http://idp.example/keys",
        "ftp://idp.example/keys",
        "idp.example/keys",
    ] {
        let error = build(Jwks::new(url)).await.unwrap_err();
        // At once, without the tries of the start's budget.
        assert!(
            matches!(error.kind(), BuildErrorKind::FirstRefresh(_)),
            "{error}"
        );
    }
    let (kind, text) = refused(Jwks::new("http://idp.example/keys")).await;
    assert_eq!(kind, SourceErrorKind::InvalidRequest);
    assert!(text.contains("dangerously_allow_http"), "{text}");
}

#[tokio::test]
async fn neither_names_nor_debug_show_what_a_url_may_hide() {
    let source = Jwks::new("https://user:hunter2@idp.example/keys?code=hunter2");
    let error = source.fetch().await.unwrap_err();
    for text in [
        source.name(),
        format!("{source:?}"),
        error.to_string(),
        format!("{error:?}"),
    ] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert_eq!(source.name(), "https://idp.example/keys");
}
