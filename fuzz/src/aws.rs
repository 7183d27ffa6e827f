//! Secrets Manager that says anything: the SDK reads it, then our source.
//!
//! Answers stand one after the other with a zero between them, each a status, a line end and a body:
//! the first to `DescribeSecret`, the others to the calls of `GetSecretValue`, in turn. `r` before all
//! of it makes it a document in the form of `RdsSecret`.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use aws_sdk_secretsmanager::{
    Client, Config,
    config::{BehaviorVersion, Credentials, Region},
};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
        orchestrator::{HttpRequest, HttpResponse},
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use serde_json::Value;
use tower_secrets::{
    fuzz::{assert_untold, texts},
    source::{SecretsManager, Source, Versions, aws::RdsSecret},
};

use crate::runtime;

/// What AWS says in its own words, thrice, with what is around it.
const LONGEST_TEXT: usize = 6_000;

/// Judges what AWS said.
pub fn aws(bytes: &[u8]) {
    if let [b'r', document @ ..] = bytes {
        return rds(document);
    }
    let answers: Vec<Reply> = bytes
        .split(|byte| *byte == 0)
        .filter_map(Reply::of)
        .collect();
    if answers.is_empty() {
        return;
    }
    *script() = Script {
        next_value: 1,
        answers: answers.clone(),
    };
    let source = SecretsManager::new(CLIENT.clone(), "app/fuzz");
    let bodies: Vec<Value> = answers.iter().filter_map(Reply::json).collect();
    match runtime().block_on(source.fetch()) {
        Ok(versions) => {
            // The SDK reads what is no JSON to others, such as `1.e7`; what it said then is not known here.
            taken(&versions, &bodies, bodies.len() == answers.len());
        }
        Err(error) => {
            let values = bodies.iter().flat_map(|body| {
                let value = ["SecretString", "SecretBinary"].map(|name| &body[name]);
                value.into_iter().flat_map(texts)
            });
            // What AWS itself says as a code, a message or an id of a version is told.
            let ids = bodies
                .iter()
                .filter_map(|body| body["VersionIdsToStages"].as_object())
                .flat_map(|stages| stages.keys().map(String::as_str));
            let said: Vec<&str> = bodies
                .iter()
                .flat_map(|body| ["Message", "__type", "VersionId"].map(|name| &body[name]))
                .flat_map(texts)
                .chain(ids)
                .collect();
            let words = values.flat_map(|value| value.split(|c: char| !c.is_alphanumeric()));
            let untold = words.filter(|word| !said.iter().any(|said| said.contains(word)));
            let text = error.to_string();
            assert!(text.len() < LONGEST_TEXT, "{text}");
            assert_untold(&text, untold);
        }
    }
}

fn taken(versions: &Versions, bodies: &[Value], all_are_known: bool) {
    let stages = [
        Some(versions.current()),
        versions.previous(),
        versions.pending(),
    ];
    let stages: Vec<_> = stages.into_iter().flatten().collect();
    let ids: BTreeSet<&str> = stages.iter().map(|version| version.id().as_str()).collect();
    assert_eq!(ids.len(), stages.len(), "one version in two stages");
    for version in stages {
        assert!(!version.document().is_empty());
        let is_said = bodies.iter().any(|body| {
            let is_text =
                body["SecretString"].as_str().map(str::as_bytes) == Some(version.document());
            body["VersionId"] == version.id().as_str()
                && (is_text || body["SecretBinary"].is_string())
        });
        assert!(
            is_said || !all_are_known,
            "version {} was never said",
            version.id()
        );
    }
}

fn rds(document: &[u8]) {
    let told: Option<Value> = serde_json::from_slice(document).ok();
    match serde_json::from_slice::<RdsSecret>(document) {
        Ok(secret) => {
            let Some(told) = told else { return };
            assert_eq!(told["username"], secret.username());
            assert_eq!(told["password"], secret.password());
            let port = secret.port().map(u64::from);
            assert!(port.is_none() || told["port"].as_u64() == port || told["port"].is_string());
            let shown = [secret.username(), secret.host().unwrap_or_default()];
            let shown = [
                shown,
                [secret.dbname(), secret.engine()].map(Option::unwrap_or_default),
            ];
            let words = secret.password().split(|c: char| !c.is_alphanumeric());
            let mut words = words.filter(|word| !word.is_empty());
            let is_shown = words.any(|word| shown.concat().iter().any(|it| it.contains(word)));
            if !is_shown {
                assert_untold(&format!("{secret:?}"), [secret.password()]);
            }
        }
        // serde's own text quotes a number or a text of another type, and the keyring leaves that out.
        Err(error) => drop(error.to_string()),
    }
}

#[derive(Clone, Debug)]
struct Reply {
    status: u16,
    body: Vec<u8>,
}

impl Reply {
    fn of(bytes: &[u8]) -> Option<Self> {
        let (status, body) = bytes.split_first_chunk::<3>()?;
        let status = std::str::from_utf8(status).ok()?.parse().ok()?;
        StatusCode::try_from(status).ok()?;
        let body = body.strip_prefix(b"\n")?.to_vec();
        Some(Self { status, body })
    }

    fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

#[derive(Debug, Default)]
struct Script {
    answers: Vec<Reply>,
    next_value: usize,
}

impl Script {
    fn answer(&mut self, is_describe: bool) -> Option<Reply> {
        let at = if is_describe { 0 } else { self.next_value };
        self.next_value += usize::from(!is_describe);
        self.answers.get(at).or(self.answers.last()).cloned()
    }
}

static SCRIPT: LazyLock<Arc<Mutex<Script>>> = LazyLock::new(Arc::default);

fn script() -> std::sync::MutexGuard<'static, Script> {
    SCRIPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers from the script.
#[derive(Debug)]
struct Scripted;

impl HttpConnector for Scripted {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let reply = script().answer(target.ends_with("DescribeSecret"));
        HttpConnectorFuture::ready(Ok(reply.map_or_else(
            || HttpResponse::new(StatusCode::try_from(500).unwrap(), SdkBody::empty()),
            |reply| {
                let status = StatusCode::try_from(reply.status).unwrap();
                HttpResponse::new(status, SdkBody::from(reply.body))
            },
        )))
    }
}

static CLIENT: LazyLock<Client> = LazyLock::new(|| {
    let connector = SharedHttpConnector::new(Scripted);
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("id", "secret", None, None, "fuzz"))
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .build();
    Client::from_conf(config)
});
