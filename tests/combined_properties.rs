//! Whatever the order of rotations, outages, refused values and refreshes of three parts: a request
//! sees one combination of proved values, and a token is worth what the part of its key says.
//!
//! As in `rotation_properties`, a keyring goes through a random list of steps under paused time, next to
//! a model of a few lines that knows nothing of the code.

#![allow(clippy::unwrap_used)]

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::StatusCode;
use proptest::prelude::*;
use serde::Deserialize;
use support::{ask, token};
use tokio::time::Instant;
use tower_secrets::{
    JwtKey, Keyring, Probe, Secrets,
    clock::TokioClock,
    event::Event,
    source::{Combined, Memory, SourceError, SourceErrorKind, Stage},
};

const INTERVAL: Duration = Duration::from_secs(60);
const OVERLAP: Duration = Duration::from_secs(500);
const NAMES: [&str; 3] = ["api", "db", "jwt"];
/// The place of the signing key among them.
const JWT: usize = 2;

/// A value that is written twice, so that a torn one shows.
#[derive(Deserialize)]
struct Value {
    edition: usize,
    again: usize,
    verdict: String,
}

#[derive(Deserialize)]
struct Jwt {
    #[serde(flatten)]
    value: Value,
    key: JwtKey,
}

#[derive(Deserialize)]
struct App {
    api: Value,
    db: Value,
    jwt: Jwt,
}

impl App {
    fn values(&self) -> [&Value; 3] {
        [&self.api, &self.db, &self.jwt.value]
    }

    fn editions(&self) -> [usize; 3] {
        self.values().map(|value| value.edition)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Good,
    /// The probe of its part refuses it.
    BadPart,
    /// The probe of the whole does.
    BadWhole,
}

#[derive(Clone, Debug)]
enum Act {
    /// A new value of a part. In the part of the key, perhaps with a new key.
    Rotate(usize, bool, Verdict),
    DropPrevious(usize),
    Down(usize),
    Up(usize),
    Refresh,
    /// Time passes, in seconds; the loop polls meanwhile.
    Pass(u64),
    Hold,
    Release,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let verdict = prop_oneof![
        4 => Just(Verdict::Good),
        1 => Just(Verdict::BadPart),
        1 => Just(Verdict::BadWhole),
    ];
    let part = prop_oneof![2 => 0..JWT, 3 => Just(JWT)];
    let act = prop_oneof![
        5 => (part.clone(), any::<bool>(), verdict).prop_map(|(part, key, verdict)| Act::Rotate(part, key, verdict)),
        2 => part.clone().prop_map(Act::DropPrevious),
        1 => part.clone().prop_map(Act::Down),
        2 => part.prop_map(Act::Up),
        6 => Just(Act::Refresh),
        4 => (1..600u64).prop_map(Act::Pass),
        1 => Just(Act::Hold),
        1 => Just(Act::Release),
    ];
    prop::collection::vec(act, 1..50)
}

/// One value as its store holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Edition {
    number: usize,
    key: usize,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug)]
struct Shown {
    current: Edition,
    previous: Option<Edition>,
}

/// What the rules say, in the plainest form.
struct Model {
    stores: [Shown; 3],
    down: [bool; 3],
    written: [usize; 3],
    keys: usize,
    in_use: [Shown; 3],
    stale: [bool; 3],
    /// The previous that the store of the key named last.
    seen_previous: Option<usize>,
    /// The key that was replaced last, and when its window ends.
    replaced: Option<(usize, Instant)>,
}

impl Model {
    fn new() -> Self {
        let current = Edition {
            number: 1,
            key: 0,
            verdict: Verdict::Good,
        };
        let first = Shown {
            current,
            previous: None,
        };
        Self {
            stores: [first; 3],
            down: [false; 3],
            written: [1; 3],
            keys: 1,
            in_use: [first; 3],
            stale: [false; 3],
            seen_previous: None,
            replaced: None,
        }
    }

