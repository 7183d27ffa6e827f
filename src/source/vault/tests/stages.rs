use std::time::SystemTime;

use super::*;
use crate::source::{WindowStart, rfc3339::rfc3339, vault::metadata::Metadata};

/// The numbers of current, previous and pending, or what kind of error.
type Expected = Result<(u64, Option<u64>, Option<u64>), SourceErrorKind>;

const DELETED: (&str, bool) = ("2026-02-01T00:00:00Z", false);
const DESTROYED: (&str, bool) = ("", true);
const LATER: (&str, bool) = ("2100-01-01T00:00:00Z", false);
const UNCLEAR: (&str, bool) = ("some day", false);

fn parsed(text: &str) -> Metadata {
    #[derive(serde::Deserialize)]
    struct Body {
        data: Metadata,
    }
    serde_json::from_str::<Body>(text).unwrap().data
}

#[test]
fn the_rule() {
    let now = rfc3339("2026-06-01T00:00:00Z").unwrap();
    let stages = |pending: &str, versions: &[(u64, (&str, bool))]| -> Expected {
        let custom = format!(r#"{{"owner":"team","pending":"{pending}"}}"#);
        let stages = parsed(&metadata(&custom, versions)).stages(now);
        let stages = stages.map_err(|error| error.kind())?;
        let number = |named: super::super::metadata::Named| named.number;
        Ok((
            stages.current.number,
            stages.previous.map(number),
            stages.pending.map(number),
        ))
    };
    let deleted = Err(SourceErrorKind::Deleted);
    let missing = Err(SourceErrorKind::NotFound);
    let malformed = Err(SourceErrorKind::Malformed);
    type Numbered = (u64, (&'static str, bool));
    let cases: &[(&str, &[Numbered], Expected)] = &[
        ("", &[(1, LIVE)], Ok((1, None, None))),
        ("", &[(1, LIVE), (2, LIVE)], Ok((2, Some(1), None))),
        ("", &[(1, LIVE), (2, LATER)], Ok((2, Some(1), None))),
        (
            "",
            &[(1, LIVE), (2, DELETED), (3, LIVE)],
            Ok((3, Some(1), None)),
        ),
        (
            "",
            &[(1, LIVE), (2, DESTROYED), (3, LIVE)],
            Ok((3, Some(1), None)),
        ),
        ("", &[(1, DESTROYED), (2, LIVE)], Ok((2, None, None))),
        // As numbers: a tenth version comes after the ninth.
        ("", &[(9, LIVE), (10, LIVE)], Ok((10, Some(9), None))),
        ("", &[], missing),
        // Never the one before.
        ("", &[(1, LIVE), (2, DELETED)], deleted),
        ("", &[(1, LIVE), (2, DESTROYED)], deleted),
        ("", &[(1, LIVE), (2, UNCLEAR)], deleted),
        ("3", &[(1, LIVE), (2, DELETED), (3, LIVE)], deleted),
        // Staged.
        ("3", &[(1, LIVE), (2, LIVE)], Ok((2, Some(1), None))),
        (
            "3",
            &[(1, LIVE), (2, LIVE), (3, LIVE)],
            Ok((2, Some(1), Some(3))),
        ),
        (
            "3",
            &[(1, LIVE), (2, LIVE), (3, DELETED)],
            Ok((2, Some(1), None)),
        ),
        ("1", &[(1, LIVE)], missing),
        // A direct put went past it.
        (
            "2",
            &[(1, LIVE), (2, LIVE), (3, LIVE)],
            Ok((3, Some(1), Some(2))),
        ),
        // One was given up before.
        (
            "2,3",
            &[(1, LIVE), (2, LIVE), (3, LIVE)],
            Ok((1, None, Some(3))),
        ),
        ("2, 3", &[(1, LIVE), (2, LIVE)], Ok((1, None, None))),
        (
            "2 3",
            &[(1, LIVE), (2, LIVE), (3, DELETED)],
            Ok((1, None, None)),
        ),
        ("next", &[(1, LIVE)], malformed),
        ("2;3", &[(1, LIVE)], malformed),
        ("-1", &[(1, LIVE)], malformed),
    ];
    for (pending, versions, expected) in cases {
        assert_eq!(
            stages(pending, versions),
            *expected,
            "{pending:?} {versions:?}"
        );
    }
}

#[tokio::test]
async fn a_standby_that_lags_does_not_turn_time_back() {
    let (old, new) = (&[(1, LIVE)][..], &[(1, LIVE), (2, LIVE)][..]);
    let progress = |versions| parsed(&metadata("null", versions)).progress();
    assert!(progress(old).is_behind(&progress(new)));
    assert!(!progress(new).is_behind(&progress(old)));
    assert!(!progress(new).is_behind(&progress(new)));
    // A flip is a change of the metadata alone.
    let flipped = metadata("null", new).replace(
        "\"current_version\"",
        r#""current_metadata_version":4,"current_version""#,
    );
    assert!(progress(new).is_behind(&parsed(&flipped).progress()));
    // Vault does not count those, and tells when the last one was.
    let at = |time: &str| {
        let text = metadata("null", new).replace(
            r#""updated_time":"2026-01-02T00:00:00.123456789Z""#,
            &format!(r#""updated_time":"{time}""#),
        );
        parsed(&text).progress()
    };
    let later = at("2026-01-09T00:00:00Z");
    assert!(progress(new).is_behind(&later));
    assert!(!later.is_behind(&progress(new)));
    assert!(!later.is_behind(&later));
    assert!(!at("some day").is_behind(&later));
    assert!(!later.is_behind(&at("some day")));
    // A count goes before a clock, and another version tells of another history.
    assert!(!parsed(&flipped).progress().is_behind(&later));
    let more = metadata("null", &[(1, LIVE), (2, LIVE), (3, LIVE)]);
    assert!(!parsed(&more).progress().is_behind(&later));
    // Deleted with its metadata and written anew: the numbers say nothing.
    let anew = metadata("null", old).replace("2026-01-01", "2026-03-01");
    assert!(!parsed(&anew).progress().is_behind(&progress(new)));

    let source = Fake::new()
        .with("secret/metadata/app", 200, &metadata("null", new))
        .with("secret/data/app?version=2", 200, &data(2))
        .source()
        .await;
    let versions = source.fetch().await.unwrap();
    let up_to_date = source.client.clone();
    let lagging = Vault {
        client: client(&Fake::new().serve().await),
        memory: source.memory,
        ..Vault::new(&source.client, "app")
    };
    let hour = Duration::from_secs(3600);
    for hours in 1..=2 {
        advance(hour).await;
        let again = lagging.fetch().await.unwrap();
        assert_eq!(versions.current().id(), again.current().id());
        assert_eq!(again.previous().unwrap().document(), br#"{"n":1}"#);
        // It is as old as the last answer that counted.
        assert!(again.age >= hour * hours, "{:?}", again.age);
    }
    let source = Vault {
        client: up_to_date,
        memory: lagging.memory,
        ..Vault::new(&lagging.client, "app")
    };
    let now = source.fetch().await.unwrap();
    assert_eq!(now.age, Duration::ZERO);
    let lagging = Vault {
        client: lagging.client,
        memory: source.memory,
        ..Vault::new(&source.client, "app")
    };
    let again = lagging.fetch().await.unwrap();
    assert!(again.age < hour, "{:?}", again.age);
}

async fn advance(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

/// Where current was deleted or cannot be read, its metadata tells of previous all the same.
#[tokio::test]
async fn a_withdrawal_does_not_wait_for_a_current_that_can_be_read() {
    const DESTROYED: (&str, bool) = ("", true);
    type Versions = &'static [(u64, (&'static str, bool))];
    let cases: [(&str, Versions, bool); 7] = [
        ("null", &[(1, LIVE), (2, LIVE)], false),
        ("null", &[(1, DESTROYED), (2, LIVE)], true),
        ("null", &[(1, LIVE), (2, DESTROYED)], false),
        ("null", &[(1, DESTROYED), (2, DESTROYED)], true),
        (r#"{"pending":"2"}"#, &[(1, LIVE), (2, LIVE)], true),
        (r#"{"pending":"1,2"}"#, &[(1, LIVE), (2, LIVE)], false),
        (r#"{"pending":"soon"}"#, &[(1, DESTROYED), (2, LIVE)], false),
    ];
    for (pending, versions, is_withdrawal) in cases {
        let source = Fake::new()
            .with("secret/metadata/app", 200, &metadata(pending, versions))
            .with("secret/data/app?version=1", 500, "")
            .with("secret/data/app?version=2", 500, "")
            .source()
            .await;
        let error = source.fetch().await.unwrap_err();
        let told = error.withdraws_previous_of(&source.name());
        assert_eq!(told, is_withdrawal, "{pending} {versions:?}: {error}");
    }
}

#[tokio::test]
async fn when_a_window_began_that_nobody_saw() {
    let flipped = metadata("null", &[(1, LIVE), (2, LIVE)]).replace(
        r#""updated_time":"2026-01-02"#,
        r#""updated_time":"2026-01-09"#,
    );
    let at = |text: &str| rfc3339(text).unwrap();
    let began = async |start: WindowStart| -> SystemTime {
        let fake = Fake::new().with("secret/metadata/app", 200, &flipped).with(
            "secret/data/app?version=2",
            200,
            &data(2),
        );
        let source = fake.source().await.window_start(start);
        let versions = source.fetch().await.unwrap();
        versions.previous().unwrap().replaced_at().unwrap()
    };
    assert_eq!(
        began(WindowStart::Lenient).await,
        at("2026-01-09T00:00:00.123456789Z")
    );
    assert_eq!(
        began(WindowStart::Strict).await,
        at("2026-01-02T00:00:00.123456789Z")
    );
}
