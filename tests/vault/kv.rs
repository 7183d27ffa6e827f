//! What a KV secret's versions become.

use serde_json::json;
use tower_secrets::source::{Source, SourceErrorKind, Vault, VaultAuth, VaultClient, Versions};

use crate::{server::Bao, tap::Tap};

fn names(versions: &Versions) -> [Option<String>; 3] {
    let number = |id: &str| id.split_once('@').unwrap().0.to_owned();
    [
        Some(versions.current()),
        versions.previous(),
        versions.pending(),
    ]
    .map(|version| version.map(|it| number(it.id().as_str())))
}

fn stages(current: u64, previous: Option<u64>, pending: Option<u64>) -> [Option<String>; 3] {
    [Some(current), previous, pending].map(|number| number.map(|n| n.to_string()))
}

#[tokio::test]
async fn newest_is_current_and_the_one_before_is_previous() {
    let Some(bao) = Bao::dev() else { return };
    let source = Vault::new(&bao.client(), "team/app");
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::NotFound, "{error}");

    bao.put("team/app", json!({ "api_key": "first", "n": 1.50 }))
        .await;
    let first = source.fetch().await.unwrap();
    assert_eq!(names(&first), stages(1, None, None));
    // As the server wrote it: nothing was read and written anew.
    let document = std::str::from_utf8(first.current().document()).unwrap();
    assert_eq!(document, r#"{"api_key":"first","n":1.5}"#);

    bao.put("team/app", json!({ "api_key": "second" })).await;
    let second = source.fetch().await.unwrap();
    assert_eq!(names(&second), stages(2, Some(1), None));
    assert_eq!(second.previous().unwrap().id(), first.current().id());
}

#[tokio::test]
async fn a_poll_costs_one_metadata_read() {
    let Some(bao) = Bao::dev() else { return };
    bao.put("app", json!({ "n": 1 })).await;
    bao.put("app", json!({ "n": 2 })).await;
    let tap = Tap::open(bao.port()).await;
    let auth = VaultAuth::token(&bao.root);
    let client = VaultClient::builder(&tap.address)
        .auth(auth)
        .build()
        .unwrap();
    let source = Vault::new(&client, "app");

    source.fetch().await.unwrap();
    let mut calls = tap.calls();
    calls[2..].sort();
    let first = [
        "GET auth/token/lookup-self",
        "GET secret/metadata/app",
        "GET secret/data/app?version=1",
        "GET secret/data/app?version=2",
    ];
    assert_eq!(calls, first);
    for _ in 0..10 {
        source.fetch().await.unwrap();
    }
    assert_eq!(tap.calls(), ["GET secret/metadata/app"; 10]);

    bao.put("app", json!({ "n": 3 })).await;
    source.fetch().await.unwrap();
    let next = ["GET secret/metadata/app", "GET secret/data/app?version=3"];
    assert_eq!(tap.calls(), next);
}
