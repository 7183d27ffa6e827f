//! Two reads by stage, as people write them, and what labels that move between them do to that.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use aws_sdk_secretsmanager::Client;

use crate::{
    bed::{client, moto, need},
    proxy::Proxy,
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
