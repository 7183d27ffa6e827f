//! Whatever the order of fetches, failures, rotations and requests: the rules of the windows hold.
//!
//! Each case drives a keyring through a random list of steps under paused time, next to a model of
//! a few lines that knows nothing of the code, and compares what every token is worth after each
//! step.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    sync::{Arc, Weak},
    time::Duration,
};

use http::{Request, Response, StatusCode};
use proptest::prelude::*;
use serde::Deserialize;
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};
use tower_secrets::{
    Authentication, JwtKey, JwtRotationLayer, Keyring, RegisteredClaims, Secrets,
    clock::TokioClock,
    event::Event,
    source::{Memory, SourceError, SourceErrorKind, Stage},
};

const INTERVAL: Duration = Duration::from_secs(60);
const OVERLAP: Duration = Duration::from_secs(400);
const MAX_PENDING: Duration = Duration::from_secs(1000);

#[derive(Deserialize)]
struct App {
    jwt: JwtKey,
    api_key: String,
    db_password: String,
    good: bool,
}

/// A bundle whose fields tell which key and which edition they belong to.
fn doc(key: usize, edition: usize, good: bool) -> String {
    format!(
        r#"{{"jwt":"key number {key:03} of thirty-two bytes","api_key":"a{edition}","db_password":"d{edition}","good":{good}}}"#
    )
}

#[derive(Clone, Debug)]
enum Act {
    /// The operator rotates the signing key.
    RotateKey,
    /// The operator rotates another field.
    RotateOther,
    /// The operator writes a bundle that the probe refuses.
    RotateBad,
    StagePending,
    PromotePending,
    DropPending,
    /// The breach: the store no longer vouches for previous.
    DropPrevious,
    /// The store fails this many times.
    Fail(usize),
    Refresh,
    /// Time passes, in seconds; the loop polls meanwhile.
    Pass(u64),
    RevokePrevious,
    Hold,
    Release,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => Just(Act::RotateKey),
        2 => Just(Act::RotateOther),
        1 => Just(Act::RotateBad),
        1 => Just(Act::StagePending),
        2 => Just(Act::PromotePending),
        1 => Just(Act::DropPending),
        1 => Just(Act::DropPrevious),
        1 => (1..4usize).prop_map(Act::Fail),
        6 => Just(Act::Refresh),
        4 => (1..500u64).prop_map(Act::Pass),
        1 => Just(Act::RevokePrevious),
        2 => Just(Act::Hold),
        1 => Just(Act::Release),
    ];
    prop::collection::vec(act, 1..40)
}

/// A version as the store holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Edition {
    key: usize,
    number: usize,
    good: bool,
}

/// What the rules say, in the plainest form.
struct Model {
    current: Edition,
    previous: Option<Edition>,
    pending: Option<Edition>,
    seen: Edition,
    seen_previous: Option<usize>,
    /// The key that was replaced last, and when its window ends.
    replaced: Option<(usize, Instant)>,
    /// Key, and when it is no longer accepted as pending.
    staged: Option<(usize, Instant)>,
    staged_ends: HashMap<usize, Instant>,
    revoked: Vec<usize>,
    keys: usize,
    /// The key of each edition.
    editions: Vec<usize>,
}

impl Model {
    fn new() -> Self {
        let first = Edition {
            key: 0,
            number: 0,
            good: true,
        };
        Self {
            current: first,
            previous: None,
            pending: None,
            seen: first,
            seen_previous: None,
            replaced: None,
            staged: None,
            staged_ends: HashMap::new(),
            revoked: Vec::new(),
            keys: 1,
            editions: vec![0],
        }
    }

    fn write(&mut self, new_key: bool, good: bool) -> Edition {
        let key = if new_key {
            self.keys += 1;
            self.keys - 1
        } else {
            self.current.key
        };
        self.editions.push(key);
        Edition {
            key,
            number: self.editions.len() - 1,
            good,
        }
    }

    fn rotate(&mut self, next: Edition) {
        self.previous = Some(std::mem::replace(&mut self.current, next));
    }

