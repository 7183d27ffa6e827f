//! The tests, over any store.

use std::collections::HashMap;

use serde::Deserialize;
use tower_secrets::{
    Keyring,
    source::{Source, SourceError, SourceErrorKind, Version, Versions},
};

use crate::harness::Harness;

/// A module with a test of each name below, for one harness.
macro_rules! source_contract {
    ($name:ident, $harness:ty) => {
        source_contract!(
            $name,
            $harness,
            the_first_view_has_no_previous,
            a_rotation_makes_the_old_current_previous,
            a_pending_version_is_promoted,
            a_pending_version_is_dropped,
            a_withdrawn_previous_is_absent,
            an_unchanged_store_gives_an_equal_view,
            an_id_stands_for_one_value,
            documents_come_to_the_letter,
            a_boxed_source_is_the_same,
            an_outage_is_an_error_of_its_kind_and_heals,
            a_writer_that_never_rests_tears_nothing,
            a_keyring_over_it,
        );
    };
    ($name:ident, $harness:ty, $($test:ident),+ $(,)?) => {
        mod $name {
            use super::*;
            use $crate::contract;

            $(
                #[tokio::test]
                async fn $test() {
                    let name = concat!(module_path!(), "::", stringify!($test));
                    let store = <$harness>::start(name, &contract::document(1)).await;
                    if let Some(store) = store {
                        contract::$test(store).await;
                    }
                }
            )+
        }
    };
}

/// How often a nonstop writer is read.
const READINGS: usize = 200;

#[derive(Debug, Deserialize)]
pub(crate) struct Numbered {
    number: u64,
}

