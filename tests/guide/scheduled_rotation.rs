//! The runbook of a scheduled rotation, followed to the letter over three replicas: no call fails, and nothing is safe
//! before everything is.

use tokio::time::timeout;
use tower_secrets::source::VersionId;

use crate::{
    fleet::{ADMIN_TOKEN, Fleet, KEYRING, NEW, OLD, PATIENCE, Pace, api_key, document},
    page,
    shell::Shell,
    stores::{Aws, Files, OpenBao, Store},
};

const PAGE: &str = include_str!("../../src/guide/runbooks/scheduled_rotation.rs");

async fn follow(shell: Shell, store: impl Store) {
    let followed = timeout(PATIENCE, to_the_letter(shell, store)).await;
    followed.expect("the runbook comes to its end");
}

async fn to_the_letter<S: Store>(mut shell: Shell, store: S) {
    let fleet = Fleet::start(&store, Pace::QUICK).await;
    let old = fleet.replicas[0].keyring.current().version().clone();
    fleet.go_on().await;

    shell.set("REPLICAS", fleet.addresses());
    shell.set("ADMIN_TOKEN", ADMIN_TOKEN);
    shell.set("KEYRING", KEYRING);
    shell.set("OVERLAP", "1010");
    let steps = page::scripts(PAGE, S::SECTION);
    let [stage, flip] = &steps[..] else {
        panic!("{steps:?}");
    };
    let [has_each_seen_it] = &page::scripts(PAGE, "2. Wait for every replica")[..] else {
        panic!("step 2 is one script");
    };
    let [is_it_safe] = &page::scripts(PAGE, "4. Wait until it is safe")[..] else {
        panic!("step 4 is one script");
    };
    let unseen = shell.run(has_each_seen_it).await;
    assert_eq!(unseen.matches("HAS NOT SEEN IT").count(), 3, "{unseen}");

    fleet.upstream.create(&api_key(NEW));
    shell.write("next.json", &document(NEW).to_string());
    shell.run(stage).await;
    let new = fleet
        .all_have(|status| status.pending.map(|it| it.id))
        .await;
    let seen = shell.run(has_each_seen_it).await;
    assert_eq!(seen.matches(new.as_str()).count(), 3, "{seen}");
    fleet.go_on().await;

    shell.run(flip).await;
    let is_current = |version: &VersionId| (*version == new).then(|| new.clone());
    fleet
        .all_have(|status| is_current(&status.current.id))
        .await;
    let lines = |text: &str, words: &str| text.lines().filter(|it| it.starts_with(words)).count();
    let too_early = shell.run(is_it_safe).await;
    print!("{too_early}");
    assert_eq!(lines(&too_early, "true"), 0, "{too_early}");
    assert_eq!(lines(&too_early, "false"), 3, "{too_early}");
    fleet.go_on().await;

    for replica in &fleet.replicas {
        replica.keyring.drained(&old).await.unwrap();
    }
    // What is held at this moment are requests of the clients, which end; or nothing.
    let mut safe = shell.run(is_it_safe).await;
    while lines(&safe, "true") != 3 {
        fleet.go_on().await;
        safe = shell.run(is_it_safe).await;
    }
    print!("{safe}");
    assert_eq!(safe.matches(new.as_str()).count(), 3, "{safe}");
    fleet.upstream.cut(&api_key(OLD));
    fleet.go_on().await;
    fleet.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_files() {
    if let Some((shell, store)) = Files::start() {
        follow(shell, store).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_aws_secrets_manager() {
    if let Some((shell, store)) = Aws::start().await {
        follow(shell, store).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_openbao() {
    let Some((shell, store)) = OpenBao::start().await else {
        return;
    };
    // One that was given up before: its version is destroyed, and its number stays named.
    let stage = &page::scripts(PAGE, OpenBao::SECTION)[0];
    shell.write("next.json", &document(OLD).to_string());
    let given_up = format!("{stage}\nbao kv destroy -mount=secret -versions=3 \"$SECRET\"");
    shell.run(&given_up).await;
    follow(shell, store).await;
}
