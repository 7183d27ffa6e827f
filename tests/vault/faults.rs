//! A server that is stopped, sealed, restarted, or never was one.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tower_secrets::{
    JwtKey, Keyring, RefreshError, Refreshed,
    event::{Event, Events},
    source::{Source, SourceErrorKind, Stage, Vault, VaultAuth, VaultClient},
};

use crate::{
    server::{Bao, PATIENCE},
    session, support,
    tap::Tap,
};

#[derive(Deserialize)]
struct App {
    jwt: JwtKey,
}

fn bundle(n: u32) -> serde_json::Value {
    json!({ "jwt": format!("the signing secret of bundle number {n}") })
}

/// Only what a test asks for triggers a refresh.
async fn keyring(source: Vault) -> Keyring<App> {
    Keyring::<App>::builder(source)
        .refresh_every(Duration::from_secs(3600))
        .activation_delay(std::time::Duration::ZERO)
        .jwt_key(|app| &app.jwt)
        .build()
        .await
        .unwrap()
}

fn kind(outcome: Result<Refreshed, RefreshError>) -> SourceErrorKind {
    outcome.unwrap_err().source_error().unwrap().kind()
}

/// How many refreshes have begun, those that the loop asked for by itself included.
fn refreshes(events: &mut Events) -> usize {
    let told = std::iter::from_fn(|| events.next().now_or_never().flatten());
    told.filter(|event| matches!(event, Event::ReloadRequested { .. }))
        .count()
}

#[tokio::test]
async fn a_server_that_is_stopped_restarted_and_sealed_costs_no_call() {
    let Some(mut bao) = Bao::durable().await else {
        return;
    };
    bao.put("app", bundle(1)).await;
    let tap = Tap::open(bao.port()).await;
    let auth = VaultAuth::token(&bao.root);
    let client = VaultClient::builder(&tap.address)
        .auth(auth)
        .build()
        .unwrap();
    let keyring = keyring(Vault::new(&client, "app")).await;
    let signer = keyring.signer();
    let first = support::token(&signer);
    tap.calls();
    let mut events = keyring.subscribe();

    bao.stop();
    assert_eq!(kind(keyring.refresh().await), SourceErrorKind::Unavailable);
    assert_eq!(support::ask(&keyring, &first).await, Ok(Stage::Current));

    // It starts sealed.
    bao.start();
    let sealed = keyring.refresh().await.unwrap_err();
    assert!(sealed.to_string().contains("sealed"), "{sealed}");
    assert_eq!(kind(Err(sealed)), SourceErrorKind::Sealed);
    assert_eq!(support::ask(&keyring, &first).await, Ok(Stage::Current));

    bao.unseal().await;
    keyring.refresh().await.unwrap();
    bao.seal().await;
    assert_eq!(kind(keyring.refresh().await), SourceErrorKind::Sealed);
    bao.unseal().await;
    // One call a poll, no more in need.
    let calls = tap.calls();
    assert!(!calls.is_empty());
    assert!(
        calls.iter().all(|call| call == "GET secret/metadata/app"),
        "{calls:?}"
    );
    assert!(calls.len() <= refreshes(&mut events), "{calls:?}");

    bao.put("app", bundle(2)).await;
    let Ok(Refreshed::Swapped { version, .. }) = keyring.refresh().await else {
        panic!("a rotation after the faults was not seen");
    };
    assert!(version.as_str().starts_with("2@"), "{version}");
    assert_eq!(support::ask(&keyring, &first).await, Ok(Stage::Previous));
}

