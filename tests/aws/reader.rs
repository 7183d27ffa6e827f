//! Two reads by stage, as people write them, and what labels that move between them do to that.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use aws_sdk_secretsmanager::Client;
use tower_secrets::source::{SecretsManager, Source, SourceErrorKind, Version, Versions};

use crate::{
    bed::{client, ministack, moto, need},
    proxy::{Fault, Proxy},
    secret::{Secret, document},
};

/// The version that holds this label, by one `GetSecretValue`.
async fn read(client: &Client, secret: &Secret, stage: &str) -> String {
    let get = client.get_secret_value().secret_id(&secret.name);
    let value = get.version_stage(stage).send().await.unwrap();
    value.version_id.unwrap()
}

/// A proxy that rotates the secret before every call whose number, modulo 2, is this.
async fn rotating(server: &str, secret: &Secret, before: usize) -> Proxy {
    let proxy = Proxy::start(server).await;
    let secret = secret.clone();
    let rotations = Arc::new(AtomicUsize::new(0));
    proxy.before_each(move |call| {
        let (secret, rotations) = (secret.clone(), rotations.clone());
        async move {
            if call % 2 == before {
                let number = rotations.fetch_add(1, Ordering::Relaxed) + 1;
                secret.rotate(&document(number)).await;
            }
        }
    });
    proxy
}

#[tokio::test]
async fn a_naive_reader_gets_one_version_twice() {
    let server = need!(moto());
    let secret = Secret::create(&server).await;
    secret.rotate(&document(1)).await;
    let proxy = rotating(&server, &secret, 1).await;
    let client = client(&proxy.url());

    for _ in 0..10 {
        let current = read(&client, &secret, "AWSCURRENT").await;
        let previous = read(&client, &secret, "AWSPREVIOUS").await;
        assert_eq!(current, previous);
    }
    assert_eq!(proxy.calls_of("GetSecretValue"), 20);
}

#[tokio::test]
async fn a_naive_reader_in_the_other_order_skips_the_key_that_was_live() {
    let server = need!(moto());
    let secret = Secret::create(&server).await;
    secret.rotate(&document(1)).await;
    let proxy = rotating(&server, &secret, 1).await;
    let client = client(&proxy.url());

    for _ in 0..10 {
        let live = secret.holder("AWSCURRENT").await.unwrap();
        let previous = read(&client, &secret, "AWSPREVIOUS").await;
        let current = read(&client, &secret, "AWSCURRENT").await;
        // Tokens of the key that was in use all the while are refused by whoever reads so.
        assert!(live != previous && live != current);
    }
}

/// Rotates the secret before every so many calls through the proxy, and notes each pair of previous
/// and current that the store shows.
async fn shown_by(secret: &Secret, proxy: &Proxy, every: usize) -> Arc<Mutex<Vec<String>>> {
    let first = secret.holder("AWSCURRENT").await.unwrap();
    let second = secret.rotate(&document(1)).await;
    let shown = Arc::new(Mutex::new(vec![first, second]));
    // The source asks for two values at once.
    let one_by_one = Arc::new(tokio::sync::Mutex::new(()));
    let (secret, noted) = (secret.clone(), shown.clone());
    proxy.before_each(move |number| {
        let (secret, noted) = (secret.clone(), noted.clone());
        let one_by_one = one_by_one.clone();
        async move {
            if number % every != 0 {
                return;
            }
            let _turn = one_by_one.lock().await;
            let current = noted.lock().unwrap().last().unwrap().clone();
            let next = secret.put_pending(&document(number)).await;
            secret
                .move_stage("AWSCURRENT", Some(&current), Some(&next))
                .await;
            noted.lock().unwrap().push(next);
        }
    });
    shown
}

fn is_shown(versions: &Versions, shown: &Mutex<Vec<String>>) -> bool {
    let id = |version: &Version| version.id().to_string();
    let pair = [id(versions.previous().unwrap()), id(versions.current())];
    shown.lock().unwrap().windows(2).any(|it| it == pair)
}

/// The labels move before each of its calls, and each answer is one that the store once showed.
async fn is_never_torn(server: &str, secrets: usize) {
    // Each fetch makes three versions, and servers grow slow with them.
    const FETCHES: usize = 50;
    let proxy = Proxy::start(server).await;
    for _ in 0..secrets {
        let secret = Secret::create(server).await;
        let shown = shown_by(&secret, &proxy, 1).await;
        let source = SecretsManager::new(client(&proxy.url()), &secret.name);
        for _ in 0..FETCHES {
            let versions = source.fetch().await.unwrap();
            source.published(versions.current().id());
            assert!(is_shown(&versions, &shown), "{versions:?}");
        }
    }
    assert_eq!(proxy.calls_of("DescribeSecret"), secrets * FETCHES);
}

#[tokio::test]
async fn the_source_is_never_torn() {
    let server = need!(moto());
    is_never_torn(&server, 4).await;
}

#[tokio::test]
async fn the_source_is_never_torn_on_ministack() {
    let server = need!(ministack());
    is_never_torn(&server, 2).await;
}

/// It reads what a naive reader reads, and again until the answers fit together.
#[tokio::test]
async fn where_describing_is_denied_it_is_not_torn_either() {
    const FETCHES: usize = 200;
    let server = need!(moto());
    let secret = Secret::create(&server).await;
    let proxy = Proxy::start(&server).await;
    let denied = Fault::error(400, "AccessDeniedException", "not authorized");
    proxy.set_for("DescribeSecret", denied);
    let shown = shown_by(&secret, &proxy, 7).await;
    let source = SecretsManager::new(client(&proxy.url()), &secret.name);

    let mut answered = 0;
    for _ in 0..FETCHES {
        match source.fetch().await {
            Ok(versions) => {
                assert!(is_shown(&versions, &shown), "{versions:?}");
                answered += 1;
            }
            // The labels never stood still for long enough.
            Err(error) => assert_eq!(error.kind(), SourceErrorKind::Unavailable, "{error}"),
        }
    }
    assert!(answered > FETCHES / 2, "{answered}");
    assert_eq!(proxy.calls_of("DescribeSecret"), 1);
}
