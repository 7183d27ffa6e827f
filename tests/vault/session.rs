//! Tokens that end, are renewed, capped and taken away; logins.

use std::{fs, sync::Arc};

use serde_json::json;
use tower_secrets::source::{Source, SourceErrorKind, Vault, VaultAuth, VaultClient};

use crate::{
    server::{Bao, PATIENCE},
    tap::Tap,
};

pub(crate) const READ_APP: &str = r#"
path "secret/metadata/app" { capabilities = ["read"] }
path "secret/data/app" { capabilities = ["read"] }
"#;

/// A server with one secret, `app`, that the policy `app` may read.
pub(crate) async fn bao() -> Option<Bao> {
    let bao = Bao::dev()?;
    bao.put("app", json!({ "n": 1 })).await;
    bao.policy("app", READ_APP).await;
    Some(bao)
}

fn client(tap: &Tap, auth: VaultAuth) -> VaultClient {
    VaultClient::builder(&tap.address)
        .auth(auth)
        .build()
        .unwrap()
}

/// A source whose `changed` is awaited all the time, as the keyring's loop does it.
fn watched(tap: &Tap, auth: VaultAuth) -> Arc<Vault> {
    let source = Arc::new(Vault::new(&client(tap, auth), "app"));
    tokio::spawn({
        let source = source.clone();
        async move { source.changed().await }
    });
    source
}

/// Waits until these calls were made. None was made in vain, with a token that is dead.
async fn until_called(tap: &Tap, call: &str, times: usize) {
    let called = async {
        let mut seen = 0;
        while seen < times {
            let next = tap.next_call().await;
            assert_ne!(next, "GET auth/token/lookup-self");
            seen += usize::from(next == call);
        }
    };
    tokio::time::timeout(PATIENCE, called).await.unwrap();
}

/// A poll works, and no token was found dead for it.
async fn works(source: &Vault, tap: &Tap) {
    source.fetch().await.unwrap();
    let calls = tap.calls();
    assert!(
        calls.contains(&"GET secret/metadata/app".to_owned()),
        "{calls:?}"
    );
    assert!(
        !calls.contains(&"GET auth/token/lookup-self".to_owned()),
        "{calls:?}"
    );
}

/// An AppRole whose tokens live as long as said; gives what logs in.
pub(crate) async fn app_role(bao: &Bao, ttl: &str, max_ttl: &str) -> VaultAuth {
    bao.write("sys/auth/approle", json!({ "type": "approle" }))
        .await;
    let role = json!({ "token_policies": "app", "token_ttl": ttl, "token_max_ttl": max_ttl });
    bao.write("auth/approle/role/app", role).await;
    let role_id = bao.read("auth/approle/role/app/role-id").await;
    let secret_id = bao
        .write("auth/approle/role/app/secret-id", json!({}))
        .await;
    VaultAuth::app_role(
        role_id["data"]["role_id"].as_str().unwrap(),
        secret_id["data"]["secret_id"].as_str().unwrap(),
    )
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends_while_nobody_polls() {
    let Some(bao) = bao().await else { return };
    let token = bao.token(json!({ "policies": ["app"], "ttl": "6s" })).await;
    let tap = Tap::open(bao.port()).await;
    let source = watched(&tap, VaultAuth::token(token));
    source.fetch().await.unwrap();
    tap.calls();
    // Each renewal comes after about four seconds; after two of them the first six are over.
    until_called(&tap, "POST auth/token/renew-self", 2).await;
    works(&source, &tap).await;
}

#[tokio::test]
async fn a_renewal_capped_at_the_maximum_is_met_by_a_login_before_the_end() {
    let Some(bao) = bao().await else { return };
    let auth = app_role(&bao, "6s", "10s").await;
    let tap = Tap::open(bao.port()).await;
    let source = watched(&tap, auth);
    source.fetch().await.unwrap();
    assert_eq!(tap.calls()[0], "POST auth/approle/login");
    // Renewed once for its full life or less, and then replaced.
    until_called(&tap, "POST auth/token/renew-self", 1).await;
    until_called(&tap, "POST auth/approle/login", 1).await;
    until_called(&tap, "POST auth/token/renew-self", 1).await;
    source.fetch().await.unwrap();
    let calls = tap.calls();
    assert_eq!(
        calls,
        ["GET secret/metadata/app"],
        "no token was found dead"
    );
}

#[tokio::test]
async fn a_revoked_token_is_replaced_by_one_login() {
    let Some(bao) = bao().await else { return };
    let auth = app_role(&bao, "1h", "2h").await;
    let tap = Tap::open(bao.port()).await;
    let source = Vault::new(&client(&tap, auth), "app");
    source.fetch().await.unwrap();
    tap.calls();
    bao.write("sys/leases/revoke-prefix/auth/approle", json!({}))
        .await;
    source.fetch().await.unwrap();
    let calls = [
        "GET secret/metadata/app",
        "GET auth/token/lookup-self",
        "POST auth/approle/login",
        "GET secret/metadata/app",
    ];
    assert_eq!(tap.calls(), calls);

    // No login any more: the error says so, and a role that comes back is enough to recover.
    bao.delete("auth/approle/role/app").await;
    bao.write("sys/leases/revoke-prefix/auth/approle", json!({}))
        .await;
    for _ in 0..2 {
        let error = source.fetch().await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Unauthenticated, "{error}");
        assert!(
            error.to_string().contains("the login was refused"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_given_token_that_was_revoked_is_an_error_of_its_own() {
    let Some(bao) = bao().await else { return };
    let token = bao.token(json!({ "policies": ["app"] })).await;
    let source = Vault::new(&bao.client_with(VaultAuth::token(&token)), "app");
    source.fetch().await.unwrap();
    bao.write("auth/token/revoke", json!({ "token": token }))
        .await;
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Unauthenticated, "{error}");
    assert!(!error.to_string().contains(&token));
}

#[tokio::test]
async fn a_token_file_is_read_again() {
    let Some(bao) = bao().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let source = Vault::new(&bao.client_with(VaultAuth::token_file(&file)), "app");
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Unauthenticated, "{error}");

    let first = bao.token(json!({ "policies": ["app"] })).await;
    fs::write(&file, format!("{first}\n")).unwrap();
    source.fetch().await.unwrap();
    bao.write("auth/token/revoke", json!({ "token": first }))
        .await;
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Unauthenticated, "{error}");
    fs::write(&file, bao.token(json!({ "policies": ["app"] })).await).unwrap();
    source.fetch().await.unwrap();
}

#[tokio::test]
async fn a_permission_taken_away_is_not_a_dead_token() {
    let Some(bao) = bao().await else { return };
    let auth = app_role(&bao, "1h", "2h").await;
    let tap = Tap::open(bao.port()).await;
    let source = Vault::new(&client(&tap, auth), "app");
    source.fetch().await.unwrap();
    tap.calls();
    bao.policy(
        "app",
        r#"path "secret/data/app" { capabilities = ["read"] }"#,
    )
    .await;
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::PermissionDenied, "{error}");
    assert!(
        error.to_string().contains("`secret/metadata/app`"),
        "{error}"
    );
    // Nobody logs in anew for it.
    let calls = ["GET secret/metadata/app", "GET auth/token/lookup-self"];
    assert_eq!(tap.calls(), calls);

    bao.policy("app", READ_APP).await;
    source.fetch().await.unwrap();
}