    fn rotate(&mut self, part: usize, new_key: bool, verdict: Verdict) -> Edition {
        self.written[part] += 1;
        let was = self.stores[part].current;
        let key = if new_key && part == JWT {
            self.keys += 1;
            self.keys - 1
        } else {
            was.key
        };
        let next = Edition {
            number: self.written[part],
            key,
            verdict,
        };
        self.stores[part] = Shown {
            current: next,
            previous: Some(was),
        };
        next
    }

    /// The process has read the stores.
    fn read(&mut self, now: Instant) {
        self.stale = self.down;
        let mut taken = self.in_use;
        let mut held_back = [false; 3];
        for part in 0..NAMES.len() {
            let shown = self.stores[part];
            let is_new = shown.current != self.in_use[part].current;
            held_back[part] = is_new && shown.current.verdict == Verdict::BadPart;
            if self.down[part] {
                held_back[part] = true;
            } else if !held_back[part] {
                taken[part] = shown;
            } else if shown.previous.is_none() {
                taken[part].previous = None;
            }
        }
        let jwt = taken[JWT];
        let refused = |shown: &Shown| shown.current.verdict == Verdict::BadWhole;
        if taken.iter().any(refused) {
            if jwt.previous.is_none() {
                self.replaced = None;
            }
            return;
        }
        let left = self.in_use[JWT].current;
        let flipped = jwt.current != left;
        let moved = jwt.previous.map(|it| it.number) != self.seen_previous && !held_back[JWT];
        let named = jwt.previous.filter(|it| it.key != jwt.current.key);
        let kept = self.replaced.filter(|(key, _)| *key != jwt.current.key);
        self.replaced = match named {
            _ if jwt.previous.is_none() => None,
            Some(named) if flipped || moved => {
                let was = self.replaced.filter(|(key, _)| *key == named.key);
                Some(was.unwrap_or((named.key, now + OVERLAP)))
            }
            None if flipped && left.key != jwt.current.key => Some((left.key, now + OVERLAP)),
            _ => kept,
        };
        if !held_back[JWT] || jwt.previous.is_none() {
            self.seen_previous = jwt.previous.map(|it| it.number);
        }
        self.in_use = taken;
    }

    fn accepts(&self, key: usize, now: Instant) -> Option<Stage> {
        if key == self.in_use[JWT].current.key {
            return Some(Stage::Current);
        }
        let (replaced, end) = self.replaced?;
        (replaced == key && now < end).then_some(Stage::Previous)
    }
}

struct Run {
    stores: [Memory; 3],
    keyring: Keyring<App>,
    model: Model,
    tokens: BTreeMap<usize, String>,
    held: Vec<(Secrets<App>, [usize; 3])>,
}

