//! What the source remembers from one fetch to the next.

use super::*;
use crate::source::VersionId;

async fn publish(mount: &Mount) -> VersionId {
    let id = mount.versions().await.current().id().clone();
    mount.source.published(&id);
    id
}

fn previous_id(versions: &Versions) -> Option<&str> {
    versions.previous().map(|version| version.id().as_str())
}

#[tokio::test]
async fn only_a_published_current_is_offered_as_previous() {
    let (events, _guard) = Events::record();
    let mount = Mount::with(&[("current.json", r#"{"version":"a"}"#)]);
    publish(&mount).await;
    publish(&mount).await;
    assert!(is_absent(&mount.versions().await, Stage::Previous));

    // Fetched and never published, as when a probe refuses it.
    mount.write("current.json", r#"{"version":"bad"}"#);
    assert_eq!(previous_id(&mount.versions().await), Some("a"));

    mount.write("current.json", r#"{"version":"b"}"#);
    assert_eq!(previous_id(&mount.versions().await), Some("a"));
    publish(&mount).await;
    assert_eq!(previous_id(&mount.versions().await), Some("a"));

    mount.write("current.json", r#"{"version":"c"}"#);
    assert_eq!(previous_id(&mount.versions().await), Some("b"));
    publish(&mount).await;
    assert_eq!(previous_id(&mount.versions().await), Some("b"));

    assert_eq!(events.count("secrets_previous_not_durable"), 2);
}

#[tokio::test]
async fn an_unknown_published_id_is_another_sources() {
    let mount = Mount::with(&[("current.json", r#"{"version":"a"}"#)]);
    mount.versions().await;
    mount.source.published(&"elsewhere".into());
    mount.write("current.json", r#"{"version":"b"}"#);
    assert!(is_absent(&mount.versions().await, Stage::Previous));
}

#[tokio::test]
async fn going_back_offers_what_was_published_in_between() {
    let mount = Mount::with(&[("current.json", r#"{"version":"a"}"#)]);
    publish(&mount).await;
    mount.write("current.json", r#"{"version":"b"}"#);
    publish(&mount).await;
    mount.write("current.json", r#"{"version":"a"}"#);
    assert_eq!(previous_id(&mount.versions().await), Some("b"));
    publish(&mount).await;
    assert_eq!(previous_id(&mount.versions().await), Some("b"));
}

#[tokio::test]
async fn from_the_first_previous_on_only_the_file_counts() {
    for first in ["null", r#"{"version":"a"}"#, "torn{"] {
        let mount = Mount::with(&[("current.json", r#"{"version":"a"}"#)]);
        publish(&mount).await;
        mount.write("previous.json", first);
        mount.versions().await;
        fs::remove_file(mount.path("previous.json")).unwrap();
        mount.write("current.json", r#"{"version":"b"}"#);
        assert!(
            is_absent(&mount.versions().await, Stage::Previous),
            "{first}"
        );
    }
}

#[tokio::test]
async fn null_withdraws_what_was_offered() {
    let mount = Mount::with(&[("current.json", r#"{"version":"a"}"#)]);
    publish(&mount).await;
    mount.write("current.json", r#"{"version":"b"}"#);
    publish(&mount).await;
    assert_eq!(previous_id(&mount.versions().await), Some("a"));
    mount.write("previous.json", "null");
    assert!(is_absent(&mount.versions().await, Stage::Previous));
}

#[tokio::test]
async fn a_previous_without_an_end_is_warned_of_once() {
    let (events, _guard) = Events::record();
    let mount = Mount::with(&[
        ("current.json", r#"{"version":"c"}"#),
        ("previous.json", r#"{"version":"b","key":"hunter2"}"#),
    ]);
    mount.versions().await;
    mount.versions().await;
    assert_eq!(events.count("secrets_previous_without_not_after"), 1);
    assert_eq!(events.count("version=b"), 1);
    mount.write("previous.json", r#"{"version":"a"}"#);
    mount.versions().await;
    assert_eq!(events.count("secrets_previous_without_not_after"), 2);
    let ends = r#"{"version":"0","not_after":"2030-01-31T12:00:00Z"}"#;
    mount.write("previous.json", ends);
    mount.versions().await;
    assert_eq!(events.count("secrets_previous_without_not_after"), 2);
    assert_eq!(events.count("hunter2"), 0);
}

#[tokio::test]
async fn new_content_under_a_published_version_is_refused() {
    let mount = Mount::with(&[("current.json", r#"{"version":3,"key":"hunter2"}"#)]);
    publish(&mount).await;
    mount.write("current.json", r#"{"version":3,"key":"hunter3"}"#);
    for _ in 0..2 {
        let error = mount.fetch().await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Malformed);
        assert!(error.to_string().contains("`version` \"3\""), "{error}");
        assert!(!error.to_string().contains("hunter"), "{error}");
    }
    // The same content written in another way is no new content.
    mount.write("current.json", r#"{"key": "hunter2", "version": 3}"#);
    mount.versions().await;

    mount.write("previous.json", r#"{"version":3,"key":"hunter1"}"#);
    let versions = mount.versions().await;
    let error = unreadable(&versions, Stage::Previous);
    assert!(error.to_string().contains("previous.json"), "{error}");
}

#[tokio::test]
async fn a_mount_that_may_never_update_is_warned_of_once() {
    let warnings = "secrets_mount_may_never_update";
    let (events, _guard) = Events::record();
    let mut mount = Mount::with(&[("current.json", "{}")]);
    mount.versions().await;
    assert_eq!(events.count(warnings), 0);

    mount.source.in_kubernetes = || true;
    mount.versions().await;
    mount.versions().await;
    assert_eq!(events.count(warnings), 1);

    let single = unwatched(&mount.path("current.json"));
    let versions = single.fetch().await.unwrap();
    assert_eq!(text(versions.current()), "{}");
    assert!(versions.previous().is_none());
    single.fetch().await.unwrap();
    assert_eq!(events.count(warnings), 2);
}
