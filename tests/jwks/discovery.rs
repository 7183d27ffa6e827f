//! From an issuer to its keys.

use std::time::Duration;

use serde_json::json;
use tower_secrets::source::{Jwks, Source, SourceErrorKind};

use crate::{
    ask, builder,
    idp::{Answer, KeyServer, SigningKey, set},
    keyring,
};

const RFC_8414: &str = "/.well-known/oauth-authorization-server/realms/a";
/// A place that hangs takes a quarter of it.
const LIMIT: Duration = Duration::from_secs(4);

const OPENID: &str = "/realms/a/.well-known/openid-configuration";

fn metadata(server: &KeyServer, issuer: &str) -> Answer {
    let document = json!({ "issuer": issuer, "jwks_uri": server.keys_url(), "x": [1] });
    Answer::ok(document.to_string())
}

#[tokio::test]
async fn both_well_known_places_lead_to_the_keys() {
    for place in [RFC_8414, OPENID] {
        let a = SigningKey::new("a");
        let server = KeyServer::serving(&[&a]).await;
        let issuer = format!("{}/realms/a", server.origin);
        server.put(place, metadata(&server, &issuer));
        let keyring = keyring(Jwks::discover(&issuer)).await;
        assert!(ask(&keyring, &a.token(json!({}))).await.is_ok());
        // The metadata are read once.
        let before = server.requests();
        keyring.refresh().await.unwrap();
        assert_eq!(server.requests(), before + 1);
    }
}

#[tokio::test]
async fn the_issuer_must_be_the_one_asked_for() {
    let a = SigningKey::new("a");
    let server = KeyServer::serving(&[&a]).await;
    let issuer = format!("{}/realms/a", server.origin);
    for other in [
        format!("{issuer}/"),
        "https://other.example".to_owned(),
        String::new(),
    ] {
        server.put(RFC_8414, metadata(&server, &other));
        let error = Jwks::discover(&issuer).fetch().await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Malformed);
        assert!(error.to_string().contains("is of the issuer"), "{error}");
    }
    assert!(server.seen().iter().all(|seen| seen.path != "/keys"));
}

#[tokio::test]
async fn a_page_at_one_place_is_no_reason_to_stop_looking() {
    let a = SigningKey::new("a");
    let server = KeyServer::serving(&[&a]).await;
    let issuer = format!("{}/realms/a", server.origin);
    server.put(RFC_8414, Answer::ok("<html>welcome</html>"));
    server.put(OPENID, metadata(&server, &issuer));
    Jwks::discover(&issuer).fetch().await.unwrap();
}

#[tokio::test]
async fn the_next_place_is_asked_whatever_is_wrong_with_one() {
    let a = SigningKey::new("a");
    let server = KeyServer::serving(&[&a]).await;
    let issuer = format!("{}/realms/a", server.origin);
    server.put(OPENID, metadata(&server, &issuer));
    let keyless = json!({ "issuer": issuer }).to_string();
    for wrong in [
        Answer::ok(keyless),
        metadata(&server, "https://other.example"),
        Answer::new(500, ""),
        Answer::hanging(),
    ] {
        server.put(RFC_8414, wrong);
        let source = Jwks::discover(&issuer);
        source.set_fetch_limit(LIMIT);
        let begin = std::time::Instant::now();
        source.fetch().await.unwrap();
        assert!(begin.elapsed() < LIMIT);
    }
}

#[tokio::test]
async fn the_error_is_the_one_that_says_most() {
    let server = KeyServer::start().await;
    let issuer = format!("{}/realms/a", server.origin);
    for (answer, kind) in [
        (Answer::ok("<html>"), SourceErrorKind::Malformed),
        (Answer::new(503, ""), SourceErrorKind::Unavailable),
        (Answer::hanging(), SourceErrorKind::TimedOut),
    ] {
        server.put(RFC_8414, answer);
        let source = Jwks::discover(&issuer);
        source.set_fetch_limit(LIMIT);
        let error = source.fetch().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(RFC_8414), "{error}");
    }
}