    /// The process has read the store.
    fn read(&mut self, now: Instant) {
        // What the store takes back does not wait for a good current: previous, and pending unless it may
        // have come into use meanwhile.
        if !self.current.good {
            let is_known = |it: Edition| {
                it.number == self.seen.number || Some(it.number) == self.seen_previous
            };
            if self.pending.is_none() && self.previous.is_none_or(is_known) {
                self.staged = None;
            }
            if self.previous.is_none() {
                self.replaced = None;
                self.seen_previous = None;
            }
            return;
        }
        let flipped = self.current != self.seen;
        let left = self.seen.key;
        let named = self.previous.filter(|it| it.key != self.current.key);
        let moved = self.previous.map(|it| it.number) != self.seen_previous;
        self.replaced = match (self.previous, named) {
            (None, _) => None,
            (Some(_), Some(named)) if flipped || moved => {
                let was = self.replaced.filter(|(key, _)| *key == named.key);
                Some(was.unwrap_or((named.key, now + OVERLAP)))
            }
            (Some(_), None) if flipped && left != self.current.key => Some((left, now + OVERLAP)),
            (Some(_), _) => self.replaced.filter(|(key, _)| *key != self.current.key),
        };
        self.seen = self.current;
        self.seen_previous = self.previous.map(|it| it.number);
        let unused = |it: &Edition| it.key != self.current.key;
        self.staged = self.pending.filter(unused).map(|it| {
            let end = self.staged_ends.entry(it.key).or_insert(now + MAX_PENDING);
            (it.key, *end)
        });
    }

    fn accepts(&self, key: usize, now: Instant) -> Option<Stage> {
        if self.revoked.contains(&key) {
            return None;
        }
        if key == self.seen.key {
            return Some(Stage::Current);
        }
        if self
            .replaced
            .is_some_and(|(it, end)| it == key && now < end)
        {
            return Some(Stage::Previous);
        }
        let staged = self.staged.is_some_and(|(it, end)| it == key && now < end);
        staged.then_some(Stage::Pending)
    }
}

struct Run {
    store: Memory,
    keyring: Keyring<App>,
    model: Model,
    tokens: BTreeMap<usize, String>,
    held: Vec<(Secrets<App>, String, u64)>,
    bundles: HashMap<u64, Weak<App>>,
    generation: u64,
    has_revoked: bool,
}

impl Run {
    async fn start() -> Self {
        let store = Memory::new(doc(0, 0, true));
        let keyring = Keyring::<App>::builder(store.clone())
            .activation_delay(std::time::Duration::ZERO)
            .jwt_key(|app| &app.jwt)
            .clock(TokioClock::new())
            .refresh_every(INTERVAL)
            .overlap(OVERLAP)
            .max_pending(MAX_PENDING)
            .probe("good", |app: std::sync::Arc<App>| async move {
                app.good.then_some(()).ok_or("a bad bundle")
            })
            .build()
            .await
            .unwrap();
        let mut run = Self {
            store,
            keyring,
            model: Model::new(),
            tokens: BTreeMap::new(),
            held: Vec::new(),
            bundles: HashMap::new(),
            generation: 1,
            has_revoked: false,
        };
        run.mint(0).await;
        run
    }

    /// A token of any key, minted by somebody else who has it.
    async fn mint(&mut self, key: usize) {
        let keyring = Keyring::<App>::builder(Memory::new(doc(key, 0, true)))
            .activation_delay(std::time::Duration::ZERO)
            .jwt_key(|app| &app.jwt)
            .build()
            .await
            .unwrap();
        let later = std::time::SystemTime::now() + Duration::from_secs(1_000_000);
        let claims = RegisteredClaims::new(format!("user {key}")).expires_at(later);
        let token = keyring.signer().sign(&claims).unwrap();
        self.tokens.insert(key, token);
    }

    async fn act(&mut self, act: &Act) {
        let model = &mut self.model;
        match act {
            Act::RotateKey | Act::RotateOther | Act::RotateBad => {
                let new_key = !matches!(act, Act::RotateOther);
                let next = model.write(new_key, !matches!(act, Act::RotateBad));
                model.rotate(next);
                self.store.rotate(doc(next.key, next.number, next.good));
                self.mint(next.key).await;
            }
            Act::StagePending => {
                let next = model.write(true, true);
                model.pending = Some(next);
                self.store.stage_pending(doc(next.key, next.number, true));
                self.mint(next.key).await;
            }
            Act::PromotePending => {
                if let Some(next) = model.pending.take() {
                    model.rotate(next);
                    self.store.promote_pending().unwrap();
                }
            }
            Act::DropPending => {
                model.pending = None;
                self.store.drop_pending();
            }
            Act::DropPrevious => {
                model.previous = None;
                self.store.drop_previous();
            }
            Act::Fail(times) => {
                let error = SourceError::new(SourceErrorKind::Unavailable, "down");
                self.store.fail_next(*times, error);
            }
            Act::Refresh => {
                let outcome = self.keyring.refresh().await;
                let fetched = match &outcome {
                    Ok(_) => true,
                    Err(error) => error.source_error().is_none(),
                };
                if fetched {
                    model.read(Instant::now());
                }
            }
            Act::Pass(seconds) => self.pass(Duration::from_secs(*seconds)).await,
            Act::RevokePrevious => {
                self.has_revoked = true;
                for version in self.keyring.revoke_previous() {
                    // Memory names its versions 1, 2, 3, .. in the order of the editions.
                    let number: usize = version.as_str().parse().unwrap();
                    let key = self.model.editions[number - 1];
                    if key != self.model.seen.key {
                        self.model.revoked.push(key);
                    }
                }
                let open = self.model.replaced.map(|(key, _)| key);
                let open = open.and_then(|key| self.model.accepts(key, Instant::now()));
                assert_eq!(open, None, "revoked");
            }
            Act::Hold => {
                let secrets = self.keyring.current();
                let (key, generation) = (secrets.api_key.clone(), secrets.generation());
                self.held.push((secrets, key, generation));
            }
            Act::Release => self.held.clear(),
        }
    }

