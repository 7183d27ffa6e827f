//! A flood of tokens that name keys nobody knows makes no valid token slower than a flood of the same
//! size that is refused for its age, and asks the source no more often than the cool-down allows:
//! `cargo bench --bench junk_flood`.
//!
//! Half-second slices of the two floods take turns in one run, 10,000 tokens a second beside 2,000
//! valid ones on two threads, and in the middle of each slice the key is rotated. Timers are too coarse for
//! so many, so that a thread serves what comes within two milliseconds in one go, in any order. Two times of
//! a valid token are told: `apart`, where each comes at a moment of its own, as from clients that
//! know nothing of each other, and waits for those before it that are not done, for as long as they took here; and
//! `in bursts`, as they were served here: the valid one waits for most of the ten before it, which
//! shows what one junk token costs and is not what a rate means. What is judged is the median of the slices' 99th
//! percentiles, apart.
//!
//! Machines are noisy: it is measured up to three times, and one good measurement is enough, for noise
//! does not make the junk cheaper in half of the slices. The source's calls are judged in each.

#![allow(clippy::unwrap_used)]

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::Pin,
    process::ExitCode,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures::task::noop_waker;
use http::{Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::{sync::Barrier, task::JoinSet, time::MissedTickBehavior};
use tower::{Layer, Service, util::service_fn};
use tower_secrets::{
    JwtKey, JwtRotationLayer, Keyring, RegisteredClaims, UnknownKey,
    source::{Memory, Source, SourceError, Versions},
};

const THREADS: usize = 2;
const TICK: Duration = Duration::from_millis(2);
/// On each thread: 10,000 tokens a second, and 2,000.
const FLOOD_A_TICK: usize = 10;
const VALID_A_TICK: usize = 2;

const SLICE: Duration = Duration::from_millis(500);
/// Shorter than the default, so that there are many in a run.
const COOL_DOWN: Duration = Duration::from_secs(1);
/// How long the store takes to answer.
const FETCH: Duration = Duration::from_millis(20);

const MOST: f64 = 1.2;
const TRIES: usize = 3;

fn main() -> ExitCode {
    // `cargo test --all-targets` starts benches, too, in a build that is much slower.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let (tries, pairs) = if is_bench { (TRIES, 24) } else { (1, 2) };
    for number in 1..=tries {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_time()
            .build()
            .unwrap();
        let ratio = runtime.block_on(async { tokio::spawn(measure(pairs)).await.unwrap() });
        if ratio <= MOST || !is_bench {
            return ExitCode::SUCCESS;
        }
        println!("{ratio:.2} is more than {MOST}; that was measurement {number} of {tries}\n");
    }
    ExitCode::FAILURE
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flood {
    /// Signed by the current key, and over.
    Expired,
    /// Each names another key, and could be good otherwise.
    Junk,
}

/// The two floods by turns; gives how much slower valid tokens were under the junk.
async fn measure(pairs: usize) -> f64 {
    let memory = Memory::new(document(0));
    let keyring = Keyring::<App>::builder(Slow(memory.clone()))
        .activation_delay(Duration::ZERO)
        .jwt_key(|app| &app.jwt)
        .refresh_on_unknown_key(UnknownKey::new().cool_down(COOL_DOWN))
        .build()
        .await
        .unwrap();
    let began = Instant::now();
    let (mut expired, mut junk) = (Flooded::default(), Flooded::default());
    for pair in 0..pairs {
        // Which of them comes first should not matter.
        let order = match pair % 2 {
            0 => [Flood::Expired, Flood::Junk],
            _ => [Flood::Junk, Flood::Expired],
        };
        for flood in order {
            let slice = slice(&memory, &keyring, flood).await;
            match flood {
                Flood::Expired => expired.add(slice),
                Flood::Junk => junk.add(slice),
            }
        }
    }
    let cool_downs = began.elapsed().as_secs() / COOL_DOWN.as_secs();

    println!(
        "flood       tokens/s    valid   apart: p50 us     p99   in bursts: p50 us     p99   waited"
    );
    println!("expired   {}", expired.line());
    println!("unknown   {}", junk.line());
    // The first, and one by the operator in each slice.
    let asked = memory.fetches() - 1 - 2 * pairs as u64;
    println!("source calls for unknown keys: {asked} in {cool_downs} cool-downs");
    assert!(asked > 0 && asked <= cool_downs + 1);
    assert!(junk.waited > 0 && expired.waited == 0);
    let ratio = junk.apart.p99() / expired.apart.p99();
    let in_bursts = junk.in_bursts.p99() / expired.in_bursts.p99();
    println!(
        "p99 of valid tokens under junk: {ratio:.2} times that under expired ones; in bursts {in_bursts:.2}\n"
    );
    ratio
}

/// Of the slices of one flood.
#[derive(Default)]
struct Flooded {
    apart: Times,
    in_bursts: Times,
    sent: usize,
    seconds: f64,
    waited: usize,
}

impl Flooded {
    fn add(&mut self, slice: Slice) {
        let Slice {
            apart,
            in_bursts,
            sent,
            lasted,
            waited,
        } = slice;
        self.apart.add(apart);
        self.in_bursts.add(in_bursts);
        self.sent += sent;
        self.seconds += lasted.as_secs_f64();
        self.waited += waited;
    }

    fn line(&self) -> String {
        let Self {
            apart, in_bursts, ..
        } = self;
        format!(
            "{:>10.0} {:>8} {:>15.1} {:>7.1} {:>19.1} {:>7.1} {:>8}",
            self.sent as f64 / self.seconds,
            apart.0.iter().map(Vec::len).sum::<usize>(),
            apart.median_of(50),
            apart.p99(),
            in_bursts.median_of(50),
            in_bursts.p99(),
            self.waited
        )
    }
}

/// Of valid tokens, in microseconds: those of each slice, sorted.
#[derive(Default)]
struct Times(Vec<Vec<f64>>);

impl Times {
    fn add(&mut self, mut slice: Vec<f64>) {
        slice.sort_unstable_by(f64::total_cmp);
        self.0.push(slice);
    }

    fn p99(&self) -> f64 {
        self.median_of(99)
    }

    /// The median of the slices' percentiles.
    fn median_of(&self, percent: usize) -> f64 {
        let percentile = |slice: &Vec<f64>| slice[slice.len() * percent / 100];
        let mut all: Vec<_> = self.0.iter().map(percentile).collect();
        all.sort_unstable_by(f64::total_cmp);
        all[all.len() / 2]
    }
}

#[derive(Default)]
struct Slice {
    apart: Vec<f64>,
    in_bursts: Vec<f64>,
    sent: usize,
    lasted: Duration,
    /// Tokens that waited for a refresh.
    waited: usize,
}

/// What one thread has served.
#[derive(Default)]
struct Served {
    /// How long each token took, in microseconds, and whether it is valid.
    each: Vec<(f64, bool)>,
    in_bursts: Vec<f64>,
    lasted: Duration,
    waited: usize,
}

impl Served {
    /// The times of the valid ones, where all of them come at random moments at this rate.
    fn apart(&self) -> Vec<f64> {
        let mean_gap = TICK.as_secs_f64() * 1e6 / (FLOOD_A_TICK + VALID_A_TICK) as f64;
        let mut busy = 0.0;
        let mut times = Vec::new();
        for (time, is_valid) in &self.each {
            let gap = -mean_gap * (1.0 - fastrand::f64()).ln();
            busy = f64::max(busy - gap, 0.0) + time;
            if *is_valid {
                times.push(busy);
            }
        }
        times
    }
}

async fn slice(memory: &Memory, keyring: &Keyring<App>, flood: Flood) -> Slice {
    let ticks = SLICE.div_duration_f64(TICK) as usize;
    let start = Arc::new(Barrier::new(THREADS + 1));
    let mut threads = JoinSet::new();
    for _ in 0..THREADS {
        let thread = Thread::new(keyring, flood, ticks);
        threads.spawn(thread.run(start.clone()));
    }
    start.wait().await;
    tokio::time::sleep(SLICE / 2).await;
    memory.rotate(document(fastrand::u64(..)));
    assert!(keyring.refresh().await.unwrap().is_swapped());
    let mut slice = Slice::default();
    for served in threads.join_all().await {
        slice.apart.extend(served.apart());
        slice.in_bursts.extend(served.in_bursts);
        slice.sent += ticks * FLOOD_A_TICK;
        slice.lasted = slice.lasted.max(served.lasted);
        slice.waited += served.waited;
    }
    slice
}

type Inner = fn(Request<()>) -> Ready<Result<Response<()>, Infallible>>;

struct Thread<S> {
    service: S,
    /// What comes in each tick, and whether it is valid.
    ticks: Vec<Vec<(Request<()>, bool)>>,
}

impl Thread<()> {
    /// All tokens are made before their time counts.
    fn new(keyring: &Keyring<App>, flood: Flood, ticks: usize) -> Thread<impl Answers + use<>> {
        let inner: Inner = |_| ready(Ok(Response::new(())));
        let ticks = (0..ticks).map(|_| {
            let flood = (0..FLOOD_A_TICK).map(|_| match flood {
                Flood::Expired => (token(keyring, Duration::from_secs(1_000_000_000)), false),
                Flood::Junk => (junk(keyring), false),
            });
            let later = Duration::from_secs(4_000_000_000);
            let valid = (0..VALID_A_TICK).map(|_| (token(keyring, later), true));
            let mut all: Vec<_> = flood.chain(valid).collect();
            fastrand::shuffle(&mut all);
            let all = all.into_iter();
            all.map(|(token, is_valid)| (request(&token), is_valid))
                .collect()
        });
        Thread {
            service: JwtRotationLayer::new(keyring.clone()).layer(service_fn(inner)),
            ticks: ticks.collect(),
        }
    }
}

/// What a layer over `Inner` is.
trait Answers:
    Service<Request<()>, Response = Response<()>, Error = Infallible, Future: Send + Unpin> + Send
{
}
impl<S> Answers for S where
    S: Service<Request<()>, Response = Response<()>, Error = Infallible, Future: Send + Unpin>
        + Send
{
}

impl<S> Thread<S>
where
    S: Answers,
    S::Future: 'static,
{
    async fn run(mut self, start: Arc<Barrier>) -> Served {
        let waker = noop_waker();
        let mut served = Served::default();
        let mut waiting = JoinSet::new();
        start.wait().await;
        let begin = Instant::now();
        let mut pace = tokio::time::interval(TICK);
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for tick in self.ticks {
            pace.tick().await;
            let began = Instant::now();
            let mut before = began;
            for (request, is_valid) in tick {
                let mut answer = self.service.call(request);
                let polled = Pin::new(&mut answer).poll(&mut Context::from_waker(&waker));
                let now = Instant::now();
                served.each.push((micros(now - before), is_valid));
                if is_valid {
                    served.in_bursts.push(micros(now - began));
                }
                before = now;
                let expected = match is_valid {
                    true => StatusCode::OK,
                    false => StatusCode::UNAUTHORIZED,
                };
                match polled {
                    Poll::Ready(answer) => assert_eq!(answer.unwrap().status(), expected),
                    Poll::Pending => {
                        assert!(!is_valid);
                        waiting.spawn(answer);
                    }
                }
            }
        }
        served.lasted = begin.elapsed();
        for answer in waiting.join_all().await {
            assert_eq!(answer.unwrap().status(), StatusCode::UNAUTHORIZED);
            served.waited += 1;
        }
        served
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[derive(Deserialize)]
struct App {
    jwt: JwtKey,
}

/// A key that has a name. Against one that has none, a plain secret, each junk token costs one more HMAC for
/// each key inside its window.
fn document(number: u64) -> String {
    let secret = base64(format!("an HMAC secret, long enough: {number:020}").as_bytes());
    let kid = format!("{number:022}");
    json!({ "jwt": { "kty": "oct", "alg": "HS256", "kid": kid, "k": secret } }).to_string()
}

fn token(keyring: &Keyring<App>, expires: Duration) -> String {
    let claims = RegisteredClaims::new(format!("user-{:08}", fastrand::u32(..100_000_000)))
        .granting("tools:read tools:call")
        .issued_at(SystemTime::UNIX_EPOCH)
        .expires_at(SystemTime::UNIX_EPOCH + expires);
    keyring.signer().sign(&claims).unwrap()
}

/// A valid token under another header, and another signature.
fn junk(keyring: &Keyring<App>) -> String {
    let token = token(keyring, Duration::from_secs(4_000_000_000));
    let claims = token.split('.').nth(1).unwrap();
    // As long as ours.
    let kid = base64(&random::<16>());
    let header = json!({ "alg": "HS256", "typ": "JWT", "kid": kid }).to_string();
    let header = base64(header.as_bytes());
    format!("{header}.{claims}.{}", base64(&random::<32>()))
}

fn random<const N: usize>() -> [u8; N] {
    std::array::from_fn(|_| fastrand::u8(..))
}

fn base64(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn request(token: &str) -> Request<()> {
    let request = Request::builder().header("authorization", format!("Bearer {token}"));
    request.body(()).unwrap()
}

/// A store that takes its time.
struct Slow(Memory);

impl Source for Slow {
    async fn fetch(&self) -> Result<Versions, SourceError> {
        tokio::time::sleep(FETCH).await;
        self.0.fetch().await
    }
}
