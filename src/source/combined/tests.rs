#![allow(clippy::unwrap_used)]

use std::time::SystemTime;

use super::*;
use crate::source::{Fallback, Memory, Stage};

fn pair() -> (Memory, Memory, Combined) {
    let db = Memory::new(r#"{"password":"a"}"#).watched();
    let jwt = Memory::new(r#""k""#).watched();
    let source = Combined::new()
        .with("jwt", jwt.clone())
        .with("db", db.clone());
    (db, jwt, source)
}

fn down() -> SourceError {
    SourceError::new(SourceErrorKind::Unavailable, "the store is down")
}

fn text(version: &Version) -> &str {
    std::str::from_utf8(version.document()).unwrap()
}

fn stale(versions: &Versions) -> Vec<(&str, String)> {
    let parts = versions.parts.iter();
    parts
        .filter_map(|part| Some((&*part.name, part.stale.as_ref()?.to_string())))
        .collect()
}

#[tokio::test]
async fn the_document_and_the_id_are_in_the_order_of_names() {
    let (db, _jwt, source) = pair();
    db.rotate(r#"{"password":"b"}"#);
    let versions = source.fetch().await.unwrap();
    assert_eq!(
        text(&versions.current),
        r#"{"db":{"password":"b"},"jwt":"k"}"#
    );
    assert_eq!(versions.current.id().as_str(), "db=2,jwt=1");
    assert_eq!(source.name(), "db: memory, jwt: memory");
    assert_eq!(versions.previous().unwrap().id().as_str(), "db=1,jwt=1");
    assert!(versions.pending().is_none());
}

#[tokio::test]
async fn ids_cannot_be_mistaken_for_each_other() {
    let all = |a: &str, b: &str| {
        let part = |name: &str, id: &str| Part {
            name: name.into(),
            versions: Versions::new(Version::new(id, "1")),
            stale: None,
        };
        compose(vec![part("a", a), part("b", b)])
    };
    let ids = [
        "1", "1,b=2", "2,b=2", "%2C", "%", "%252C", "%25", ",", "=", "",
    ];
    let mut seen = std::collections::HashSet::new();
    for a in ids {
        for b in ids {
            let versions = all(a, b);
            let id = versions.current.id();
            assert!(seen.insert(id.clone()), "{id}");
            let parts = part_ids(id).unwrap();
            assert_eq!(parts, [("a", a.into()), ("b", b.into())], "{id}");
            let found = combination(&versions.parts, id).unwrap();
            assert_eq!(found.id(), id);
        }
    }
    assert!(part_ids(&"7".into()).is_none());
    assert!(combination(&all("1", "2").parts, &"a=1,b=3".into()).is_none());
    assert!(combination(&all("1", "2").parts, &"a=1".into()).is_none());
}

#[tokio::test]
async fn a_part_cannot_reach_beyond_its_member() {
    for document in [
        r#"1,"jwt":"evil""#,
        r#"{"password":"a"},"jwt":"evil""#,
        r#"{"password":"a"}}"#,
        r#"{"password":"a""#,
        "",
        "  ",
        "// a comment\n1",
        "\"broken \u{1}\"",
    ] {
        let (db, jwt, _) = pair();
        db.rotate(document);
        let source = Combined::new().with("db", db.clone()).with("jwt", jwt);
        let error = source.fetch().await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Malformed);
        let error = error.to_string();
        assert!(
            error.starts_with("part `db`: version `2` is not one JSON value"),
            "{error}"
        );
        assert!(!error.contains("evil"), "{error}");
    }
    let (db, jwt, _) = pair();
    db.rotate(b"\"\xff\"".to_vec());
    let source = Combined::new().with("db", db).with("jwt", jwt);
    let error = source.fetch().await.unwrap_err().to_string();
    assert_eq!(error, "part `db`: version `2` is not UTF-8 at byte 1");
}

#[tokio::test]
async fn a_broken_part_is_stale_later_and_a_broken_side_stage_is_left_out() {
    let (db, _jwt, source) = pair();
    source.fetch().await.unwrap();
    db.rotate("1,2");
    let versions = source.fetch().await.unwrap();
    assert_eq!(versions.current.id().as_str(), "db=1,jwt=1");
    let told = stale(&versions);
    assert_eq!(told[0].0, "db");
    assert!(
        told[0].1.contains("version `2` is not one JSON value"),
        "{told:?}"
    );

    let broken = Version::new("0", "1,2");
    db.set(Versions::new(Version::new("3", "1")).with_previous(broken));
    let versions = source.fetch().await.unwrap();
    assert!(stale(&versions).is_empty());
    let Side::Unreadable(error) = &versions.previous else {
        panic!("{versions:?}")
    };
    assert!(
        error.to_string().starts_with("part `db`: version `0`"),
        "{error}"
    );
}

#[tokio::test]
async fn sides_hold_the_current_of_the_parts_without_one_and_the_last_and_first_date() {
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let (db, jwt, source) = pair();
    let db_old = Version::new("0", "0")
        .with_replaced_at(at(10))
        .with_not_after(at(99));
    db.set(Versions::new(Version::new("1", "1")).with_previous(db_old.clone()));
    let previous = source.fetch().await.unwrap();
    let previous = previous.previous().unwrap();
    assert_eq!(text(previous), r#"{"db":0,"jwt":"k"}"#);
    assert_eq!(
        (previous.replaced_at(), previous.not_after()),
        (Some(at(10)), Some(at(99)))
    );

    let jwt_old = Version::new("0", "0")
        .with_replaced_at(at(20))
        .with_not_after(at(50));
    jwt.set(Versions::new(Version::new("1", "1").with_replaced_at(at(90))).with_previous(jwt_old));
    jwt.stage_pending("2");
    let versions = source.fetch().await.unwrap();
    let previous = versions.previous().unwrap();
    assert_eq!(previous.id().as_str(), "db=0,jwt=0");
    assert_eq!(
        (previous.replaced_at(), previous.not_after()),
        (Some(at(20)), Some(at(50)))
    );
    assert_eq!(versions.pending().unwrap().id().as_str(), "db=1,jwt=2");

    // One that cannot say when it was replaced says nothing of the whole.
    jwt.set(Versions::new(Version::new("1", "1")).with_previous(Version::new("0", "0")));
    let versions = source.fetch().await.unwrap();
    assert_eq!(versions.previous().unwrap().replaced_at(), None);
    // A side stage that one part cannot read does not hide that of another.
    jwt.set(Versions::new(Version::new("1", "1")).with_unreadable(Stage::Previous, down()));
    let versions = source.fetch().await.unwrap();
    assert_eq!(versions.previous().unwrap().id().as_str(), "db=0,jwt=1");
    db.drop_previous();
    let versions = source.fetch().await.unwrap();
    assert!(matches!(versions.previous, Side::Unreadable(_)));
    jwt.drop_previous();
    let versions = source.fetch().await.unwrap();
    assert!(matches!(versions.previous, Side::Absent));
}

#[tokio::test(start_paused = true)]
async fn a_part_that_fails_hangs_or_panics_does_so_alone_once_all_have_answered() {
    let (db, jwt, source) = pair();
    db.fail_next(1, down());
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Unavailable);
    assert_eq!(error.to_string(), "part `db`: the store is down");
    // The other part's answer of before does not count: this is still the first.
    jwt.fail_next(1, down());
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.to_string(), "part `jwt`: the store is down");
    source.fetch().await.unwrap();

    source.set_fetch_limit(Duration::from_secs(5));
    db.pause();
    jwt.rotate("2");
    let start = tokio::time::Instant::now();
    let versions = source.fetch().await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(4));
    assert_eq!(versions.current.id().as_str(), "db=1,jwt=2");
    let why = "the source gave no answer within 4s".to_owned();
    assert_eq!(stale(&versions), [("db", why)]);

    let panics = std::sync::atomic::AtomicBool::new(false);
    let flaky = move || {
        let now = panics.swap(true, std::sync::atomic::Ordering::SeqCst);
        assert!(!now, "on purpose");
        std::future::ready(Ok(Versions::new(Version::new("1", "1"))))
    };
    let source = Combined::new().with("flaky", flaky).with("jwt", jwt);
    source.fetch().await.unwrap();
    let versions = source.fetch().await.unwrap();
    assert_eq!(
        stale(&versions),
        [("flaky", "the source panicked".to_owned())]
    );
}

