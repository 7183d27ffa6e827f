//! Faults by somebody else: microburst (PyPI), which answers as botocore's service models say.

use std::{
    fs::File,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tower_secrets::source::{SecretsManager, SourceErrorKind, Stage};

use crate::{
    bed::{client, microburst, moto, need},
    secret::{Secret, builder, document},
    support::{ask, token},
};

/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Microburst {
    process: Child,
    url: String,
    http: reqwest::Client,
}

impl Microburst {
    async fn start(program: &str, upstream: &str) -> Self {
        let port = free_port().to_string();
        let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join("microburst.log");
        let process = Command::new(program)
            .args(["--upstream", upstream, "--port", &port])
            .stdout(Stdio::null())
            .stderr(File::create(log).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("TOWER_SECRETS_MICROBURST={program}: {error}"));
        let mut microburst = Self {
            process,
            url: format!("http://127.0.0.1:{port}"),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        };
        let is_up = async {
            while microburst.control("GET", "health", None).await.is_err() {
                let ended = microburst.process.try_wait().unwrap();
                assert!(ended.is_none(), "microburst ended: {ended:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let is_up = tokio::time::timeout(PATIENCE, is_up).await;
        is_up.unwrap();
        microburst
    }

    async fn control(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Box<dyn std::error::Error>> {
        let url = format!("{}/_microburst/{path}", self.url);
        let request = self.http.request(method.parse()?, url);
        let request = match body {
            Some(body) => request.body(body.to_string()),
            None => request,
        };
        let answer = request.send().await?.error_for_status()?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }

    /// This rule alone, from now on.
    async fn rule(&self, rule: Value) {
        let rules = self.control("POST", "rules", Some(json!([rule]))).await;
        assert_eq!(rules.unwrap().as_array().unwrap().len(), 1);
    }

    async fn no_rules(&self) {
        let rules = self.control("POST", "rules", Some(json!([]))).await;
        assert_eq!(rules.unwrap(), json!([]));
    }

    async fn fired(&self) -> usize {
        let fired = self.control("GET", "fired?limit=1000", None).await;
        fired.unwrap().as_array().unwrap().len()
    }
}

impl Drop for Microburst {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn throttling_resets_latency_and_an_expired_token() {
    let (server, program) = (need!(moto()), need!(microburst()));
    let microburst = Microburst::start(&program, &server).await;
    let secret = Secret::create(&server).await;
    let source = SecretsManager::new(client(&microburst.url), &secret.name);
    let keyring = builder(source)
        .fetch_limit(Duration::from_secs(5))
        .build()
        .await
        .unwrap();
    let first = token(&keyring.signer());

    let rule = |effect: &str, value: Value| {
        let mut rule = json!({"service": "secretsmanager"});
        rule[effect] = value;
        rule
    };
    for (number, (rule, kind)) in [
        (
            rule("error", json!({"code": "ThrottlingException"})),
            SourceErrorKind::Throttled,
        ),
        (
            rule("error", json!({"code": "ExpiredTokenException"})),
            SourceErrorKind::Unauthenticated,
        ),
        (
            rule("error", json!({"code": "InternalServiceError"})),
            SourceErrorKind::Unavailable,
        ),
        (rule("reset", json!(true)), SourceErrorKind::Unavailable),
        (
            rule("response", json!({"truncate_frac": 0.5})),
            SourceErrorKind::Unavailable,
        ),
        (
            rule("response", json!({"abort_frac": 0.3})),
            SourceErrorKind::Unavailable,
        ),
        (
            rule("latency", json!({"min": 60_000, "max": 60_000})),
            SourceErrorKind::TimedOut,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let fired = microburst.fired().await;
        microburst.rule(rule.clone()).await;
        let before = keyring.current().version().clone();
        secret.rotate(&document(number + 1)).await;
        let error = keyring.refresh().await.unwrap_err();
        let found = error.source_error().unwrap().kind();
        assert_eq!(found, kind, "{rule}: {error}");
        assert_eq!(*keyring.current().version(), before, "{rule}");
        if kind != SourceErrorKind::TimedOut {
            assert!(microburst.fired().await > fired, "{rule}");
        }
        microburst.no_rules().await;
        assert!(keyring.refresh().await.unwrap().is_swapped(), "{rule}");
        if number == 0 {
            assert_eq!(ask(&keyring, &first).await, Ok(Stage::Previous));
        }
    }

    // Slow, and no more than that.
    let slow = json!({"service": "secretsmanager", "latency": {"preset": "secretsmanager"}});
    microburst.rule(slow).await;
    secret.rotate(&document(99)).await;
    assert!(keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(keyring.current().api_key, "api-key-99");
}
