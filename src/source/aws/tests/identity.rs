//! Whose calls they are, when that changes.

use std::{
    env,
    ffi::OsString,
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_credential_types::provider::{self, ProvideCredentials, error::CredentialsError, future};
use aws_smithy_async::time::StaticTimeSource;

use super::{
    fake::{Fake, NAME, Reply, credentials},
    *,
};
use crate::{
    Keyring,
    aws::{AccessKey, AccessKeyProvider},
    source::Memory,
};

/// A provider whose credentials are put in by the test.
#[derive(Clone, Debug)]
struct Vending {
    key: Arc<Mutex<Option<&'static str>>>,
    loads: Arc<AtomicUsize>,
}

impl Vending {
    fn new(key: &'static str) -> Self {
        Self {
            key: Arc::new(Mutex::new(Some(key))),
            loads: Arc::default(),
        }
    }

    fn set(&self, key: Option<&'static str>) {
        *self.key.lock().unwrap() = key;
    }

    fn load(&self) -> provider::Result {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let key = *self.key.lock().unwrap();
        key.map(credentials)
            .ok_or_else(|| CredentialsError::provider_error("the vending machine is empty"))
    }
}

impl ProvideCredentials for Vending {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(self.load())
    }
}

fn source_of(fake: &Fake, vending: &Vending) -> SecretsManager {
    let config = fake.config().credentials_provider(vending.clone());
    SecretsManager::new(Client::from_conf(config.build()), NAME)
}

fn accept_only(fake: &Fake, key: &'static str, code: &'static str) {
    fake.order(move |_, call| (call.key != key).then(|| Reply::error(400, code, "")));
}

/// The SDK keeps an identity until it expires by the client's clock, which may be set back.
#[tokio::test]
async fn a_new_access_key_signs_at_once_by_any_clock() {
    let fake = Fake::start().await;
    let key = |id: &str| format!(r#"{{"access_key_id":"{id}","secret_access_key":"s"}}"#);
    let store = Memory::new(key("FIRST"));
    let builder = Keyring::<AccessKey>::builder(store.clone());
    let keyring = builder.build().await.unwrap();
    let provider = AccessKeyProvider::new(keyring.clone(), |key| key);
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let config = fake
        .config()
        .credentials_provider(provider)
        .time_source(StaticTimeSource::new(an_hour_ago));
    let client = Client::from_conf(config.build());
    for id in ["FIRST", "SECOND"] {
        store.rotate(key(id));
        keyring.refresh().await.unwrap();
        client
            .describe_secret()
            .secret_id(NAME)
            .send()
            .await
            .unwrap();
        assert_eq!(fake.calls()[0].key, id);
    }
}

#[tokio::test]
async fn a_renewed_identity_is_taken_up_without_a_restart() {
    for code in ["ExpiredTokenException", "UnrecognizedClientException"] {
        let fake = Fake::start().await;
        let vending = Vending::new("FIRST");
        let source = source_of(&fake, &vending);
        for _ in 0..3 {
            source.fetch().await.unwrap();
        }
        assert_eq!(vending.loads.load(Ordering::Relaxed), 1);

        // Revoked before it expired: the SDK would go on using it.
        accept_only(&fake, "SECOND", code);
        vending.set(Some("SECOND"));
        fake.calls();
        let error = source.fetch().await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Unauthenticated, "{error}");
        source.fetch().await.unwrap();
        let keys: Vec<String> = fake.calls().into_iter().map(|call| call.key).collect();
        assert_eq!(keys, ["FIRST", "SECOND"]);
        assert_eq!(vending.loads.load(Ordering::Relaxed), 2);
    }
}

#[tokio::test]
async fn an_identity_refused_on_a_side_stage_is_renewed_too() {
    let fake = Fake::start().await;
    let vending = Vending::new("FIRST");
    let source = source_of(&fake, &vending);
    fake.rotate("v2");
    fake.order(|_, call| {
        let refused = call.id.as_deref() == Some("v1") && call.key == "FIRST";
        refused.then(|| Reply::error(400, "ExpiredTokenException", ""))
    });
    let versions = source.fetch().await.unwrap();
    assert!(matches!(versions.previous, Side::Unreadable(_)));
    vending.set(Some("SECOND"));
    let versions = source.fetch().await.unwrap();
    assert_eq!(ids(&versions), ("v2", Some("v1"), None));
}

