//! The calls to Secrets Manager, and the identity they are made with.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_config::{BehaviorVersion, Region};
use aws_sdk_secretsmanager::{
    Client, Config,
    config::{IdentityCache, retry::RetryConfig, timeout::TimeoutConfig},
    operation::{describe_secret::DescribeSecretOutput, get_secret_value::GetSecretValueOutput},
};

use super::{
    error::{Action, Call, told},
    secret_id::SecretId,
    time::system_time,
};
use crate::{
    guard::Fault,
    source::{SourceError, SourceErrorKind, Version, VersionId},
};

/// How long one call may take, where the user's client has no time limit of its own. The SDK sets
/// one for connecting only, so that a server that hangs would hold a call for ever.
const LIMIT: Duration = Duration::from_secs(8);

pub(super) struct Caller {
    secret: SecretId,
    client: Mutex<Client>,
    /// Whether credentials come from where `aws-config` looks, so that it can look again.
    from_env: bool,
    identity_failed: AtomicBool,
}

/// Which value of the secret.
#[derive(Clone, Copy)]
pub(super) enum Which<'a> {
    Id(&'a VersionId),
    Label(&'a str),
}

impl Which<'_> {
    fn as_str(&self) -> &str {
        match self {
            Self::Id(id) => id.as_str(),
            Self::Label(label) => label,
        }
    }
}

impl Caller {
    pub(super) fn new(client: &Client, secret: SecretId) -> Self {
        Self {
            secret,
            client: Mutex::new(ours(client.config())),
            from_env: false,
            identity_failed: AtomicBool::new(false),
        }
    }

    pub(super) async fn from_env(secret: SecretId) -> Self {
        let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
        Self {
            from_env: true,
            ..Self::new(&Client::new(&config), secret)
        }
    }

    pub(super) fn secret(&self) -> &SecretId {
        &self.secret
    }

    /// What must be right before a call makes sense.
    pub(super) async fn make_ready(&self) -> Result<(), SourceError> {
        self.secret.check(self.region().as_deref())?;
        if self.identity_failed.load(Ordering::Acquire) {
            self.renew_identity().await;
        }
        Ok(())
    }

    pub(super) async fn describe(&self) -> Result<DescribeSecretOutput, SourceError> {
        let client = self.client().clone();
        let region = self.region();
        let call = self.call(Action::Describe, None, region.as_deref());
        let request = client.describe_secret().secret_id(self.secret.as_str());
        let answer = request.send().await;
        let described = answer.map_err(|error| self.noted(call.failed(&error)))?;
        if described.arn().is_none() && described.name().is_none() {
            return Err(call.error(SourceErrorKind::Malformed, "the answer names no secret"));
        }
        if described.deleted_date().is_some() {
            let why = "the secret is marked for deletion; `restore-secret` takes that back";
            return Err(call.error(SourceErrorKind::Deleted, why));
        }
        Ok(described)
    }

    pub(super) async fn value(&self, which: Which<'_>) -> Result<Version, SourceError> {
        let client = self.client().clone();
        let region = self.region();
        let call = self.call(Action::GetValue, Some(which.as_str()), region.as_deref());
        let request = client.get_secret_value().secret_id(self.secret.as_str());
        let request = match which {
            Which::Id(id) => request.version_id(id.as_str()),
            Which::Label(label) => request.version_stage(label),
        };
        let answer = request.send().await;
        let answer = answer.map_err(|error| self.noted(call.failed(&error)))?;
        self.version(answer, which)
            .map_err(|why| call.error(SourceErrorKind::Malformed, why))
    }

    /// What is told of a [`value`](Self::value) that was not waited for any longer.
    pub(super) fn gave_up(&self, which: Which<'_>, fault: Fault) -> SourceError {
        let call = self.call(Action::GetValue, Some(which.as_str()), None);
        call.error(SourceErrorKind::TimedOut, fault)
    }

    fn version(&self, answer: GetSecretValueOutput, which: Which<'_>) -> Result<Version, String> {
        let id = answer.version_id.ok_or("the answer has no version id")?;
        if let Which::Id(asked) = which
            && asked.as_str() != id
        {
            return Err(format!("the answer is version `{}`", told(&id)));
        }
        let text = answer.secret_string.map(String::into_bytes);
        let document = text
            .or_else(|| answer.secret_binary.map(|blob| blob.into_inner()))
            .filter(|document| !document.is_empty())
            .ok_or("the answer has neither SecretString nor SecretBinary")?;
        let version = Version::new(id, document).with_origin(self.secret.origin());
        Ok(match answer.created_date.and_then(system_time) {
            Some(created) => version.with_created_at(created),
            None => version,
        })
    }

    fn call<'a>(
        &'a self,
        action: Action,
        version: Option<&'a str>,
        region: Option<&'a str>,
    ) -> Call<'a> {
        Call {
            action,
            secret: self.secret.as_str(),
            version,
            region,
        }
    }

    fn noted(&self, error: SourceError) -> SourceError {
        if error.kind() == SourceErrorKind::Unauthenticated {
            self.identity_failed.store(true, Ordering::Release);
        }
        error
    }

    /// The SDK keeps credentials until they say they expire, those that say nothing for 15
    /// minutes, and what it read of a profile file for ever.
    async fn renew_identity(&self) {
        let config = self.client().config().clone();
        let mut fresh = config.to_builder();
        fresh.set_identity_cache(IdentityCache::lazy().build());
        if self.from_env {
            let region = config.region().cloned();
            let loader = aws_config::defaults(BehaviorVersion::latest()).region(region);
            fresh.set_credentials_provider(loader.load().await.credentials_provider());
        }
        *self.client() = Client::from_conf(fresh.build());
        self.identity_failed.store(false, Ordering::Release);
    }

    fn region(&self) -> Option<String> {
        self.client().config().region().map(Region::to_string)
    }

    fn client(&self) -> MutexGuard<'_, Client> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client like the user's that never waits for ever and never retries by itself: the keyring
/// does, and two loops would multiply.
fn ours(config: &Config) -> Client {
    let unlimited = || TimeoutConfig::builder().build();
    let mut limits = config.timeout_config().cloned().unwrap_or_else(unlimited);
    limits.take_defaults_from(
        &TimeoutConfig::builder()
            .operation_timeout(LIMIT)
            .operation_attempt_timeout(LIMIT)
            .build(),
    );
    let ours = config
        .to_builder()
        .retry_config(RetryConfig::disabled())
        .timeout_config(limits);
    Client::from_conf(ours.build())
}
