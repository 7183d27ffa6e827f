//! Which session keys open, against a model that is as simple as the promise.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use futures::FutureExt;
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::{
    Keyring, SessionKey,
    clock::{Now, TokioClock},
    event::Event,
    source::{Combined, Memory, Version, Versions},
};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const WINDOW_HOURS: u64 = 24;

#[derive(Deserialize)]
struct App {
    session_key: SessionKey,
}

fn secret(name: &str) -> String {
    format!("the session secret {name}, of more than 32 bytes")
}

/// `count` makes it another version; the session key is all that is read of it.
fn bundle(name: &str, count: usize) -> String {
    serde_json::json!({ "session_key": secret(name), "count": count }).to_string()
}

/// Hours.
#[derive(Clone, Default)]
struct Hands(Arc<AtomicU64>);

impl Clock for Hands {
    fn now(&self) -> Now {
        let mono = Duration::from_secs(3600 * self.0.load(Ordering::Relaxed));
        Now::new(SystemTime::UNIX_EPOCH + mono, mono)
    }
}

#[derive(Clone, Debug)]
enum Act {
    /// Another version, with this session key.
    Rotate(usize),
    Wait(u64),
    /// One of the versions so far.
    Revoke(prop::sample::Index),
    DropPrevious,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        5 => (0..NAMES.len()).prop_map(Act::Rotate),
        3 => (1..WINDOW_HOURS + 2).prop_map(Act::Wait),
        1 => any::<prop::sample::Index>().prop_map(Act::Revoke),
        1 => Just(Act::DropPrevious),
    ]
}

/// What was promised.
struct Model {
    now: u64,
    current: &'static str,
    /// Each replaced key with the hour at which its window ends.
    replaced: HashMap<&'static str, u64>,
    /// The session key of each version.
    versions: Vec<(VersionId, &'static str)>,
    revoked: Vec<&'static str>,
    /// Whether the version in use is revoked, and not only another one with its key.
    current_is_revoked: bool,
}

impl Model {
    fn opens(&self, name: &str) -> bool {
        let is_open = |end: &u64| self.now < *end && !self.revoked.contains(&name);
        if name == self.current {
            return !self.current_is_revoked;
        }
        self.replaced.get(name).is_some_and(is_open)
    }

