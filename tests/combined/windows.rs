//! The window of a key is that of the part that the key is in, and ignores the others.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tower_secrets::{
    Attempt, CredentialKind, Refreshed,
    clock::{Clock, TokioClock},
    event::{Event, Events},
    source::{Memory, Stage, Version, Versions},
};

use crate::world::*;

#[tokio::test(start_paused = true)]
async fn one_part_rotates_and_the_values_and_windows_of_the_other_stay() {
    let world = World::new().await;
    let first = world.token();
    world.rotate_jwt(2).await;
    let start = Instant::now();
    assert_eq!(world.version().as_str(), "db=1,jwt=2");
    assert_eq!(world.previous(), Some(("one".into(), 1)));

    // Any number of rotations of the database neither end, open, shorten nor lengthen it.
    for round in 0..9_u32 {
        tokio::time::advance(WINDOW / 10).await;
        world.rotate_db(&format!("password {round}")).await;
        assert_eq!(world.ask(&first).await, Ok(Stage::Previous));
        assert_eq!(world.keyring.current().jwt.edition, 2);
        let (shown, edition) = world.previous().unwrap();
        let before = round.checked_sub(1).map(|it| format!("password {it}"));
        assert_eq!((shown, edition), (before.unwrap_or("one".into()), 1));
    }
    tokio::time::advance(WINDOW - start.elapsed() - SECOND).await;
    assert_eq!(world.ask(&first).await, Ok(Stage::Previous));
    tokio::time::advance(SECOND).await;
    assert_eq!(world.ask(&first).await, REFUSED);
    assert_eq!(world.ask(&world.token()).await, Ok(Stage::Current));
}

#[tokio::test(start_paused = true)]
async fn a_rotation_long_after_brings_nothing_of_another_part_back() {
    let world = World::new().await;
    let first = world.token();
    world.rotate_jwt(2).await;
    tokio::time::sleep(2 * WINDOW).await;
    assert_eq!(world.previous(), None);
    // The store keeps the old key for months; what is shown beside the old password is the new key.
    world.rotate_db("two").await;
    assert_eq!(world.ask(&first).await, REFUSED);
    assert_eq!(world.previous(), Some(("one".into(), 2)));
    // And a withdrawal of the key lengthens nothing of the password.
    tokio::time::advance(WINDOW - SECOND).await;
    world.jwt.drop_previous();
    world.refresh().await;
    assert_eq!(world.previous(), Some(("one".into(), 2)));
}

