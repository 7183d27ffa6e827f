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

/// The two commands of the docs: the number first, so that the put is never current for a moment.
fn stage_pending(bao: &Bao, path: &str, number: u64, field: &str) {
    let path = format!("secret/{path}");
    let pending = format!("-custom-metadata=pending={number}");
    bao.run(&["kv", "metadata", "patch", &pending, &path]);
    let cas = format!("-cas={}", number - 1);
    bao.run(&["kv", "put", &cas, &path, field]);
}

#[tokio::test]
async fn a_pending_version_is_staged_flipped_and_given_up() {
    let Some(bao) = Bao::dev() else { return };
    let source = Vault::new(&bao.client(), "app");
    bao.put("app", json!({ "n": 1 })).await;
    bao.put("app", json!({ "n": 2 })).await;

    bao.run(&[
        "kv",
        "metadata",
        "patch",
        "-custom-metadata=pending=3",
        "secret/app",
    ]);
    // Named before it exists: nothing pends yet.
    let named = source.fetch().await.unwrap();
    assert_eq!(names(&named), stages(2, Some(1), None));
    bao.run(&["kv", "put", "-cas=2", "secret/app", "n=3"]);
    let staged = source.fetch().await.unwrap();
    assert_eq!(names(&staged), stages(2, Some(1), Some(3)));

    bao.run(&[
        "kv",
        "metadata",
        "patch",
        "-remove-custom-metadata=pending",
        "secret/app",
    ]);
    let flipped = source.fetch().await.unwrap();
    assert_eq!(names(&flipped), stages(3, Some(2), None));
    assert_eq!(flipped.current().id(), staged.pending().unwrap().id());

    stage_pending(&bao, "app", 4, "n=4");
    assert_eq!(
        names(&source.fetch().await.unwrap()),
        stages(3, Some(2), Some(4))
    );
    // One that was given up stays named, so that it is never current, whatever comes after it.
    bao.run(&["kv", "destroy", "-versions=4", "secret/app"]);
    assert_eq!(
        names(&source.fetch().await.unwrap()),
        stages(3, Some(2), None)
    );
    let both = "-custom-metadata=pending=4,5";
    bao.run(&["kv", "metadata", "patch", both, "secret/app"]);
    bao.run(&["kv", "put", "-cas=4", "secret/app", "n=5"]);
    assert_eq!(
        names(&source.fetch().await.unwrap()),
        stages(3, Some(2), Some(5))
    );
    bao.run(&[
        "kv",
        "metadata",
        "patch",
        "-remove-custom-metadata=pending",
        "secret/app",
    ]);
    assert_eq!(
        names(&source.fetch().await.unwrap()),
        stages(5, Some(3), None)
    );
}

#[tokio::test]
async fn what_pending_names_must_be_a_number() {
    let Some(bao) = Bao::dev() else { return };
    let source = Vault::new(&bao.client(), "app");
    bao.put("app", json!({ "n": 1 })).await;
    let metadata = json!({ "custom_metadata": { "pending": "the next" } });
    bao.write("secret/metadata/app", metadata).await;
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Malformed, "{error}");

    let metadata = json!({ "custom_metadata": { "pending": "1" } });
    bao.write("secret/metadata/app", metadata).await;
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::NotFound, "{error}");
    assert_eq!(
        error.to_string(),
        "`secret/app`: only a pending version exists"
    );
}

#[tokio::test]
async fn deleting_or_destroying_previous_withdraws_it() {
    let Some(bao) = Bao::dev() else { return };
    let source = Vault::new(&bao.client(), "app");
    for n in 1..=3 {
        bao.put("app", json!({ "n": n })).await;
    }
    assert_eq!(
        names(&source.fetch().await.unwrap()),
        stages(3, Some(2), None)
    );
    bao.run(&["kv", "delete", "-versions=2", "secret/app"]);
    assert_eq!(
        names(&source.fetch().await.unwrap()),
        stages(3, Some(1), None)
    );
    bao.run(&["kv", "undelete", "-versions=2", "secret/app"]);
    assert_eq!(
        names(&source.fetch().await.unwrap()),
        stages(3, Some(2), None)
    );
    bao.run(&["kv", "destroy", "-versions=1,2", "secret/app"]);
    assert_eq!(names(&source.fetch().await.unwrap()), stages(3, None, None));
}

