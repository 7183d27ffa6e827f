//! AWS Secrets Manager: [`SecretsManager`], and the JSON of its database secrets, [`RdsSecret`].
//!
//! ```no_run
//! use serde::Deserialize;
//! use tower_secrets::{JwtKey, Keyring, source::SecretsManager};
//!
//! #[derive(Deserialize)]
//! struct App {
//!     jwt_secret: JwtKey,
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // {"jwt_secret": ".."}
//! let source = SecretsManager::from_env("mcp/jwt-secret").await;
//! let keyring = Keyring::<App>::builder(source)
//!     .jwt_key(|app| &app.jwt_secret)
//!     .reload_on_sighup()
//!     .build()
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What the labels mean here
//!
//! | staging label | stage | |
//! |---|---|---|
//! | AWSCURRENT | current | must be there, on one version |
//! | AWSPREVIOUS | previous | none before the first rotation. AWS keeps the label until the next one; the window is the keyring's. Taking the label away withdraws the version from the fleet, at each replica's next poll |
//! | AWSPENDING | pending | verifies tokens, signs none. An id that has no value yet is none: AWS names it first |
//!
//! Where one version holds several, the first in this order counts. Labels of your own mean
//! nothing here.
//!
//! One poll is one `DescribeSecret`, which says who held which label at one instant. Values are
//! immutable, so each is read once by its version id. An answer whose `LastChangedDate` is before
//! that of the view in use comes from a server that has not heard of the change yet; the view in
//! use stays.
//!
//! # The four steps of a rotation function, seen from here
//!
//! (AWS: *Lambda rotation functions*)
//!
//! 1. `createSecret` puts a value under AWSPENDING. Its JWT key verifies from the next poll on, so
//!    that no replica is late; while it is seen, polls are 5 s apart for up to ten minutes.
//! 2. `setSecret` changes the upstream. Where it has one user, whose password changes at once, the
//!    old password is dead from here to the end of step 4: see
//!    [`Secrets::try_each`](crate::Secrets::try_each).
//! 3. `testSecret`: nothing to be seen.
//! 4. `finishSecret` moves AWSCURRENT; AWS moves AWSPREVIOUS after it. The value is held already:
//!    it passes the probes and is swapped in.
//!
//! A rotation that fails leaves AWSPENDING on the bad version: it never becomes current, and its
//! key verifies for `max_pending` at most.
//!
//! A process that starts after step 4 does not know when it was: see
//! [`window_start`](SecretsManager::window_start).
//!
//! # Permissions
//!
//! The least policy (AWS: *Permissions policy examples*). The second statement is needed only where
//! the secret has a KMS key of your own (AWS: *Secret encryption and decryption*).
//!
//! ```json
//! {
//!   "Version": "2012-10-17",
//!   "Statement": [
//!     {
//!       "Effect": "Allow",
//!       "Action": ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"],
//!       "Resource": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:mcp/jwt-secret-??????"
//!     },
//!     {
//!       "Effect": "Allow",
//!       "Action": "kms:Decrypt",
//!       "Resource": "arn:aws:kms:eu-west-1:123456789012:key/KEY-ID",
//!       "Condition": {
//!         "StringEquals": { "kms:ViaService": "secretsmanager.eu-west-1.amazonaws.com" }
//!       }
//!     }
//!   ]
//! }
//! ```
//!
//! Without `DescribeSecret` each label is read by itself, until the answers fit together: four
//! calls a poll at least, no protection from answers that are out of date, and an error while the
//! labels keep moving. The event `secrets_describe_denied` tells it once; `DescribeSecret` is
//! tried again every hour.
//!
//! A secret of another account needs its full ARN, a policy on the secret and on its KMS key
//! (AWS: *Access AWS Secrets Manager secrets from a different account*). A partial ARN is refused
//! before anything is asked, as far as it can be told: a name that ends in a hyphen and six letters
//! looks like a full one.
//!
//! # Cost and quotas
//!
//! Calls = replicas x 1 for each interval, and one more for each new version. Ten replicas at the
//! default interval of 300 s make 86,400 calls in 30 days, 0.43 USD at 0.05 USD for 10,000 (AWS:
//! *AWS Secrets Manager Pricing*, as of 2025).
//!
//! AWS has documented 10,000 calls a second for `DescribeSecret` and `GetSecretValue` together
//! (*AWS Secrets Manager quotas*), and announced in 2025 10,000 for `GetSecretValue` and 40,000
//! for `DescribeSecret`; look up what holds for you. The quota is for each account and Region, and
//! calls across accounts count for the caller's. AWS asks not to put values more often than once
//! in ten minutes, sustained.
//!
//! # Reloading at once
//!
//! The interval finds every change. To be faster:
//!
//! * EventBridge, on the secret's `RotationSucceeded`, or `UpdateSecretVersionStage` where a person
//!   moves labels (AWS: *Match AWS Secrets Manager events with Amazon EventBridge*), with Systems
//!   Manager Run Command as its target: `systemctl reload app`, which sends SIGHUP.
//! * The same event to an endpoint of yours that calls
//!   [`Keyring::refresh`](crate::Keyring::refresh); a thousand calls at once cost two fetches.
//! * In Kubernetes, for each pod: `kubectl exec POD -- kill -HUP 1`. It needs `kill` in the image,
//!   and [`reload_on_sighup`](crate::Builder::reload_on_sighup).
//!
//! # Who tries again
//!
//! Only the refresh loop, with its own jittered pauses. The SDK's retries are off in this source's
//! copy of the client, so the two do not multiply: a poll that fails costs one call. An operation
//! may take 8 s, and an attempt too, unless your client's configuration has limits of its own;
//! connecting, and the protection from stalled streams, are as you or the SDK have them.
//!
//! # Whose calls they are
//!
//! [`from_env`](SecretsManager::from_env) takes what `aws-config` finds: environment, profile
//! files, web identity (IAM roles for service accounts), ECS and EKS Pod Identity, EC2. Single
//! sign-on and credential processes are features of `aws-config` that this crate leaves off; add
//! it to your own dependencies with `sso` or `credentials-process` if a developer's machine needs
//! them. `AWS_ENDPOINT_URL` and `AWS_REGION` work as in every SDK.
//!
//! An identity that AWS refuses, or that cannot be loaded, is
//! [`Unauthenticated`](SourceErrorKind::Unauthenticated). The next poll loads it anew, so a token
//! file or a profile that was replaced is taken up without a restart.
//!
//! # Regions
//!
//! A replica Region follows its primary with a delay, values last. While AWSCURRENT has no value
//! there, polls fail as [`Unavailable`](SourceErrorKind::Unavailable) and what is in use stays.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_sdk_secretsmanager::{Client, operation::describe_secret::DescribeSecretOutput};
use tokio::time::Instant;

