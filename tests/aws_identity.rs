//! A pod's web identity, exchanged at an STS that is not ours, while the kubelet replaces its token.
#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used)]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use aws_sdk_secretsmanager::{
    Client, Config,
    config::{BehaviorVersion, Credentials, Region},
};
use tower_secrets::source::{SecretsManager, Source};

#[path = "support/left_out.rs"]
mod left_out;
use left_out::needed;

const REGION: &str = "us-east-1";
const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
const CHILD: &str = "TOWER_SECRETS_TEST_SECRET";

/// How many pods start while the token is replaced.
const PODS: usize = 20;

/// The environment is the process's, so this test runs itself once more as a process of its own.
#[tokio::test]
async fn pods_start_while_their_token_is_replaced() {
    if let Ok(secret) = env::var(CHILD) {
        return start_pods(&secret).await;
    }
    let Some(url) = needed("TOWER_SECRETS_MOTO", "a test with the STS of moto") else {
        return;
    };
    let url = url.into_string().unwrap();
    let secret = format!("identity/{}", std::process::id());
    create(&url, &secret).await;
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, "0").unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "--nocapture",
            "pods_start_while_their_token_is_replaced",
        ])
        .env_clear()
        .env(CHILD, secret)
        .env(TOKEN_FILE, token)
        .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/app")
        .env("AWS_CONFIG_FILE", directory.path().join("none"))
        .env("AWS_SHARED_CREDENTIALS_FILE", directory.path().join("none"))
        .env("AWS_REGION", REGION)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ENDPOINT_URL", url)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}{errors}");
    assert!(told.contains("1 passed"), "{told}");
}

async fn create(url: &str, secret: &str) {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(url)
        .credentials_provider(Credentials::new("test", "test", None, None, "test"));
    let client = Client::from_conf(config.build());
    let created = client.create_secret().name(secret).secret_string("{}");
    created.send().await.unwrap();
}

async fn start_pods(secret: &str) {
    let token = PathBuf::from(env::var_os(TOKEN_FILE).unwrap());
    let replace = async {
        for number in 1_u64.. {
            replace(&token, number);
            tokio::task::yield_now().await;
        }
    };
    let start = async {
        for _ in 0..PODS {
            let source = SecretsManager::from_env(secret).await;
            let versions = source.fetch().await.unwrap();
            assert_eq!(versions.current().document(), b"{}");
        }
    };
    tokio::select! {
        () = replace => unreachable!("the kubelet ended"),
        () = start => {}
    }
}

/// In one step, as the kubelet does.
fn replace(token: &Path, number: u64) {
    let beside = token.with_extension("new");
    fs::write(&beside, number.to_string()).unwrap();
    fs::rename(beside, token).unwrap();
}
