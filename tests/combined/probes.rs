//! A probe of one part refuses that part, and the rest moves on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tower_secrets::{
    Probe,
    event::Event,
    keyring::NotSafe,
    refresh::{BuildErrorKind, Step},
    source::{Fallback, Memory, Stage},
};

use crate::world::*;

async fn world() -> (World, impl Fn() -> u32) {
    let logins = Arc::new(AtomicU32::new(0));
    let counted = logins.clone();
    let world = World::with(
        Memory::new(password("one")),
        Memory::new(key(1)),
        |builder| builder.part_probe("db", Probe::new("login", login(counted))),
    )
    .await;
    (world, move || logins.swap(0, Ordering::SeqCst))
}

fn refusals(events: Vec<Event>) -> Vec<(String, bool)> {
    let refused = events.into_iter().filter_map(|event| match event {
        Event::ReloadFailed(error) => Some((error.to_string(), error.is_quarantined())),
        _ => None,
    });
    refused.collect()
}

const REFUSAL: &str = "db: memory, jwt: memory: version `2` of part `db` was refused at step probe \
                       `login`: wrong password";

#[tokio::test(start_paused = true)]
async fn a_part_that_its_probe_refuses_is_held_back_and_the_rest_is_swapped_in() {
    let (world, logins) = world().await;
    let first = world.token();
    assert_eq!(logins(), 1);
    let mut events = world.keyring.subscribe();
    world.db.rotate(password("bad"));
    world.jwt.rotate(key(2));
    assert!(world.keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(logins(), 1, "the rest is proved again without it");
    let secrets = world.keyring.current();
    assert_eq!(
        (secrets.db.password.as_str(), secrets.jwt.edition),
        ("one", 2)
    );
    assert_eq!(secrets.version().as_str(), "db=1,jwt=2");
    assert_eq!(world.ask(&first).await, Ok(Stage::Previous));
    assert_eq!(
        refusals(seen(&mut events).await),
        [(REFUSAL.to_owned(), false)]
    );
    assert_eq!(world.db.last_published(), Some("1".into()));
    let status = world.keyring.status();
    assert_eq!(status.refused_parts[0].part, "db");
    assert_eq!(status.refused_parts[0].quarantine.version, "2".into());
    assert_eq!(status.refused_parts[0].quarantine.tries, 1);
    assert!(status.quarantine.is_none());

    // Where nothing else is new it is an error; asking by hand tries again at once.
    let error = world.keyring.refresh().await.unwrap_err();
    assert_eq!(error.to_string(), REFUSAL);
    assert_eq!(error.failed_step(), Some(Step::Probe));
    assert_eq!(
        (error.probe_name(), error.part()),
        (Some("login"), Some("db"))
    );
    assert_eq!(error.version(), Some(&"2".into()));
    assert_eq!(logins(), 1);

    // Rotations of the other part neither wait for it nor knock again.
    world.jwt.rotate(key(3));
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(logins(), 0);
    assert_eq!(world.version().as_str(), "db=1,jwt=2", "no poll was due");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.version().as_str(), "db=1,jwt=3");
    assert!((1..=2).contains(&logins()));

    // It heals when the store does.
    world.db.rotate(password("two"));
    world.refresh().await;
    assert_eq!(world.version().as_str(), "db=3,jwt=3");
    assert_eq!(logins(), 1);
    assert!(world.keyring.status().refused_parts.is_empty());
    assert_eq!(world.keyring.status().consecutive_failures, 0);
}