#[tokio::test(start_paused = true)]
async fn what_is_shown_as_previous_ends_with_the_last_window_of_its_parts() {
    let world = World::new().await;
    world.rotate_db("two").await;
    world.rotate_jwt(2).await;
    tokio::time::advance(WINDOW - 100 * SECOND).await;
    // A bundle that was not shown before, and yet no new window.
    world.db.drop_previous();
    world.refresh().await;
    assert_eq!(world.previous(), Some(("two".into(), 1)));
    let left = world.keyring.status().previous.unwrap().expires_in.unwrap();
    assert!(left <= 100 * SECOND && left > 99 * SECOND, "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_start_in_the_middle_of_two_windows_counts_each_from_its_own_date() {
    let first = foreign_token(1).await;
    let ages = [WINDOW / 4, WINDOW / 2, 2 * WINDOW];
    for jwt_age in ages {
        for db_age in ages {
            let (db, jwt) = (Memory::new("0"), Memory::new("0"));
            let old = |document, age| v("0", document).with_replaced_at(ago(age));
            db.set(
                Versions::new(v("1", password("two"))).with_previous(old(password("one"), db_age)),
            );
            jwt.set(Versions::new(v("1", key(2))).with_previous(old(key(1), jwt_age)));
            let world = World::over(db, jwt).await;
            let rest = |age| WINDOW.checked_sub(age);
            let Some(jwt_rest) = rest(jwt_age) else {
                assert_eq!(
                    world.ask(&first).await,
                    REFUSED,
                    "it was over before the start"
                );
                let shown = rest(db_age).map(|_| ("one".to_owned(), 2));
                assert_eq!(world.previous(), shown);
                continue;
            };
            let shown = if rest(db_age).is_some() { "one" } else { "two" };
            assert_eq!(world.previous(), Some((shown.to_owned(), 1)));
            tokio::time::advance(jwt_rest / 2).await;
            world.rotate_db("three").await;
            tokio::time::advance(jwt_rest / 2 - 2 * SECOND).await;
            assert_eq!(
                world.ask(&first).await,
                Ok(Stage::Previous),
                "{jwt_age:?} {db_age:?}"
            );
            tokio::time::advance(4 * SECOND).await;
            assert_eq!(world.ask(&first).await, REFUSED, "{jwt_age:?} {db_age:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_withdraws_its_own_key_and_no_other_part_does() {
    let world = World::new().await;
    let first = world.token();
    world.rotate_jwt(2).await;
    world.rotate_db("two").await;
    let mut events = world.keyring.subscribe();

    world.db.drop_previous();
    world.refresh().await;
    assert_eq!(world.ask(&first).await, Ok(Stage::Previous));
    assert_eq!(world.previous(), Some(("two".into(), 1)));

    world.rotate_db("three").await;
    world.jwt.drop_previous();
    world.refresh().await;
    assert_eq!(world.ask(&first).await, REFUSED);
    assert_eq!(world.previous(), Some(("two".into(), 2)));
    let told = seen(&mut events)
        .await
        .into_iter()
        .filter_map(|event| match event {
            Event::PreviousWithdrawn { version, .. } => Some(version.to_string()),
            _ => None,
        });
    assert_eq!(told.collect::<Vec<_>>(), ["db=2,jwt=1"]);

    // Named again, it gets no second window.
    world
        .jwt
        .set(Versions::new(v("2", key(2))).with_previous(v("1", key(1))));
    world.refresh().await;
    assert_eq!(world.ask(&first).await, REFUSED);
    assert_eq!(world.previous(), Some(("two".into(), 2)));
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_does_not_wait_for_a_good_current_of_another_part() {
    let logins = Arc::default();
    let world = World::with(
        Memory::new(password("one")),
        Memory::new(key(1)),
        |builder| builder.probe("login", login(logins)),
    )
    .await;
    let first = world.token();
    world.rotate_db("two").await;
    world.rotate_jwt(2).await;
    world.db.rotate(password("bad"));
    world.jwt.drop_previous();
    assert!(world.keyring.refresh().await.is_err());
    assert_eq!(world.version().as_str(), "db=2,jwt=2");
    assert_eq!(world.ask(&first).await, REFUSED);
    assert_eq!(world.previous(), None, "it held what was withdrawn");

    // The other way around: a database that withdraws ends no key.
    let world = World::with(
        Memory::new(password("one")),
        Memory::new(key(1)),
        |builder| builder.probe("login", login(Arc::default())),
    )
    .await;
    let first = world.token();
    world.rotate_db("two").await;
    world.rotate_jwt(2).await;
    world.db.rotate(password("bad"));
    world.db.drop_previous();
    assert!(world.keyring.refresh().await.is_err());
    assert_eq!(world.ask(&first).await, Ok(Stage::Previous));
    assert_eq!(world.previous(), None);
}

#[tokio::test(start_paused = true)]
async fn not_after_ends_what_is_of_its_part() {
    let first = foreign_token(1).await;
    let (db, jwt) = (Memory::new("0"), Memory::new("0"));
    let soon = |seconds| ago(Duration::ZERO) + Duration::from_secs(seconds);
    let old_db = || v("0", password("one"));
    let old_jwt = || v("0", key(1));
    let set = |memory: &Memory, current: String, old: Version| {
        memory.set(Versions::new(v("1", current)).with_previous(old));
    };
    set(&db, password("two"), old_db().with_not_after(soon(60)));
    set(&jwt, key(2), old_jwt().with_not_after(soon(300)));
    let world = World::over(db, jwt).await;
    assert_eq!(world.previous(), Some(("one".into(), 1)));
    tokio::time::advance(61 * SECOND).await;
    assert_eq!(world.previous(), None, "the earliest ends the bundle");
    assert_eq!(world.ask(&first).await, Ok(Stage::Previous));

    // The same versions with other ends: that of the database still says nothing of the key ..
    set(&world.db, password("two"), old_db().with_not_after(soon(0)));
    assert!(!world.keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(world.ask(&first).await, Ok(Stage::Previous));
    // .. and a rotation of it brings the key's values back as long as the key has.
    world.rotate_db("three").await;
    assert_eq!(world.previous(), Some(("two".into(), 1)));
    set(&world.jwt, key(2), old_jwt().with_not_after(soon(0)));
    assert!(!world.keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(world.ask(&first).await, REFUSED);
    assert_eq!(world.previous(), None);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_ends_at_this_very_moment_is_not_shown_beside_one_that_goes_on() {
    let clock = Arc::new(TokioClock::new());
    let (db, jwt) = (Memory::new(password("one")), Memory::new(key(1)));
    let world = World::with(db, jwt, |builder| builder.clock(clock.clone())).await;
    let ends = v("1", password("one")).with_not_after(clock.wall());
    world
        .db
        .set(Versions::new(v("2", password("two"))).with_previous(ends));
    world.rotate_jwt(2).await;
    assert_eq!(world.previous(), Some(("two".into(), 1)));
}

#[tokio::test(start_paused = true)]
async fn what_a_part_was_seen_to_leave_has_its_whole_window_whatever_its_store_says() {
    let world = World::new().await;
    let long_ago = v("1", password("one")).with_replaced_at(ago(2 * WINDOW));
    world
        .db
        .set(Versions::new(v("2", password("two"))).with_previous(long_ago));
    world.refresh().await;
    assert_eq!(world.previous(), Some(("one".into(), 1)));
}

#[tokio::test(start_paused = true)]
async fn beside_a_previous_of_another_form_stays_what_each_part_still_vouches_for() {
    let world = World::new().await;
    world.rotate_db("two").await;
    let beside_another_form = |current: Version, id: &str| {
        world
            .db
            .set(Versions::new(current).with_previous(v(id, "[]".into())));
    };
    beside_another_form(v("2", password("two")), "x");
    world.rotate_jwt(2).await;
    assert_eq!(world.previous(), Some(("two".into(), 1)));
    // The store of the password has forgotten the second.
    beside_another_form(v("3", password("three")), "y");
    world.refresh().await;
    assert_eq!(world.previous(), None);
}

#[tokio::test(start_paused = true)]
async fn a_previous_that_did_not_move_along_is_judged_by_its_part() {
    let world = World::new().await;
    world.rotate_jwt(2).await;
    let second = world.token();
    // An operator writes the key's current alone; the database rotates meanwhile.
    world
        .jwt
        .set(Versions::new(v("3", key(3))).with_previous(v("1", key(1))));
    world.rotate_db("two").await;
    assert_eq!(world.ask(&second).await, Ok(Stage::Previous));
    assert_eq!(world.previous(), Some(("one".into(), 2)));
    // Later rotations of the database do not bring the older key back in its place.
    for password in ["three", "four"] {
        world.rotate_db(password).await;
        assert_eq!(world.ask(&second).await, Ok(Stage::Previous));
        assert_eq!(world.ask(&foreign_token(1).await).await, REFUSED);
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_current_opens_no_window_of_its_part() {
    let (db, jwt) = (Memory::new(password("one")), Memory::new(key(1)));
    for (memory, document) in [(&db, password("one")), (&jwt, key(1))] {
        let copy = || v("1", document.clone());
        memory.set(Versions::new(copy()).with_previous(copy()));
    }
    let world = World::over(db, jwt).await;
    let first = world.token();
    assert_eq!(world.previous(), None);
    tokio::time::sleep(2 * WINDOW).await;
    world.rotate_jwt(2).await;
    assert_eq!(world.ask(&first).await, Ok(Stage::Previous));
    assert_eq!(world.previous(), Some(("one".into(), 1)));
    world.rotate_db("two").await;
    assert_eq!(world.previous(), Some(("one".into(), 1)));
}

#[tokio::test(start_paused = true)]
async fn a_previous_that_cannot_be_read_keeps_its_window_while_others_rotate() {
    let world = World::new().await;
    let first = world.token();
    world.rotate_jwt(2).await;
    let mut events = world.keyring.subscribe();
    let current = || Versions::new(v("2", key(2)));
    world
        .jwt
        .set(current().with_unreadable(Stage::Previous, down()));
    world.rotate_db("two").await;
    world.rotate_db("three").await;
    assert_eq!(world.ask(&first).await, Ok(Stage::Previous));
    assert_eq!(world.previous(), Some(("two".into(), 1)));
    let skipped = seen(&mut events)
        .await
        .into_iter()
        .filter_map(|event| match event {
            Event::StageSkipped { stage, reason, .. } => Some((stage, reason)),
            _ => None,
        });
    let why = (Stage::Previous, "part `jwt`: the store is down".to_owned());
    assert_eq!(
        skipped.collect::<Vec<_>>(),
        [why.clone(), why],
        "at each swap"
    );
    // Nor is a previous of the database that cannot be parsed in the key's way.
    world.jwt.set(current().with_previous(v("1", key(1))));
    world
        .db
        .set(Versions::new(v("9", password("nine"))).with_previous(v("8", "[]".into())));
    world.refresh().await;
    assert_eq!(world.ask(&first).await, Ok(Stage::Previous));
}

#[tokio::test(start_paused = true)]
async fn both_parts_may_flip_in_one_poll() {
    let world = World::new().await;
    let first = world.token();
    world.db.rotate(password("two"));
    world.jwt.rotate(key(2));
    assert!(world.keyring.refresh().await.unwrap().is_swapped());
    let secrets = world.keyring.current();
    assert_eq!(
        (secrets.db.password.as_str(), secrets.jwt.edition),
        ("two", 2)
    );
    assert_eq!(world.previous(), Some(("one".into(), 1)));
    assert_eq!(world.ask(&first).await, Ok(Stage::Previous));
    assert_eq!(world.db.last_published(), Some("2".into()));
    assert_eq!(world.jwt.last_published(), Some("2".into()));
    assert!(matches!(
        world.keyring.refresh().await.unwrap(),
        Refreshed::Unchanged { .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_pending_key_ignores_what_other_parts_stage() {
    let world = World::new().await;
    let second = foreign_token(2).await;
    world.db.stage_pending("[]");
    world.jwt.stage_pending(key(2));
    world.refresh().await;
    assert_eq!(world.ask(&second).await, Ok(Stage::Pending));
    // Older than current is a matter of the part, too.
    let old = v("0", password("old")).with_created_at(ago(2 * SECOND));
    let new = v("1", password("one")).with_created_at(ago(SECOND));
    world.db.set(Versions::new(new).with_pending(old));
    world.refresh().await;
    assert_eq!(world.ask(&second).await, Ok(Stage::Pending));
    world.jwt.promote_pending().unwrap();
    world.refresh().await;
    assert_eq!(world.ask(&second).await, Ok(Stage::Current));
    assert_eq!(world.version().as_str(), "db=1,jwt=2");
    // Nor does what another part stages keep it.
    let third = foreign_token(3).await;
    world.jwt.stage_pending(key(3));
    world.db.stage_pending("[]");
    world.refresh().await;
    assert_eq!(world.ask(&third).await, Ok(Stage::Pending));
    world.jwt.drop_pending();
    world.refresh().await;
    assert_eq!(world.ask(&third).await, REFUSED);
}

#[tokio::test(start_paused = true)]
async fn a_single_user_finds_its_pending_password_beside_a_pending_key() {
    let world = World::new().await;
    world.jwt.stage_pending(key(2));
    world.db.stage_pending(password("two"));
    world.refresh().await;
    let only_two = |app: Arc<App>| async move {
        match app.db.password.as_str() {
            "two" => Ok(()),
            other => Err(Attempt::Unauthenticated(other.to_owned())),
        }
    };
    let secrets = world.keyring.current();
    let kind = CredentialKind::single_user();
    secrets.try_each_as(kind, only_two).await.unwrap();
    assert_eq!(secrets.db.password, "one");
    // Also where what the other part stages cannot be used.
    world.jwt.stage_pending("[]");
    world.refresh().await;
    let secrets = world.keyring.current();
    secrets.try_each_as(kind, only_two).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn revoking_previous_holds_whatever_the_other_part_does() {
    let world = World::new().await;
    let first = world.token();
    world.rotate_jwt(2).await;
    let revoked = world.keyring.revoke_previous();
    assert_eq!(revoked, ["db=1,jwt=1".into()]);
    for password in ["two", "three"] {
        world.rotate_db(password).await;
        assert_eq!(world.ask(&first).await, REFUSED);
    }
    assert_eq!(world.ask(&world.token()).await, Ok(Stage::Current));
}

#[tokio::test(start_paused = true)]
async fn a_part_is_told_of_a_value_that_no_combination_holds_any_more() {
    let world = World::new().await;
    let mut events = world.keyring.subscribe();
    world.rotate_db("two").await;
    until_drained(&mut events, "db=1,jwt=1").await;
    // It is previous still.
    assert!(world.db.drained_versions().is_empty());
    tokio::time::advance(2 * WINDOW).await;
    until_drained(&mut events, "db=2,jwt=1").await;
    assert_eq!(world.db.drained_versions(), ["1".into()]);
    assert!(world.jwt.drained_versions().is_empty());

    let held = world.keyring.current();
    world.rotate_jwt(2).await;
    tokio::time::advance(2 * WINDOW).await;
    until_drained(&mut events, "db=2,jwt=2").await;
    assert!(world.jwt.drained_versions().is_empty());
    drop(held);
    until_drained(&mut events, "db=2,jwt=1").await;
    assert_eq!(world.jwt.drained_versions(), ["1".into()]);
}

/// The source is told right after the event, by the same task.
async fn until_drained(events: &mut Events, wanted: &str) {
    loop {
        match events.next().await.unwrap() {
            Event::Drained { version, .. } if version.as_str() == wanted => break,
            _ => {}
        }
    }
    tokio::task::yield_now().await;
}

#[tokio::test(start_paused = true)]
async fn a_revoked_value_is_previous_in_no_other_combination_either() {
    let world = World::new().await;
    world.rotate_db("two").await;
    let held = world.keyring.current();
    assert_eq!(held.previous().unwrap().db.password, "one");
    assert_eq!(world.keyring.revoke_previous(), ["db=1,jwt=1".into()]);
    assert!(held.previous().is_none());
    for edition in 2..=3 {
        world.rotate_jwt(edition).await;
        let shown = world
            .keyring
            .current()
            .previous()
            .map(|it| it.db.password.clone());
        assert_ne!(shown.as_deref(), Some("one"));
    }
    // What was not revoked is shown again once nothing revoked is beside it.
    world.rotate_db("three").await;
    let shown = world.keyring.current().previous().unwrap();
    assert_eq!(shown.db.password, "two");

    assert!(world.keyring.restore(&"db=1,jwt=1".into()));
}

#[tokio::test(start_paused = true)]
async fn a_value_revoked_while_in_use_is_not_sent_after_its_rotation() {
    let world = World::new().await;
    world.keyring.revoke(&"db=1,jwt=1".into());
    world.rotate_db("two").await;
    for edition in 2..=3 {
        let previous = world.keyring.current().previous();
        assert!(previous.is_none_or(|it| it.db.password != "one"));
        world.rotate_jwt(edition).await;
    }
    assert_eq!(world.ask(&world.token()).await, Ok(Stage::Current));
}

#[tokio::test(start_paused = true)]
async fn a_value_revoked_while_in_use_condemns_nothing_before_its_rotation() {
    let world = World::new().await;
    world.keyring.revoke(&"db=1,jwt=1".into());
    world.rotate_db("two").await;
    assert_eq!(world.previous(), None);
    // The key that was revoked with it is in use still ..
    world.rotate_db("three").await;
    assert_eq!(world.previous(), Some(("two".into(), 1)));
    // .. until it is rotated, too.
    world.rotate_jwt(2).await;
    assert_eq!(world.previous(), None);
    world.rotate_jwt(3).await;
    assert_eq!(world.previous(), Some(("two".into(), 2)));
    assert_eq!(world.ask(&world.token()).await, Ok(Stage::Current));
}

#[tokio::test(start_paused = true)]
async fn a_key_of_two_revoked_versions_is_back_when_both_are_restored() {
    let world = World::new().await;
    let first = world.token();
    world.rotate_db("two").await;
    world.rotate_jwt(2).await;
    for version in ["db=1,jwt=1", "db=2,jwt=1", "db=9,jwt=9"] {
        world.keyring.revoke(&version.into());
    }
    assert!(world.keyring.restore(&"db=1,jwt=1".into()));
    assert_eq!(world.ask(&first).await, REFUSED);
    assert!(world.keyring.restore(&"db=2,jwt=1".into()));
    assert_eq!(world.ask(&first).await, Ok(Stage::Previous));
}
