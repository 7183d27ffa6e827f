//! A day on which everything comes together: AWS Secrets Manager (moto), three replicas, twenty clients.
//!
//! Every token lives 10 s, the replicas ask each 5 s, and the window is **70 s**. A window of 15 s is
//! refused by the builder, and rightly: it has to cover the time until the last replica sees the flip (5 s, and twice
//! the limits of fetch and probe, 10 s together), the activation delay (5 s, until it signs with the new key), the life of the last token of
//! the old one (10 s), and 30 s for clocks that differ; 70 s is the least that it takes, so that is what is tried.

use std::{
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    board::Board,
    fleet::{Fleet, REPLICAS},
    lambda::{Aws, Lambda, with_environment},
    process::{Directory, bundle, example},
    proxy::{Fault, Proxy},
    watch::{View, all_are_at, all_pend, is_safe},
};

const REFRESH: Duration = Duration::from_secs(5);
/// By default as long as the interval.
const FETCH_LIMIT: Duration = REFRESH;
const OVERLAP: Duration = Duration::from_secs(70);
const CUT_OFF: Duration = Duration::from_secs(20);

/// For a machine that is busy.
const SLACK: Duration = Duration::from_secs(5);

const CLIENTS: usize = 20;
const SETTINGS: &str = "--refresh-every 5s --activation-delay 5s --token-ttl 10s";

/// It gets the SIGHUP.
const A: usize = 0;
/// It is restarted.
const B: usize = 1;
/// It is cut off from the store.
const C: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes three minutes, and moto: `tests/run` runs it"]
async fn the_ugly_day() {
    let aws = Aws::find().expect("moto and boto3; `tests/beds/aws run` starts them");
    let mut store = Store::start(&aws).await;
    let first = store.version.clone();
    let mut settings: Vec<_> = SETTINGS.split(' ').collect();
    settings.extend(["--overlap", "70s"]);
    let mut fleet = Fleet::start(&settings, store.environment()).await;
    let board = fleet.board.clone();
    let at = |version: &str| {
        let version = version.to_owned();
        move |view: &View| all_are_at(view, &version)
    };
    fleet.watch.until("started", SLACK, at(&first)).await;
    let (began, before) = (board.now(), store.polls());

    board.step("an AWSPENDING id without a value");
    let callers = fleet.callers(CLIENTS);
    store.name_a_pending_without_value(true);
    pass(&board, board.now() + Duration::from_secs(20)).await;
    let view = fleet.watch.until("no pending", SLACK, at(&first)).await;
    assert!(view.iter().flatten().all(|it| it["pending"].is_null()));

    board.step("its value, then nothing");
    store.name_a_pending_without_value(false);
    let second = store.put_pending(bundle(1));
    pass(&board, board.now() + Duration::from_secs(30)).await;
    let all_pend = |view: &View| all_pend(view, &second);
    fleet.watch.until("pending", Duration::ZERO, all_pend).await;

    board.step("SIGHUP to A, before the flip");
    fleet.server(A).signal("HUP");
    fleet.server(A).logged("trigger=sighup");

    // C has just asked, and will be cut off before it asks again.
    store.after_a_poll_of(C).await;
    board.step("the flip");
    store.flip();
    let flip = board.now();
    fleet.watch.forbid_safe(&second);
    pass(&board, flip + Duration::from_secs(2)).await;

    board.step("C cut off from the store, B restarted");
    store.cut_off(C);
    let cut = board.now();
    fleet.restart(B);
    pass(&board, cut + CUT_OFF).await;
    let cut_off = |view: &View| {
        let c = view[C].as_ref().unwrap();
        c["current"]["id"] == *first && c["consecutive_failures"] != 0
    };
    fleet.watch.until("C is behind", SLACK, cut_off).await;

    board.step("C is back");
    store.reconnect(C);
    // A call that hangs comes to its end, and the longest pause after a failure.
    let bound = CUT_OFF + FETCH_LIMIT + REFRESH;
    let limit = (cut + bound + SLACK).saturating_sub(board.now());
    fleet.watch.until("C has seen it", limit, at(&second)).await;
    let behind = board.now() - cut;

    board.step("the label rolled back");
    store.roll_back(&first);
    fleet.watch.forbid_safe(&first);
    fleet
        .watch
        .until("rolled back", REFRESH + SLACK, at(&first))
        .await;

    let mut last_flip = Duration::ZERO;
    for (step, api_key) in [("api_key alone", "two"), ("api_key alone, again", "three")] {
        board.step(step);
        let mut document = bundle(0);
        document["api_key"] = json!(api_key);
        let version = store.put_pending(document);
        store.flip();
        last_flip = board.now();
        fleet.watch.forbid_safe(&version);
        fleet
            .watch
            .until("rotated", REFRESH + SLACK, at(&version))
            .await;
    }

    board.step("the last window");
    pass(&board, last_flip + OVERLAP).await;
    let (looks, said_safe) = fleet.watch.allow_safe();
    let last = store.version.clone();
    let safe = |view: &View| is_safe(view, &last);
    fleet.watch.until("safe", REFRESH + SLACK, safe).await;
    let safe_after = board.now() - last_flip;
    board.step("the end");
    callers.stop().await;

    let (lasted, polls) = (board.now() - began, store.polls());
    println!("\n{board}");
    let passed_on = fleet.balancer.passed_on();
    println!("{} calls, {passed_on} passed on", board.calls());
    println!("C was behind for {behind:.1?} of at most {bound:?}, cut off for {CUT_OFF:?} of them");
    println!("nobody said safe in {looks} looks; all did {safe_after:.1?} after the last flip");
    let one = lasted.as_secs_f64() / REFRESH.as_secs_f64();
    // One for the SIGHUP, and one for the new start.
    let expected = one * REPLICAS as f64 + 2.0;
    let made: Vec<_> = polls
        .iter()
        .zip(before)
        .map(|(now, then)| now - then)
        .collect();
    let sum: usize = made.iter().sum();
    let ratio = sum as f64 / expected;
    println!(
        "DescribeSecret: {made:?}, {sum} in {lasted:.1?}; {expected:.1} expected: {ratio:.2} times"
    );

    board.assert_all_served(REPLICAS);
    let is_c_s_own = |at: Duration| at >= cut && at <= cut + bound;
    let failures = board.failures().into_iter();
    let lost = failures.filter(|it| it.replica != Some(C) || !is_c_s_own(it.at));
    assert_eq!(lost.count(), 0, "valid tokens were refused");
    assert!(behind <= bound + SLACK);
    assert!(
        looks > 100 && said_safe.is_empty(),
        "{looks}: {said_safe:?}"
    );
    assert!(ratio <= 1.2);
    store.lambda.end();
}

