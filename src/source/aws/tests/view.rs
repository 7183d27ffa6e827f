//! What an answer becomes, and what it costs.

use std::time::{Duration, SystemTime};

use serde_json::json;

use super::{
    fake::{Fake, NAME, Reply},
    *,
};
use crate::source::aws::labels::{CURRENT, PENDING, PREVIOUS};

fn at(seconds: u64) -> Option<SystemTime> {
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

#[tokio::test]
async fn before_the_first_rotation_there_is_current_alone() {
    let fake = Fake::start().await;
    let versions = source(&fake).fetch().await.unwrap();
    assert_eq!(ids(&versions), ("v1", None, None));
    let current = versions.current();
    assert_eq!(current.document(), br#"{"n":1}"#);
    assert_eq!(current.created_at(), at(1_000));
    assert_eq!(current.origin(), Some("aws:mcp/jwt-secret"));
    let calls = fake.calls();
    assert!(calls.iter().all(|call| call.secret == NAME), "{calls:?}");
}

#[tokio::test]
async fn a_steady_poll_is_one_call_and_a_rotation_one_more() {
    let fake = Fake::start().await;
    let source = source(&fake);
    source.fetch().await.unwrap();
    assert_eq!(fake.asked(), ["DescribeSecret", "v1"]);
    for _ in 0..3 {
        source.fetch().await.unwrap();
        assert_eq!(fake.asked(), ["DescribeSecret"]);
    }
    fake.rotate("v2");
    let versions = source.fetch().await.unwrap();
    assert_eq!(ids(&versions), ("v2", Some("v1"), None));
    assert_eq!(fake.asked(), ["DescribeSecret", "v2"]);
}

#[tokio::test]
async fn the_four_steps_of_a_rotation() {
    let fake = Fake::start().await;
    let source = source(&fake);
    source.fetch().await.unwrap();

    // AWS creates the id before `createSecret` has put a value.
    fake.change(|secret| secret.label(PENDING, "v2"));
    let versions = source.fetch().await.unwrap();
    assert!(matches!(versions.pending, Side::Absent));
    fake.stage("v2");
    assert_eq!(
        ids(&source.fetch().await.unwrap()),
        ("v1", None, Some("v2"))
    );
    fake.calls();
    // `finishSecret`: AWSPENDING stays where it is.
    fake.change(|secret| secret.flip("v2"));
    assert_eq!(
        ids(&source.fetch().await.unwrap()),
        ("v2", Some("v1"), None)
    );
    assert_eq!(fake.asked(), ["DescribeSecret"]);
}

#[tokio::test]
async fn a_label_taken_away_withdraws_its_version() {
    let fake = Fake::start().await;
    let source = source(&fake);
    fake.rotate("v2");
    fetch_and_publish(&source).await;
    fake.change(|secret| secret.unlabel(PREVIOUS));
    let versions = source.fetch().await.unwrap();
    assert!(matches!(versions.previous, Side::Absent));
    // A label moved back is the truth too.
    fake.change(|secret| secret.label(PREVIOUS, "v1"));
    assert_eq!(
        ids(&source.fetch().await.unwrap()),
        ("v2", Some("v1"), None)
    );
}

#[tokio::test]
async fn missing_values_are_asked_for_together() {
    let fake = Fake::start().await;
    fake.rotate("v2");
    fake.stage("v3");
    fake.order(|_, call| (!call.is_describe()).then_some(Reply::Await(4)));
    let versions = source(&fake).fetch().await.unwrap();
    assert_eq!(ids(&versions), ("v2", Some("v1"), Some("v3")));
}

#[tokio::test]
async fn a_value_read_before_a_failure_is_not_read_again() {
    let fake = Fake::start().await;
    fake.rotate("v2");
    let source = source(&fake);
    fake.order(|_, call| {
        let is_current = call.id.as_deref() == Some("v2");
        is_current.then(|| Reply::error(500, "InternalServiceError", ""))
    });
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Unavailable);
    fake.obey_no_more();
    fake.calls();
    source.fetch().await.unwrap();
    assert_eq!(fake.asked(), ["DescribeSecret", "v2"]);
}

#[tokio::test]
async fn values_are_kept_while_a_view_or_the_keyring_has_them() {
    let fake = Fake::start().await;
    let source = source(&fake);
    fetch_and_publish(&source).await;
    for id in ["v2", "v3", "v4"] {
        fake.rotate(id);
        source.fetch().await.unwrap();
    }
    let mut held: Vec<String> = ["v1", "v2", "v3", "v4"].map(str::to_owned).into();
    held.retain(|id| source.memory().value(&id.as_str().into()).is_some());
    assert_eq!(held, ["v1", "v3", "v4"]);
}

#[tokio::test]
async fn a_side_stage_that_cannot_be_read_never_stops_current() {
    let fake = Fake::start().await;
    fake.rotate("v2");
    fake.stage("v3");
    let source = source(&fake);
    let denied = Reply::error(400, "AccessDeniedException", "Access to KMS is not allowed");
    fake.order(move |_, call| {
        let is_side = matches!(call.id.as_deref(), Some("v1" | "v3"));
        is_side.then(|| denied.clone())
    });
    let versions = source.fetch().await.unwrap();
    assert_eq!(versions.current().id().as_str(), "v2");
    for side in [&versions.previous, &versions.pending] {
        let Side::Unreadable(error) = side else {
            panic!("{side:?}");
        };
        assert_eq!(error.kind(), SourceErrorKind::DecryptionFailed);
    }
    fake.obey_no_more();
    assert_eq!(
        ids(&source.fetch().await.unwrap()),
        ("v2", Some("v1"), Some("v3"))
    );
}

#[tokio::test]
async fn a_previous_without_a_value_is_not_withdrawn() {
    let fake = Fake::start().await;
    fake.rotate("v2");
    fake.change(|secret| {
        secret.values.remove("v1");
    });
    let versions = source(&fake).fetch().await.unwrap();
    assert!(matches!(versions.previous, Side::Unreadable(_)));
}

#[tokio::test]
async fn a_current_without_a_value_comes_later() {
    let fake = Fake::start().await;
    fake.change(|secret| secret.label(CURRENT, "v2"));
    let error = source(&fake).fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Unavailable);
    assert!(error.to_string().contains("no value yet"), "{error}");
}

