//! A million rotations under four readers leave the process as big as it was:
//! `cargo bench --bench rotations`. `ROTATIONS=20000` makes it short.
//!
//! Each rotation brings a bundle of 10 KiB with a new key, goes the whole way through
//! `Keyring::refresh`, and is a published generation. The readers never stop: they look at the
//! bundle, and send a token of the newest key through the layer.
//!
//! The size is the resident set, which Linux alone tells in a way that this program reads.

#![allow(clippy::unwrap_used)]

use std::{
    convert::Infallible,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use http::{Request, Response, StatusCode};
use tokio::task::JoinSet;
use tower::{Layer, Service, service_fn};
use tower_secrets::{JwtRotationLayer, Keyring, Refreshed, source::Memory};

#[path = "../tests/support/load.rs"]
mod load;
use load::{App, document, keyring, request, token};

const ROTATIONS: u64 = 1_000_000;
const BUNDLE: usize = 10 * 1_024;
const READERS: usize = 4;
const STEPS: u64 = 10;

/// Until here the process may grow: what is remembered of the past is bounded by then.
fn warm_up(rotations: u64) -> u64 {
    (rotations / 20).max(4_000)
}

/// More than this is a leak, and not the allocator's slack.
fn most_kib_after(warm: u64) -> u64 {
    warm + warm / 20 + 4 * 1_024
}

fn main() -> ExitCode {
    // `cargo test --all-targets` starts benches, too, in a build that is much slower.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let rotations = if is_bench { wanted_rotations() } else { 1_000 };
    if resident_kib().is_none() {
        println!("the resident size cannot be read here (no /proc/self/status): nothing measured");
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::spawn(measure(rotations)).await.unwrap() })
}

fn wanted_rotations() -> u64 {
    match std::env::var("ROTATIONS") {
        Ok(number) => number.parse().expect("ROTATIONS must be a number"),
        Err(_) => ROTATIONS,
    }
}

async fn measure(rotations: u64) -> ExitCode {
    let source = Memory::new(bundle(0));
    let keyring = keyring(source.clone(), 1_000).await;
    let readers = Readers::start(&keyring);
    let mut table = Table::begin();

    let warm = warm_up(rotations);
    rotate(&source, &keyring, warm).await;
    let warmed_up = table.line(warm, &readers);
    for _ in 0..STEPS {
        rotate(&source, &keyring, rotations / STEPS).await;
        table.line(keyring.current().generation() - 1, &readers);
    }
    let published = warm + rotations / STEPS * STEPS;
    assert_eq!(keyring.current().generation(), 1 + published);
    let (reads, refused) = readers.stop().await;
    assert!(reads > 0, "nobody read");
    assert!(refused <= reads / 10_000, "{refused} of {reads} refused");

    let most = most_kib_after(warmed_up);
    let last = resident_kib().unwrap_or(u64::MAX);
    println!("{last} KiB at the end; at most {most} KiB are flat, from {warmed_up} KiB warmed up");
    ExitCode::from(u8::from(last > most))
}

/// The bundles of a run differ in their key.
fn bundle(number: u64) -> String {
    document(&format!("an HMAC secret, long enough: {number:08}"), BUNDLE)
}

async fn rotate(source: &Memory, keyring: &Keyring<App>, times: u64) {
    for _ in 0..times {
        let generation = keyring.current().generation() + 1;
        source.rotate(bundle(generation));
        let refreshed = keyring.refresh().await.unwrap();
        let is_next =
            matches!(refreshed, Refreshed::Swapped { generation: it, .. } if it == generation);
        assert!(is_next, "{refreshed:?} instead of generation {generation}");
    }
}

#[derive(Default)]
struct Tally {
    reads: AtomicU64,
    /// Refused although no rotation was seen to have ended the key. The next one ends it a moment
    /// before it is published, so there may be a few.
    refused: AtomicU64,
}

struct Readers {
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
    tasks: JoinSet<()>,
}

impl Readers {
    fn start(keyring: &Keyring<App>) -> Self {
        let mut readers = Self {
            stop: Arc::default(),
            tally: Arc::default(),
            tasks: JoinSet::new(),
        };
        for _ in 0..READERS {
            let reader = read(keyring.clone(), readers.stop.clone(), readers.tally.clone());
            readers.tasks.spawn(reader);
        }
        readers
    }

    /// Reads and refusals.
    async fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        // A reader that panicked is told of here.
        self.tasks.join_all().await;
        let Tally { reads, refused } = &*self.tally;
        (
            reads.load(Ordering::Relaxed),
            refused.load(Ordering::Relaxed),
        )
    }
}

async fn read(keyring: Keyring<App>, stop: Arc<AtomicBool>, tally: Arc<Tally>) {
    let inner = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(())));
    let mut service = JwtRotationLayer::new(keyring.clone()).layer(inner);
    while !stop.load(Ordering::Relaxed) {
        let secrets = keyring.current();
        let request = request(&token(&keyring, 0));
        let response = service.call(request).await.unwrap();
        // While it was signed and sent, at most one rotation may pass without ending its key.
        let passed = keyring.current().generation() - secrets.generation();
        if passed <= 1 && response.status() != StatusCode::OK {
            tally.refused.fetch_add(1, Ordering::Relaxed);
        }
        tally.reads.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
    }
}

/// The size and the speed so far.
struct Table {
    began: Instant,
}

impl Table {
    fn begin() -> Self {
        println!(
            "{:>10} {:>10} {:>12} {:>12}",
            "rotations", "seconds", "reads", "KiB"
        );
        Self {
            began: Instant::now(),
        }
    }

    fn line(&mut self, rotations: u64, readers: &Readers) -> u64 {
        let seconds = self.began.elapsed().as_secs_f64();
        let reads = readers.tally.reads.load(Ordering::Relaxed);
        let kib = resident_kib().unwrap_or_default();
        println!("{rotations:>10} {seconds:>10.1} {reads:>12} {kib:>12}");
        kib
    }
}

fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}
