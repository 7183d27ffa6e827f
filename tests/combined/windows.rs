//! The window of a key is that of the part that the key is in, and ignores the others.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use tokio::time::Instant;
use tower_secrets::{
    JwtKey, Keyring, Parts, Refreshed,
    clock::TokioClock,
    event::Event,
    source::{Combined, Memory, Stage, Version, Versions},
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
async fn a_start_in_the_middle_of_two_windows_counts_each_from_its_own_date() {
    let first = foreign_token(1).await;
    let ages = [WINDOW / 4, WINDOW / 2, 2 * WINDOW];
    for jwt_age in ages {
        for db_age in ages {
            let (db, jwt) = (Memory::new("0"), Memory::new("0"));
            let old = |document, age| v("0", document).replaced_at(ago(age));
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
    set(&db, password("two"), old_db().not_after(soon(60)));
    set(&jwt, key(2), old_jwt().not_after(soon(300)));
    let world = World::over(db, jwt).await;
    assert_eq!(world.previous(), Some(("one".into(), 1)));
    tokio::time::advance(61 * SECOND).await;
    assert_eq!(world.previous(), None, "the earliest ends the bundle");
    assert_eq!(world.ask(&first).await, Ok(Stage::Previous));

    // The same versions with other ends: that of the database still says nothing of the key ..
    set(&world.db, password("two"), old_db().not_after(soon(0)));
    assert!(!world.keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(world.ask(&first).await, Ok(Stage::Previous));
    // .. and a rotation of it brings the key's values back as long as the key has.
    world.rotate_db("three").await;
    assert_eq!(world.previous(), Some(("two".into(), 1)));
    set(&world.jwt, key(2), old_jwt().not_after(soon(0)));
    assert!(!world.keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(world.ask(&first).await, REFUSED);
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
    let old = v("0", password("old")).created_at(ago(2 * SECOND));
    let new = v("1", password("one")).created_at(ago(SECOND));
    world.db.set(Versions::new(new).with_pending(old));
    world.refresh().await;
    assert_eq!(world.ask(&second).await, Ok(Stage::Pending));
    world.jwt.promote_pending().unwrap();
    world.refresh().await;
    assert_eq!(world.ask(&second).await, Ok(Stage::Current));
    assert_eq!(world.version().as_str(), "db=1,jwt=2");
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

/// The signing key lies beside the password, and another part has nothing to do with it.
#[tokio::test(start_paused = true)]
async fn a_key_inside_any_part_and_three_parts() {
    #[derive(Deserialize)]
    struct Three {
        a: u32,
        db: Jwt,
        z: u32,
    }
    let [a, db, z] = [Memory::new("1"), Memory::new(key(1)), Memory::new("1")];
    let source = Combined::new()
        .with("z", z.clone())
        .with("a", a.clone())
        .with("db", db.clone());
    let keyring = Keyring::<Three>::builder(source)
        .jwt_key(|three| &three.db.key)
        .clock(TokioClock::new())
        .build()
        .await
        .unwrap();
    let first = token(&keyring.signer());
    assert_eq!(keyring.current().version().as_str(), "a=1,db=1,z=1");
    db.rotate(key(2));
    keyring.refresh().await.unwrap();
    for round in 2..6 {
        tokio::time::advance(WINDOW / 6).await;
        a.rotate(round.to_string());
        z.rotate(round.to_string());
        if round % 2 == 0 {
            z.drop_previous();
        }
        keyring.refresh().await.unwrap();
        assert_eq!(ask(&keyring, &first).await, Ok(Stage::Previous));
        let secrets = keyring.current();
        assert_eq!(
            (secrets.a, secrets.z, secrets.db.edition),
            (round, round, 2)
        );
    }
    db.drop_previous();
    keyring.refresh().await.unwrap();
    assert_eq!(ask(&keyring, &first).await, REFUSED);
    let previous = keyring.current().previous().unwrap();
    assert_eq!((previous.a, previous.z, previous.db.edition), (4, 4, 2));
}

/// A key that is chosen by one part and lies in another is one of the whole.
#[tokio::test(start_paused = true)]
async fn a_key_that_hangs_on_two_parts_has_the_windows_of_the_whole() {
    #[derive(Deserialize)]
    struct Spanning {
        choice: bool,
        keys: Keys,
    }
    #[derive(Deserialize)]
    struct Keys {
        yes: JwtKey,
        no: JwtKey,
    }
    let keys = |yes: u32, no: u32| {
        let key = |it: u32| format!("key number {it:03} of thirty-two bytes");
        format!(r#"{{"yes":"{}","no":"{}"}}"#, key(yes), key(no))
    };
    let [choice, store] = [Memory::new("true"), Memory::new(keys(1, 2))];
    let source = Combined::new()
        .with("choice", choice.clone())
        .with("keys", store.clone());
    let keyring = Keyring::<Spanning>::builder(source)
        .jwt_key(|it| if it.choice { &it.keys.yes } else { &it.keys.no })
        .clock(TokioClock::new())
        .build()
        .await
        .unwrap();
    let yes = token(&keyring.signer());
    choice.rotate("false");
    keyring.refresh().await.unwrap();
    assert_eq!(ask(&keyring, &yes).await, Ok(Stage::Previous));
    let no = token(&keyring.signer());
    choice.drop_previous();
    keyring.refresh().await.unwrap();
    assert_eq!(
        ask(&keyring, &yes).await,
        REFUSED,
        "withdrawn with its part"
    );

    store.rotate(keys(3, 4));
    keyring.refresh().await.unwrap();
    assert_eq!(ask(&keyring, &no).await, Ok(Stage::Previous));
    tokio::time::advance(WINDOW).await;
    assert_eq!(ask(&keyring, &no).await, REFUSED);
}

/// A connection pool is made anew only for its own part, and the old one lives for a window.
#[tokio::test(start_paused = true)]
async fn ten_rotations_of_the_key_open_no_connection() {
    struct Pooled {
        pool: Arc<String>,
        edition: u32,
    }
    let (db, jwt) = (Memory::new(password("one")), Memory::new(key(1)));
    let pools = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let made = pools.clone();
    let keyring = builder(source(&db, &jwt))
        .prepare(move |raw: Arc<App>, parts: Parts| {
            let made = made.clone();
            async move {
                let connect = async {
                    made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    Ok::<_, std::io::Error>(Arc::new(raw.db.password.clone()))
                };
                let pool = parts.reuse("pool", &raw.db.password, connect).await?;
                let edition = raw.jwt.edition;
                Ok::<_, std::io::Error>(Pooled { pool, edition })
            }
        })
        .build()
        .await
        .unwrap();
    let made = || pools.load(std::sync::atomic::Ordering::SeqCst);
    let previous = || {
        let previous = keyring.current().previous();
        previous.map(|it| (it.pool.to_string(), it.edition))
    };
    db.rotate(password("two"));
    keyring.refresh().await.unwrap();
    let old = Arc::downgrade(&keyring.current().previous().unwrap().pool);
    assert_eq!(previous(), Some(("one".into(), 1)));
    for edition in 2..12 {
        tokio::time::advance(SECOND).await;
        jwt.rotate(key(edition));
        keyring.refresh().await.unwrap();
        assert_eq!(made(), 2);
        // The bundle of the first rotation as long as its key is vouched for, else the last.
        let shown = if edition == 2 {
            ("one", 1)
        } else {
            ("two", edition - 1)
        };
        assert_eq!(previous(), Some((shown.0.into(), shown.1)));
    }
    assert!(old.upgrade().is_none());
    tokio::time::sleep(2 * WINDOW).await;
    assert_eq!(previous(), None);
    // A rotation long after shows the pool that was in use before.
    db.rotate(password("three"));
    keyring.refresh().await.unwrap();
    assert_eq!(previous(), Some(("two".into(), 11)));
    // And goes on showing it when something else is new.
    jwt.stage_pending(key(99));
    keyring.refresh().await.unwrap();
    assert_eq!(previous(), Some(("two".into(), 11)));
    let window = keyring.status().previous.unwrap().expires_in.unwrap();
    tokio::time::sleep(window + SECOND).await;
    assert_eq!(previous(), None);
}
