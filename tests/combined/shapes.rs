//! Bundles of other shapes: three parts, a key that hangs on two of them, resources made from one.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use serde::Deserialize;
use tower_secrets::{
    JwtKey, Keyring, Parts,
    clock::TokioClock,
    source::{Combined, Memory, Stage},
};

use crate::world::*;

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
        .activation_delay(std::time::Duration::ZERO)
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
        .activation_delay(std::time::Duration::ZERO)
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

    // A withdrawal counts, although the other part still has a previous one.
    let fourth = token(&keyring.signer());
    store.rotate(keys(5, 6));
    keyring.refresh().await.unwrap();
    choice.rotate("false");
    keyring.refresh().await.unwrap();
    assert_eq!(ask(&keyring, &fourth).await, Ok(Stage::Previous));
    store.drop_previous();
    keyring.refresh().await.unwrap();
    assert_eq!(ask(&keyring, &fourth).await, REFUSED);
}

/// A connection pool is made anew only for its own part, and the old one lives for a window.
#[tokio::test(start_paused = true)]
async fn ten_rotations_of_the_key_open_no_connection() {
    struct Pooled {
        pool: Arc<String>,
        edition: u32,
    }
    let (db, jwt) = (Memory::new(password("one")), Memory::new(key(1)));
    let pools = Arc::new(AtomicU32::new(0));
    let made = pools.clone();
    let keyring = builder(source(&db, &jwt))
        .prepare(move |raw: Arc<App>, parts: Parts| {
            let made = made.clone();
            async move {
                let connect = async {
                    made.fetch_add(1, Ordering::SeqCst);
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
    let made = || pools.load(Ordering::SeqCst);
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