pub(crate) fn document(number: u64) -> String {
    format!(r#"{{"number":{number},"text":"of {number}"}}"#)
}

fn number(version: &Version) -> u64 {
    let numbered: Numbered = serde_json::from_slice(version.document()).unwrap();
    numbered.number
}

/// Which documents are current, previous and pending.
fn numbers(versions: &Versions) -> (u64, Option<u64>, Option<u64>) {
    (
        number(versions.current()),
        versions.previous().map(number),
        versions.pending().map(number),
    )
}

/// What a keyring does with an answer that passes.
async fn fetch(source: &impl Source) -> Versions {
    let versions = source.fetch().await.unwrap();
    source.published(versions.current().id());
    versions
}

async fn view(source: &impl Source) -> (u64, Option<u64>, Option<u64>) {
    numbers(&fetch(source).await)
}

pub(crate) async fn the_first_view_has_no_previous(store: impl Harness) {
    let source = store.source();
    assert_eq!(view(&source).await, (1, None, None));
    assert!(!source.name().is_empty());
}

pub(crate) async fn a_rotation_makes_the_old_current_previous(mut store: impl Harness) {
    let source = store.source();
    fetch(&source).await;
    for number in 2..5 {
        store.rotate(&document(number)).await;
        let expected = (number, Some(number - 1), None);
        assert_eq!(view(&source).await, expected);
        assert_eq!(view(&store.source()).await, expected, "after a restart");
    }
}

pub(crate) async fn a_pending_version_is_promoted(mut store: impl Harness) {
    let source = store.source();
    store.stage(&document(2)).await;
    let staged = fetch(&source).await;
    assert_eq!(numbers(&staged), (1, None, Some(2)));
    store.promote().await;
    let promoted = fetch(&source).await;
    assert_eq!(numbers(&promoted), (2, Some(1), None));
    assert_eq!(promoted.current().id(), staged.pending().unwrap().id());
    assert_eq!(promoted.previous().unwrap().id(), staged.current().id());
    store.stage(&document(3)).await;
    assert_eq!(view(&source).await, (2, Some(1), Some(3)));
}

pub(crate) async fn a_pending_version_is_dropped(mut store: impl Harness) {
    let source = store.source();
    store.rotate(&document(2)).await;
    store.stage(&document(3)).await;
    assert_eq!(view(&source).await, (2, Some(1), Some(3)));
    store.stage(&document(4)).await;
    assert_eq!(view(&source).await, (2, Some(1), Some(4)));
    store.unstage().await;
    assert_eq!(view(&source).await, (2, Some(1), None));
}

pub(crate) async fn a_withdrawn_previous_is_absent(mut store: impl Harness) {
    let source = store.source();
    store.rotate(&document(2)).await;
    assert_eq!(view(&source).await, (2, Some(1), None));
    store.withdraw().await;
    assert_eq!(view(&source).await, (2, None, None));
    assert_eq!(view(&store.source()).await, (2, None, None));
    store.rotate(&document(3)).await;
    assert_eq!(view(&source).await, (3, Some(2), None));
}

pub(crate) async fn an_unchanged_store_gives_an_equal_view(mut store: impl Harness) {
    store.rotate(&document(2)).await;
    store.stage(&document(3)).await;
    let source = store.source();
    let first = fetch(&source).await;
    for other in [fetch(&source).await, fetch(&store.source()).await] {
        assert_eq!(ids(&first), ids(&other));
        assert_eq!(numbers(&first), numbers(&other));
    }
}

fn ids(versions: &Versions) -> [Option<&str>; 3] {
    let stages = [
        Some(versions.current()),
        versions.previous(),
        versions.pending(),
    ];
    stages.map(|version| version.map(|it| it.id().as_str()))
}

pub(crate) async fn an_id_stands_for_one_value(mut store: impl Harness) {
    let source = store.source();
    let mut values: HashMap<String, Vec<u8>> = HashMap::new();
    for number in 2..6 {
        store.stage(&document(number)).await;
        let staged = fetch(&source).await;
        store.promote().await;
        let promoted = fetch(&source).await;
        for versions in [staged, promoted, fetch(&store.source()).await] {
            let beside = [versions.previous(), versions.pending()];
            for version in beside.into_iter().flatten().chain([versions.current()]) {
                let document = version.document().to_vec();
                let known = values.insert(version.id().to_string(), document.clone());
                assert!(known.is_none_or(|known| known == document), "{version:?}");
            }
        }
    }
    assert_eq!(values.len(), 5);
}

pub(crate) async fn documents_come_to_the_letter<H: Harness>(mut store: H) {
    let odd = "{\n  \"text\": \"\\u00e4\u{e4} \\\"\u{1f511}\\\" \\\\\",\t\"number\" : 2 , \
               \"list\":[ 1.50, null ]}";
    store.rotate(odd).await;
    let source = store.source();
    assert_eq!(text(fetch(&source).await.current()), H::stored(odd));
    store.rotate(&document(3)).await;
    let versions = fetch(&source).await;
    assert_eq!(text(versions.previous().unwrap()), H::stored(odd));
}

fn text(version: &Version) -> &str {
    std::str::from_utf8(version.document()).unwrap()
}

pub(crate) async fn a_boxed_source_is_the_same(mut store: impl Harness) {
    let plain = store.source();
    let boxed = store.source().boxed();
    assert_eq!(plain.name(), boxed.name());
    for number in 2..4 {
        store.rotate(&document(number)).await;
        let (one, other) = (fetch(&plain).await, fetch(&boxed).await);
        assert_eq!(ids(&one), ids(&other));
    }
    store.go_down().await;
    let error = boxed.fetch().await.unwrap_err();
    assert_eq!(error.kind(), plain.fetch().await.unwrap_err().kind());
}

pub(crate) async fn an_outage_is_an_error_of_its_kind_and_heals<H: Harness>(mut store: H) {
    let source = store.source();
    fetch(&source).await;
    store.go_down().await;
    for _ in 0..2 {
        let error: SourceError = source.fetch().await.unwrap_err();
        assert_eq!(error.kind(), H::OUTAGE, "{error}");
        assert!(!error.to_string().contains("of 1"), "{error}");
    }
    store.come_back().await;
    assert_eq!(view(&source).await, (1, None, None));
    store.rotate(&document(2)).await;
    assert_eq!(view(&source).await, (2, Some(1), None));
}

pub(crate) async fn a_writer_that_never_rests_tears_nothing<H: Harness>(mut store: H) {
    let source = store.source();
    let write = async {
        for number in 2.. {
            store.rotate(&document(number)).await;
            tokio::task::yield_now().await;
        }
    };
    let read = async {
        let mut last = 0;
        let mut changes = 0;
        let mut refusals = 0;
        let mut readings = 0;
        while readings < READINGS {
            let versions = match source.fetch().await {
                Ok(versions) => versions,
                Err(error) => {
                    // No answer is none torn.
                    let is_gap = H::GAP.is_some_and(|gap| error.to_string().ends_with(gap));
                    let is_outrun = error.kind() == SourceErrorKind::Unavailable;
                    assert!(is_gap || H::MAY_BE_OUTRUN && is_outrun, "{error}");
                    refusals += 1;
                    assert!(refusals < READINGS, "{refusals} refusals: {error}");
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            readings += 1;
            source.published(versions.current().id());
            let (current, previous, _) = numbers(&versions);
            match previous {
                Some(previous) => assert_eq!(previous + 1, current),
                None => assert_eq!(current, 1),
            }
            assert!(current >= last, "{current} after {last}");
            changes += usize::from(current != last);
            last = current;
            tokio::task::yield_now().await;
        }
        changes
    };
    let changes = tokio::select! {
        () = write => unreachable!("the writer ended"),
        changes = read => changes,
    };
    // Without it nothing was shown.
    assert!(
        changes > READINGS / 10,
        "{changes} of {READINGS} readings saw a new version"
    );
}

pub(crate) async fn a_keyring_over_it<H: Harness>(mut store: H) {
    let keyring = Keyring::<Numbered>::builder(store.source())
        .build()
        .await
        .unwrap();
    let seen = || {
        let secrets = keyring.current();
        let previous = secrets.previous().map(|bundle| bundle.number);
        (secrets.number, previous)
    };
    assert_eq!(seen(), (1, None));
    assert!(!keyring.refresh().await.unwrap().is_swapped());
    store.rotate(&document(2)).await;
    assert!(keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(seen(), (2, Some(1)));

    store.go_down().await;
    let error = keyring.refresh().await.unwrap_err();
    assert_eq!(error.source_error().unwrap().kind(), H::OUTAGE, "{error}");
    assert_eq!(seen(), (2, Some(1)));
    store.come_back().await;
    assert!(!keyring.refresh().await.unwrap().is_swapped());

    store.withdraw().await;
    assert!(keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(seen(), (2, None));
}
