//! Ten rotations by an outside client, and what was before is removed once every replica says that
//! nobody needs it.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::json;

use crate::{
    bao::Bao,
    callers::Callers,
    fleet::{Fleet, REPLICAS},
    lambda::{Aws, Lambda, with_environment},
    process::bundle,
    watch::{View, all_are_at, all_pend, is_safe},
};

const ROTATIONS: usize = 10;
const CLIENTS: usize = 8;

/// In which a key that is gone would be missed.
const THREE_REFRESHES: Duration = Duration::from_secs(3);

/// Far more than an interval, for a machine that is busy.
const SOON: Duration = Duration::from_secs(10);

/// With the four steps of a rotation Lambda: every replica has the new key as pending before it signs, so
/// there is no delay; and its AWSPREVIOUS is removed before the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes, and moto: `tests/run` runs it"]
async fn ten_rotations_over_moto() {
    const OVERLAP: Duration = Duration::from_secs(8);
    let aws = Aws::find().expect("moto and boto3; `tests/beds/aws run` starts them");
    let mut lambda = Lambda::start(&aws);
    lambda.step(json!({"step": "first", "document": bundle(0).to_string()}));
    let (endpoint, secret) = (aws.endpoint.clone(), lambda.secret.clone());
    let settings = [
        "--refresh-every",
        "1s",
        "--overlap",
        "8s",
        "--token-ttl",
        "3s",
    ];
    let fleet = Fleet::start(&settings, move |command, _| {
        with_environment(command, &endpoint).args(["--aws-secret", &secret]);
    });
    let fleet = fleet.await;
    let board = fleet.board.clone();
    board.step("before");
    let callers = fleet.callers(CLIENTS);
    for number in 1..=ROTATIONS {
        board.step("staged");
        let document = bundle(number).to_string();
        let created = lambda.step(json!({"step": "create_secret", "document": document}));
        let version = created["version"].as_str().unwrap().to_owned();
        let all_pend = |view: &View| all_pend(view, &version);
        fleet.watch.until("pending", SOON, all_pend).await;

        board.step("flipped");
        lambda.step(json!({"step": "finish_secret"}));
        let flip = board.now();
        fleet.watch.forbid_safe(&version);
        let is_there = |view: &View| all_are_at(view, &version);
        fleet.watch.until("flipped", SOON, is_there).await;
        tokio::time::sleep((flip + OVERLAP).saturating_sub(board.now())).await;
        let (looks, said_safe) = fleet.watch.allow_safe();
        assert!(looks > 0 && said_safe.is_empty(), "{said_safe:?}");
        let safe = |view: &View| is_safe(view, &version);
        fleet.watch.until("safe", SOON, safe).await;

        board.step("safe, and previous removed");
        lambda.step(json!({"step": "withdraw"}));
    }
    tokio::time::sleep(THREE_REFRESHES).await;
    finish(&fleet, callers).await;
    lambda.end();
}

/// Put as current at once, as people do: each replica goes on signing with the key before for the
/// activation delay. Rotations follow each other as soon as the tokens of the key before the last are over,
/// which is far within the window; what is old is destroyed at the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes, and OpenBao: `tests/run` runs it"]
async fn ten_rotations_over_openbao() {
    /// The activation delay, and the life of a token that was signed at its end.
    const TOKENS_OVER: Duration = Duration::from_secs(1 + 3);
    const OVERLAP: Duration = Duration::from_secs(39);
    let bao = Bao::dev().expect("TOWER_SECRETS_BAO, which `tests/beds/openbao` prints");
    put(&bao, 1);
    let settings = "--refresh-every 1s --activation-delay 1s --token-ttl 3s --overlap 39s";
    let settings: Vec<_> = settings.split(' ').collect();
    let fleet = Fleet::start(&settings, with_bao(&bao)).await;
    let board = fleet.board.clone();
    board.step("before");
    let callers = fleet.callers(CLIENTS);
    let mut last_flip = Duration::ZERO;
    for number in 2..=1 + ROTATIONS {
        board.step("put");
        put(&bao, number);
        last_flip = board.now();
        let version = number.to_string();
        fleet.watch.forbid_safe(&version);
        let is_there = |view: &View| all_are_at(view, &version);
        fleet.watch.until("flipped", SOON, is_there).await;
        tokio::time::sleep(TOKENS_OVER).await;
    }
    board.step("the last window");
    tokio::time::sleep((last_flip + OVERLAP).saturating_sub(board.now())).await;
    let (looks, said_safe) = fleet.watch.allow_safe();
    assert!(looks > 100 && said_safe.is_empty(), "{said_safe:?}");
    let last = (1 + ROTATIONS).to_string();
    let safe = |view: &View| is_safe(view, &last);
    fleet.watch.until("safe", SOON, safe).await;

    board.step("safe, and what is old destroyed");
    let old: Vec<_> = (1..=ROTATIONS).map(|it| it.to_string()).collect();
    let old = format!("-versions={}", old.join(","));
    bao.run(&["kv", "destroy", "-mount=secret", &old, PATH]);
    tokio::time::sleep(THREE_REFRESHES).await;
    finish(&fleet, callers).await;
}

/// What the two above would not show if it could not be seen: by polling alone, a replica that is ahead,
/// here because it got a SIGHUP, signs what the others refuse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenBao: `tests/run` runs it"]
async fn without_a_delay_the_same_load_loses_calls() {
    let bao = Bao::dev().expect("TOWER_SECRETS_BAO, which `tests/beds/openbao` prints");
    put(&bao, 1);
    // The others will not ask for long enough.
    let settings = "--refresh-every 20s --overlap 80s --token-ttl 3s";
    let settings: Vec<_> = settings.split(' ').collect();
    let fleet = Fleet::start(&settings, with_bao(&bao)).await;
    let board = fleet.board.clone();
    board.step("before");
    let callers = fleet.callers(CLIENTS);
    let served = |view: &View| all_are_at(view, "1") && board.calls() > 100;
    fleet.watch.until("load", SOON, served).await;
    assert_eq!(board.failures().len(), 0);
    board.step("put");
    put(&bao, 2);
    fleet.server(0).signal("HUP");
    // For this reason, and not by accident.
    let lost = |_: &View| {
        let mut failures = board.failures().into_iter();
        failures.any(|it| it.replica != Some(0) && it.what.starts_with("minted by 0: 401"))
    };
    fleet.watch.until("lost calls", SOON, lost).await;
    callers.stop().await;
    println!("\n{board}");
}

async fn finish(fleet: &Fleet, callers: Callers) {
    let board = &fleet.board;
    board.step("the end");
    callers.stop().await;
    let passed_on = fleet.balancer.passed_on();
    println!("\n{board}");
    println!("{} calls, {passed_on} passed on", board.calls());
    board.assert_all_served(REPLICAS);
    assert_eq!(board.failures().len(), 0);
    assert_eq!(passed_on, 0);
}

const PATH: &str = "mcp/app";

/// By the `bao` command.
fn put(bao: &Bao, number: usize) {
    let before = format!("-cas={}", number - 1);
    let mut child = bao
        .command()
        .args(["kv", "put", "-mount=secret", &before, PATH, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    write!(stdin, "{}", bundle(number)).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

fn with_bao(bao: &Bao) -> impl Fn(&mut Command, usize) + 'static {
    let (address, token) = (bao.address(), bao.root.clone());
    move |command, _| {
        command
            .env("VAULT_ADDR", &address)
            .env("VAULT_TOKEN", &token)
            .args(["--vault-secret", PATH]);
    }
}
