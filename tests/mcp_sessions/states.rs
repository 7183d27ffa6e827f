//! Request states: across rotations and replicas, and of one user.

use std::time::Duration;

use serde_json::Value;
use tower_secrets::{
    mcp::{BindSessionsLayer, RequestStates},
    source::Memory,
};

use crate::world::{BOB, Hands, Replica, bundle, keyring, sessions};

fn state(answer: &Value) -> String {
    answer["result"]["requestState"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn error(answer: &Value) -> i64 {
    answer["error"]["code"].as_i64().unwrap()
}

#[tokio::test]
async fn a_state_sealed_before_rotations_opens_after_them_on_any_replica() {
    let source = Memory::new(bundle("1", "1"));
    let hands = Hands::new();
    let a = Replica::sharing(&keyring(source.clone(), &hands).await, &sessions());
    let b = Replica::sharing(&keyring(source.clone(), &hands).await, &sessions());
    let first = state(&a.alice().round(None).await);
    for version in ["2", "3"] {
        source.rotate(bundle(version, version));
        a.keyring.refresh().await.unwrap();
        b.keyring.refresh().await.unwrap();
    }
    let second = state(&b.alice().round(Some(&first)).await);
    let third = a.alice().round(Some(&second)).await;
    assert_eq!(third["result"]["content"][0]["text"], "after 2 rounds");
    assert_eq!(error(&b.user(BOB).round(Some(&first)).await), -32602);

    // Its own time is over long before the window of the key.
    hands.advance(Duration::from_secs(3601));
    assert_eq!(error(&a.alice().round(Some(&first)).await), -32602);
}

#[tokio::test]
async fn a_state_does_not_outlive_its_key() {
    let source = Memory::new(bundle("1", "1"));
    let hands = Hands::new();
    let keyring = keyring(source.clone(), &hands).await;
    let week = Duration::from_secs(7 * 86_400);
    let states = RequestStates::shared(&keyring).unwrap().time_to_live(week);
    let replica = Replica::new(
        &keyring,
        &sessions(),
        BindSessionsLayer::of_process(),
        states,
    );
    let first = keyring.current().version().clone();
    let sealed = state(&replica.alice().round(None).await);
    source.rotate(bundle("2", "2"));
    keyring.refresh().await.unwrap();
    state(&replica.alice().round(Some(&sealed)).await);
    keyring.revoke(&first);
    assert_eq!(error(&replica.alice().round(Some(&sealed)).await), -32602);
    assert!(keyring.restore(&first));
    state(&replica.alice().round(Some(&sealed)).await);
    hands.advance(Duration::from_secs(25 * 3600));
    assert_eq!(error(&replica.alice().round(Some(&sealed)).await), -32602);
}

#[tokio::test]
async fn what_is_no_state_is_refused_in_the_same_words() {
    let source = Memory::new(bundle("1", "1"));
    let keyring = keyring(source.clone(), &Hands::new()).await;
    let replica = Replica::sharing(&keyring, &sessions());
    let sealed = state(&replica.alice().round(None).await);
    let elsewhere = Replica::new(
        &keyring,
        &sessions(),
        BindSessionsLayer::of_process(),
        RequestStates::of_process(),
    );
    let other = state(&elsewhere.alice().round(None).await);
    let mut answers = Vec::new();
    for bad in [
        "",
        "x",
        "0",
        "rs1.AAAA.AAAA",
        &sealed[1..],
        &other,
        &"A".repeat(100),
    ] {
        let answer = replica.alice().round(Some(bad)).await;
        assert_eq!(error(&answer), -32602, "{bad}");
        answers.push(answer["error"]["message"].clone());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}