#[tokio::test(start_paused = true)]
async fn while_a_part_is_refused_nothing_is_safe_to_revoke() {
    let (world, _) = world().await;
    world.db.rotate(password("bad"));
    world.jwt.rotate(key(2));
    assert!(world.keyring.refresh().await.unwrap().is_swapped());
    world.keyring.revoke_previous();
    let reasons = world.keyring.status().safe_to_revoke().unwrap_err();
    assert!(
        matches!(reasons[..], [NotSafe::Stale { .. }]),
        "{reasons:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_part_is_tried_again_after_the_pauses_of_other_refused_versions() {
    let (world, logins) = world().await;
    logins();
    let mut events = world.keyring.subscribe();
    world.db.rotate(password("bad"));
    assert!(world.keyring.refresh().await.is_err());
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!((2..=3).contains(&logins()));
    let told = refusals(seen(&mut events).await);
    assert!(!told.is_empty());
    assert!(
        told.iter().all(|(error, _)| error.contains("of part `db`")),
        "{told:?}"
    );
    let status = world.keyring.status();
    let quarantine = &status.refused_parts[0].quarantine;
    assert!(quarantine.next_try_in > Duration::ZERO);
    assert!(status.consecutive_failures > 0);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_not_new_is_not_probed() {
    let (world, logins) = world().await;
    logins();
    world.rotate_jwt(2).await;
    world.jwt.stage_pending(key(3));
    world.refresh().await;
    world.refresh().await;
    assert_eq!(logins(), 0);
    world.rotate_db("two").await;
    assert_eq!(logins(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_part_still_withdraws_its_previous() {
    // The probe is on the part of the key.
    let world = World::with(
        Memory::new(password("one")),
        Memory::new(key(1)),
        |builder| {
            builder.part_probe(
                "jwt",
                Probe::new("even", |app: Arc<App>| async move {
                    let good = app.jwt.edition != 3;
                    good.then_some(()).ok_or("no")
                }),
            )
        },
    )
    .await;
    let first = world.token();
    world.rotate_jwt(2).await;
    world.rotate_db("two").await;
    let second = world.token();
    world.jwt.rotate(key(3));
    world.jwt.drop_previous();
    assert!(world.keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(world.version().as_str(), "db=2,jwt=2");
    assert_eq!(world.ask(&first).await, REFUSED);
    assert_eq!(world.ask(&second).await, Ok(Stage::Current));
    assert_eq!(world.previous(), Some(("one".into(), 2)));
}

/// A keyring that refuses the third edition of the key's part, and a token of the second.
async fn with_pending_key() -> (World, String) {
    let even = |app: Arc<App>| async move { (app.jwt.edition != 3).then_some(()).ok_or("no") };
    let world = World::with(
        Memory::new(password("one")),
        Memory::new(key(1)),
        |builder| builder.part_probe("jwt", Probe::new("even", even)),
    );
    let world = world.await;
    let pending = foreign_token(2).await;
    world.jwt.stage_pending(key(2));
    world.refresh().await;
    assert_eq!(world.ask(&pending).await, Ok(Stage::Pending));
    (world, pending)
}

#[tokio::test(start_paused = true)]
async fn a_refused_part_still_withdraws_its_pending() {
    let (world, leaked) = with_pending_key().await;
    world.jwt.drop_pending();
    world.jwt.rotate(key(3));
    world.db.rotate(password("two"));
    assert!(world.keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(world.version().as_str(), "db=2,jwt=1");
    assert_eq!(world.ask(&leaked).await, REFUSED);
}

#[tokio::test(start_paused = true)]
async fn a_bundle_that_is_refused_as_a_whole_still_withdraws_the_pending_key() {
    let (world, leaked) = with_pending_key().await;
    world.db.stage_pending(password("two"));
    world.refresh().await;
    let generation = world.keyring.status().generation;
    world.jwt.drop_pending();
    world.db.rotate("[]");
    world.keyring.refresh().await.unwrap_err();
    assert_eq!(world.ask(&leaked).await, REFUSED);
    let status = world.keyring.status();
    assert_eq!(status.generation, generation + 1);
    assert!(status.pending.is_some(), "the other part still stages one");
}

#[tokio::test(start_paused = true)]
async fn a_part_whose_pause_is_over_is_not_asked_for_while_the_whole_is_refused() {
    let (world, _) = with_pending_key().await;
    world.jwt.rotate(key(3));
    world.keyring.refresh().await.unwrap_err();
    world.db.rotate("[]");
    // Longer than the pause of the part.
    tokio::time::sleep(150 * SECOND).await;
    let before = world.db.fetches();
    tokio::time::sleep(60 * SECOND).await;
    let asked = world.db.fetches() - before;
    assert!(asked <= 3, "{asked}");
}

#[tokio::test(start_paused = true)]
async fn several_parts_may_be_refused_at_once_and_a_probe_of_the_whole_refuses_the_rest() {
    let refuses = |name: &'static str, bad: fn(&App) -> bool| {
        Probe::new(name, move |app: Arc<App>| {
            let good = !bad(&app);
            async move { good.then_some(()).ok_or("no") }
        })
    };
    let world = World::with(
        Memory::new(password("one")),
        Memory::new(key(1)),
        |builder| {
            builder
                .part_probe(
                    "db",
                    refuses("login", |app| app.db.password.starts_with("bad")),
                )
                .part_probe(
                    "db",
                    refuses("again", |app| app.db.password.starts_with("bad")),
                )
                .part_probe("jwt", refuses("signs", |app| app.jwt.edition == 2))
                .probe_with(refuses("whole", |app| app.jwt.edition == 3))
        },
    )
    .await;
    let mut events = world.keyring.subscribe();
    world.db.rotate(password("bad"));
    world.jwt.rotate(key(2));
    assert!(world.keyring.refresh().await.is_err());
    let told = refusals(seen(&mut events).await);
    assert_eq!(told.len(), 2, "one for each part: {told:?}");
    assert_eq!(world.keyring.status().refused_parts.len(), 2);
    assert_eq!(world.keyring.status().refused_parts[0].quarantine.tries, 1);

    // What is left after the part is refused as a whole, as ever.
    world.jwt.rotate(key(3));
    let error = world.keyring.refresh().await.unwrap_err();
    assert_eq!((error.part(), error.probe_name()), (None, Some("whole")));
    assert_eq!(error.version(), Some(&"db=1,jwt=3".into()));
    let status = world.keyring.status();
    assert_eq!(status.quarantine.unwrap().version, "db=1,jwt=3".into());
    assert_eq!(world.version().as_str(), "db=1,jwt=1");

    world.jwt.rotate(key(4));
    assert!(world.keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(world.version().as_str(), "db=1,jwt=4");
}

#[tokio::test(start_paused = true)]
async fn a_refused_part_whose_store_goes_down_is_a_stale_one() {
    let (world, logins) = world().await;
    world.db.rotate(password("bad"));
    assert!(world.keyring.refresh().await.is_err());
    world.db.fail_next(1, down());
    logins();
    assert!(!world.keyring.refresh().await.unwrap().is_swapped());
    let status = world.keyring.status();
    assert_eq!(
        (status.stale_parts.len(), status.refused_parts.len()),
        (1, 0)
    );
    assert_eq!(logins(), 0);
    // Back up, it is the same version, and its pause is not over.
    tokio::time::sleep(5 * SECOND).await;
    let status = world.keyring.status();
    assert_eq!(
        (status.stale_parts.len(), status.refused_parts.len()),
        (0, 1)
    );
    assert_eq!(logins(), 0);
}

#[tokio::test(start_paused = true)]
async fn at_the_first_build_a_part_probe_warns_or_refuses_the_whole() {
    let start = |required: bool| async move {
        let (db, jwt) = (Memory::new(password("bad")), Memory::new(key(1)));
        let probe = Probe::new("login", login(Arc::default()));
        let probe = if required { probe.require() } else { probe };
        builder(source(&db, &jwt))
            .part_probe("db", probe)
            .build()
            .await
    };
    assert_eq!(start(false).await.unwrap().current().db.password, "bad");
    let error = start(true).await.unwrap_err();
    let BuildErrorKind::FirstRefresh(error) = error.kind() else {
        panic!("{error}")
    };
    assert_eq!(
        (error.part(), error.probe_name()),
        (Some("db"), Some("login"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_part_probe_of_an_unknown_part_is_an_error_of_the_settings() {
    let (db, jwt) = (Memory::new(password("one")), Memory::new(key(1)));
    let probe = || Probe::new("login", login(Arc::default()));
    let error = builder(source(&db, &jwt))
        .part_probe("database", probe())
        .build()
        .await;
    let error = error.unwrap_err();
    assert!(matches!(error.kind(), BuildErrorKind::Config(_)));
    assert_eq!(
        error.to_string(),
        "the probe `login` is for part `database`, which the source `db: memory, jwt: memory` has not; its parts are \
         [\"db\", \"jwt\"]"
    );
    let whole = format!(r#"{{"db":{},"jwt":{}}}"#, password("bad"), key(1));
    let error = builder(Memory::new(whole.clone()))
        .part_probe("db", probe())
        .build()
        .await;
    assert!(matches!(
        error.unwrap_err().kind(),
        BuildErrorKind::Config(_)
    ));

    // A substitute without parts is judged as a whole.
    db.fail_next(1, down());
    let fallback = Fallback::new(source(&db, &jwt), Memory::new(whole));
    let build = builder(fallback)
        .part_probe("db", probe().require())
        .build();
    assert!(build.await.unwrap_err().to_string().contains("`login`"));
}
