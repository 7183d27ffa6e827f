//! What of the contract of `tests/contract` holds for a store without stages, under the same names.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};
use tower_secrets::source::{Jwks, Source, SourceErrorKind, Stage, Version, Versions};

use crate::{
    ask,
    idp::{Answer, KeyServer, SigningKey, set},
    keyring,
};

const READINGS: usize = 200;

/// The names of the keys in a version.
fn kids(version: &Version) -> BTreeSet<String> {
    let set: Value = serde_json::from_slice(version.document()).unwrap();
    let keys = set["keys"].as_array().unwrap();
    let kids = keys.iter().map(|key| key["kid"].as_str().unwrap());
    kids.map(str::to_owned).collect()
}

/// A view of these keys, with nothing beside it.
fn is_of(versions: &Versions, expected: &[&str]) {
    let expected = expected.iter().map(|kid| (*kid).to_owned()).collect();
    assert_eq!(kids(versions.current()), expected);
    assert!(versions.previous().is_none() && versions.pending().is_none());
}

async fn fetch(source: &impl Source) -> Versions {
    let versions = source.fetch().await.unwrap();
    source.published(versions.current().id());
    versions
}

#[tokio::test]
async fn the_first_view_has_no_previous() {
    let server = KeyServer::serving(&[&SigningKey::new("1")]).await;
    let source = Jwks::new(server.keys_url());
    is_of(&fetch(&source).await, &["1"]);
    assert!(!source.name().is_empty());
}

#[tokio::test]
async fn a_rotation_replaces_current_and_leaves_no_previous() {
    let keys = ["1", "2", "3"].map(SigningKey::new);
    let server = KeyServer::serving(&[&keys[0]]).await;
    let source = Jwks::new(server.keys_url());
    fetch(&source).await;
    for key in &keys[1..] {
        server.put("/keys", Answer::ok(set(&[key])));
        is_of(&fetch(&source).await, &[&key.kid]);
        let restarted = Jwks::new(server.keys_url());
        is_of(&fetch(&restarted).await, &[&key.kid]);
    }
}

#[tokio::test]
async fn an_unchanged_store_gives_an_equal_view_and_an_id_stands_for_one_value() {
    let keys = ["1", "2", "3"].map(SigningKey::new);
    let server = KeyServer::start().await;
    let source = Jwks::new(server.keys_url());
    let mut values: HashMap<String, Vec<u8>> = HashMap::new();
    for served in [&keys[..1], &keys[..2], &keys[1..], &keys[..1]] {
        let served: Vec<&SigningKey> = served.iter().collect();
        server.put("/keys", Answer::ok(set(&served)));
        let restarted = Jwks::new(server.keys_url());
        for versions in [
            fetch(&source).await,
            fetch(&source).await,
            fetch(&restarted).await,
        ] {
            let version = versions.current();
            let document = version.document().to_vec();
            let known = values.insert(version.id().to_string(), document.clone());
            assert!(known.is_none_or(|known| known == document), "{version:?}");
        }
    }
    assert_eq!(values.len(), 3);
}

#[tokio::test]
async fn a_boxed_source_is_the_same() {
    let keys = ["1", "2"].map(SigningKey::new);
    let server = KeyServer::start().await;
    let plain = Jwks::new(server.keys_url());
    let boxed = Jwks::new(server.keys_url()).boxed();
    assert_eq!(plain.name(), boxed.name());
    for key in &keys {
        server.put("/keys", Answer::ok(set(&[key])));
        let (one, other) = (fetch(&plain).await, fetch(&boxed).await);
        assert_eq!(one.current().id(), other.current().id());
    }
    drop(server);
    let error = boxed.fetch().await.unwrap_err();
    assert_eq!(error.kind(), plain.fetch().await.unwrap_err().kind());
}

#[tokio::test]
async fn an_outage_is_an_error_of_its_kind_and_heals() {
    let keys = ["1", "2"].map(SigningKey::new);
    let server = KeyServer::serving(&[&keys[0]]).await;
    let source = Jwks::new(server.keys_url());
    fetch(&source).await;
    server.put("/keys", Answer::new(503, "down"));
    for _ in 0..2 {
        let error = source.fetch().await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Unavailable, "{error}");
    }
    for key in &keys {
        server.put("/keys", Answer::ok(set(&[key])));
        is_of(&fetch(&source).await, &[&key.kid]);
    }
}

#[tokio::test]
async fn a_writer_that_never_rests_tears_nothing() {
    let server = KeyServer::serving(&[&SigningKey::new("1")]).await;
    let source = Jwks::new(server.keys_url());
    let write = async {
        // The set of a moment holds two keys that follow each other.
        for number in 2_u64.. {
            let pair = [number - 1, number].map(|n| SigningKey::new(&n.to_string()));
            server.put("/keys", Answer::ok(set(&[&pair[0], &pair[1]])));
            tokio::task::yield_now().await;
        }
    };
    let read = async {
        let (mut last, mut changes) = (1, 0);
        for _ in 0..READINGS {
            let versions = fetch(&source).await;
            let kids = kids(versions.current());
            let mut numbers: Vec<u64> = kids.iter().map(|kid| kid.parse().unwrap()).collect();
            numbers.sort_unstable();
            let newest = numbers[numbers.len() - 1];
            assert!(numbers == [1] || numbers == [newest - 1, newest]);
            assert!(newest >= last, "{newest} after {last}");
            changes += usize::from(newest != last);
            last = newest;
        }
        changes
    };
    let changes = tokio::select! {
        () = write => unreachable!("the writer ended"),
        changes = read => changes,
    };
    // Without it nothing was shown.
    assert!(changes > READINGS / 10, "{changes} of {READINGS} readings");
}

#[tokio::test]
async fn a_keyring_over_it() {
    let [one, two] = ["1", "2"].map(SigningKey::new);
    let server = KeyServer::serving(&[&one]).await;
    let keyring = keyring(Jwks::new(server.keys_url()).keep_withdrawn()).await;
    assert!(!keyring.refresh().await.unwrap().is_swapped());
    server.put("/keys", Answer::ok(set(&[&two])));
    assert!(keyring.refresh().await.unwrap().is_swapped());
    let stages = async || {
        [
            ask(&keyring, &one.token(json!({}))).await,
            ask(&keyring, &two.token(json!({}))).await,
        ]
    };
    let both = [Ok(Stage::Previous), Ok(Stage::Current)];
    assert_eq!(stages().await, both);

    server.put("/keys", Answer::new(503, "down"));
    let error = keyring.refresh().await.unwrap_err();
    let kind = error.source_error().unwrap().kind();
    assert_eq!(kind, SourceErrorKind::Unavailable, "{error}");
    assert_eq!(stages().await, both);
    server.put("/keys", Answer::ok(set(&[&two])));
    assert!(!keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(stages().await, both);
}