/// Its store shows at least that it has no previous any more.
#[tokio::test]
async fn a_part_that_cannot_be_read_withdraws_its_previous_and_no_other_one() {
    let (db, jwt, source) = pair();
    db.rotate(r#"{"password":"b"}"#);
    jwt.rotate(r#""l""#);
    let source = Arc::new(source);
    let shared = source.clone();
    let fetch = move || {
        let source = shared.clone();
        async move { source.fetch().await }
    };
    let builder = crate::Keyring::<serde_json::Value>::builder(fetch);
    let keyring = builder.build().await.unwrap();
    let previous = |keyring: &crate::Keyring<serde_json::Value>| {
        let secrets = keyring.current();
        secrets.previous().map(|it| it.to_string())
    };
    let both = r#"{"db":{"password":"a"},"jwt":"k"}"#;
    assert_eq!(previous(&keyring).unwrap(), both);

    jwt.fail_next(1, down().without_previous("another source"));
    keyring.refresh().await.unwrap();
    assert_eq!(previous(&keyring).unwrap(), both);
    jwt.fail_next(1, down().without_previous("memory"));
    keyring.refresh().await.unwrap();
    let db_alone = r#"{"db":{"password":"a"},"jwt":"l"}"#;
    assert_eq!(previous(&keyring).unwrap(), db_alone);
    // What was said once holds while the part is silent.
    jwt.fail_next(1, down());
    keyring.refresh().await.unwrap();
    assert_eq!(previous(&keyring).unwrap(), db_alone);
    assert_eq!(keyring.current()["jwt"], "l");

    // Of the whole, an error of one part says nothing.
    let first = Combined::new().with("jwt", jwt.clone());
    jwt.fail_next(1, down().without_previous("memory"));
    let error = first.fetch().await.unwrap_err();
    assert!(!error.withdraws_previous_of("memory"));
    assert!(!error.withdraws_previous_of(&first.name()));
}

#[tokio::test]
async fn mistakes_are_told_at_the_first_fetch() {
    let one = || Memory::new("1");
    for (source, told) in [
        (Combined::new(), "a combined source needs a part"),
        (
            Combined::new()
                .with("a", one())
                .with("b", one())
                .with("a", one()),
            "two parts are called `a`",
        ),
        (
            Combined::new().with("", one()),
            "the name `` of a part must not be empty or hold `,` or `=`",
        ),
        (
            Combined::new().with("a=1,b", one()),
            "the name `a=1,b` of a part must not be empty or hold `,` or `=`",
        ),
        (
            Combined::new().with("a", Combined::new().with("b", one())),
            "part `a`: it is a combined source itself; give all parts to one",
        ),
    ] {
        let error = source.fetch().await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Malformed);
        assert_eq!(error.to_string(), told);
    }
}

#[tokio::test]
async fn any_name_is_a_member_of_its_own() {
    let source = Combined::new()
        .with(r#"a":1,"b"#.replace(',', ";"), Memory::new("1"))
        .with("\u{fc}\n", Memory::new("2"));
    let versions = source.fetch().await.unwrap();
    let document: serde_json::Value = serde_json::from_slice(versions.current.document()).unwrap();
    assert_eq!(document[r#"a":1;"b"#], 1);
    assert_eq!(document["\u{fc}\n"], 2);
    assert_eq!(document.as_object().unwrap().len(), 2);
}

#[tokio::test]
async fn a_change_of_any_part_is_reported_and_each_hears_of_its_own_version() {
    let (db, jwt, source) = pair();
    db.rotate("2");
    jwt.rotate("2");
    // Both at once: the second is reported by the next call.
    source.changed().await;
    source.changed().await;
    let mut quiet = std::pin::pin!(source.changed());
    assert!(futures::poll!(quiet.as_mut()).is_pending());

    source.published(&"db=2,jwt=1".into());
    assert_eq!(db.last_published(), Some("2".into()));
    assert_eq!(jwt.last_published(), Some("1".into()));
    source.published(&"of another source".into());
    assert_eq!(db.last_published(), Some("2".into()));
}

#[tokio::test]
async fn a_substitute_for_one_part_degrades_the_whole() {
    let store = Memory::new("1");
    store.fail_next(1, down());
    let db = Fallback::new(store, Memory::new("2"));
    let source = Combined::new().with("db", db).with("jwt", Memory::new("1"));
    assert!(source.fetch().await.unwrap().is_degraded());
    assert!(!source.fetch().await.unwrap().is_degraded());
}

#[tokio::test]
async fn a_view_that_was_changed_by_hand_is_no_longer_one_of_parts() {
    let (_db, _jwt, source) = pair();
    let versions = source.fetch().await.unwrap();
    assert_eq!(versions.clone().degraded().parts.len(), 2);
    let changed = versions.with_previous(Version::new("x", "{}"));
    assert!(changed.parts.is_empty());
    let debug = format!("{source:?} {changed:?}");
    assert!(!debug.contains("password"), "{debug}");
}
