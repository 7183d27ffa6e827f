//! What `POST` does, and for whom it does not.

use axum::{Router, body::Body};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tower_secrets::{
    Keyring,
    admin::{self, Admin},
    source::Memory,
};

use crate::world::{Answer, bundle, get, keyring, order, send, status};

#[tokio::test]
async fn a_reload_waits_for_what_comes_of_it() {
    let (source, keyring) = keyring().await;
    let router = admin::router(&keyring);
    let same = order(&router, "/reload", "{}").await;
    assert_eq!(same.status, StatusCode::OK);
    assert_eq!(
        same.json(),
        json!({"schema": 1, "outcomes": [{"keyring": "secrets", "outcome": "unchanged", "generation": 1, "error": null}]})
    );

    source.rotate(bundle("two"));
    let swapped = order(&router, "/reload", "").await.json();
    assert_eq!(swapped["outcomes"][0]["outcome"], "swapped");
    let told = status(&router).await;
    assert_eq!(told["keyrings"][0]["current"]["id"], "2");
    let recent = told["keyrings"][0]["recent"].as_array().unwrap();
    let reloaded = recent.iter().find(|it| it["kind"] == "reloaded").unwrap();
    assert_eq!(reloaded["text"], "version 2 is in use; asked for by manual");

    source.rotate(bundle("bad"));
    let refused = order(&router, "/reload", r#"{"keyring":"secrets"}"#).await;
    assert_eq!(refused.status, StatusCode::BAD_GATEWAY);
    let outcome = &refused.json()["outcomes"][0];
    assert_eq!(outcome["outcome"], "failed");
    assert!(
        outcome["error"]
            .as_str()
            .unwrap()
            .contains("step probe `api_key`")
    );

    keyring.shutdown().await;
    let stopped = order(&router, "/reload", "{}").await;
    assert_eq!(stopped.status, StatusCode::BAD_GATEWAY);
    assert_eq!(stopped.json()["outcomes"][0]["outcome"], "stopped");
}

#[tokio::test]
async fn a_burst_of_reloads_shares_fetches() {
    let (source, keyring) = keyring().await;
    let router = admin::router(&keyring);
    source.pause();
    let first = tokio::spawn({
        let router = router.clone();
        async move { order(&router, "/reload", "{}").await }
    });
    source.wait_for_fetches(2).await;
    let burst: Vec<_> = (0..50)
        .map(|_| {
            let router = router.clone();
            tokio::spawn(async move { order(&router, "/reload", "{}").await })
        })
        .collect();
    // On the one thread of this runtime all of them have asked by the time that this one has.
    tokio::task::yield_now().await;
    source.resume();
    assert_eq!(first.await.unwrap().status, StatusCode::OK);
    for reload in burst {
        assert_eq!(reload.await.unwrap().status, StatusCode::OK);
    }
    assert!(source.fetches() <= 4, "{}", source.fetches());
}

#[tokio::test]
async fn of_several_the_named_one_is_reloaded() {
    let (app_source, app) = keyring().await;
    let source = Memory::new("{}");
    let other = Keyring::<Value>::builder(source.clone())
        .build()
        .await
        .unwrap();
    let router = Admin::new()
        .keyring("app", &app)
        .keyring("other", &other)
        .router();
    let one = order(&router, "/reload", r#"{"keyring":"other"}"#).await;
    assert_eq!(one.status, StatusCode::OK);
    assert_eq!((app_source.fetches(), source.fetches()), (1, 2));
    let all = order(&router, "/reload", "{}").await.json();
    assert_eq!(all["outcomes"].as_array().unwrap().len(), 2);
    assert_eq!((app_source.fetches(), source.fetches()), (2, 3));
    let none = order(&router, "/reload", r#"{"keyring":"nobody"}"#).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
}

async fn post(router: &Router, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(
        router,
        request
            .body(Body::from("{\"stage\":\"previous\"}"))
            .unwrap(),
    )
    .await
}

#[tokio::test]
async fn a_page_of_another_origin_can_ask_for_nothing() {
    let (source, keyring) = keyring().await;
    let router = Admin::new()
        .keyring("app", &keyring)
        .allow_revoke()
        .router();
    source.rotate(bundle("two"));
    keyring.refresh().await.unwrap();
    let before = (source.fetches(), keyring.current().generation());
    let host = ("host", "localhost:9090");
    let json = ("content-type", "application/json");
    for path in ["/reload", "/revoke"] {
        for headers in [
            &[host, json, ("sec-fetch-site", "cross-site")][..],
            &[host, json, ("sec-fetch-site", "same-site")],
            &[host, json, ("origin", "http://evil.example")],
            &[host, json, ("origin", "null")],
        ] {
            let answer = post(&router, path, headers).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {headers:?}");
        }
        // What a form, or a script without leave, can send.
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
        ] {
            let answer = post(&router, path, &[host, ("content-type", kind)]).await;
            assert_eq!(
                answer.status,
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "{path} {kind}"
            );
        }
        assert_eq!(
            post(&router, path, &[host]).await.status,
            StatusCode::UNSUPPORTED_MEDIA_TYPE
        );
        // A name that somebody made resolve to loopback.
        let rebound = [
            json,
            ("host", "evil.example:9090"),
            ("origin", "http://evil.example:9090"),
        ];
        assert_eq!(
            post(&router, path, &rebound).await.status,
            StatusCode::MISDIRECTED_REQUEST
        );
        // Nor does a link.
        assert_eq!(
            get(&router, path).await.status,
            StatusCode::METHOD_NOT_ALLOWED
        );
    }
    assert_eq!((source.fetches(), keyring.current().generation()), before);

    let own = [
        host,
        json,
        ("origin", "http://localhost:9090"),
        ("sec-fetch-site", "same-origin"),
    ];
    assert_eq!(post(&router, "/revoke", &own).await.status, StatusCode::OK);
}

#[tokio::test]
async fn revoking_is_off_unless_switched_on() {
    let (source, keyring) = keyring().await;
    source.rotate(bundle("two"));
    keyring.refresh().await.unwrap();
    let off = Admin::new().keyring("app", &keyring);
    let answer = order(&off.router(), "/revoke", r#"{"stage":"previous"}"#).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(keyring.current().previous().is_some());
    assert_eq!(status(&off.router()).await["may_revoke"], false);

    let on = off.allow_revoke().router();
    assert_eq!(status(&on).await["may_revoke"], true);
    let answer = order(&on, "/revoke", r#"{"keyring":"app","stage":"previous"}"#).await;
    assert_eq!(
        answer.json(),
        json!({"schema": 1, "keyring": "app", "revoked": ["1"], "known": true})
    );
    assert!(keyring.current().previous().is_none());
    let told = status(&on).await;
    assert_eq!(told["safe_to_revoke"], true, "{told:#}");

    // Current too, for a key that leaked; and an id that is not known yet is remembered.
    let answer = order(&on, "/revoke", r#"{"version":"2"}"#).await.json();
    assert_eq!(
        (&answer["revoked"][0], &answer["known"]),
        (&json!("2"), &json!(true))
    );
    assert_eq!(
        status(&on).await["keyrings"][0]["current"]["is_revoked"],
        true
    );
    for version in ["7", &"1".repeat(1024)] {
        let body = json!({ "version": version }).to_string();
        let answer = order(&on, "/revoke", &body).await.json();
        assert_eq!(answer["known"], false);
    }
}

#[tokio::test]
async fn an_order_that_is_not_understood_does_nothing() {
    let (_, keyring) = keyring().await;
    let (_, other) = crate::world::keyring().await;
    let router = Admin::new()
        .keyring("app", &keyring)
        .allow_revoke()
        .router();
    let generation = keyring.current().generation();
    for body in [
        "{}",
        "",
        "[]",
        "no JSON",
        r#"{"stage":"current"}"#,
        r#"{"version":"1","stage":"previous"}"#,
        r#"{"version":""}"#,
        r#"{"version":"1\n2030-01-31T12:00:00Z INFO secrets_restored version=1"}"#,
        &format!(r#"{{"version":"{}"}}"#, "1".repeat(1025)),
        r#"{"versoin":"1"}"#,
    ] {
        let answer = order(&router, "/revoke", body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}: {answer:?}");
    }
    let answer = order(&router, "/revoke", r#"{"keyring":"x","version":"1"}"#).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let long = format!(r#"{{"version":"{}"}}"#, "1".repeat(17 * 1024));
    let answer = order(&router, "/revoke", &long).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let two = Admin::new()
        .keyring("app", &keyring)
        .keyring("other", &other);
    let answer = order(
        &two.allow_revoke().router(),
        "/revoke",
        r#"{"version":"1"}"#,
    )
    .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(keyring.current().generation(), generation);
}
