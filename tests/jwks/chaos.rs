//! Everything that a key server can do wrong, with requests all the time: none of a valid token is
//! refused, none waits, nobody sees a 500.
//!
//! It prints the table of the documentation.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::StatusCode;
use serde_json::json;
use tower_secrets::{
    JwtKey, Keyring,
    source::{Jwks, Stage},
};

use crate::{
    SECOND, ask, builder,
    idp::{Answer, KeyServer, SigningKey, set},
};

const REFRESHES: usize = 3;
const LEAST_REQUESTS: usize = 500;

/// The peers that fetch on the request path show the key server's 300 ms here.
const P99: Duration = Duration::from_millis(150);

struct World {
    a: SigningKey,
    b: SigningKey,
    server: KeyServer,
    keyring: Keyring<JwtKey>,
}

impl World {
    /// Keys `a` and `b` are served; `c`, which no test has, could be asked for.
    async fn new(change: impl FnOnce(Jwks) -> Jwks) -> Self {
        let [a, b] = ["a", "b"].map(SigningKey::new);
        let server = KeyServer::serving(&[&a, &b]).await;
        let source = change(Jwks::new(server.keys_url()));
        let keyring = builder(source).fetch_limit(SECOND).token_cache(0).build();
        let keyring = keyring.await.unwrap();
        Self {
            a,
            b,
            server,
            keyring,
        }
    }

    /// Asks with tokens of `b`, which is never withdrawn, until so many refreshes have ended.
    async fn load(&self, fault: &str) -> Duration {
        let ended = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let refreshing = tokio::spawn({
            let (keyring, ended, stop) = (self.keyring.clone(), ended.clone(), stop.clone());
            async move {
                while !stop.load(Ordering::Acquire) {
                    // What comes of it is each test's business.
                    let _ = keyring.refresh().await;
                    ended.fetch_add(1, Ordering::AcqRel);
                }
            }
        });
        let token = self.b.token(json!({}));
        let mut times = Vec::new();
        while ended.load(Ordering::Acquire) < REFRESHES || times.len() < LEAST_REQUESTS {
            let begin = Instant::now();
            let answer = ask(&self.keyring, &token).await;
            times.push(begin.elapsed());
            assert_eq!(
                answer,
                Ok(Stage::Current),
                "{fault}: a valid token was refused"
            );
            tokio::task::yield_now().await;
        }
        stop.store(true, Ordering::Release);
        refreshing.await.unwrap();
        times.sort();
        let p99 = times[times.len() * 99 / 100];
        println!(
            "{fault:<28} {:>6} requests, all answered 200, p99 {p99:?}",
            times.len()
        );
        assert!(p99 < P99, "{fault}: p99 {p99:?}");
        p99
    }

    /// The fault is over: the keys come back by themselves, with a new one among them.
    async fn recovers(&self, fault: &str) {
        let fresh = SigningKey::new("fresh");
        self.server
            .put("/keys", Answer::ok(set(&[&self.a, &self.b, &fresh])));
        self.keyring.refresh().await.unwrap();
        assert_eq!(
            ask(&self.keyring, &fresh.token(json!({}))).await,
            Ok(Stage::Current),
            "{fault}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_the_key_server() {
    let world = World::new(|source| source).await;
    world.load("no fault").await;

    world.server.delay(Duration::from_millis(300));
    world.load("slow: 300 ms").await;
    world.server.delay(Duration::ZERO);

    for (fault, answer) in [
        ("500", Answer::new(500, "oops")),
        ("429", Answer::new(429, "slow down")),
        ("an empty set", Answer::ok(r#"{"keys":[]}"#)),
        ("garbage", Answer::ok("<html>maintenance</html>")),
        ("half a document", Answer::ok(r#"{"keys":[{"kty":"OKP","#)),
    ] {
        world.server.put("/keys", answer);
        world.load(fault).await;
        assert!(world.keyring.status().last_failure.is_some(), "{fault}");
        // A token of a key that nobody has costs a 401, and never a 500.
        let unknown = SigningKey::new("unknown").token(json!({}));
        let answer = ask(&world.keyring, &unknown).await;
        assert_eq!(answer, Err(StatusCode::UNAUTHORIZED), "{fault}");
        world.recovers(fault).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_server_that_hangs_or_is_gone() {
    let world = World::new(|source| source).await;
    world.server.hold();
    world.load("hangs").await;
    world.server.release();
    world.recovers("hangs").await;

    let World {
        a,
        b,
        server,
        keyring,
    } = world;
    drop(server);
    // A new server for the struct's sake: the keyring goes on asking the one that is gone.
    let server = KeyServer::start().await;
    let world = World {
        a,
        b,
        server,
        keyring,
    };
    world.load("gone").await;
    assert_eq!(world.server.requests(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_withdrawn() {
    for (name, keeps) in [("a key withdrawn", false), ("a key withdrawn, kept", true)] {
        let keep = |source: Jwks| {
            if keeps {
                source.keep_withdrawn()
            } else {
                source
            }
        };
        let world = World::new(keep).await;
        let of_a = world.a.token(json!({}));
        assert_eq!(ask(&world.keyring, &of_a).await, Ok(Stage::Current));
        world.server.put("/keys", Answer::ok(set(&[&world.b])));
        world.load(name).await;
        let expected = if keeps {
            Ok(Stage::Previous)
        } else {
            Err(StatusCode::UNAUTHORIZED)
        };
        assert_eq!(ask(&world.keyring, &of_a).await, expected);
        world.recovers(name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_added_is_known_at_its_first_token() {
    let world = World::new(|source| source).await;
    let c = SigningKey::new("c");
    world
        .server
        .put("/keys", Answer::ok(set(&[&world.a, &world.b, &c])));
    let begin = Instant::now();
    assert_eq!(
        ask(&world.keyring, &c.token(json!({}))).await,
        Ok(Stage::Current)
    );
    println!(
        "{:<28} its first token is answered 200 after {:?}",
        "a key added",
        begin.elapsed()
    );
    world.load("a key added").await;
}
