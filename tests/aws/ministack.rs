//! MiniStack, which is right where moto is wrong, and the other way around: what a read by stage
//! gives after a flip, and how labels behave at a direct put.

use http::StatusCode;
use tower_secrets::source::{SecretsManager, Source, SourceErrorKind, Stage};

use crate::{
    bed::{client, client_in, ministack, need},
    proxy::{Fault, Proxy},
    secret::{Secret, builder, document, token_of},
    support::{ask, token},
};

#[tokio::test]
async fn a_rotation_in_four_steps_and_a_rollback() {
    let server = need!(ministack());
    let secret = Secret::create(&server).await;
    let source = SecretsManager::new(client(&server), &secret.name);
    let keyring = builder(source).build().await.unwrap();
    let zero = token(&keyring.signer());
    let one = token_of(&document(1)).await;
    let first = secret.holder("AWSCURRENT").await.unwrap();

    let pending = secret.put_pending(&document(1)).await;
    assert!(keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(ask(&keyring, &one).await, Ok(Stage::Pending));
    secret.flip(&pending).await;
    assert!(keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(ask(&keyring, &one).await, Ok(Stage::Current));
    assert_eq!(ask(&keyring, &zero).await, Ok(Stage::Previous));

    secret.flip(&first).await;
    assert!(keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(ask(&keyring, &zero).await, Ok(Stage::Current));
    assert_eq!(ask(&keyring, &one).await, Ok(Stage::Previous));

    secret.move_stage("AWSPREVIOUS", Some(&pending), None).await;
    keyring.refresh().await.unwrap();
    assert_eq!(ask(&keyring, &one).await, Err(StatusCode::UNAUTHORIZED));
}

/// Where moto leaves AWSCURRENT on two versions.
#[tokio::test]
async fn a_direct_put_after_a_flip() {
    let server = need!(ministack());
    let secret = Secret::create(&server).await;
    let source = SecretsManager::new(client(&server), &secret.name);
    let keyring = builder(source).build().await.unwrap();
    secret.rotate(&document(1)).await;
    keyring.refresh().await.unwrap();
    let one = token(&keyring.signer());

    let version = secret.put(&document(2)).await;
    assert!(keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(keyring.current().version().as_str(), version);
    assert_eq!(ask(&keyring, &one).await, Ok(Stage::Previous));
}

/// Without `DescribeSecret`, labels are read one by one, the default one too.
#[tokio::test]
async fn reading_by_label_where_describing_is_denied() {
    let server = need!(ministack());
    let secret = Secret::create(&server).await;
    let proxy = Proxy::start(&server).await;
    let denied = Fault::error(400, "AccessDeniedException", "not authorized");
    proxy.set_for("DescribeSecret", denied);
    let source = SecretsManager::new(client(&proxy.url()), &secret.name);
    let keyring = builder(source).build().await.unwrap();
    let zero = token(&keyring.signer());
    for number in 1..=3 {
        let version = secret.rotate(&document(number)).await;
        assert!(keyring.refresh().await.unwrap().is_swapped());
        assert_eq!(keyring.current().version().as_str(), version);
    }
    assert_eq!(ask(&keyring, &zero).await, Err(StatusCode::UNAUTHORIZED));
    // It was asked once, and is left alone for an hour.
    assert_eq!(proxy.calls_of("DescribeSecret"), 1);
}

#[tokio::test]
async fn a_secret_that_is_not_there_or_marked_for_deletion() {
    let server = need!(ministack());
    let secret = Secret::create(&server).await;
    let kind = async |source: SecretsManager| source.fetch().await.unwrap_err().kind();

    let missing = SecretsManager::new(client(&server), "tests/nobody-made-this");
    assert_eq!(kind(missing).await, SourceErrorKind::NotFound);
    let elsewhere = SecretsManager::new(client_in(&server, "us-east-1"), &secret.name);
    assert_eq!(kind(elsewhere).await, SourceErrorKind::NotFound);

    secret.delete().await;
    let deleted = SecretsManager::new(client(&server), &secret.name);
    assert_eq!(kind(deleted).await, SourceErrorKind::Deleted);
    secret.restore().await;
    let restored = SecretsManager::new(client(&server), &secret.name);
    assert!(restored.fetch().await.is_ok());
}