#[tokio::test]
async fn metadata_that_hang_leave_time_for_the_keys_at_the_place_that_is_known() {
    let (a, b) = (SigningKey::new("a"), SigningKey::new("b"));
    let server = KeyServer::serving(&[&a]).await;
    let issuer = server.origin.clone();
    let place = "/.well-known/openid-configuration";
    server.put(place, metadata(&server, &issuer));
    let keyring = builder(Jwks::discover(&issuer)).fetch_limit(LIMIT);
    let keyring = keyring.build().await.unwrap();
    server.put("/keys", Answer::new(500, ""));
    assert!(keyring.refresh().await.is_err());
    server.put(place, Answer::hanging());
    server.put("/keys", Answer::ok(set(&[&a, &b])));
    assert!(keyring.refresh().await.unwrap().is_swapped());
}

#[tokio::test]
async fn no_limit_is_too_long() {
    let server = KeyServer::serving(&[&SigningKey::new("a")]).await;
    let issuer = server.origin.clone();
    let place = "/.well-known/openid-configuration";
    server.put(place, metadata(&server, &issuer));
    let keyring = builder(Jwks::discover(&issuer)).fetch_limit(std::time::Duration::MAX);
    keyring.build().await.unwrap();
}

#[tokio::test]
async fn an_issuer_without_metadata_is_an_error_that_names_the_place() {
    let server = KeyServer::start().await;
    let error = Jwks::discover(format!("{}/realms/a", server.origin))
        .fetch()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::NotFound);
    assert!(
        error
            .to_string()
            .contains("/.well-known/openid-configuration"),
        "{error}"
    );
    assert_eq!(server.requests(), 3);
}

#[tokio::test]
async fn where_the_keys_have_moved_to_is_found_again() {
    let a = SigningKey::new("a");
    let server = KeyServer::serving(&[&a]).await;
    let issuer = server.origin.clone();
    let place = "/.well-known/openid-configuration";
    server.put(place, metadata(&server, &issuer));
    let keyring = keyring(Jwks::discover(&issuer)).await;

    let b = SigningKey::new("b");
    let moved = json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/moved") });
    server.put("/moved", Answer::ok(set(&[&b])));
    server.put(place, Answer::ok(moved.to_string()));
    server.put("/keys", Answer::new(404, ""));
    assert!(keyring.refresh().await.is_err());
    assert!(keyring.refresh().await.unwrap().is_swapped());
    assert!(ask(&keyring, &b.token(json!({}))).await.is_ok());
}

#[tokio::test]
async fn keys_over_http_are_not_taken_from_metadata_either() {
    let server = KeyServer::start().await;
    let issuer = server.origin.clone();
    let document = json!({ "issuer": issuer, "jwks_uri": "http://idp.example/keys" });
    server.put(
        "/.well-known/openid-configuration",
        Answer::ok(document.to_string()),
    );
    let error = Jwks::discover(&issuer).fetch().await.unwrap_err();
    assert!(error.to_string().contains("is not https"), "{error}");
}

#[tokio::test]
async fn whatever_went_wrong_with_the_keys_their_place_is_looked_up_again() {
    const PLACE: &str = "/.well-known/openid-configuration";
    let (a, b) = (SigningKey::new("a"), SigningKey::new("b"));
    for wrong in [
        Answer::new(500, ""),
        Answer::new(403, ""),
        Answer::ok("<html>"),
        Answer::ok(r#"{"keys":[]}"#),
    ] {
        let server = KeyServer::serving(&[&a]).await;
        let issuer = server.origin.clone();
        server.put(PLACE, metadata(&server, &issuer));
        let keyring = keyring(Jwks::discover(&issuer)).await;

        // While there are no metadata either, the place that is known is asked.
        server.put("/keys", wrong.clone());
        server.put(PLACE, Answer::new(503, ""));
        assert!(keyring.refresh().await.is_err());
        assert!(keyring.refresh().await.is_err());
        assert!(
            server
                .seen()
                .iter()
                .any(|seen| seen.path == PLACE && seen.status == 503)
        );
        server.put("/keys", Answer::ok(set(&[&a, &b])));
        assert!(keyring.refresh().await.unwrap().is_swapped());
        assert!(ask(&keyring, &b.token(json!({}))).await.is_ok());
        // It is good again, so nothing else is asked.
        let requests = server.requests();
        keyring.refresh().await.unwrap();
        assert_eq!(server.requests(), requests + 1);

        server.put("/keys", wrong);
        server.put("/moved", Answer::ok(set(&[&b])));
        let document = json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/moved") });
        server.put(PLACE, Answer::ok(document.to_string()));
        assert!(keyring.refresh().await.is_err());
        assert!(keyring.refresh().await.unwrap().is_swapped());
        assert!(ask(&keyring, &a.token(json!({}))).await.is_err());
    }
}