#[tokio::test]
async fn a_deleted_newest_version_is_an_error_and_nothing_older_comes_back() {
    let Some(bao) = Bao::dev() else { return };
    let source = Vault::new(&bao.client(), "app");
    bao.put("app", json!({ "n": 1 })).await;
    bao.put("app", json!({ "n": 2 })).await;
    bao.run(&["kv", "delete", "secret/app"]);
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Deleted);
    assert_eq!(
        error.to_string(),
        "`secret/app`: version 2, the newest, was deleted"
    );
    bao.run(&["kv", "destroy", "-versions=2", "secret/app"]);
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Deleted);
    assert_eq!(
        error.to_string(),
        "`secret/app`: version 2, the newest, was destroyed"
    );

    // A rollback is a new version with the old values.
    bao.run(&["kv", "rollback", "-version=1", "secret/app"]);
    let back = source.fetch().await.unwrap();
    assert_eq!(names(&back), stages(3, Some(1), None));
    assert_eq!(
        back.current().document(),
        back.previous().unwrap().document()
    );
}

#[tokio::test]
async fn a_version_that_deletes_itself_later_is_live_until_then() {
    let Some(bao) = Bao::dev() else { return };
    let source = Vault::new(&bao.client(), "app");
    let metadata = json!({ "delete_version_after": "1h" });
    bao.write("secret/metadata/app", metadata).await;
    bao.put("app", json!({ "n": 1 })).await;
    let metadata = bao.read("secret/metadata/app").await;
    let deletion = &metadata["data"]["versions"]["1"]["deletion_time"];
    assert!(
        deletion.as_str().is_some_and(|at| !at.is_empty()),
        "it will be deleted"
    );
    assert_eq!(names(&source.fetch().await.unwrap()), stages(1, None, None));
}

#[tokio::test]
async fn numbers_that_begin_anew_name_other_versions() {
    let Some(bao) = Bao::dev() else { return };
    let source = Vault::new(&bao.client(), "app");
    bao.put("app", json!({ "n": "before" })).await;
    let before = source.fetch().await.unwrap();
    bao.run(&["kv", "metadata", "delete", "secret/app"]);
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::NotFound, "{error}");
    bao.put("app", json!({ "n": "after" })).await;
    let after = source.fetch().await.unwrap();
    assert_eq!(names(&before), names(&after));
    assert_ne!(before.current().id(), after.current().id());
    assert_eq!(after.current().document(), br#"{"n":"after"}"#);
}

#[tokio::test]
async fn another_mount_and_a_namespace() {
    let Some(bao) = Bao::dev() else { return };
    bao.run(&["namespace", "create", "team"]);
    bao.run(&[
        "secrets",
        "enable",
        "-namespace=team",
        "-path=deep/kv",
        "kv-v2",
    ]);
    bao.run(&[
        "kv",
        "put",
        "-namespace=team",
        "-mount=deep/kv",
        "odd name/ü",
        "n=1",
    ]);
    let client = VaultClient::builder(bao.address())
        .namespace("team")
        .auth(VaultAuth::token(&bao.root))
        .build()
        .unwrap();
    let source = Vault::new(&client, "odd name/ü").mount("deep/kv/");
    assert_eq!(source.name(), "vault deep/kv/odd name/ü");
    assert_eq!(names(&source.fetch().await.unwrap()), stages(1, None, None));

    let elsewhere = Vault::new(&bao.client(), "odd name/ü").mount("deep/kv");
    let error = elsewhere.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::NotFound, "{error}");
}
