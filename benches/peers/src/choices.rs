//! Which of two crates does the same job faster: base64url decoding, and the token cache.

use std::{
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState},
    hint::black_box,
    sync::Arc,
};

use base64::Engine;
use quick_cache::DefaultHashBuilder;

use crate::{
    measure::{
        Contender, Factory, Plan, Spread, Throughput, Work, interleave, interleave_threads, keep,
    },
    report::{self, Table},
};

const ENTRIES: usize = 10_000;
/// Of those that are looked up, all are in the cache.
const LOOKED_UP: usize = 1_024;

pub fn run(single: Plan, threaded: Plan) {
    let note = "Nanoseconds a call.";
    report::section("base64url decoding", note, &base64_table(single));
    let note =
        "10,000 entries, a key of 40 bytes, an `Arc` as value; nanoseconds for a thread's call.";
    report::section("Caches", note, &cache_table(threaded));
}

fn base64_table(plan: Plan) -> Table {
    let mut table = Table::new("encoded bytes", ["base64", "base64-simd"]);
    for length in [100, 300, 800] {
        let samples = interleave(&mut decoders(length), plan);
        let cells = samples
            .into_iter()
            .map(|samples| report::nanos(Spread::of(samples)));
        table.row(length.to_string(), cells);
    }
    table
}

fn decoders(length: usize) -> Vec<Contender> {
    let plain: Vec<u8> = (0..length / 4 * 3).map(|_| fastrand::u8(..)).collect();
    let text = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(plain);
    let other = text.clone();
    vec![
        Contender::new("base64", move || {
            let mut buffer = [0; 1024];
            keep(
                base64::prelude::BASE64_URL_SAFE_NO_PAD
                    .decode_slice(black_box(&text), &mut buffer)
                    .expect("valid"),
            );
            keep(&buffer);
        }),
        Contender::new("base64-simd", move || {
            let mut buffer = [0; 1024];
            let out = base64_simd::Out::from_slice(&mut buffer);
            keep(
                base64_simd::URL_SAFE_NO_PAD
                    .decode(black_box(other.as_bytes()), out)
                    .expect("valid")
                    .len(),
            );
            keep(&buffer);
        }),
    ]
}

/// What the layer's cache has as its key: a policy's id and a SHA-256 digest.
#[derive(Clone, Copy, Hash, PartialEq, Eq)]
struct Key {
    policy: u64,
    digest: [u8; 32],
}

impl Key {
    fn random(random: &mut fastrand::Rng) -> Self {
        let mut digest = [0; 32];
        random.fill(&mut digest);
        Self { policy: 1, digest }
    }
}

/// A key hashed by its digest's first 8 bytes alone: they are already spread evenly.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Short(Key);

impl Hash for Short {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0.digest;
        state.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    }
}

#[derive(Clone, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only whole numbers are hashed");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

type IdentityBuilder = BuildHasherDefault<Identity>;

/// A full cache of one kind.
struct Store {
    name: &'static str,
    hit: Box<dyn Fn(Key) -> bool + Send + Sync>,
    insert: Box<dyn Fn(Key, Arc<u64>) + Send + Sync>,
}