fn document(part: usize, edition: Edition) -> String {
    let Edition {
        number,
        key,
        verdict,
    } = edition;
    let value = format!(r#""edition":{number},"again":{number},"verdict":"{verdict:?}""#);
    match part {
        JWT => format!(r#"{{{value},"key":"key number {key:03} of thirty-two bytes"}}"#),
        _ => format!("{{{value}}}"),
    }
}

fn down() -> SourceError {
    SourceError::new(SourceErrorKind::Unavailable, "down")
}

impl Run {
    async fn start() -> Self {
        let model = Model::new();
        let store = |part: usize| Memory::new(document(part, model.stores[part].current));
        let stores = [store(0), store(1), store(2)];
        let mut source = Combined::new();
        for (name, store) in NAMES.into_iter().zip(&stores) {
            source = source.with(name, store.clone());
        }
        let mut builder = Keyring::<App>::builder(source)
            .activation_delay(std::time::Duration::ZERO)
            .jwt_key(|app| &app.jwt.key)
            .clock(TokioClock::new())
            .refresh_every(INTERVAL)
            .overlap(OVERLAP);
        for (part, name) in NAMES.into_iter().enumerate() {
            let check = move |app: Arc<App>| async move {
                let good = app.values()[part].verdict != "BadPart";
                good.then_some(()).ok_or("a bad part")
            };
            builder = builder.part_probe(name, Probe::new("part", check));
        }
        let whole = |app: Arc<App>| async move {
            let good = app.values().iter().all(|value| value.verdict != "BadWhole");
            good.then_some(()).ok_or("a bad bundle")
        };
        let keyring = builder.probe("whole", whole).build().await.unwrap();
        let tokens = BTreeMap::from([(0, token(&keyring.signer()))]);
        Self {
            stores,
            keyring,
            model,
            tokens,
            held: Vec::new(),
        }
    }

    /// A token of a key that nobody here has yet.
    async fn mint(&mut self, key: usize) {
        let edition = Edition {
            key,
            ..self.model.stores[JWT].current
        };
        let keyring = Keyring::<Jwt>::builder(Memory::new(document(JWT, edition)))
            .activation_delay(std::time::Duration::ZERO)
            .jwt_key(|jwt| &jwt.key)
            .build()
            .await
            .unwrap();
        self.tokens.insert(key, token(&keyring.signer()));
    }

    async fn act(&mut self, act: &Act) {
        match *act {
            Act::Rotate(part, new_key, verdict) => {
                let next = self.model.rotate(part, new_key, verdict);
                let id = self.stores[part].rotate(document(part, next));
                assert_eq!(id.as_str(), next.number.to_string());
                if part == JWT {
                    self.mint(next.key).await;
                }
            }
            Act::DropPrevious(part) => {
                self.model.stores[part].previous = None;
                self.stores[part].drop_previous();
            }
            Act::Down(part) => {
                self.model.down[part] = true;
                self.stores[part].fail_next(usize::MAX, down());
            }
            Act::Up(part) => {
                self.model.down[part] = false;
                self.stores[part].fail_next(0, down());
            }
            Act::Refresh => {
                // An error where a value was refused; the model knows which.
                let _ = self.keyring.refresh().await;
                self.model.read(Instant::now());
            }
            Act::Pass(seconds) => self.pass(Duration::from_secs(seconds)).await,
            Act::Hold => {
                let secrets = self.keyring.current();
                let editions = secrets.editions();
                self.held.push((secrets, editions));
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
                    Event::ReloadError(error) => panic!("{error}"),
                    _ => {}
                },
                () = tokio::time::sleep_until(end) => return,
            }
        }
    }

    async fn check(&self) {
        let newest = self.keyring.current();
        let model = &self.model;
        for value in newest.values() {
            assert_eq!(value.edition, value.again, "torn");
            assert_eq!(value.verdict, "Good", "a refused value is in use");
        }
        let in_use = model.in_use.map(|shown| shown.current.number);
        assert_eq!(newest.editions(), in_use, "the combination");
        let [api, db, jwt] = in_use;
        assert_eq!(
            newest.version().as_str(),
            format!("api={api},db={db},jwt={jwt}")
        );
        if let Some(previous) = newest.previous() {
            assert_ne!(previous.editions(), in_use);
            for (shown, edition) in model.in_use.iter().zip(previous.editions()) {
                let vouched_for = [Some(shown.current), shown.previous];
                let is_it = |it: &Edition| it.number == edition;
                assert!(
                    vouched_for.iter().flatten().any(is_it),
                    "previous: {edition}"
                );
            }
        }
        for (secrets, editions) in &self.held {
            assert_eq!(secrets.editions(), *editions, "a held snapshot changed");
        }
        let stale = self.keyring.status().stale_parts;
        let stale: Vec<&str> = stale.iter().map(|it| it.part.as_str()).collect();
        let want = NAMES
            .into_iter()
            .zip(model.stale)
            .filter(|(_, stale)| *stale);
        assert_eq!(stale, want.map(|(name, _)| name).collect::<Vec<_>>());

        let now = Instant::now();
        for (key, token) in &self.tokens {
            let want = model.accepts(*key, now).ok_or(StatusCode::UNAUTHORIZED);
            assert_eq!(
                ask(&self.keyring, token).await,
                want,
                "the token of key {key}"
            );
        }
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
    fn a_request_sees_one_combination_of_proved_values(acts in acts()) {
        under_paused_time(async {
            let mut run = Run::start().await;
            run.check().await;
            for act in &acts {
                run.act(act).await;
                run.check().await;
            }
        });
    }
}
