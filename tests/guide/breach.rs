//! The runbook of a breach, followed to the letter: its commands are taken from the page and run, while clients call
//! three replicas. In the end the leaked key is refused by each, and no other call has failed.

use std::path::PathBuf;

use tower_secrets::source::{BoxSource, File, Source};

use crate::{
    fleet::{ADMIN_TOKEN, Fleet, Replica, api_key, document, key_of},
    page,
    shell::{Shell, left_out},
};

const PAGE: &str = include_str!("../../src/guide/runbooks/breach.rs");

/// When the provider of the API stops to take the leaked key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// While no replica knows of the new one: `try_each` has to carry the calls.
    AfterStep1,
    /// So that the replicas hear of the new version one by one.
    InTheEnd,
}

/// Follows the page. The store holds a document named `leaked`; `section` has its commands.
async fn follow(
    mut shell: Shell,
    section: &str,
    mut source: impl AsyncFnMut() -> BoxSource,
    cut: Cut,
) {
    let fleet = Fleet::start(&mut source, &api_key("leaked")).await;
    let stolen = fleet.replicas[0].mint();
    fleet.go_on().await;

    shell.set("REPLICAS", fleet.addresses());
    shell.set("ADMIN_TOKEN", ADMIN_TOKEN);
    shell.set("NEW_SECRET", "a new signing secret, which nobody has seen");
    shell.set("NEW_API_KEY", api_key("new"));
    let begin = page::scripts(PAGE, "Before you begin");
    let [settings, what_leaked] = &begin[..] else {
        panic!("{begin:?}");
    };
    for name in [
        "REPLICAS",
        "ADMIN_TOKEN",
        "SECRET",
        "NEW_SECRET",
        "NEW_API_KEY",
    ] {
        assert!(
            settings.contains(&format!("{name}=")) && shell.has(name),
            "{name}"
        );
    }
    shell.learn(what_leaked, &["LEAKED", "KEY"]).await;
    assert_eq!(shell.get("KEY"), fleet.leaked_key());

    let [reload] = &page::scripts(PAGE, "3. Reload every replica")[..] else {
        panic!("step 3 is one script");
    };
    let [confirm] = &page::scripts(PAGE, "4. Confirm on each")[..] else {
        panic!("step 4 is one script");
    };
    // A check that cannot fail is none.
    let before = shell.run(confirm).await;
    assert_eq!(before.matches("STILL TRUSTED").count(), 3, "{before}");

    let steps = page::scripts(PAGE, section);
    let [write_a_new_key, take_the_leaked_one_away] = &steps[..] else {
        panic!("{steps:?}");
    };
    fleet.upstream.create(&api_key("new"));
    println!("{}", shell.run(write_a_new_key).await);
    if cut == Cut::AfterStep1 {
        fleet.upstream.cut(&api_key("leaked"));
    }
    fleet.go_on().await;
    fleet.withdrawal_begins();
    println!("{}", shell.run(take_the_leaked_one_away).await);
    fleet.go_on().await;
    let reloaded = shell.run(reload).await;
    println!("{reloaded}");
    assert!(!reloaded.contains("NOT RELOADED"), "{reloaded}");
    let after = shell.run(confirm).await;
    println!("{after}");
    for replica in &fleet.replicas {
        assert!(
            after.contains(&format!("refused: {}", replica.address)),
            "{after}"
        );
    }
    assert!(!after.contains("STILL TRUSTED"), "{after}");
    if cut == Cut::InTheEnd {
        fleet.upstream.cut(&api_key("leaked"));
    }
    fleet.go_on().await;

    let leaked_key = fleet.leaked_key().to_owned();
    let mut replicas = fleet.end().await;
    // One that starts now knows nothing but what the store says.
    replicas.push(Replica::start(source().await).await);
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
#[cfg(feature = "file")]
async fn over_files() {
    let Some(mut shell) = Shell::new() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    for (stage, name) in [("previous", "older"), ("current", "leaked")] {
        let file = directory.path().join(format!("{stage}.json"));
        std::fs::write(file, document(name).to_string()).unwrap();
    }
    shell.set("DIRECTORY", directory.path());
    shell.set("SECRET", "no name is needed");
    // What the watch would see at once, they are asked for.
    let source = async || File::new(directory.path()).watch(false).boxed();
    follow(shell, "Files", source, Cut::InTheEnd).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg(feature = "aws")]
async fn over_aws_secrets_manager() {
    use aws_sdk_secretsmanager::{
        Client,
        config::{BehaviorVersion, Credentials, Region},
    };
    use tower_secrets::source::SecretsManager;

    let moto = std::env::var("TOWER_SECRETS_MOTO").ok();
    let python = std::env::var_os("TOWER_SECRETS_BOTO3").map(PathBuf::from);
    let Some((moto, python)) = moto.zip(python) else {
        left_out(format_args!(
            "It needs moto: `tests/beds/aws run cargo test ..`."
        ));
        return;
    };
    let Some(mut shell) = Shell::new() else {
        return;
    };
    // `aws` is beside it.
    shell.add_to_path(&python);
    for (name, value) in [
        ("AWS_ENDPOINT_URL", moto.as_str()),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_DEFAULT_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ] {
        shell.set(name, value);
    }
    let secret = format!("tests/{:016x}", fastrand::u64(..));
    shell.set("SECRET", &secret);
    shell.set("DOCUMENT", document("leaked").to_string());
    // As a rotation function leaves it: AWSPENDING is still on the version that is current.
    let made = r#"
        version="$(aws secretsmanager create-secret --name "$SECRET" --secret-string "$DOCUMENT" --query VersionId --output text)"
        aws secretsmanager update-secret-version-stage --secret-id "$SECRET" \
            --version-stage AWSPENDING --move-to-version-id "$version"
        aws secretsmanager describe-secret --secret-id "$SECRET" | jq -c .VersionIdsToStages"#;
    let labels = shell.run(made).await;
    assert!(
        labels.contains(r#"["AWSCURRENT","AWSPENDING"]"#),
        "{labels}"
    );

    let source = async || {
        let config = aws_sdk_secretsmanager::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&moto)
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"));
        SecretsManager::new(Client::from_conf(config.build()), &secret).boxed()
    };
    follow(shell, "AWS Secrets Manager", source, Cut::AfterStep1).await;
}

#[cfg(feature = "vault")]
#[allow(dead_code, reason = "the tests of the source itself use more of it")]
#[path = "../vault/server.rs"]
mod server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg(feature = "vault")]
async fn over_openbao() {
    use tower_secrets::source::Vault;

    let Some(mut shell) = Shell::new() else {
        return;
    };
    let Some(bao) = server::Bao::dev() else {
        return;
    };
    let program = std::env::var_os("TOWER_SECRETS_BAO").unwrap();
    shell.add_to_path(&PathBuf::from(program));
    shell.set("BAO_ADDR", bao.address());
    shell.set("BAO_TOKEN", &bao.root);
    shell.set("HOME", "/nonexistent");
    shell.set("SECRET", "mcp/app");
    bao.put("mcp/app", document("older")).await;
    bao.put("mcp/app", document("leaked")).await;
    let client = bao.client();
    let source = async || Vault::new(&client, "mcp/app").boxed();
    follow(shell, "Vault or OpenBao", source, Cut::InTheEnd).await;
}