#[tokio::test]
async fn credentials_that_cannot_be_loaded_are_told_as_such_and_heal() {
    let fake = Fake::start().await;
    let vending = Vending::new("FIRST");
    vending.set(None);
    let source = source_of(&fake, &vending);
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Unauthenticated);
    let text = error.to_string();
    assert!(
        text.contains(NAME) && text.contains("the vending machine is empty"),
        "{text}"
    );
    assert!(fake.calls().is_empty());
    vending.set(Some("FIRST"));
    assert!(source.fetch().await.is_ok());
}

#[tokio::test]
async fn a_client_without_credentials_is_told_so() {
    let config = aws_sdk_secretsmanager::Config::builder()
        .behavior_version(aws_sdk_secretsmanager::config::BehaviorVersion::latest())
        .region(aws_sdk_secretsmanager::config::Region::new("eu-west-1"))
        .endpoint_url("http://127.0.0.1:9");
    let source = SecretsManager::new(Client::from_conf(config.build()), NAME);
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Unauthenticated, "{error}");
}

/// Where the default chain finds the identity, and what its file holds.
#[derive(Clone, Copy, Debug)]
enum Found {
    /// Keys in a profile file, which the SDK reads once.
    Profile,
    /// The token of a Kubernetes service account, exchanged at STS.
    WebIdentity,
    /// ECS, or EKS Pod Identity: an endpoint, and a token for it.
    Container,
}

const FOUND: [Found; 3] = [Found::Profile, Found::WebIdentity, Found::Container];

impl Found {
    fn write(self, file: &Path, key: &str) {
        let text = match self {
            Self::Profile => {
                format!("[default]\naws_access_key_id={key}\naws_secret_access_key=s\n")
            }
            Self::WebIdentity | Self::Container => key.to_owned(),
        };
        fs::write(file, text).unwrap();
    }

    fn environment(self, file: &Path, server: &str) -> Vec<(&'static str, OsString)> {
        let file = file.as_os_str().to_owned();
        match self {
            Self::Profile => vec![("AWS_SHARED_CREDENTIALS_FILE", file)],
            Self::WebIdentity => vec![
                ("AWS_WEB_IDENTITY_TOKEN_FILE", file),
                ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/app".into()),
                ("AWS_ROLE_SESSION_NAME", "session".into()),
            ],
            Self::Container => vec![
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file),
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.into()),
            ],
        }
    }
}

const CHILD: &str = "TOWER_SECRETS_TEST_IDENTITY";

/// The environment is the process's, so this test runs itself once more as a process of its own,
/// with what a pod has.
#[tokio::test]
async fn each_identity_of_the_environment_is_read_again_when_it_was_refused() {
    if let Ok(child) = env::var(CHILD) {
        return poll_as_a_child(&child).await;
    }
    for (number, found) in FOUND.into_iter().enumerate() {
        let fake = Fake::start().await;
        // Revoked at the third poll, long before it expires.
        let mut polls = 0;
        fake.order(move |_, call| {
            polls += usize::from(call.is_describe());
            let refused = polls >= 3 && call.key != "SECOND";
            refused.then(|| Reply::error(400, "ExpiredTokenException", ""))
        });
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("identity");
        found.write(&file, "FIRST");
        let mut child = Command::new(env::current_exe().unwrap());
        let this = "each_identity_of_the_environment_is_read_again_when_it_was_refused";
        child
            .args(["--exact", "--nocapture", &format!("{}::{this}", module())])
            .env_clear()
            .env(CHILD, format!("{number} {}", file.display()))
            .env("AWS_CONFIG_FILE", directory.path().join("none"))
            .env("AWS_SHARED_CREDENTIALS_FILE", directory.path().join("none"))
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ENDPOINT_URL", fake.url())
            .envs(found.environment(&file, &fake.url()));
        let output = tokio::task::spawn_blocking(move || child.output().unwrap());
        let output = output.await.unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{found:?}: {told}{errors}");
        assert!(told.contains("1 passed"), "{told}");
        let polls = fake.calls().into_iter().filter(fake::Call::is_describe);
        let keys: Vec<String> = polls.map(|call| call.key).collect();
        assert_eq!(keys, ["FIRST", "FIRST", "FIRST", "SECOND"], "{found:?}");
    }
}

async fn poll_as_a_child(child: &str) {
    let (number, file) = child.split_once(' ').unwrap();
    let found = FOUND[number.parse::<usize>().unwrap()];
    let source = SecretsManager::from_env(NAME).await;
    for _ in 0..2 {
        source.fetch().await.unwrap();
    }
    found.write(file.as_ref(), "SECOND");
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Unauthenticated, "{error}");
    source.fetch().await.unwrap();
}

/// This module as the test harness names it: without the crate.
fn module() -> &'static str {
    module_path!().split_once("::").unwrap().1
}
