//! Staging labels in all the places that AWS and rotations leave them in, and what values look like.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tower_secrets::{
    Keyring,
    clock::TokioClock,
    event::Event,
    source::{SecretsManager, Source, SourceErrorKind, Stage, aws::RdsSecret},
};

use crate::{
    bed::{client, client_in, moto, need},
    proxy::{Fault, Proxy},
    secret::{App, Secret, builder, document, token_of},
    stopped_time::StoppedTime,
    support::{ask, token},
};

fn source(server: &str, secret: &Secret) -> SecretsManager {
    SecretsManager::new(client(server), &secret.name)
}

async fn keyring(server: &str, secret: &Secret) -> Keyring<App> {
    builder(source(server, secret)).build().await.unwrap()
}

#[tokio::test]
async fn no_previous_before_the_first_rotation() {
    let server = need!(moto());
    let secret = Secret::create(&server).await;
    let versions = source(&server, &secret).fetch().await.unwrap();
    assert!(versions.previous().is_none() && versions.pending().is_none());
}

#[tokio::test]
async fn pending_verifies_before_the_flip_and_does_not_sign() {
    let server = need!(moto());
    let secret = Secret::create(&server).await;
    let keyring = keyring(&server, &secret).await;
    let early = token_of(&document(1)).await;
    assert_eq!(ask(&keyring, &early).await, Err(StatusCode::UNAUTHORIZED));

    let pending = secret.put_pending(&document(1)).await;
    assert!(keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(ask(&keyring, &early).await, Ok(Stage::Pending));
    let current = token(&keyring.signer());
    assert_eq!(ask(&keyring, &current).await, Ok(Stage::Current));
    assert_eq!(keyring.current().api_key, "api-key-0");

    secret.flip(&pending).await;
    assert!(keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(ask(&keyring, &early).await, Ok(Stage::Current));
    assert_eq!(ask(&keyring, &current).await, Ok(Stage::Previous));
}

/// Where that is wanted, the loop asks faster while it sees a pending version.
#[tokio::test]
async fn a_flip_is_met_within_seconds() {
    let server = need!(moto());
    let secret = Secret::create(&server).await;
    let proxy = Proxy::start(&server).await;
    let time = StoppedTime::begin();
    let keyring = builder(source(&proxy.url(), &secret))
        .clock(TokioClock::new())
        .refresh_while_pending(Duration::from_secs(5))
        .build()
        .await
        .unwrap();
    let pending = secret.put_pending(&document(1)).await;
    time.pass(Duration::from_secs(300), &proxy).await;
    assert!(keyring.status().pending.is_some());
    secret.flip(&pending).await;
    time.pass(Duration::from_secs(5), &proxy).await;
    assert_eq!(keyring.current().api_key, "api-key-1");
}

#[tokio::test]
async fn a_pending_id_without_a_value_is_no_pending() {
    let server = need!(moto());
    let secret = Secret::create(&server).await;
    let proxy = Proxy::start(&server).await;
    let keyring = keyring(&proxy.url(), &secret).await;
    let mut events = keyring.subscribe();
    proxy.set_for(
        "DescribeSecret",
        Fault::rewrite(|described| {
            let id = "00000000-1111-2222-3333-444444444444";
            described["VersionIdsToStages"][id] = json!(["AWSPENDING"]);
        }),
    );
    // AWS creates the id first; the store is asked for its value, and has none.
    let refreshed = keyring.refresh().await.unwrap();
    assert!(!refreshed.is_swapped());
    assert!(keyring.status().pending.is_none());
    assert_eq!(proxy.calls_of("GetSecretValue"), 2);
    // It comes to be.
    proxy.heal();
    secret.put_pending(&document(1)).await;
    assert!(keyring.refresh().await.unwrap().is_swapped());
    assert!(keyring.status().pending.is_some());

    keyring.shutdown().await;
    drop(keyring);
    while let Some(event) = events.next().await {
        assert!(!matches!(event, Event::StageSkipped { .. }), "{event:?}");
    }
}

#[tokio::test]
async fn pending_left_on_current_after_a_success() {
    let server = need!(moto());
    let secret = Secret::create(&server).await;
    let version = secret.rotate(&document(1)).await;
    // moto leaves it there, as AWS does.
    assert_eq!(secret.holder("AWSPENDING").await.as_ref(), Some(&version));
    let versions = source(&server, &secret).fetch().await.unwrap();
    assert_eq!(versions.current().id().as_str(), version);
    assert!(versions.previous().is_some() && versions.pending().is_none());
}

#[tokio::test]
async fn a_failed_rotation_leaves_pending_on_a_bad_version() {
    let server = need!(moto());
    let secret = Secret::create(&server).await;
    let keyring = keyring(&server, &secret).await;
    let now = token(&keyring.signer());
    let mut events = keyring.subscribe();
    for bad in ["", "{", r#"{"jwt":"short","api_key":"x"}"#] {
        if !bad.is_empty() {
            secret.put_pending(bad).await;
        }
        keyring.refresh().await.unwrap();
        assert_eq!(ask(&keyring, &now).await, Ok(Stage::Current), "{bad}");
        assert_eq!(keyring.status().pending.map(|it| it.key_ids), None, "{bad}");
    }
    let skipped = loop {
        if let Some(Event::StageSkipped { stage, reason, .. }) = events.next().await {
            break (stage, reason);
        }
    };
    assert_eq!(skipped.0, Stage::Pending, "{skipped:?}");

    // The next rotation goes through, and a flip to a bad version is refused.
    secret.rotate(&document(1)).await;
    assert!(keyring.refresh().await.unwrap().is_swapped());
    let good = token(&keyring.signer());
    secret.rotate("{").await;
    let error = keyring.refresh().await.unwrap_err();
    assert!(error.to_string().contains(&secret.name), "{error}");
    assert_eq!(ask(&keyring, &good).await, Ok(Stage::Current));
}

#[tokio::test]
async fn a_label_that_is_removed_takes_previous_out_at_the_next_refresh() {
    let server = need!(moto());
    let secret = Secret::create(&server).await;
    let keyring = keyring(&server, &secret).await;
    let old = token(&keyring.signer());
    secret.rotate(&document(1)).await;
    keyring.refresh().await.unwrap();
    assert_eq!(ask(&keyring, &old).await, Ok(Stage::Previous));

    let previous = secret.holder("AWSPREVIOUS").await.unwrap();
    secret
        .move_stage("AWSPREVIOUS", Some(&previous), None)
        .await;
    assert!(keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(ask(&keyring, &old).await, Err(StatusCode::UNAUTHORIZED));
    assert!(keyring.current().previous().is_none());
}

#[tokio::test]
async fn binary_values_are_read() {
    let server = need!(moto());
    let secret = Secret::create_binary(&server, document(5).as_bytes()).await;
    let keyring = keyring(&server, &secret).await;
    assert_eq!(keyring.current().api_key, "api-key-5");
}

#[tokio::test]
async fn an_answer_that_holds_no_value_or_another_version_is_refused() {
    let server = need!(moto());
    let secret = Secret::create(&server).await;
    let proxy = Proxy::start(&server).await;
    let other = "00000000-1111-2222-3333-444444444444";
    for (what, fault) in [
        (
            "no value",
            Fault::rewrite(|value| value["SecretString"] = json!(null)),
        ),
        (
            "an empty value",
            Fault::rewrite(|value| value["SecretString"] = json!("")),
        ),
        (
            "another version",
            Fault::rewrite(move |value| value["VersionId"] = json!(other)),
        ),
        (
            "no version",
            Fault::rewrite(|value| value["VersionId"] = json!(null)),
        ),
    ] {
        proxy.set_for("GetSecretValue", fault);
        let error = source(&proxy.url(), &secret).fetch().await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Malformed, "{what}: {error}");
        assert!(!format!("{error} {error:?}").contains("signing secret"));
    }
}

#[tokio::test]
async fn secrets_of_databases() {
    let server = need!(moto());
    let full = json!({
        "engine": "postgres", "host": "db.internal", "port": 5432, "dbname": "app",
        "username": "app", "password": "p", "dbInstanceIdentifier": "x",
    });
    let as_text =
        json!({"host": "db.internal", "port": "5432", "username": "app", "password": "p"});
    let managed = json!({"username": "app", "password": "p"});
    for (document, host, port) in [
        (full, Some("db.internal"), Some(5432)),
        (as_text, Some("db.internal"), Some(5432)),
        (managed, None, None),
    ] {
        let secret = Secret::create_with(&server, &document.to_string()).await;
        let source = source(&server, &secret);
        let keyring = Keyring::<RdsSecret>::builder(source).build().await.unwrap();
        let secrets = keyring.current();
        assert_eq!((secrets.host(), secrets.port()), (host, port));
        assert_eq!((secrets.username(), secrets.password()), ("app", "p"));
    }
}

#[tokio::test]
async fn a_secret_that_is_not_there_and_one_of_another_region() {
    let server = need!(moto());
    let secret = Secret::create(&server).await;
    let missing = SecretsManager::new(client(&server), "tests/nobody-made-this");
    let error = missing.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::NotFound, "{error}");

    let elsewhere = client_in(&server, "us-east-1");
    let by_name = SecretsManager::new(elsewhere.clone(), &secret.name);
    let error = by_name.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("us-east-1"), "{error}");

    let arn = secret.arn().await;
    let by_arn = SecretsManager::new(elsewhere, &arn);
    let error = by_arn.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::WrongRegion, "{error}");
    let here = SecretsManager::new(client(&server), &arn);
    assert!(here.fetch().await.is_ok());
    let partial = arn.rsplit_once('-').unwrap().0;
    let error = SecretsManager::new(client(&server), partial).fetch().await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::InvalidRequest, "{error}");
}