fn quick<K, S>(name: &'static str, wrap: fn(Key) -> K) -> Store
where
    K: Hash + Eq + Send + Sync + 'static,
    S: BuildHasher + Clone + Default + Send + Sync + 'static,
{
    type Cache<K, S> = quick_cache::sync::Cache<K, Arc<u64>, quick_cache::UnitWeighter, S>;
    let lifecycle = quick_cache::sync::DefaultLifecycle::default();
    let cache = Arc::new(Cache::<K, S>::with(
        ENTRIES,
        ENTRIES as u64,
        quick_cache::UnitWeighter,
        S::default(),
        lifecycle,
    ));
    let reader = cache.clone();
    Store {
        name,
        hit: Box::new(move |key| reader.get(&wrap(key)).is_some()),
        insert: Box::new(move |key, value| cache.insert(wrap(key), value)),
    }
}

fn moka<K, S>(name: &'static str, wrap: fn(Key) -> K) -> Store
where
    K: Hash + Eq + Send + Sync + 'static,
    S: BuildHasher + Clone + Default + Send + Sync + 'static,
{
    let builder = moka::sync::Cache::builder().max_capacity(ENTRIES as u64);
    let cache: moka::sync::Cache<K, Arc<u64>, S> = builder.build_with_hasher(S::default());
    let reader = cache.clone();
    Store {
        name,
        hit: Box::new(move |key| reader.get(&wrap(key)).is_some()),
        insert: Box::new(move |key, value| cache.insert(wrap(key), value)),
    }
}

fn stores() -> Vec<Arc<Store>> {
    let stores = [
        quick::<Key, DefaultHashBuilder>("quick_cache, default hasher", |key| key),
        quick::<Short, IdentityBuilder>("quick_cache, digest as hash", Short),
        moka::<Key, RandomState>("moka, default hasher", |key| key),
        moka::<Short, IdentityBuilder>("moka, digest as hash", Short),
    ];
    stores.into_iter().map(Arc::new).collect()
}

#[derive(Clone, Copy)]
enum Operation {
    Hit,
    Miss,
    Insert,
}

fn cache_table(plan: Plan) -> Table {
    let mut table = Table::new("", ["1 thread", "2 threads"]);
    for (title, operation) in [
        ("hit", Operation::Hit),
        ("miss", Operation::Miss),
        ("insert when full", Operation::Insert),
    ] {
        let stores = stores();
        let factories: Vec<Factory<'_>> = stores
            .iter()
            .map(|store| factory(store.clone(), operation))
            .collect();
        for (store, throughput) in stores.iter().zip(interleave_threads(&factories, plan)) {
            let Throughput { one, two } = throughput;
            let one = Spread::of(one.into_iter().map(|rate| 1e9 / rate));
            let two = Spread::of(two.into_iter().map(|rate| 2e9 / rate));
            let name = format!("{title}: {}", store.name);
            table.row(name, [one, two].map(report::nanos));
        }
    }
    table
}

/// Fills the store, and gives each thread the operation with keys of its own.
fn factory(store: Arc<Store>, operation: Operation) -> Factory<'static> {
    let mut random = fastrand::Rng::with_seed(1);
    let keys: Vec<Key> = (0..ENTRIES * 2).map(|_| Key::random(&mut random)).collect();
    for (value, key) in keys.iter().enumerate() {
        (store.insert)(*key, Arc::new(value as u64));
    }
    // A cache may refuse some of what it is given, so only those that it kept are looked up.
    let kept: Vec<Key> = keys
        .into_iter()
        .filter(|key| (store.hit)(*key))
        .take(LOOKED_UP)
        .collect();
    assert_eq!(kept.len(), LOOKED_UP, "{} kept too little", store.name);
    Box::new(move |thread| work(store.clone(), operation, thread, &kept))
}

fn work(store: Arc<Store>, operation: Operation, thread: usize, kept: &[Key]) -> Work {
    let mut random = fastrand::Rng::with_seed(100 + thread as u64);
    let fresh: Vec<Key> = (0..LOOKED_UP).map(|_| Key::random(&mut random)).collect();
    let ring = if matches!(operation, Operation::Hit) {
        kept.to_vec()
    } else {
        fresh
    };
    let mut i = thread * LOOKED_UP / 2;
    Box::new(move || {
        i += 1;
        let mut key = ring[i % LOOKED_UP];
        match operation {
            Operation::Hit => assert!((store.hit)(key)),
            Operation::Miss => assert!(!(store.hit)(key)),
            Operation::Insert => {
                // The ring is shorter than the cache; a number makes each key a new one.
                for (byte, more) in key.digest.iter_mut().zip((i as u64).to_le_bytes()) {
                    *byte ^= more;
                }
                (store.insert)(key, Arc::new(i as u64));
            }
        }
    })
}