    fn rotate(&mut self, version: VersionId, name: &'static str) {
        self.versions.push((version, name));
        self.current_is_revoked = false;
        let before = std::mem::replace(&mut self.current, name);
        self.replaced.remove(name);
        if before != name {
            self.replaced.insert(before, self.now + WINDOW_HOURS);
        }
    }
}

async fn keyring(source: &Memory, hands: &Hands) -> Keyring<App> {
    let builder = Keyring::<App>::builder(source.clone())
        .session_key(|app| &app.session_key)
        .activation_delay(Duration::ZERO)
        .clock(hands.clone());
    builder.build().await.unwrap()
}

/// One that waits before it seals with a new key, as by default.
async fn patient(source: &Memory, hands: &Hands) -> Keyring<App> {
    let builder = Keyring::<App>::builder(source.clone())
        .session_key(|app| &app.session_key)
        .clock(hands.clone());
    builder.build().await.unwrap()
}

fn identity(name: &str) -> [u8; 32] {
    let key = SessionKey::from_secret(secret(name)).unwrap();
    *key.prepare().unwrap().identity()
}

fn opens(keys: &SessionKeys, identity: &[u8; 32]) -> bool {
    let opened = keys.find(|key| (key.identity() == identity).then_some(()));
    opened.is_some()
}

async fn run(acts: Vec<Act>) {
    let (source, hands) = (Memory::new(bundle(NAMES[0], 0)), Hands::default());
    let keyring = keyring(&source, &hands).await;
    let keys = keyring.session_keys().unwrap();
    let identities = NAMES.map(identity);
    let mut model = Model {
        now: 0,
        current: NAMES[0],
        replaced: HashMap::new(),
        versions: vec![(keyring.current().version().clone(), NAMES[0])],
        revoked: Vec::new(),
        current_is_revoked: false,
    };
    for (count, act) in acts.into_iter().enumerate() {
        match &act {
            Act::Rotate(at) => {
                let version = source.rotate(bundle(NAMES[*at], count + 1));
                model.rotate(version, NAMES[*at]);
            }
            Act::Wait(hours) => {
                hands.0.fetch_add(*hours, Ordering::Relaxed);
                model.now += hours;
            }
            Act::Revoke(index) => {
                let (version, name) = index.get(&model.versions);
                keyring.revoke(version);
                model.revoked.push(name);
                model.current_is_revoked |= *version == model.versions[model.versions.len() - 1].0;
            }
            Act::DropPrevious => {
                source.drop_previous();
                model.replaced.clear();
            }
        }
        keyring.refresh().await.unwrap();
        let sealing = keys.sealing().map(|key| *key.identity());
        for (name, identity) in NAMES.iter().zip(identities) {
            let opens = opens(&keys, &identity);
            assert_eq!(opens, model.opens(name), "{name} after {act:?}");
            let seals = *name == model.current && !model.current_is_revoked;
            assert_eq!(sealing == Some(identity), seals, "{name} after {act:?}");
            let is_cut = keys.was_cut(&identity);
            assert!(!is_cut || !model.opens(name), "{name} after {act:?}");
            let is_revoked = model.revoked.contains(name) && !model.opens(name);
            assert!(is_cut || !is_revoked, "{name} after {act:?}");
        }
    }
}

proptest! {
    #[test]
    fn a_key_opens_for_as_long_as_was_promised_and_no_longer(
        acts in prop::collection::vec(act(), 1..25)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(run(acts));
    }
}

fn version(name: &str) -> Version {
    Version::new(name, bundle(name, 0))
}

/// As a signing key does, where the store says when it was written.
#[tokio::test]
async fn a_process_that_starts_long_after_a_rotation_seals_with_the_new_key_at_once() {
    for (hours, seals) in [(2, "new"), (0, "old")] {
        let hands = Hands::default();
        hands.0.store(10, Ordering::Relaxed);
        let written = |name: &str, hours: u64| {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(3600 * (10 - hours));
            version(name).with_created_at(at)
        };
        let view = Versions::new(written("new", hours)).with_previous(written("old", 3));
        let source = Memory::new("");
        source.set(view);
        let keyring = patient(&source, &hands).await;
        let sealing = keyring.session_keys().unwrap().sealing().unwrap();
        assert_eq!(*sealing.identity(), identity(seals), "{hours} h");
    }
}

/// Whatever it seals would end with it.
#[tokio::test]
async fn a_process_that_starts_seals_with_no_key_that_is_about_to_end() {
    let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let old = || version("old");
    for (previous, seals) in [
        (old().with_not_after(at(24 * 3600 + 10)), "new"),
        (old().with_replaced_at(at(4 * 3600)), "new"),
        (old().with_replaced_at(at(24 * 3600)), "old"),
        (old(), "old"),
    ] {
        let hands = Hands::default();
        hands.0.store(24, Ordering::Relaxed);
        let (source, told) = (Memory::new(""), format!("{previous:?}"));
        source.set(Versions::new(version("new")).with_previous(previous));
        let keyring = patient(&source, &hands).await;
        let sealing = keyring.session_keys().unwrap().sealing().unwrap();
        assert_eq!(*sealing.identity(), identity(seals), "{told}");
    }
}

/// Others know the new key no sooner for it.
#[tokio::test]
async fn an_end_that_the_store_names_makes_nobody_seal_with_the_new_key_at_once() {
    let (source, hands) = (Memory::new(bundle("old", 0)), Hands::default());
    let keyring = patient(&source, &hands).await;
    let keys = keyring.session_keys().unwrap();
    let seals = || keys.sealing().map(|key| *key.identity());
    let soon = SystemTime::UNIX_EPOCH + Duration::from_secs(2 * 3600);
    source.set(Versions::new(version("new")).with_previous(version("old").with_not_after(soon)));
    keyring.refresh().await.unwrap();
    assert_eq!(seals(), Some(identity("old")));
    // No longer than the activation delay.
    hands.0.store(1, Ordering::Relaxed);
    assert_eq!(seals(), Some(identity("new")));
}

#[tokio::test]
async fn where_current_is_revoked_none_seals_from_that_moment_on() {
    let (source, hands) = (Memory::new(bundle("a", 0)), Hands::default());
    let keyring = patient(&source, &hands).await;
    let keys = keyring.session_keys().unwrap();
    source.rotate(bundle("b", 0));
    keyring.refresh().await.unwrap();
    let seals = || keys.sealing().map(|key| *key.identity());
    assert_eq!(seals(), Some(identity("a")));
    keyring.revoke(keyring.current().version());
    assert_eq!(seals(), None);
    assert!(opens(&keys, &identity("a")));
}

#[tokio::test]
async fn a_flip_that_was_not_seen_opens_one_window() {
    let (source, hands) = (Memory::new(bundle("a", 0)), Hands::default());
    let keyring = keyring(&source, &hands).await;
    let keys = keyring.session_keys().unwrap();
    source.stage_pending(bundle("b", 0));
    keyring.refresh().await.unwrap();
    // The key was pending; the window is a whole one, and a later view does not begin it anew.
    hands.0.store(12, Ordering::Relaxed);
    for current in ["c", "d"] {
        source.set(Versions::new(version(current)).with_previous(version("b")));
        keyring.refresh().await.unwrap();
        hands.0.fetch_add(WINDOW_HOURS / 2, Ordering::Relaxed);
        assert_eq!(opens(&keys, &identity("b")), current == "c");
    }
}

#[tokio::test]
async fn a_pending_key_that_became_current_was_not_cut() {
    let (source, hands) = (Memory::new(bundle("a", 0)), Hands::default());
    let keyring = keyring(&source, &hands).await;
    let keys = keyring.session_keys().unwrap();
    source.stage_pending(bundle("b", 0));
    keyring.refresh().await.unwrap();
    source.promote_pending();
    keyring.refresh().await.unwrap();
    // Of current nobody asks; of one that was replaced, what it has opened goes on.
    source.rotate(bundle("c", 0));
    keyring.refresh().await.unwrap();
    assert!(opens(&keys, &identity("b")) && !keys.was_cut(&identity("b")));
}

#[derive(Deserialize)]
struct Parts {
    own: App,
    #[expect(dead_code, reason = "it has to be read")]
    other: BTreeMap<String, String>,
}

#[tokio::test]
async fn what_another_part_stages_in_vain_takes_no_pending_key_away() {
    let (own, other) = (Memory::new(bundle("a", 0)), Memory::new("{}"));
    let parts = Combined::new()
        .with("own", own.clone())
        .with("other", other.clone());
    let building = Keyring::<Parts>::builder(parts).session_key(|parts| &parts.own.session_key);
    let keyring = building.build().await.unwrap();
    let keys = keyring.session_keys().unwrap();
    own.stage_pending(bundle("b", 0));
    keyring.refresh().await.unwrap();
    assert!(opens(&keys, &identity("b")));
    other.stage_pending("[]");
    keyring.refresh().await.unwrap();
    assert!(opens(&keys, &identity("b")) && !keys.was_cut(&identity("b")));
}

#[tokio::test]
async fn a_key_is_let_go_when_its_window_is_over() {
    let (source, hands) = (Memory::new(bundle("a", 0)), Hands::default());
    let keyring = keyring(&source, &hands).await;
    let keys = keyring.session_keys().unwrap();
    source.rotate(bundle("b", 0));
    for (hours, held) in [(0, 1), (WINDOW_HOURS - 1, 1), (1, 0)] {
        hands.0.fetch_add(hours, Ordering::Relaxed);
        keyring.refresh().await.unwrap();
        assert_eq!(keys.view().others.len(), held, "after {hours} hours more");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_let_go_between_two_polls() {
    const POLLS: Duration = Duration::from_secs(7000);
    const SECOND: Duration = Duration::from_secs(1);
    let source = Memory::new(bundle("a", 0));
    let keyring = Keyring::<App>::builder(source.clone())
        .session_key(|app| &app.session_key)
        .refresh_every(POLLS)
        .clock(TokioClock::new())
        .build()
        .await
        .unwrap();
    let keys = keyring.session_keys().unwrap();
    source.rotate(bundle("b", 0));
    keyring.refresh().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600 * WINDOW_HOURS) - SECOND).await;
    assert_eq!(keys.view().others.len(), 1);
    let fetches = source.fetches();
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(keys.view().others.len(), 0);
    assert_eq!(source.fetches(), fetches, "there was a poll");
}

#[tokio::test]
async fn a_withdrawal_is_told_once_of_each_version() {
    let (source, hands) = (Memory::new(bundle("a", 0)), Hands::default());
    let keyring = keyring(&source, &hands).await;
    for name in ["b", "c"] {
        source.rotate(bundle(name, 0));
        keyring.refresh().await.unwrap();
    }
    let mut events = keyring.subscribe();
    source.drop_previous();
    keyring.refresh().await.unwrap();
    let told = std::iter::from_fn(|| events.next().now_or_never().flatten());
    let withdrawn = told.filter_map(|event| match event {
        Event::PreviousWithdrawn { version } => Some(version.to_string()),
        _ => None,
    });
    let mut withdrawn: Vec<_> = withdrawn.collect();
    withdrawn.sort();
    assert_eq!(withdrawn, ["1", "2"]);
}

#[tokio::test]
async fn what_the_store_ended_stays_so_after_any_number_of_rotations() {
    let (source, hands) = (Memory::new(bundle("a", 0)), Hands::default());
    let keyring = keyring(&source, &hands).await;
    let keys = keyring.session_keys().unwrap();
    source.rotate(bundle("b", 0));
    keyring.refresh().await.unwrap();
    source.drop_previous();
    keyring.refresh().await.unwrap();
    let until = hands.wall() + Duration::from_secs(3600);
    source.set(Versions::new(version("c")).with_previous(version("b").with_not_after(until)));
    keyring.refresh().await.unwrap();
    hands.0.store(2, Ordering::Relaxed);
    // More than are remembered.
    for count in 0..1100 {
        source.rotate(bundle(&count.to_string(), 0));
        keyring.refresh().await.unwrap();
    }
    for name in ["a", "b"] {
        assert!(keys.was_cut(&identity(name)), "{name}");
    }
}
