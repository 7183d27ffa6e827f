//! The source: one view of the secret at each poll.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_sdk_secretsmanager::{Client, operation::describe_secret::DescribeSecretOutput};
use tokio::time::Instant;

use super::{
    by_label,
    caller::{Caller, Which},
    error::Action,
    labels::{Beside, NoCurrent, Stages},
    memory::{Memory, View},
    secret_id::SecretId,
    time::system_time,
};
use crate::source::{
    Side, Source, SourceError, SourceErrorKind, Version, VersionId, Versions, WindowStart,
    fetch_time::{FetchLimit, FetchTime},
    window_start::Dates,
};

/// How long `DescribeSecret` is left alone after IAM denied it.
const DENIED_FOR: Duration = Duration::from_secs(3600);

/// A secret of AWS Secrets Manager, with its staging labels.
///
/// The [module's page](super) tells what it reads, needs, costs and does when AWS fails.
///
/// # Errors
/// [`fetch`](Source::fetch) gives each failure its own [`SourceErrorKind`]. The text names the
/// call, the secret, AWS's error code and the request id.
pub struct SecretsManager {
    caller: Caller,
    window_start: WindowStart,
    limit: FetchLimit,
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
    /// [module's page](super#who-tries-again).
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
            limit: FetchLimit::default(),
            memory: Mutex::default(),
            denied: Mutex::default(),
        }
    }

    async fn by_description(
        &self,
        described: DescribeSecretOutput,
        time: FetchTime,
    ) -> Result<Versions, SourceError> {
        let changed = described.last_changed_date;
        let name = self.caller.secret().as_str();
        if let Some(in_use) = self.memory().if_stale(changed, name) {
            return Ok(in_use);
        }
        let none = Default::default();
        let labels = described.version_ids_to_stages().unwrap_or(&none);
        let stages = Stages::of(labels).map_err(|none| self.no_current(&none))?;
        self.memory().keep_only(&stages);
        let (current, previous, pending) = tokio::join!(
            self.current(&stages.current),
            self.beside(&stages.previous, time),
            self.beside(&stages.pending, time),
        );
        let current = current.map_err(|error| match stages.previous {
            Beside::Absent => error.without_previous(self.name()),
            Beside::Held(_) | Beside::Unknown => error,
        })?;
        let mut versions = Versions::new(current);
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

    async fn by_label(&self, time: FetchTime) -> Result<Versions, SourceError> {
        let (stages, versions) = by_label::read(&self.caller, time).await?;
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
                current_created: versions.current.created_at(),
                previous_created: previous.created_at(),
                ..dates
            });
            if let Some(began) = began {
                versions.previous = Side::Present(previous.clone().with_replaced_at(began));
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

    async fn beside(&self, holder: &Beside, time: FetchTime) -> Side {
        match holder {
            Beside::Absent => Side::Absent,
            Beside::Unknown => Side::Unreadable(self.malformed("two versions hold one label")),
            Beside::Held(id) => {
                let read = time.side(self.value(id)).await;
                let read =
                    read.unwrap_or_else(|fault| Err(self.caller.gave_up(Which::Id(id), fault)));
                read.map_or_else(Side::Unreadable, Side::Present)
            }
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

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn denied(&self) -> MutexGuard<'_, Denied> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for SecretsManager {
    async fn fetch(&self) -> Result<Versions, SourceError> {
        let time = self.limit.begin();
        self.caller.make_ready().await?;
        if self.is_denied() {
            return self.by_label(time).await;
        }
        match self.caller.describe().await {
            Ok(described) => self.by_description(described, time).await,
            Err(error) if error.kind() == SourceErrorKind::PermissionDenied => {
                let versions = self.by_label(time).await?;
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

    fn set_fetch_limit(&self, limit: Duration) {
        self.limit.set(limit);
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
            limit: _,
            memory: _,
            denied: _,
        } = self;
        f.debug_struct("SecretsManager")
            .field("secret_id", &caller.secret().as_str())
            .field("window_start", window_start)
            .finish_non_exhaustive()
    }
}