use self::{
    caller::{Caller, Which},
    error::Action,
    labels::{Beside, NoCurrent, Stages},
    memory::{Memory, View},
    secret_id::SecretId,
    time::system_time,
};
use super::{
    Side, Source, SourceError, SourceErrorKind, Version, VersionId, Versions, WindowStart,
    window_start::Dates,
};

mod secret_id;

mod error;

mod caller;

mod labels;

mod by_label;

mod memory;

mod time;

mod rds;
pub use rds::RdsSecret;

#[cfg(test)]
mod tests;

/// How long `DescribeSecret` is left alone after IAM denied it.
const DENIED_FOR: Duration = Duration::from_secs(3600);

/// A secret of AWS Secrets Manager, with its staging labels.
///
/// The [module's page](self) tells what it reads, needs, costs and does when AWS fails.
///
/// # Errors
/// [`fetch`](Source::fetch) gives each failure its own [`SourceErrorKind`]. The text names the
/// call, the secret, AWS's error code and the request id.
pub struct SecretsManager {
    caller: Caller,
    window_start: WindowStart,
    memory: Mutex<Memory>,
    denied: Mutex<Denied>,
}

/// What is known of the permission for `DescribeSecret`.
#[derive(Default)]
struct Denied {
    since: Option<Instant>,
    warned: bool,
}

impl SecretsManager {
    /// A source over the secret with this name or full ARN. Asks nothing yet, and finds fault with
    /// the id at the first fetch.
    ///
    /// It works with a copy of the client, without retries and with time limits; see the
    /// [module's page](self#who-tries-again).
    ///
    /// ```no_run
    /// use tower_secrets::source::SecretsManager;
    ///
    /// # #[tokio::main]
    /// # async fn main() {
    /// let config = aws_config::load_from_env().await;
    /// let client = aws_sdk_secretsmanager::Client::new(&config);
    /// let source = SecretsManager::new(client, "mcp/jwt-secret");
    /// # }
    /// ```
    pub fn new(client: Client, secret_id: impl Into<String>) -> Self {
        Self::with(Caller::new(&client, SecretId::new(secret_id.into())))
    }

    /// The same with a client of `aws-config`'s defaults, whose identity comes from where the
    /// process runs. It may ask the EC2 metadata service for the Region.
    ///
    /// # Cancellation safety
    /// Dropping the future leaves nothing behind.
    pub async fn from_env(secret_id: impl Into<String>) -> Self {
        Self::with(Caller::from_env(SecretId::new(secret_id.into())).await)
    }

    /// How a process that did not see a rotation takes the moment at which the window began.
    /// Default: [`WindowStart::Lenient`].
    #[must_use]
    pub fn window_start(mut self, rule: WindowStart) -> Self {
        self.window_start = rule;
        self
    }

    fn with(caller: Caller) -> Self {
        Self {
            caller,
            window_start: WindowStart::default(),
            memory: Mutex::default(),
            denied: Mutex::default(),
        }
    }

