//! The runbook of a breach, followed to the letter: its commands are taken from the page and run, while clients call
//! three replicas. In the end the leaked key is refused by each, and no other call has failed.

use tokio::time::timeout;

use crate::{
    fleet::{ADMIN_TOKEN, Fleet, KEYRING, NEW, OLD, PATIENCE, Pace, Replica, api_key, key_of},
    page,
    shell::Shell,
    stores::{Aws, Files, OpenBao, Store},
};

const PAGE: &str = include_str!("../../src/guide/runbooks/breach.rs");
const LOGS: &str = include_str!("../../src/guide/runbooks/key_in_logs.rs");

/// When the provider of the API stops to take the leaked key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// While no replica knows of the new one: `try_each` has to carry the calls.
    AfterStep1,
    /// So that the replicas hear of the new version one by one.
    InTheEnd,
}

async fn follow(shell: Shell, store: impl Store, cut: Cut) {
    let followed = timeout(PATIENCE, to_the_letter(shell, store, cut)).await;
    followed.expect("the runbook comes to its end");
}

async fn to_the_letter<S: Store>(mut shell: Shell, store: S, cut: Cut) {
    let fleet = Fleet::start(&store, Pace::HOURLY).await;
    let stolen = fleet.replicas[0].mint();
    fleet.go_on().await;

    shell.set("REPLICAS", fleet.addresses());
    shell.set("ADMIN_TOKEN", ADMIN_TOKEN);
    shell.set("KEYRING", KEYRING);
    shell.set("NEW_SECRET", "a new signing secret, which nobody has seen");
    shell.set("NEW_API_KEY", api_key(NEW));
    let begin = page::scripts(PAGE, "Before you begin");
    let [settings, what_leaked, of_which_part] = &begin[..] else {
        panic!("{begin:?}");
    };
    for name in [
        "REPLICAS",
        "ADMIN_TOKEN",
        "SECRET",
        "KEYRING",
        "NEW_SECRET",
        "NEW_API_KEY",
    ] {
        assert!(
            settings.contains(&format!("{name}=")) && shell.has(name),
            "{name}"
        );
    }
    shell.learn(what_leaked, &["LEAKED", "KEY"]).await;
    assert_eq!(shell.get("KEY"), fleet.old_key());
    shell.learn(of_which_part, &["VERSION", "ENTRY"]).await;

    let [reload] = &page::scripts(PAGE, "3. Reload every replica")[..] else {
        panic!("step 3 is one script");
    };
    let [confirm] = &page::scripts(PAGE, "4. Confirm on each")[..] else {
        panic!("step 4 is one script");
    };
    // A check that cannot fail is none.
    let before = shell.run(confirm).await;
    assert_eq!(before.matches("STILL TRUSTED").count(), 3, "{before}");

    let steps = page::scripts(PAGE, S::SECTION);
    let [write_a_new_key, take_the_leaked_one_away] = &steps[..] else {
        panic!("{steps:?}");
    };
    fleet.upstream.create(&api_key(NEW));
    shell.run(write_a_new_key).await;
    if cut == Cut::AfterStep1 {
        fleet.upstream.cut(&api_key(OLD));
    }
    fleet.go_on().await;
    fleet.withdrawal_begins();
    shell.run(take_the_leaked_one_away).await;
    assert_eq!(shell.run(S::IS_GONE).await, "gone\n");
    fleet.go_on().await;
    let reloaded = shell.run(reload).await;
    assert!(!reloaded.contains("NOT RELOADED"), "{reloaded}");
    let after = shell.run(confirm).await;
    print!("{after}");
    for replica in &fleet.replicas {
        let refused = format!("refused: {}", replica.address);
        assert!(after.contains(&refused), "{after}");
    }
    assert!(!after.contains("STILL TRUSTED"), "{after}");
    if cut == Cut::InTheEnd {
        fleet.upstream.cut(&api_key(OLD));
    }
    fleet.go_on().await;

    let leaked_key = fleet.old_key().to_owned();
    let mut replicas = fleet.end().await;
    // One that starts now knows nothing but what the store says.
    replicas.push(Replica::start(store.source(), Pace::HOURLY).await);
    for replica in &replicas {
        let refused = replica.accepts(&stolen).await;
        assert_eq!(refused.map_err(|it| it.as_u16()), Err(401));
        let fresh = replica.mint();
        assert_ne!(key_of(&fresh), leaked_key);
        for other in &replicas {
            assert!(other.accepts(&fresh).await.is_ok());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_files() {
    if let Some((shell, store)) = Files::start() {
        follow(shell, store, Cut::InTheEnd).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_aws_secrets_manager() {
    let Some((shell, store)) = Aws::start().await else {
        return;
    };
    // As a rotation function leaves it: AWSPENDING is still on the version that is current.
    let label = r#"
        version="$(aws secretsmanager get-secret-value --secret-id "$SECRET" --query VersionId --output text)"
        aws secretsmanager update-secret-version-stage --secret-id "$SECRET" \
            --version-stage AWSPENDING --move-to-version-id "$version"
        aws secretsmanager describe-secret --secret-id "$SECRET" | jq -c .VersionIdsToStages"#;
    let labels = shell.run(label).await;
    assert!(
        labels.contains(r#"["AWSCURRENT","AWSPENDING"]"#),
        "{labels}"
    );
    follow(shell, store, Cut::AfterStep1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_openbao() {
    if let Some((shell, store)) = OpenBao::start().await {
        follow(shell, store, Cut::InTheEnd).await;
    }
}

#[tokio::test]
async fn a_key_that_was_found_in_logs_is_found_in_the_store() {
    let Some((mut shell, _store)) = Aws::start().await else {
        return;
    };
    let [read, look] = &page::scripts(LOGS, "Which one is it?")[..] else {
        panic!("it is read, and looked for");
    };
    assert!(read.contains("export found"));
    shell.set("found", api_key(OLD));
    let found = shell.run(look).await;
    assert!(
        found.starts_with("it is in ") && found.ends_with(" AWSCURRENT\n"),
        "{found}"
    );
    shell.set("found", api_key("nobody's"));
    assert_eq!(shell.run(look).await, "");
}

#[tokio::test]
async fn of_a_combined_source_the_version_of_the_part_is_withdrawn_and_looked_for() {
    let Some(mut shell) = Shell::new() else {
        return;
    };
    let begin = page::scripts(PAGE, "Before you begin");
    let script = begin[2].replacen("PART=", "PART=jwt", 1);
    shell.set("LEAKED", "db=jwt-7,jwt=5@2026,x-jwt=9");
    shell.learn(&script, &["VERSION", "ENTRY"]).await;
    assert_eq!(shell.get("VERSION"), "5@2026");
    assert_eq!(shell.get("ENTRY"), "jwt=5@2026");
}