#[tokio::test]
async fn binary_documents_come_to_the_letter() {
    let fake = Fake::start().await;
    let document = br#"{"n": 1,  "text":"\u00e4"}"#;
    let coded = base64_simd::STANDARD.encode_to_string(document);
    fake.change(|secret| {
        secret
            .values
            .insert("v1".to_owned(), json!({"SecretBinary": coded}));
    });
    let versions = source(&fake).fetch().await.unwrap();
    assert_eq!(versions.current().document(), document);
    assert_eq!(versions.current().created_at(), None);
}

#[tokio::test]
async fn what_is_no_secret_is_an_error_and_never_an_empty_one() {
    for (value, why) in [
        (json!({}), "neither"),
        (json!({"SecretString": ""}), "neither"),
        (json!({"SecretBinary": ""}), "neither"),
        (
            json!({"SecretString": "{}", "VersionId": "v9"}),
            "is version `v9`",
        ),
        (
            json!({"SecretString": "{}", "VersionId": null}),
            "no version id",
        ),
    ] {
        let fake = Fake::start().await;
        fake.change(|secret| {
            secret.values.insert("v1".to_owned(), value);
        });
        let error = source(&fake).fetch().await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Malformed, "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[tokio::test]
async fn labels_that_do_not_tell_current() {
    let fake = Fake::start().await;
    let source = source(&fake);
    fake.change(|secret| {
        secret.put("v2", "{}", 1.0);
        secret.labels.insert("v2".into(), vec![CURRENT.into()]);
    });
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Malformed, "{error}");
    fake.change(|secret| secret.unlabel(CURRENT));
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::NotFound, "{error}");
    fake.always("DescribeSecret", Reply::Ok(json!({})));
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Malformed, "{error}");
}

#[tokio::test]
async fn the_window_began_as_the_rule_says() {
    let fake = Fake::start().await;
    fake.rotate("v2");
    fake.change(|secret| secret.changed = Some(5_000.0));
    let began = async |source: SecretsManager| {
        let versions = source.fetch().await.unwrap();
        versions.previous().unwrap().replaced_at()
    };
    let strict = || source(&fake).window_start(WindowStart::Strict);
    assert_eq!(began(source(&fake)).await, at(5_000));
    assert_eq!(began(strict()).await, at(1_001));
    fake.change(|secret| secret.rotated = Some(3_000.0));
    assert_eq!(began(strict()).await, at(3_000));
    // A rollback.
    fake.change(|secret| {
        secret.flip("v1");
        secret.rotated = None;
    });
    assert_eq!(began(source(&fake)).await, at(5_000));
    assert_eq!(began(strict()).await, None);
    fake.change(|secret| secret.changed = None);
    assert_eq!(began(source(&fake)).await, None);
}

#[tokio::test]
async fn debug_shows_no_secret() {
    let fake = Fake::start().await;
    let source = source(&fake);
    source.fetch().await.unwrap();
    let text = format!("{source:?}");
    assert!(text.contains(NAME), "{text}");
    assert!(!text.contains("secret key"), "{text}");
}