    async fn by_description(
        &self,
        described: DescribeSecretOutput,
    ) -> Result<Versions, SourceError> {
        let changed = described.last_changed_date;
        if let Some(in_use) = self.memory().if_stale(changed) {
            return Ok(in_use);
        }
        let none = Default::default();
        let labels = described.version_ids_to_stages().unwrap_or(&none);
        let stages = Stages::of(labels).map_err(|none| self.no_current(&none))?;
        self.memory().keep_only(&stages);
        let (current, previous, pending) = tokio::join!(
            self.current(&stages.current),
            self.beside(&stages.previous),
            self.beside(&stages.pending),
        );
        let mut versions = Versions::new(current?);
        versions.previous = previous;
        versions.pending = match pending {
            // AWS names the id before the rotation has put a value.
            Side::Unreadable(error) if error.kind() == SourceErrorKind::NotFound => Side::Absent,
            other => other,
        };
        let dates = Dates {
            last_changed: changed.and_then(system_time),
            last_rotated: described.last_rotated_date.and_then(system_time),
            ..Dates::default()
        };
        Ok(self.offer(View {
            stages,
            versions: self.dated(versions, dates),
            changed,
        }))
    }

    async fn by_label(&self) -> Result<Versions, SourceError> {
        let (stages, versions) = by_label::read(&self.caller).await?;
        Ok(self.offer(View {
            stages,
            versions: self.dated(versions, Dates::default()),
            changed: None,
        }))
    }

    fn offer(&self, view: View) -> Versions {
        self.memory().offer(view)
    }

    /// Says when previous stopped being current.
    fn dated(&self, mut versions: Versions, dates: Dates) -> Versions {
        if let Side::Present(previous) = &versions.previous {
            let began = self.window_start.of(&Dates {
                current_created: versions.current.created(),
                previous_created: previous.created(),
                ..dates
            });
            if let Some(began) = began {
                versions.previous = Side::Present(previous.clone().replaced_at(began));
            }
        }
        versions
    }

    async fn current(&self, id: &VersionId) -> Result<Version, SourceError> {
        self.value(id).await.map_err(|error| match error.kind() {
            SourceErrorKind::NotFound => {
                let why = format!("{error}: AWSCURRENT has no value yet; a replica's come later");
                SourceError::new(SourceErrorKind::Unavailable, why)
            }
            _ => error,
        })
    }

    async fn beside(&self, holder: &Beside) -> Side {
        match holder {
            Beside::Absent => Side::Absent,
            Beside::Unknown => Side::Unreadable(self.malformed("two versions hold one label")),
            Beside::Held(id) => self
                .value(id)
                .await
                .map_or_else(Side::Unreadable, Side::Present),
        }
    }

    async fn value(&self, id: &VersionId) -> Result<Version, SourceError> {
        let held = self.memory().value(id);
        if let Some(held) = held {
            return Ok(held);
        }
        let version = self.caller.value(Which::Id(id)).await?;
        self.memory().remember(&version);
        Ok(version)
    }

    fn no_current(&self, none: &NoCurrent) -> SourceError {
        match none {
            NoCurrent::Ambiguous => self.malformed("two versions hold AWSCURRENT"),
            NoCurrent::Missing => SourceError::new(
                SourceErrorKind::NotFound,
                format!("`{}`: no version holds AWSCURRENT", self.name()),
            ),
        }
    }

    fn malformed(&self, why: &str) -> SourceError {
        let message = format!("{} of `{}`: {why}", Action::Describe.as_str(), self.name());
        SourceError::new(SourceErrorKind::Malformed, message)
    }

    /// Whether IAM denied `DescribeSecret` lately.
    fn is_denied(&self) -> bool {
        let since = self.denied().since;
        since.is_some_and(|since| since.elapsed() < DENIED_FOR)
    }

    fn warn_of_denial(&self, error: &SourceError) {
        let mut denied = self.denied();
        denied.since = Some(Instant::now());
        if !std::mem::replace(&mut denied.warned, true) {
            tracing::warn!(
                source = self.caller.secret().as_str(),
                permission = "secretsmanager:DescribeSecret",
                %error,
                hint = "grant it: each poll costs four calls instead of one, and an answer that \
                        is out of date is not noticed",
                "secrets_describe_denied"
            );
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn denied(&self) -> MutexGuard<'_, Denied> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for SecretsManager {
    async fn fetch(&self) -> Result<Versions, SourceError> {
        self.caller.make_ready().await?;
        if self.is_denied() {
            return self.by_label().await;
        }
        match self.caller.describe().await {
            Ok(described) => self.by_description(described).await,
            Err(error) if error.kind() == SourceErrorKind::PermissionDenied => {
                let versions = self.by_label().await?;
                // Only what works without it makes it a matter of cost.
                self.warn_of_denial(&error);
                Ok(versions)
            }
            Err(error) => Err(error),
        }
    }

    fn published(&self, current: &VersionId) {
        self.memory().published(current);
    }

    fn name(&self) -> String {
        self.caller.secret().as_str().to_owned()
    }
}

impl fmt::Debug for SecretsManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            caller,
            window_start,
            memory: _,
            denied: _,
        } = self;
        f.debug_struct("SecretsManager")
            .field("secret_id", &caller.secret().as_str())
            .field("window_start", window_start)
            .finish_non_exhaustive()
    }
}