#[tokio::test]
async fn a_permission_or_a_token_taken_away_costs_no_call() {
    let Some(bao) = session::bao().await else {
        return;
    };
    bao.put("app", bundle(1)).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let write_token = async || {
        let token = bao.token(json!({ "policies": ["app"] })).await;
        std::fs::write(&file, &token).unwrap();
        token
    };
    let first = write_token().await;
    let client = bao.client_with(VaultAuth::token_file(&file));
    let keyring = keyring(Vault::new(&client, "app")).await;
    let token = support::token(&keyring.signer());
    let still_good = async || support::ask(&keyring, &token).await == Ok(Stage::Current);

    bao.policy("app", r#"path "nothing" { capabilities = ["read"] }"#)
        .await;
    assert_eq!(
        kind(keyring.refresh().await),
        SourceErrorKind::PermissionDenied
    );
    assert!(still_good().await);
    bao.policy("app", session::READ_APP).await;
    keyring.refresh().await.unwrap();

    bao.write("auth/token/revoke", json!({ "token": first }))
        .await;
    assert_eq!(
        kind(keyring.refresh().await),
        SourceErrorKind::Unauthenticated
    );
    assert!(still_good().await);
    write_token().await;
    keyring.refresh().await.unwrap();
    assert!(still_good().await);
}

#[tokio::test]
async fn a_newest_version_that_was_deleted_leaves_what_is_in_use() {
    let Some(bao) = Bao::dev() else { return };
    bao.put("app", bundle(1)).await;
    bao.put("app", bundle(2)).await;
    let keyring = keyring(Vault::new(&bao.client(), "app")).await;
    let token = support::token(&keyring.signer());
    bao.run(&["kv", "delete", "secret/app"]);
    assert_eq!(kind(keyring.refresh().await), SourceErrorKind::Deleted);
    assert_eq!(support::ask(&keyring, &token).await, Ok(Stage::Current));
    bao.run(&["kv", "undelete", "-versions=2", "secret/app"]);
    assert!(matches!(
        keyring.refresh().await,
        Ok(Refreshed::Unchanged { .. })
    ));
}

#[tokio::test]
async fn a_pending_key_verifies_before_its_flip() {
    let Some(bao) = Bao::dev() else { return };
    bao.put("app", bundle(1)).await;
    let keyring = keyring(Vault::new(&bao.client(), "app")).await;
    let first = support::token(&keyring.signer());
    bao.write(
        "secret/metadata/app",
        json!({ "custom_metadata": { "pending": "2" } }),
    )
    .await;
    bao.put("app", bundle(2)).await;
    // A replica that met the flip earlier signs with the next key already.
    bao.put("copy", bundle(2)).await;
    let ahead = self::keyring(Vault::new(&bao.client(), "copy")).await;
    let second = support::token(&ahead.signer());

    keyring.refresh().await.unwrap();
    assert_eq!(support::ask(&keyring, &first).await, Ok(Stage::Current));
    assert_eq!(support::ask(&keyring, &second).await, Ok(Stage::Pending));
    bao.run(&[
        "kv",
        "metadata",
        "patch",
        "-remove-custom-metadata=pending",
        "secret/app",
    ]);
    keyring.refresh().await.unwrap();
    assert_eq!(support::ask(&keyring, &first).await, Ok(Stage::Previous));
    assert_eq!(support::ask(&keyring, &second).await, Ok(Stage::Current));
    bao.run(&["kv", "destroy", "-versions=1", "secret/app"]);
    keyring.refresh().await.unwrap();
    assert!(support::ask(&keyring, &first).await.is_err());
    assert_eq!(support::ask(&keyring, &second).await, Ok(Stage::Current));
}

#[tokio::test]
async fn a_rollback_brings_the_old_key_back_under_a_new_number() {
    let Some(bao) = Bao::dev() else { return };
    bao.put("app", bundle(1)).await;
    let keyring = keyring(Vault::new(&bao.client(), "app")).await;
    let first = support::token(&keyring.signer());
    bao.put("app", bundle(2)).await;
    keyring.refresh().await.unwrap();
    assert_eq!(support::ask(&keyring, &first).await, Ok(Stage::Previous));
    bao.run(&["kv", "rollback", "-version=1", "secret/app"]);
    keyring.refresh().await.unwrap();
    assert!(keyring.current().version().as_str().starts_with("3@"));
    assert_eq!(support::ask(&keyring, &first).await, Ok(Stage::Current));
}

#[tokio::test]
async fn a_custom_authority_is_trusted_and_no_other() {
    let Some(bao) = Bao::dev_tls() else { return };
    let pem = bao.authority();
    let client = |pem: Option<Vec<u8>>| {
        let client = VaultClient::builder(bao.address()).auth(VaultAuth::token(&bao.root));
        match pem {
            Some(pem) => client.ca_certificates(pem),
            None => client,
        }
    };
    let trusting = client(Some(pem)).build().unwrap();
    let error = Vault::new(&trusting, "app").fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::NotFound, "{error}");

    let error = match client(None).build() {
        Ok(client) => Vault::new(&client, "app").fetch().await.unwrap_err(),
        // A machine without any authority.
        Err(error) => error,
    };
    assert_ne!(error.kind(), SourceErrorKind::NotFound, "{error}");
    assert!(client(Some(b"no PEM".to_vec())).build().is_err());
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = VaultClient::builder(format!("http://{}", listener.local_addr().unwrap()))
        .auth(VaultAuth::token("a token"))
        .request_timeout(Duration::from_millis(500))
        .build()
        .unwrap();
    let source = Arc::new(Vault::new(&client, "app"));
    let fetch = tokio::time::timeout(PATIENCE, source.fetch());
    let error = fetch.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::TimedOut, "{error}");
    drop(listener);
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Unavailable, "{error}");
}
