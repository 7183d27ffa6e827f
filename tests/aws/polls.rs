//! What polling costs.

use std::time::Duration;

use tower_secrets::{clock::TokioClock, event::Event, source::SecretsManager};

use crate::{
    bed::{client, moto, need, tell},
    proxy::Proxy,
    secret::{Secret, builder, document},
    stopped_time::StoppedTime,
};

#[tokio::test]
async fn a_poll_is_one_call() {
    let server = need!(moto());
    let secret = Secret::create(&server).await;
    secret.rotate(&document(1)).await;
    let proxy = Proxy::start(&server).await;
    let source = SecretsManager::new(client(&proxy.url()), &secret.name);
    let time = StoppedTime::begin();
    let keyring = builder(source)
        .refresh_every(Duration::from_secs(30))
        .clock(TokioClock::new())
        .build()
        .await
        .unwrap();
    // At the start the values too, each once.
    assert_eq!(proxy.calls_of("DescribeSecret"), 1);
    assert_eq!(proxy.calls_of("GetSecretValue"), 2);

    let mut events = keyring.subscribe();
    time.pass(Duration::from_secs(750), &proxy).await;
    keyring.shutdown().await;
    drop(keyring);
    let mut polls = 0;
    while let Some(event) = events.next().await {
        if let Event::Unchanged { .. } = event {
            polls += 1;
        }
    }
    tell(format_args!("{polls} polls: {:?}", proxy.tally()));
    // 750 s in intervals of 27 to 30 s.
    assert!((25..=27).contains(&polls), "{polls}");
    assert_eq!(proxy.calls_of("DescribeSecret"), 1 + polls);
    assert_eq!(proxy.calls_of("GetSecretValue"), 2);
    assert_eq!(proxy.calls(), 3 + polls);
}

#[tokio::test]
async fn a_rotation_is_two_calls_with_the_poll_that_finds_it() {
    let server = need!(moto());
    let secret = Secret::create(&server).await;
    let proxy = Proxy::start(&server).await;
    let source = SecretsManager::new(client(&proxy.url()), &secret.name);
    let keyring = builder(source).build().await.unwrap();
    let before = proxy.calls();
    secret.rotate(&document(1)).await;
    assert!(keyring.refresh().await.unwrap().is_swapped());
    // What was current before is held already.
    assert_eq!(proxy.calls() - before, 2);
}
