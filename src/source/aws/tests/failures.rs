//! Each failure has its kind, and a text that an operator can act on.

use std::time::Duration;

use aws_sdk_secretsmanager::Config;
use aws_sdk_secretsmanager::config::{
    Region, StalledStreamProtectionConfig, retry::RetryConfig, timeout::TimeoutConfig,
};
use tokio::{net::TcpListener, time::Instant};

use super::{
    fake::{ARN, Fake, NAME, Reply},
    *,
};
use crate::source::aws::labels::{PENDING, PREVIOUS};

const DESCRIBE: &str = "DescribeSecret";
const GET: &str = "GetSecretValue";

async fn failure(action: &'static str, reply: Reply) -> SourceError {
    let fake = Fake::start().await;
    fake.always(action, reply);
    source(&fake).fetch().await.unwrap_err()
}

#[tokio::test]
async fn answers_of_aws() {
    use SourceErrorKind as Kind;

    let scope = "Credential should be scoped to a valid region, not 'eu-west-1'.";
    for (action, status, code, message, kind) in [
        (
            DESCRIBE,
            400,
            "ThrottlingException",
            "Rate exceeded",
            Kind::Throttled,
        ),
        (
            GET,
            400,
            "ThrottlingException",
            "Rate exceeded",
            Kind::Throttled,
        ),
        (
            DESCRIBE,
            429,
            "TooManyRequestsException",
            "",
            Kind::Throttled,
        ),
        (DESCRIBE, 500, "InternalServiceError", "", Kind::Unavailable),
        (DESCRIBE, 503, "ServiceUnavailable", "", Kind::Unavailable),
        (
            DESCRIBE,
            400,
            "ResourceNotFoundException",
            "",
            Kind::NotFound,
        ),
        (
            DESCRIBE,
            400,
            "ExpiredTokenException",
            "",
            Kind::Unauthenticated,
        ),
        (
            DESCRIBE,
            400,
            "InvalidSignatureException",
            scope,
            Kind::WrongRegion,
        ),
        (
            DESCRIBE,
            400,
            "InvalidParameterException",
            "",
            Kind::InvalidRequest,
        ),
        (
            GET,
            400,
            "InvalidRequestException",
            "marked for deletion",
            Kind::Deleted,
        ),
        (GET, 400, "DecryptionFailure", "", Kind::DecryptionFailed),
        (
            GET,
            400,
            "AccessDeniedException",
            "",
            Kind::PermissionDenied,
        ),
        (GET, 400, "NobodyKnowsException", "", Kind::Other),
    ] {
        let error = failure(action, Reply::error(status, code, message)).await;
        assert_eq!(error.kind(), kind, "{error}");
        let text = error.to_string();
        for part in [action, NAME, code, "request-1"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

#[tokio::test]
async fn the_texts_help() {
    let missing = Reply::error(400, "ResourceNotFoundException", "");
    let text = failure(DESCRIBE, missing).await.to_string();
    assert!(
        text.contains("eu-west-1; is it in another Region or account?"),
        "{text}"
    );

    let message = "User: arn:aws:sts::1:assumed-role/app/i is not authorized\nto perform";
    let denied = Reply::error(400, "AccessDeniedException", message);
    let text = failure(GET, denied).await.to_string();
    assert!(
        text.contains("`secretsmanager:GetSecretValue` is needed"),
        "{text}"
    );
    assert!(
        text.contains("assumed-role/app/i is not authorized to perform"),
        "{text}"
    );
}

/// What AWS says of a wrong signature repeats the request, with its session token.
#[tokio::test]
async fn words_on_a_signature_are_not_passed_on() {
    let message = "The Canonical String should have been x-amz-security-token:hunter2";
    let error = failure(
        DESCRIBE,
        Reply::error(400, "InvalidSignatureException", message),
    )
    .await;
    assert_eq!(error.kind(), SourceErrorKind::Unauthenticated);
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

/// Found by fuzzing: whoever answers in AWS's place must not write lines of their own into a log.
#[tokio::test]
async fn what_aws_names_is_told_on_one_line_and_not_at_length() {
    let long = "x".repeat(10_000);
    let code = format!("AccessDenied\u{7f}\n{long}");
    let id = format!("v1\nERROR {long}");
    let other = serde_json::json!({ "VersionId": id, "SecretString": "{}" });
    for (action, reply) in [
        (DESCRIBE, Reply::error(400, &code, "")),
        (GET, Reply::Ok(other)),
    ] {
        let text = failure(action, reply).await.to_string();
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(text.len() < 1_000, "{} bytes", text.len());
    }
}

#[tokio::test]
async fn a_deleted_secret_is_told_by_its_date() {
    let fake = Fake::start().await;
    fake.change(|secret| secret.deleted = Some(2_000.0));
    let error = source(&fake).fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Deleted);
    fake.change(|secret| secret.deleted = None);
    assert!(source(&fake).fetch().await.is_ok());
}

#[tokio::test]
async fn answers_that_are_none_are_an_outage_and_not_quoted() {
    let garbage = r#"{"SecretString":"hunter2","#;
    for (action, reply) in [
        (DESCRIBE, Reply::Raw("<html>")),
        (DESCRIBE, Reply::Cut),
        (GET, Reply::Raw(garbage)),
        (GET, Reply::Raw("hunter2")),
        (GET, Reply::Cut),
    ] {
        let error = failure(action, reply).await;
        assert_eq!(error.kind(), SourceErrorKind::Unavailable, "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        assert!(std::error::Error::source(&error).is_none());
    }
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let fake = Fake::start().await;
    let config = fake.config().endpoint_url(format!("http://{address}"));
    let client = Client::from_conf(config.build());
    let error = SecretsManager::new(client, NAME).fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains(NAME), "{error}");
}

/// How long a call to a server that hangs takes, on the paused clock.
async fn patience(limits: Option<TimeoutConfig>) -> Duration {
    let fake = Fake::start().await;
    fake.always(DESCRIBE, Reply::Hang);
    let mut config = fake.config();
    config.set_timeout_config(limits);
    let source = SecretsManager::new(Client::from_conf(config.build()), NAME);
    let fetch = tokio::spawn(async move { source.fetch().await });
    fake.wait_for_calls(1).await;
    tokio::time::pause();
    let start = Instant::now();
    let error = fetch.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::TimedOut, "{error}");
    start.elapsed()
}

#[tokio::test]
async fn a_server_that_hangs_holds_nobody_for_ever() {
    let limits = TimeoutConfig::builder;
    let seconds = Duration::from_secs;
    for (limits, limit) in [
        (None, seconds(8)),
        (
            Some(limits().connect_timeout(seconds(1)).build()),
            seconds(8),
        ),
        (
            Some(limits().operation_timeout(seconds(30)).build()),
            seconds(8),
        ),
        (
            Some(limits().operation_timeout(seconds(3)).build()),
            seconds(3),
        ),
        (
            Some(limits().operation_attempt_timeout(seconds(3)).build()),
            seconds(3),
        ),
    ] {
        let took = patience(limits.clone()).await;
        // Some of it passed before the clock was stopped; timers fire a tick later.
        let longest = limit + Duration::from_millis(10);
        assert!(
            (limit / 2..=longest).contains(&took),
            "{limits:?}: {took:?}"
        );
        tokio::time::resume();
    }
}

/// Orders that those calls for a value hang which ask for one of these.
fn hang(fake: &Fake, asked: &'static [&'static str], denied: bool) {
    fake.order(move |_, call| {
        let which = call.id.as_deref().or(call.label.as_deref());
        if which.is_some_and(|which| asked.contains(&which)) {
            return Some(Reply::Hang);
        }
        let denied = denied && call.is_describe();
        denied.then(|| Reply::error(400, "AccessDeniedException", ""))
    });
}

/// What a fetch gives in which some calls hang, and how much of the paused clock it took.
async fn fetch_in(source: SecretsManager, fake: &Fake, calls: usize) -> (Versions, Duration) {
    let fetch = tokio::spawn(async move { source.fetch().await });
    fake.wait_for_calls(calls).await;
    tokio::time::pause();
    let start = Instant::now();
    let versions = fetch.await.unwrap().unwrap();
    tokio::time::resume();
    (versions, start.elapsed())
}

fn timed_out(side: &Side) -> &SourceError {
    let Side::Unreadable(error) = side else {
        panic!("{side:?}")
    };
    assert_eq!(error.kind(), SourceErrorKind::TimedOut, "{error}");
    error
}

/// A side stage never stops a good current, whatever time the keyring gives.
#[tokio::test]
async fn a_side_stage_that_hangs_leaves_time_for_current() {
    for limit in [2, 8, 10] {
        let fake = Fake::start().await;
        fake.rotate("v2");
        hang(&fake, &["v1"], false);
        let source = source(&fake);
        let limit = Duration::from_secs(limit);
        source.set_fetch_limit(limit);
        let (versions, took) = fetch_in(source, &fake, 3).await;
        assert_eq!(ids(&versions), ("v2", None, None));
        let error = timed_out(&versions.previous).to_string();
        assert!(
            error.contains("GetSecretValue of `mcp/jwt-secret` version `v1`"),
            "{error}"
        );
        assert!(took < limit.mul_f64(0.6), "{took:?} of {limit:?}");
    }
}

#[tokio::test]
async fn labels_that_hang_leave_time_for_current() {
    let fake = Fake::start().await;
    fake.rotate("v2");
    fake.stage("v3");
    hang(&fake, &[PREVIOUS, PENDING], true);
    let source = source(&fake);
    let (versions, took) = fetch_in(source, &fake, 3).await;
    assert_eq!(ids(&versions), ("v2", None, None));
    timed_out(&versions.previous);
    timed_out(&versions.pending);
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test]
async fn only_the_refresh_loop_tries_again() {
    let fake = Fake::start().await;
    fake.always(DESCRIBE, Reply::error(500, "InternalServiceError", ""));
    let config = fake
        .config()
        .retry_config(RetryConfig::adaptive().with_max_attempts(5))
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    let source = SecretsManager::new(Client::from_conf(config.build()), NAME);
    assert!(source.fetch().await.is_err());
    assert_eq!(fake.asked(), [DESCRIBE]);
}

#[tokio::test]
async fn what_cannot_be_right_is_not_asked() {
    let fake = Fake::start().await;
    let fetch = async |region: &'static str, id: &str| {
        let config = fake.config().region(Region::new(region));
        SecretsManager::new(Client::from_conf(config.build()), id)
            .fetch()
            .await
    };
    // (`..:mcp/jwt-secret` would pass: nothing tells a word of six letters from a suffix.)
    let partial = ARN.strip_suffix("-secret-a1B2c3").unwrap();
    let error = fetch("eu-west-1", partial).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::InvalidRequest, "{error}");
    let error = fetch("us-east-1", ARN).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::WrongRegion, "{error}");
    assert!(fake.calls().is_empty());
    assert!(fetch("eu-west-1", ARN).await.is_ok());
    assert!(fake.calls().iter().all(|call| call.secret == ARN));
}

#[tokio::test]
async fn no_region_is_an_error_that_says_so() {
    let config = Config::builder()
        .behavior_version(aws_sdk_secretsmanager::config::BehaviorVersion::latest())
        .credentials_provider(fake::credentials("FIRST"));
    let source = SecretsManager::new(Client::from_conf(config.build()), NAME);
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::InvalidRequest, "{error}");
    assert!(error.to_string().contains("Region"), "{error}");
}