#[tokio::test]
async fn a_token_that_just_logged_in_is_known_though_it_may_not_look_at_itself() {
    let Some(bao) = bao().await else { return };
    let auth = app_role(&bao, "1h", "2h").await;
    let role = json!({ "token_no_default_policy": true });
    bao.write("auth/approle/role/app", role).await;
    bao.policy("app", r#"path "nothing" { capabilities = ["read"] }"#)
        .await;
    let tap = Tap::open(bao.port()).await;
    let source = Vault::new(&client(&tap, auth), "app");
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::PermissionDenied, "{error}");
    let calls = [
        "POST auth/approle/login",
        "GET secret/metadata/app",
        "GET auth/token/lookup-self",
    ];
    assert_eq!(tap.calls(), calls, "one login");
}

#[tokio::test]
async fn a_permission_taken_from_a_token_that_may_not_look_at_itself_costs_one_login() {
    let Some(bao) = bao().await else { return };
    let auth = app_role(&bao, "1h", "2h").await;
    let role = json!({ "token_no_default_policy": true });
    bao.write("auth/approle/role/app", role).await;
    let tap = Tap::open(bao.port()).await;
    let source = Vault::new(&client(&tap, auth), "app");
    source.fetch().await.unwrap();
    bao.policy("app", r#"path "nothing" { capabilities = ["read"] }"#)
        .await;
    tap.calls();
    const METADATA: &str = "GET secret/metadata/app";
    const LOOK_UP: &str = "GET auth/token/lookup-self";
    const LOGIN: &str = "POST auth/approle/login";
    for expected in [
        &[METADATA, LOOK_UP, LOGIN, METADATA, LOOK_UP][..],
        &[METADATA],
        &[METADATA],
    ] {
        let error = source.fetch().await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::PermissionDenied, "{error}");
        assert_eq!(tap.calls(), expected);
    }

    // It works again, and a dead token is met by a login again.
    bao.policy("app", READ_APP).await;
    source.fetch().await.unwrap();
    tap.calls();
    bao.write("sys/leases/revoke-prefix/auth/approle", json!({}))
        .await;
    source.fetch().await.unwrap();
    assert_eq!(tap.calls(), [METADATA, LOOK_UP, LOGIN, METADATA]);
}

#[tokio::test]
async fn a_wrong_secret_id_is_refused_and_not_told() {
    let Some(bao) = bao().await else { return };
    app_role(&bao, "1h", "1h").await;
    let auth = VaultAuth::app_role("no-such-role", "the-wrong-secret-id");
    let source = Vault::new(&bao.client_with(auth), "app");
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Unauthenticated, "{error}");
    assert!(!format!("{error} {error:?} {source:?}").contains("the-wrong-secret-id"));
}

#[tokio::test]
async fn a_batch_token_is_replaced_since_it_cannot_be_renewed() {
    let Some(bao) = bao().await else { return };
    let auth = app_role(&bao, "6s", "6s").await;
    let batch = json!({ "token_type": "batch" });
    bao.write("auth/approle/role/app", batch).await;
    let tap = Tap::open(bao.port()).await;
    let source = watched(&tap, auth);
    source.fetch().await.unwrap();
    until_called(&tap, "POST auth/approle/login", 3).await;
    works(&source, &tap).await;
}

#[tokio::test]
async fn sources_of_one_client_share_one_login() {
    let Some(bao) = bao().await else { return };
    let auth = app_role(&bao, "1h", "1h").await;
    let tap = Tap::open(bao.port()).await;
    let client = client(&tap, auth);
    let sources: Vec<Vault> = (0..8).map(|_| Vault::new(&client, "app")).collect();
    let fetches = sources.iter().map(Source::fetch);
    for answer in futures::future::join_all(fetches).await {
        answer.unwrap();
    }
    let logins = tap.calls();
    let logins = logins.iter().filter(|call| call.contains("login"));
    assert_eq!(logins.count(), 1);
}
