//! Windows and revocations as a client sees them: through the layer.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{Request, Response, StatusCode};
use serde::Deserialize;
use support::{ask, token};
use tower::{Layer, ServiceExt, service_fn};
use tower_secrets::{
    JwtKey, JwtRotationLayer, Keyring, RegisteredClaims, Secrets, SecretsLayer,
    clock::TokioClock,
    event::{Event, Events},
    layer::Refusal,
    source::{Memory, Source, SourceError, SourceErrorKind, Stage, Version, VersionId, Versions},
};

#[derive(Deserialize)]
struct App {
    jwt: JwtKey,
}

fn doc(key: u32) -> String {
    format!(r#"{{"jwt":"key number {key:03} of thirty-two bytes"}}"#)
}

fn edited(key: u32, edition: u32) -> String {
    format!(r#"{{"jwt":"key number {key:03} of thirty-two bytes","other":{edition}}}"#)
}

const WINDOW: Duration = Duration::from_secs(910);
const SECOND: Duration = Duration::from_secs(1);

struct World {
    store: Memory,
    clock: Arc<TokioClock>,
    keyring: Keyring<App>,
}

impl World {
    async fn new(store: Memory) -> Self {
        let clock = Arc::new(TokioClock::new());
        let keyring = Keyring::<App>::builder(store.clone())
            .activation_delay(std::time::Duration::ZERO)
            .jwt_key(|app| &app.jwt)
            .clock(clock.clone())
            .refuse_after(Duration::from_secs(3000))
            .build()
            .await
            .unwrap();
        Self {
            store,
            clock,
            keyring,
        }
    }

    async fn rotate(&self, document: String) -> VersionId {
        let version = self.store.rotate(document);
        self.keyring.refresh().await.unwrap();
        version
    }

    async fn ask(&self, token: &str) -> Result<Stage, StatusCode> {
        ask(&self.keyring, token).await
    }
}

const REFUSED: Result<Stage, StatusCode> = Err(StatusCode::UNAUTHORIZED);

#[tokio::test(start_paused = true)]
async fn a_window_ends_to_the_second_and_not_by_the_timer() {
    let world = World::new(Memory::new(doc(1))).await;
    let signer = world.keyring.signer();
    let old = token(&signer);
    world.rotate(doc(2)).await;
    // The loop hangs: the deadline is checked at each verification, not by its timer.
    world.store.pause();
    tokio::time::advance(WINDOW - SECOND).await;
    assert_eq!(world.ask(&old).await, Ok(Stage::Previous));
    tokio::time::advance(SECOND).await;
    assert_eq!(world.ask(&old).await, REFUSED);
    assert_eq!(world.ask(&token(&signer)).await, Ok(Stage::Current));
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_through_a_window_does_not_trust_the_old_key() {
    let world = World::new(Memory::new(doc(1))).await;
    let old = token(&world.keyring.signer());
    world.rotate(doc(2)).await;
    // Suspended time does not count on the monotonic clock; the wall clock shows it.
    world
        .clock
        .set_skew_millis(WINDOW.as_millis() as i64 - 1000);
    assert_eq!(world.ask(&old).await, Ok(Stage::Previous));
    world
        .clock
        .set_skew_millis(WINDOW.as_millis() as i64 + 6000);
    assert_eq!(world.ask(&old).await, REFUSED);
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_steps_back_lengthens_no_window() {
    let world = World::new(Memory::new(doc(1))).await;
    let old = token(&world.keyring.signer());
    world.rotate(doc(2)).await;
    world.clock.set_skew_millis(-3_600_000);
    tokio::time::advance(WINDOW).await;
    assert_eq!(world.ask(&old).await, REFUSED);
}

/// A clock set far ahead ends the window early, and set right again it lengthens none; current is not concerned.
#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_steps_forward_and_back_costs_current_nothing() {
    let world = World::new(Memory::new(doc(1))).await;
    let signer = world.keyring.signer();
    let old = token(&signer);
    world.rotate(doc(2)).await;
    let new = token(&signer);
    world.clock.set_skew_millis(3_600_000);
    assert_eq!(world.ask(&old).await, REFUSED);
    assert_eq!(world.ask(&new).await, Ok(Stage::Current));
    world.clock.set_skew_millis(-3_600_000);
    assert_eq!(world.ask(&new).await, Ok(Stage::Current));
    tokio::time::advance(WINDOW).await;
    assert_eq!(world.ask(&old).await, REFUSED);
    // Nor does it keep the next rotation away.
    world.rotate(doc(3)).await;
    assert_eq!(world.ask(&token(&signer)).await, Ok(Stage::Current));
    assert_eq!(world.ask(&new).await, Ok(Stage::Previous));
}

/// The version whose window gave way to a newer one's.
async fn cut_short(events: &mut Events) -> VersionId {
    loop {
        if let Event::WindowCutShort { version, .. } = events.next().await.unwrap() {
            return version;
        }
    }
}

/// The key between was never current here, and yet a replica that polled in time signs with it.
#[tokio::test(start_paused = true)]
async fn two_rotations_within_one_poll_trust_the_key_between() {
    let world = World::new(Memory::new(doc(1))).await;
    let mut events = world.keyring.subscribe();
    let first = token(&world.keyring.signer());
    world.store.rotate(doc(2));
    let in_time = World::new(world.store.clone()).await;
    let second = token(&in_time.keyring.signer());
    assert_eq!(world.ask(&second).await, REFUSED, "no poll yet");
    world.rotate(doc(3)).await;
    assert_eq!(world.ask(&first).await, REFUSED);
    assert_eq!(world.ask(&second).await, Ok(Stage::Previous));
    let third = token(&world.keyring.signer());
    assert_eq!(world.ask(&third).await, Ok(Stage::Current));
    assert_eq!(cut_short(&mut events).await, VersionId::new("1"));
}

#[tokio::test(start_paused = true)]
async fn where_previous_has_no_key_of_its_own_the_oldest_key_ends_all_the_same() {
    let world = World::new(Memory::new(doc(1))).await;
    let signer = world.keyring.signer();
    let first = token(&signer);
    world.rotate(doc(2)).await;
    let second = token(&signer);
    // No poll sees it, and then it is previous with current's own key.
    world.store.rotate(doc(3));
    world.rotate(edited(3, 1)).await;
    assert_eq!(world.ask(&second).await, Ok(Stage::Previous));
    assert_eq!(world.ask(&first).await, REFUSED);
}

#[tokio::test(start_paused = true)]
async fn where_the_named_previous_is_over_no_older_key_takes_its_window() {
    let over = SystemTime::now() - 2 * WINDOW;
    let second = || Version::new("second", doc(2));
    for second in [
        second().with_replaced_at(over),
        second().with_not_after(over),
    ] {
        let world = World::new(Memory::new(doc(1))).await;
        let mut events = world.keyring.subscribe();
        let first = token(&world.keyring.signer());
        let third = Versions::new(Version::new("third", doc(3))).with_previous(second);
        world.store.set(third);
        world.keyring.refresh().await.unwrap();
        assert_eq!(world.ask(&first).await, REFUSED);
        assert_eq!(cut_short(&mut events).await, VersionId::new("1"));
        let newest = token(&world.keyring.signer());
        assert_eq!(world.ask(&newest).await, Ok(Stage::Current));
    }
}

#[tokio::test(start_paused = true)]
async fn a_label_moved_to_and_fro_refuses_neither_key_and_lengthens_no_window() {
    let version = |key: u32| Version::new(key.to_string(), doc(key));
    let view = |current, previous| Versions::new(version(current)).with_previous(version(previous));
    let store = Memory::new(doc(1));
    store.set(Versions::new(version(1)));
    let world = World::new(store).await;
    let mut tokens = vec![token(&world.keyring.signer())];
    for flip in 0..10 {
        let (current, previous) = if flip % 2 == 0 { (2, 1) } else { (1, 2) };
        world.store.set(view(current, previous));
        assert!(world.keyring.refresh().await.unwrap().is_swapped());
        tokens.push(token(&world.keyring.signer()));
        for token in &tokens {
            let stage = world.ask(token).await;
            assert!(matches!(stage, Ok(Stage::Current | Stage::Previous)));
        }
    }
    // Key 2 was replaced last; what was current in between has its window from then.
    assert_eq!(world.ask(&tokens[1]).await, Ok(Stage::Previous));
    tokio::time::advance(WINDOW).await;
    assert_eq!(world.ask(&tokens[1]).await, REFUSED);
    assert_eq!(world.ask(&tokens[0]).await, Ok(Stage::Current));
}

#[tokio::test(start_paused = true)]
async fn two_rotations_inside_one_window_end_the_oldest_key_and_say_so() {
    let world = World::new(Memory::new(doc(1))).await;
    let mut events = world.keyring.subscribe();
    let signer = world.keyring.signer();
    let first = token(&signer);
    world.rotate(doc(2)).await;
    let second = token(&signer);
    world.rotate(doc(3)).await;
    assert_eq!(world.ask(&first).await, REFUSED);
    assert_eq!(world.ask(&second).await, Ok(Stage::Previous));
    assert_eq!(cut_short(&mut events).await, VersionId::new("1"));
}

#[tokio::test(start_paused = true)]
async fn a_replaced_key_keeps_its_deadline_when_previous_moves_on() {
    let world = World::new(Memory::new(doc(1))).await;
    let old = token(&world.keyring.signer());
    world.rotate(doc(2)).await;
    tokio::time::advance(WINDOW / 2).await;
    for edition in 0..3 {
        world.rotate(edited(2, edition)).await;
        assert_eq!(world.ask(&old).await, Ok(Stage::Previous));
    }
    tokio::time::advance(WINDOW / 2).await;
    assert_eq!(world.ask(&old).await, REFUSED);
}

#[tokio::test(start_paused = true)]
async fn a_flip_whose_previous_did_not_move_along_keeps_what_was_seen_leaving() {
    // An operator who rotates current alone, beside a previous left from the last rotation.
    let world = World::new(Memory::new(doc(1))).await;
    let signer = world.keyring.signer();
    world.rotate(doc(2)).await;
    let second = token(&signer);
    let view = world.store.fetch().await.unwrap();
    let stale = view.previous().unwrap().clone();
    let third = Versions::new(Version::new("3", doc(3))).with_previous(stale);
    world.store.set(third.clone());
    world.keyring.refresh().await.unwrap();
    assert_eq!(world.ask(&second).await, Ok(Stage::Previous));
    assert_eq!(*world.keyring.current().version(), VersionId::new("3"));
    let previous = || world.keyring.status().previous.unwrap().id;
    assert_eq!(previous(), VersionId::new("2"));
    // Nor does another view bring the older one back.
    world
        .store
        .set(third.with_pending(Version::new("4", doc(4))));
    world.keyring.refresh().await.unwrap();
    assert!(world.keyring.status().pending.is_some());
    assert_eq!(previous(), VersionId::new("2"));
}

/// A process that starts in the middle of a window.
async fn restarted(previous: Version) -> (World, String) {
    let issuer = World::new(Memory::new(doc(1))).await;
    let old = token(&issuer.keyring.signer());
    let store = Memory::new(doc(2));
    let view = store.fetch().await.unwrap();
    store.set(view.with_previous(previous));
    (World::new(store).await, old)
}

#[tokio::test(start_paused = true)]
async fn a_previous_key_that_was_never_seen_has_what_is_left_of_its_window() {
    let issuer = World::new(Memory::new(doc(2))).await;
    let missed = token(&issuer.keyring.signer());
    let world = World::new(Memory::new(doc(1))).await;
    let half_ago = SystemTime::now() - WINDOW / 2;
    // Two rotations between two polls.
    let second = Version::new("second", doc(2)).with_replaced_at(half_ago);
    let third = Version::new("third", doc(3));
    world.store.set(Versions::new(third).with_previous(second));
    world.keyring.refresh().await.unwrap();
    let left = world.keyring.status().previous.unwrap().expires_in;
    assert!(left.unwrap() < WINDOW / 2 + SECOND, "{left:?}");
    tokio::time::advance(WINDOW / 2 - 2 * SECOND).await;
    assert_eq!(world.ask(&missed).await, Ok(Stage::Previous));
    tokio::time::advance(4 * SECOND).await;
    assert_eq!(world.ask(&missed).await, REFUSED);
}

/// The token of a key that is pending here.
async fn with_pending() -> (World, String) {
    let issuer = World::new(Memory::new(doc(2))).await;
    let world = World::new(Memory::new(doc(1))).await;
    let staged = token(&issuer.keyring.signer());
    world.store.stage_pending(doc(2));
    world.keyring.refresh().await.unwrap();
    assert_eq!(world.ask(&staged).await, Ok(Stage::Pending));
    (world, staged)
}

#[tokio::test(start_paused = true)]
async fn a_pending_key_that_was_taken_back_does_not_wait_for_a_good_current() {
    let (world, leaked) = with_pending().await;
    world.store.drop_pending();
    let view = world.store.fetch().await.unwrap();
    world.store.rotate("[]");
    world.keyring.refresh().await.unwrap_err();
    assert_eq!(world.ask(&leaked).await, REFUSED);
    assert!(world.keyring.status().pending.is_none());
    // What cannot be read does not bring it back ..
    let error = SourceError::new(SourceErrorKind::Unavailable, "half of it");
    let unread = view.clone().with_unreadable(Stage::Pending, error);
    world.store.set(unread);
    world.keyring.refresh().await.unwrap();
    assert_eq!(world.ask(&leaked).await, REFUSED);
    // .. but it may be staged again, beside the current that is in use.
    let again = Version::new("again", doc(2));
    world.store.set(view.with_pending(again));
    world.keyring.refresh().await.unwrap();
    assert_eq!(world.ask(&leaked).await, Ok(Stage::Pending));
}

#[tokio::test(start_paused = true)]
async fn a_pending_version_with_the_key_in_use_is_taken_back_as_well() {
    let world = World::new(Memory::new(doc(1))).await;
    world.store.stage_pending(edited(1, 1));
    world.keyring.refresh().await.unwrap();
    let generation = world.keyring.status().generation;
    world.store.drop_pending();
    world.store.rotate("[]");
    world.keyring.refresh().await.unwrap_err();
    let status = world.keyring.status();
    assert!(status.pending.is_none());
    assert_eq!(status.generation, generation + 1);
}

#[tokio::test(start_paused = true)]
async fn a_pending_key_that_came_into_use_stays_though_it_is_refused_here() {
    let (world, of_others) = with_pending().await;
    let pending = world.keyring.status().pending.unwrap().id;
    let flipped = Versions::new(Version::new(pending.clone(), "[]"));
    let replaced =
        Versions::new(Version::new("next", "[]")).with_previous(Version::new(pending, doc(2)));
    let first = || Version::new("1", doc(1));
    let mended = Versions::new(Version::new("mended", "[]")).with_previous(first());
    let flipped = flipped.with_previous(first());
    let again = Versions::new(Version::new("again", "[]")).with_previous(first());
    for view in [flipped, mended, again, replaced] {
        world.store.set(view);
        world.keyring.refresh().await.unwrap_err();
        assert_eq!(world.ask(&of_others).await, Ok(Stage::Pending));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pending_version_that_cannot_be_used_takes_the_place_of_the_one_before() {
    let (world, leaked) = with_pending().await;
    world.store.stage_pending("[]");
    world.keyring.refresh().await.unwrap();
    assert_eq!(world.ask(&leaked).await, REFUSED);
}

#[tokio::test(start_paused = true)]
async fn a_restart_counts_the_window_from_what_the_store_knows() {
    let since = |age: Duration| SystemTime::now() - age;
    let previous = || Version::new("0", doc(1));

    let (world, old) = restarted(previous().with_replaced_at(since(WINDOW / 2))).await;
    tokio::time::advance(WINDOW / 2 - 2 * SECOND).await;
    assert_eq!(world.ask(&old).await, Ok(Stage::Previous));
    tokio::time::advance(4 * SECOND).await;
    assert_eq!(world.ask(&old).await, REFUSED);

    let (world, old) = restarted(previous().with_replaced_at(since(2 * WINDOW))).await;
    assert_eq!(
        world.ask(&old).await,
        REFUSED,
        "it was over before the start"
    );

    let (world, old) = restarted(previous()).await;
    tokio::time::advance(WINDOW - SECOND).await;
    assert_eq!(
        world.ask(&old).await,
        Ok(Stage::Previous),
        "no date: from first sight"
    );
    tokio::time::advance(SECOND).await;
    assert_eq!(world.ask(&old).await, REFUSED);
}

#[tokio::test(start_paused = true)]
async fn not_after_ends_a_window_early_and_may_come_later() {
    let in_a_minute = SystemTime::now() + Duration::from_secs(60);
    let (world, old) = restarted(Version::new("0", doc(1)).with_not_after(in_a_minute)).await;
    tokio::time::advance(59 * SECOND).await;
    assert_eq!(world.ask(&old).await, Ok(Stage::Previous));
    tokio::time::advance(2 * SECOND).await;
    assert_eq!(world.ask(&old).await, REFUSED);

    let (world, old) = restarted(Version::new("0", doc(1))).await;
    let view = world.store.fetch().await.unwrap();
    let limited = Version::new("0", doc(1)).with_not_after(SystemTime::now() - SECOND);
    world.store.set(view.with_previous(limited));
    assert!(!world.keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(
        world.ask(&old).await,
        REFUSED,
        "the same version, a new limit"
    );
}

#[tokio::test(start_paused = true)]
async fn a_revocation_holds_at_once_and_whatever_the_store_says() {
    let world = World::new(Memory::new(doc(1))).await;
    let signer = world.keyring.signer();
    let first = world.keyring.current().version().clone();
    let old = token(&signer);
    world.rotate(doc(2)).await;
    let held = world.keyring.current();
    assert_eq!(
        world.keyring.revoke_previous(),
        std::slice::from_ref(&first)
    );
    assert!(held.previous().is_none(), "a snapshot held before obeys");
    assert_eq!(world.ask(&old).await, REFUSED);
    assert_eq!(world.ask(&token(&signer)).await, Ok(Stage::Current));
    // The store rolls back to the leaked version: it stays refused.
    world.rotate(doc(1)).await;
    world.store.set(Versions::new(Version::new(&first, doc(1))));
    world.keyring.refresh().await.unwrap();
    assert_eq!(world.ask(&old).await, REFUSED);
    assert!(world.keyring.status().current.is_revoked);
    assert!(signer.sign(&RegisteredClaims::new("a")).is_err());
    assert!(world.keyring.restore(&first));
    assert_eq!(world.ask(&old).await, Ok(Stage::Current));
    assert!(!world.keyring.restore(&first));
}

#[tokio::test(start_paused = true)]
async fn a_revoked_previous_does_not_expire_early_and_can_be_restored() {
    let world = World::new(Memory::new(doc(1))).await;
    let old = token(&world.keyring.signer());
    world.rotate(doc(2)).await;
    let mut events = world.keyring.subscribe();
    let revoked = world.keyring.revoke_previous();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(matches!(events.next().await, Some(Event::Revoked { .. })));
    assert_eq!(world.ask(&old).await, REFUSED);
    assert!(world.keyring.restore(&revoked[0]));
    assert_eq!(world.ask(&old).await, Ok(Stage::Previous));
    assert!(world.keyring.current().previous().is_some());
    loop {
        match events.next().await.unwrap() {
            Event::PreviousExpired { .. } => break,
            Event::Restored { .. } | Event::Drained { .. } => {}
            Event::ReloadRequested { .. } | Event::Unchanged { .. } => {}
            // That token outlives everything.
            Event::TokensCutOff { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(world.ask(&old).await, REFUSED);
}

#[tokio::test(start_paused = true)]
async fn a_window_that_a_revocation_ended_is_not_cut_short_too() {
    let world = World::new(Memory::new(doc(1))).await;
    world.rotate(doc(2)).await;
    world.keyring.revoke_previous();
    let mut events = world.keyring.subscribe();
    world.rotate(doc(3)).await;
    let next = || futures::FutureExt::now_or_never(events.next()).flatten();
    let told: Vec<_> = std::iter::from_fn(next).collect();
    let is = |what: fn(&Event) -> bool| told.iter().any(what);
    assert!(is(|it| matches!(it, Event::Reloaded { .. })), "{told:?}");
    assert!(
        !is(|it| matches!(it, Event::WindowCutShort { .. })),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn revoking_current_refuses_its_tokens_and_asks_for_a_successor() {
    let world = World::new(Memory::new(doc(1))).await;
    let old = token(&world.keyring.signer());
    let mut events = world.keyring.subscribe();
    world.store.rotate(doc(2));
    world.keyring.revoke(&VersionId::new("1"));
    assert_eq!(world.ask(&old).await, REFUSED);
    loop {
        if let Event::Reloaded { .. } = events.next().await.unwrap() {
            break;
        }
    }
    assert_eq!(world.ask(&old).await, REFUSED, "as previous too");
    let new = token(&world.keyring.signer());
    assert_eq!(world.ask(&new).await, Ok(Stage::Current));
}

#[tokio::test(start_paused = true)]
async fn a_version_can_be_revoked_before_it_is_seen() {
    let world = World::new(Memory::new(doc(1))).await;
    world.keyring.revoke(&VersionId::new("2"));
    world.rotate(doc(2)).await;
    assert!(
        world
            .keyring
            .signer()
            .sign(&RegisteredClaims::new("a"))
            .is_err()
    );
    world.rotate(doc(3)).await;
    let new = token(&world.keyring.signer());
    assert_eq!(world.ask(&new).await, Ok(Stage::Current));
}

#[tokio::test(start_paused = true)]
async fn a_previous_that_shares_the_key_of_current_can_be_revoked_without_an_outage() {
    let world = World::new(Memory::new(edited(1, 0))).await;
    let old = token(&world.keyring.signer());
    world.rotate(edited(1, 1)).await;
    world.keyring.revoke_previous();
    assert!(world.keyring.current().previous().is_none());
    assert_eq!(world.ask(&old).await, Ok(Stage::Current));
    world.store.stage_pending(doc(9));
    world.keyring.refresh().await.unwrap();
    assert_eq!(world.ask(&old).await, Ok(Stage::Current));
}

#[tokio::test(start_paused = true)]
async fn a_key_stays_revoked_until_every_version_that_was_revoked_with_it_is_restored() {
    let world = World::new(Memory::new(edited(1, 0))).await;
    let first = world.keyring.current().version().clone();
    let token = token(&world.keyring.signer());
    let second = world.rotate(edited(1, 1)).await;
    world.keyring.revoke(&first);
    world.keyring.revoke(&second);
    assert_eq!(world.ask(&token).await, REFUSED);
    assert!(world.keyring.restore(&first));
    assert_eq!(world.ask(&token).await, REFUSED);
    assert!(world.keyring.restore(&second));
    assert_eq!(world.ask(&token).await, Ok(Stage::Current));
}

#[tokio::test(start_paused = true)]
async fn revoking_previous_spares_no_key_that_its_version_was_revoked_with() {
    let world = World::new(Memory::new(edited(1, 0))).await;
    let first = world.keyring.current().version().clone();
    let token = token(&world.keyring.signer());
    let second = world.rotate(edited(1, 1)).await;
    world.rotate(edited(1, 2)).await;
    world.keyring.revoke(&first);
    world.keyring.revoke(&second);
    world.keyring.revoke_previous();
    assert!(world.keyring.restore(&first));
    assert_eq!(world.ask(&token).await, REFUSED, "{second} is revoked");
    assert!(world.keyring.restore(&second));
    assert_eq!(world.ask(&token).await, Ok(Stage::Current));
}

#[tokio::test(start_paused = true)]
async fn silence_of_the_store_is_a_503_only_where_the_user_set_a_limit() {
    let world = World::new(Memory::new(doc(1))).await;
    let good = token(&world.keyring.signer());
    let error = SourceError::new(SourceErrorKind::Unavailable, "down");
    world.store.fail_next(usize::MAX, error.clone());
    tokio::time::advance(Duration::from_secs(3000)).await;
    assert_eq!(world.ask(&good).await, Ok(Stage::Current));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(world.ask(&good).await, Err(StatusCode::SERVICE_UNAVAILABLE));
    assert!(world.keyring.status().refuses);
    // So does a layer that reads no token, in the form that its user chose.
    let answer = SecretsLayer::new(world.keyring.clone())
        .respond_with(|_: &Refusal| Response::new("later"))
        .layer(service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Response::new("reached"))
        }))
        .oneshot(Request::new(()))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(*answer.body(), "later");
    world.store.fail_next(0, error);
    world.keyring.refresh().await.unwrap();
    assert_eq!(world.ask(&good).await, Ok(Stage::Current));
}

#[tokio::test(start_paused = true)]
async fn requests_under_rotation_see_one_generation_each() {
    let world = World::new(Memory::new(doc(1))).await;
    let keyring = world.keyring.clone();
    let inner = service_fn(async |request: Request<()>| {
        let before = Secrets::<App>::from_extensions(request.extensions()).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let after = Secrets::<App>::from_extensions(request.extensions()).unwrap();
        assert_eq!(before.generation(), after.generation());
        assert!(std::ptr::eq(&*before.bundle(), &*after.bundle()));
        Ok::<_, Infallible>(Response::new(()))
    });
    let service = JwtRotationLayer::new(keyring.clone()).layer(inner);
    for key in 2..40 {
        let request = Request::builder()
            .header(
                "authorization",
                format!("Bearer {}", token(&keyring.signer())),
            )
            .body(())
            .unwrap();
        let calling = service.clone().oneshot(request);
        let (response, ()) = tokio::join!(calling, async {
            world.rotate(doc(key)).await;
        });
        assert_eq!(response.unwrap().status(), StatusCode::OK);
    }
}