#[test]
fn no_shorter_window_is_taken() {
    let directory = Directory::new();
    for (overlap, why) in [
        ("15s", "overlap is 15s, which is less than 70s"),
        (
            "69s",
            "overlap is 69s, which is less than 70s: the time until the last process sees a rotation (25s",
        ),
    ] {
        let started = Command::new(example())
            .args(["--listen", "127.0.0.1:0", "--overlap", overlap, "--secrets"])
            .arg(directory.path())
            .args(SETTINGS.split(' '))
            .output()
            .unwrap();
        assert!(!started.status.success());
        let error = String::from_utf8_lossy(&started.stderr);
        assert!(error.contains(why), "{error}");
    }
}

/// Until this moment on the script's clock.
async fn pass(board: &Board, until: Duration) {
    tokio::time::sleep(until.saturating_sub(board.now())).await;
}

/// moto, the Lambda that rotates in it, and a proxy before it for each replica.
struct Store {
    lambda: Lambda,
    proxies: Vec<Proxy>,
    /// Counts the calls of each.
    calls: Vec<watch::Receiver<usize>>,
    shown: Arc<Mutex<Shown>>,
    /// What was put last.
    version: String,
}

/// What moto leaves out of `DescribeSecret`.
#[derive(Default)]
struct Shown {
    /// `LastChangedDate`: AWS sets it when a label moves, moto does not.
    changed: f64,
    /// AWS names a pending version before the rotation has put its value.
    pending_without_value: bool,
}

impl Store {
    async fn start(aws: &Aws) -> Self {
        let mut lambda = Lambda::start(aws);
        let first = lambda.step(json!({"step": "first", "document": bundle(0).to_string()}));
        let (mut proxies, mut calls) = (Vec::new(), Vec::new());
        for _ in 0..REPLICAS {
            let proxy = Proxy::start(&aws.endpoint).await;
            let (called, count) = watch::channel(0);
            proxy.before_each(move |number| {
                called.send_replace(number);
                async {}
            });
            proxies.push(proxy);
            calls.push(count);
        }
        let store = Self {
            lambda,
            proxies,
            calls,
            shown: Arc::default(),
            version: id(&first),
        };
        store.changed();
        (0..REPLICAS).for_each(|replica| store.reconnect(replica));
        store
    }

    fn environment(&self) -> impl Fn(&mut Command, usize) + 'static {
        let urls: Vec<_> = self.proxies.iter().map(Proxy::url).collect();
        let secret = self.lambda.secret.clone();
        move |command, replica| {
            with_environment(command, &urls[replica]).args(["--aws-secret", &secret]);
        }
    }

    fn polls(&self) -> Vec<usize> {
        let polls = |proxy: &Proxy| proxy.calls_of("DescribeSecret");
        self.proxies.iter().map(polls).collect()
    }

    fn name_a_pending_without_value(&self, yes: bool) {
        self.shown.lock().unwrap().pending_without_value = yes;
    }

    fn put_pending(&mut self, document: Value) -> String {
        let step = json!({"step": "create_secret", "document": document.to_string()});
        self.version = id(&self.lambda.step(step));
        self.changed();
        self.version.clone()
    }

    fn flip(&mut self) {
        self.lambda.step(json!({"step": "finish_secret"}));
        self.changed();
    }

    fn roll_back(&mut self, version: &str) {
        self.lambda
            .step(json!({"step": "roll_back", "version": version}));
        self.changed();
    }

    fn changed(&self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        self.shown.lock().unwrap().changed = now.unwrap().as_secs_f64();
    }

    /// Nothing that this replica asks is answered, and nothing refused.
    fn cut_off(&self, replica: usize) {
        self.proxies[replica].set(Fault::Hang);
        self.proxies[replica].set_for("DescribeSecret", Fault::Hang);
    }

    fn reconnect(&self, replica: usize) {
        let shown = self.shown.clone();
        let rewrite = Fault::rewrite(move |described| {
            let shown = shown.lock().unwrap();
            described["LastChangedDate"] = json!(shown.changed);
            if shown.pending_without_value {
                let id = "00000000-1111-2222-3333-444444444444";
                described["VersionIdsToStages"][id] = json!(["AWSPENDING"]);
            }
        });
        self.proxies[replica].heal();
        self.proxies[replica].set_for("DescribeSecret", rewrite);
    }

    async fn after_a_poll_of(&mut self, replica: usize) {
        let calls = &mut self.calls[replica];
        calls.mark_unchanged();
        calls.changed().await.unwrap();
        self.proxies[replica].idle().await;
    }
}

fn id(answer: &Value) -> String {
    answer["version"].as_str().unwrap().to_owned()
}
