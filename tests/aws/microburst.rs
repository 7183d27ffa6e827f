//! Faults by somebody else: microburst (PyPI), which answers as botocore's service models say.

use std::time::Duration;

use serde_json::{Value, json};
use tower_secrets::source::{SecretsManager, SourceErrorKind, Stage};

use crate::{
    bed::{client, microburst, moto, need},
    secret::{Secret, builder, document},
    support::{ask, token},
};

struct Microburst {
    url: String,
    http: reqwest::Client,
}

impl Microburst {
    fn new(url: String) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { url, http }
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

#[tokio::test]
async fn throttling_resets_latency_and_an_expired_token() {
    let server = need!(moto());
    let microburst = Microburst::new(need!(microburst()));
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
