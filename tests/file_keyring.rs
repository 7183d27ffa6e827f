//! A keyring over a mounted directory: from bad bytes to a good error, and from a file to a swap.

#![cfg(feature = "file")]
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, sync::Arc, time::Duration};

use http::StatusCode;
use serde::Deserialize;
use tower_secrets::{
    Builder, JwtKey, Keyring,
    event::Event,
    refresh::{Step, Trigger},
    source::{File, Stage},
};

mod support;
use support::{ask, token};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct App {
    jwt: JwtKey,
    password: String,
    port: u16,
}

const JWT: &str = "a SWORDFISH signing secret of more than 32 bytes";

fn doc(password: &str) -> String {
    format!(r#"{{"jwt":"{JWT}","password":"{password}","port":1}}"#)
}

/// As an operator should: write beside it, then rename.
fn write(dir: &Path, name: &str, content: impl AsRef<[u8]>) {
    let beside = dir.join(".new");
    fs::write(&beside, content).unwrap();
    fs::rename(beside, dir.join(name)).unwrap();
}

fn builder(dir: &Path) -> Builder<App> {
    Keyring::<App>::builder(File::new(dir).watch(false)).jwt_key(|app| &app.jwt)
}

#[tokio::test]
async fn every_malformed_file_keeps_the_snapshot_and_names_file_field_and_step() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "current.json", doc("one"));
    let keyring = builder(dir.path()).build().await.unwrap();
    assert!(keyring.current().port == 1 && keyring.has_key());

    let truncated = &doc("SWORDFISH")[..40];
    let huge = format!(r#"{{"password":"{}"}}"#, "SWORDFISH".repeat(1_200_000));
    let cases: [(&str, Vec<u8>, Step, &[&str]); 8] = [
        (
            "truncated JSON",
            truncated.into(),
            Step::Fetch,
            &["ends too early"],
        ),
        (
            "a broken token",
            b"{SWORDFISH}".to_vec(),
            Step::Fetch,
            &["line 1, column 2"],
        ),
        (
            "another type",
            b"[\"SWORDFISH\"]".to_vec(),
            Step::Fetch,
            &["JSON object"],
        ),
        (
            "a wrong field type",
            doc("x").replace("1}", "\"SWORDFISH\"}").into(),
            Step::Parse,
            &["`port`", "expected u16, found string"],
        ),
        (
            "a missing field",
            format!(r#"{{"jwt":"{JWT}","port":1}}"#).into(),
            Step::Parse,
            &["field `password` is missing"],
        ),
        (
            "a weak key",
            doc("x").replace(JWT, "SWORDFISH").into(),
            Step::Keys,
            &["32 bytes"],
        ),
        ("10 MB", huge.into(), Step::Fetch, &["1 MiB"]),
        (
            "no UTF-8",
            b"{\"password\":\"SWORDFISH\xff\"}".to_vec(),
            Step::Fetch,
            &["UTF-8"],
        ),
    ];
    let file = dir.path().join("current.json").display().to_string();
    for (name, content, step, texts) in cases {
        write(dir.path(), "current.json", &content);
        let error = keyring.refresh().await.unwrap_err();
        assert_eq!(error.failed_step(), Some(step), "{name}: {error}");
        let text = format!("{error}");
        assert!(text.contains(&file), "{name}: {text}");
        assert!(texts.iter().all(|it| text.contains(it)), "{name}: {text}");
        assert!(
            !format!("{error:?} {error}").contains("SWORDFISH"),
            "{name}: {text}"
        );
        assert_eq!(keyring.current().password, "one", "{name}");
    }
    fs::remove_file(dir.path().join("current.json")).unwrap();
    let missing = keyring.refresh().await.unwrap_err().to_string();
    assert!(missing.contains("current.json"), "{missing}");
    fs::create_dir(dir.path().join("current.json")).unwrap();
    let folder = keyring.refresh().await.unwrap_err().to_string();
    assert!(
        folder.contains(&file) && folder.contains("is a directory"),
        "{folder}"
    );
    fs::remove_dir(dir.path().join("current.json")).unwrap();
    assert_eq!(keyring.status().consecutive_failures, 10);

    write(dir.path(), "current.json", doc("two"));
    assert!(keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(keyring.current().previous().unwrap().password, "one");
}

trait HasKey {
    fn has_key(&self) -> bool;
}

impl HasKey for Keyring<App> {
    fn has_key(&self) -> bool {
        !self.status().current.key_ids.is_empty()
    }
}

#[tokio::test]
async fn a_bundle_that_a_probe_refused_is_never_offered_as_previous() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "current.json", doc("one"));
    let keyring = builder(dir.path())
        .probe("password", |app: Arc<App>| async move {
            (app.password != "bad").then_some(()).ok_or("refused")
        })
        .build()
        .await
        .unwrap();
    write(dir.path(), "current.json", doc("bad"));
    assert_eq!(
        keyring.refresh().await.unwrap_err().probe_name(),
        Some("password")
    );
    write(dir.path(), "current.json", doc("two"));
    keyring.refresh().await.unwrap();
    assert_eq!(keyring.current().password, "two");
    assert_eq!(keyring.current().previous().unwrap().password, "one");

    // The breach: a `previous.json` that holds `null`.
    write(dir.path(), "previous.json", "null");
    assert!(keyring.refresh().await.unwrap().is_swapped());
    assert!(keyring.current().previous().is_none());
}