    /// Lets the loop work, and lets the model read whenever the loop has.
    async fn pass(&mut self, time: Duration) {
        let mut events = self.keyring.subscribe();
        let end = Instant::now() + time;
        loop {
            tokio::select! {
                biased;
                event = events.next() => match event.unwrap() {
                    Event::Unchanged { .. } | Event::Reloaded { .. } | Event::ReloadFailed(_) => {
                        self.model.read(Instant::now());
                    }
                    _ => {}
                },
                () = tokio::time::sleep_until(end) => return,
            }
        }
    }

    async fn check(&mut self) {
        let now = Instant::now();
        let newest = self.keyring.current();
        assert!(
            newest.generation() >= self.generation,
            "the generation only grows"
        );
        self.generation = newest.generation();
        assert!(newest.good, "an unproved bundle was published");
        assert_eq!(newest.api_key[1..], newest.db_password[1..], "torn");
        self.bundles
            .insert(newest.generation(), Arc::downgrade(&newest.bundle()));
        for (secrets, key, generation) in &self.held {
            assert_eq!(secrets.api_key, *key, "a held snapshot changed");
            assert_eq!(secrets.generation(), *generation);
        }
        drop(newest);
        for (key, token) in &self.tokens {
            let want = self.model.accepts(*key, now);
            let got = ask(&self.keyring, token).await;
            assert_eq!(got, want, "the token of key {key}");
        }
    }

    /// With no reader left, only what is current or inside its window is still in memory.
    async fn check_freed(&mut self) {
        self.held.clear();
        // The test may be at the very moment at which a window ends: the loop first.
        tokio::time::sleep(Duration::from_millis(2)).await;
        let newest = self.keyring.current();
        let kept = [Some(newest.bundle()), newest.previous()];
        for bundle in self.bundles.values().filter_map(Weak::upgrade) {
            let is_kept = kept.iter().flatten().any(|it| Arc::ptr_eq(it, &bundle));
            // A revoked previous is held back until its window ends, for `restore`.
            assert!(
                is_kept || self.has_revoked,
                "an old generation was not freed"
            );
        }
    }
}

async fn ask(keyring: &Keyring<App>, token: &str) -> Option<Stage> {
    let service =
        JwtRotationLayer::new(keyring.clone()).layer(service_fn(async |request: Request<()>| {
            let authentication = request.extensions().get::<Authentication>().unwrap();
            let secrets = Secrets::<App>::from_extensions(request.extensions()).unwrap();
            assert_eq!(
                secrets.generation(),
                authentication.generation(),
                "two generations"
            );
            let stage = authentication.stage();
            let response = Response::builder().extension(stage).body(());
            Ok::<_, Infallible>(response.unwrap())
        }));
    let request = Request::builder()
        .header("authorization", format!("Bearer {token}"))
        .body(())
        .unwrap();
    let response = service.oneshot(request).await.unwrap();
    match response.status() {
        StatusCode::OK => Some(*response.extensions().get::<Stage>().unwrap()),
        StatusCode::UNAUTHORIZED => None,
        other => panic!("{other}"),
    }
}

fn under_paused_time(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_token_is_worth_what_the_rules_say(acts in acts()) {
        under_paused_time(async {
            let mut run = Run::start().await;
            run.check().await;
            for act in &acts {
                run.act(act).await;
                run.check().await;
            }
            run.check_freed().await;
        });
    }
}

/// The `kid` is the key's, not the version's: any number of rotations of other fields refuse
/// no token and open no window.
#[test]
fn rotating_another_field_logs_nobody_out() {
    under_paused_time(async {
        let mut run = Run::start().await;
        let token = run.tokens[&0].clone();
        for _ in 0..30 {
            run.act(&Act::RotateOther).await;
            run.act(&Act::Pass(OVERLAP.as_secs() * 2)).await;
            assert_eq!(ask(&run.keyring, &token).await, Some(Stage::Current));
            assert!(run.keyring.status().generation > 1);
        }
    });
}
