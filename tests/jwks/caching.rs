//! What the headers of an answer ask for (RFC 9111, RFC 9110).

use std::time::Duration;

use tower_secrets::{
    Refreshed,
    source::{Jwks, Source, SourceErrorKind},
};

use crate::{
    SECOND,
    idp::{Answer, KeyServer, SigningKey, set},
    keyring,
};

const NINE: &str = "Fri, 27 Nov 2026 09:00:00 GMT";
const TEN: &str = "Fri, 27 Nov 2026 10:00:00 GMT";

#[tokio::test]
async fn without_an_etag_a_poll_asks_whether_it_was_modified() {
    let (a, b) = (SigningKey::new("a"), SigningKey::new("b"));
    let server = KeyServer::start().await;
    let dated = |keys: &[&SigningKey], at: &str| {
        let answer = Answer::ok(set(keys)).with("last-modified", at);
        answer.with("date", "Fri, 27 Nov 2026 11:00:00 GMT")
    };
    server.put("/keys", dated(&[&a], NINE));
    let keyring = keyring(Jwks::new(server.keys_url())).await;
    let refreshed = keyring.refresh().await.unwrap();
    assert!(matches!(refreshed, Refreshed::Unchanged { .. }));
    server.put("/keys", dated(&[&a, &b], TEN));
    assert!(keyring.refresh().await.unwrap().is_swapped());
    keyring.refresh().await.unwrap();
    let seen: Vec<_> = server
        .seen()
        .into_iter()
        .map(|seen| (seen.if_modified_since, seen.status))
        .collect();
    let since = |at: &str| Some(at.to_owned());
    assert_eq!(
        seen,
        [
            (None, 200),
            (since(NINE), 304),
            (since(NINE), 200),
            (since(TEN), 304)
        ]
    );
    assert!(server.seen().iter().all(|it| it.if_none_match.is_none()));
}

#[tokio::test]
async fn a_set_that_was_modified_this_second_is_asked_for_whole() {
    let a = SigningKey::new("a");
    let server = KeyServer::start().await;
    let answer = Answer::ok(set(&[&a])).with("last-modified", NINE);
    server.put("/keys", answer.with("date", NINE));
    let keyring = keyring(Jwks::new(server.keys_url())).await;
    keyring.refresh().await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[1].if_modified_since, None);
    assert_eq!(seen[1].status, 200);
}

#[tokio::test]
async fn expires_counts_where_there_is_no_max_age() {
    let a = SigningKey::new("a");
    for (more, requests) in [
        (&[][..], 1),
        (&[("cache-control", "public")], 1),
        (&[("cache-control", "no-cache")], 2),
        (&[("cache-control", "max-age=0")], 2),
        (&[("age", "3600")], 2),
    ] {
        let server = KeyServer::start().await;
        let mut answer = Answer::ok(set(&[&a])).with("expires", TEN);
        answer = answer.with("date", NINE);
        for (name, value) in more {
            answer = answer.with(name, *value);
        }
        server.put("/keys", answer);
        let source = Jwks::new(server.keys_url());
        let versions = source.fetch().await.unwrap();
        source.published(versions.current().id());
        source.fetch().await.unwrap();
        assert_eq!(server.requests(), requests, "{more:?}");
    }
}

#[tokio::test]
async fn a_server_that_wants_to_be_left_alone_says_so_in_the_error() {
    let server = KeyServer::start().await;
    let minutes = |n: u32| Some(n * 60 * SECOND);
    for (status, headers, expected) in [
        (429, &[("retry-after", "120")][..], minutes(2)),
        (503, &[("retry-after", "120")], minutes(2)),
        (503, &[("retry-after", TEN), ("date", NINE)], minutes(5)),
        (429, &[("retry-after", "99999999999999999999")], minutes(5)),
        (429, &[], None),
        (500, &[("retry-after", "120")], None),
    ] {
        let mut answer = Answer::new(status, "");
        for (name, value) in headers {
            answer = answer.with(name, *value);
        }
        server.put("/keys", answer);
        let error = Jwks::new(server.keys_url()).fetch().await.unwrap_err();
        assert_eq!(error.retry_after(), expected, "{status} {headers:?}");
    }
    // Where the metadata are, too.
    let busy = Answer::new(429, "").with("retry-after", "7");
    server.put("/.well-known/openid-configuration", busy);
    let error = Jwks::discover(&server.origin).fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Throttled);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
}