/// A breach is no moment to wait for the other file to be mended.
#[tokio::test]
async fn a_withdrawal_does_not_wait_for_a_current_that_can_be_read() {
    for (withdrawn, previous) in [("null", Some("null")), ("no file", None)] {
        let (dir, keyring, old) = rotated().await;
        write(dir.path(), "current.json", r#"{"a":"#);
        keyring.refresh().await.unwrap_err();
        assert_eq!(
            ask(&keyring, &old).await,
            Ok(Stage::Previous),
            "{withdrawn}"
        );

        match previous {
            Some(content) => write(dir.path(), "previous.json", content),
            None => fs::remove_file(dir.path().join("previous.json")).unwrap(),
        }
        let error = keyring.refresh().await.unwrap_err();
        assert!(error.to_string().contains("ends too early"), "{error}");
        let unauthorized = Err(StatusCode::UNAUTHORIZED);
        assert_eq!(ask(&keyring, &old).await, unauthorized, "{withdrawn}");
        assert!(keyring.current().previous().is_none(), "{withdrawn}");
        assert_eq!(keyring.current().password, "two");
    }
}

/// A mount that is empty for a moment says nothing of what is trusted.
#[tokio::test]
async fn a_directory_without_current_withdraws_nothing() {
    let (dir, keyring, old) = rotated().await;
    fs::remove_file(dir.path().join("previous.json")).unwrap();
    fs::remove_file(dir.path().join("current.json")).unwrap();
    keyring.refresh().await.unwrap_err();
    assert_eq!(ask(&keyring, &old).await, Ok(Stage::Previous));
    fs::create_dir(dir.path().join("current")).unwrap();
    fs::create_dir(dir.path().join("previous")).unwrap();
    keyring.refresh().await.unwrap_err();
    assert_eq!(ask(&keyring, &old).await, Ok(Stage::Previous));
}

/// Behind a rotation, with a token of the old key.
async fn rotated() -> (tempfile::TempDir, Keyring<App>, String) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "current.json", doc("one"));
    let keyring = builder(dir.path()).build().await.unwrap();
    let old = token(&keyring.signer());
    write(dir.path(), "previous.json", doc("one"));
    let two = doc("two").replace("SWORDFISH", "OTHERFISH");
    write(dir.path(), "current.json", two);
    keyring.refresh().await.unwrap();
    (dir, keyring, old)
}

#[tokio::test]
async fn previous_written_by_the_operator_is_the_same_version_with_an_end() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "current.json", doc("one"));
    let keyring = builder(dir.path()).build().await.unwrap();
    let one = keyring.current().version().clone();
    let ended = doc("one").replace(
        "\"port\"",
        "\"not_after\":\"2999-01-01T00:00:00Z\",\"port\"",
    );
    write(dir.path(), "previous.json", ended);
    write(dir.path(), "current.json", doc("two"));
    keyring.refresh().await.unwrap();
    let status = keyring.status();
    assert_eq!(status.previous.unwrap().id, one);
    assert_eq!(keyring.current().previous().unwrap().password, "one");

    let ended = doc("one").replace(
        "\"port\"",
        "\"not_after\":\"2001-01-01T00:00:00Z\",\"port\"",
    );
    write(dir.path(), "previous.json", ended);
    keyring.refresh().await.unwrap();
    assert!(keyring.current().previous().is_none());
}

#[tokio::test]
async fn a_change_of_the_file_is_seen_at_once() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "current.json", doc("one"));
    let keyring = Keyring::<App>::builder(File::new(dir.path()))
        .refresh_every(Duration::from_secs(3600))
        .build()
        .await
        .unwrap();
    let mut events = keyring.subscribe();
    for password in ["two", "three"] {
        write(dir.path(), "current.json", doc(password));
        let seen = async {
            loop {
                if let Event::Reloaded { trigger, .. } = events.next().await.unwrap() {
                    break trigger;
                }
            }
        };
        let trigger = tokio::time::timeout(Duration::from_secs(30), seen).await;
        assert_eq!(trigger.unwrap(), Trigger::Change);
        assert_eq!(keyring.current().password, password);
    }
}
