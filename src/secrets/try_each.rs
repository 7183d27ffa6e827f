//! Calls to an upstream that may refuse the credential, and what is tried then.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Secrets, TryError};
use crate::{
    keyring::{FlipWait, Try},
    snapshot::Held,
    source::VersionId,
};

/// How long a single user's call waits for the flip by default: AWS's own rotations leave some
/// seconds between the new password and the label.
const FLIP_WAIT: Duration = Duration::from_secs(10);

/// Longer than any call lives; a bound for sums of instants.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400 * 365);

/// What an upstream does with a credential when its successor comes: it says what
/// [`Secrets::try_each_as`] may try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialKind {
    /// The old and the new one work side by side: two API keys, two access key pairs, two database
    /// users that take turns ("alternating users" in the AWS Secrets Manager User Guide, "Lambda
    /// function rotation strategies").
    Overlapping,
    /// One user, whose old password ends at the moment at which the new one is set ("single user"
    /// there).
    ///
    /// Each login with a dead one brings the account nearer to being locked. In ten minutes in which
    /// no call succeeds, the calls of one keyring make at most nine refused logins with one version:
    /// three, then one each after pauses of 10, 20, 40, 80, 160 and 160 s; and beyond them those that
    /// were under way at the first refusal. Each replica has nine of its own. Once the keyring is
    /// dropped, nothing is counted.
    #[non_exhaustive]
    SingleUser {
        /// How long a call waits for the new one to become current.
        flip_wait: Duration,
    },
}

impl CredentialKind {
    /// A single user, with a wait of 10 s for the flip.
    #[must_use]
    pub const fn single_user() -> Self {
        Self::SingleUser {
            flip_wait: FLIP_WAIT,
        }
    }

    /// How long a call waits for the flip; default 10 s. Zero: not at all. Overlapping credentials
    /// wait for none.
    #[must_use]
    pub const fn flip_wait(self, limit: Duration) -> Self {
        match self {
            Self::Overlapping => self,
            Self::SingleUser { .. } => Self::SingleUser { flip_wait: limit },
        }
    }
}

/// How one call with one credential failed, in [`Secrets::try_each`].
#[derive(Debug)]
pub enum Attempt<E> {
    /// The upstream refused the credential: another one may work.
    Unauthenticated(E),
    /// Anything else: another credential would not help.
    Other(E),
}

impl<E> Attempt<E> {
    fn into_error(self) -> E {
        match self {
            Self::Unauthenticated(error) | Self::Other(error) => error,
        }
    }
}

impl<T: Send + Sync + 'static> Secrets<T> {
    /// Calls an upstream with the current credential and, where that is refused, with what else
    /// may work. For credentials of which the upstream accepts the old and the new one side by
    /// side; for a user whose old password ends at once there is [`try_each_as`](Self::try_each_as).
    ///
    /// 1. The bundle of this snapshot, unless it was revoked or its window ended meanwhile.
    /// 2. After an authentication failure a refresh is asked for and waited for (shared by all
    ///    callers, at most one in 10 s); then the newest bundle, if its version differs.
    /// 3. The previous bundle, while it is trusted.
    ///
    /// Each is tried at most once, and none that was revoked; only where nothing else is left, the
    /// newest is tried all the same, for its error. It is how a credential that the upstream
    /// revoked at once does not become an outage, and the one thing that looks past this snapshot.
    /// A call that finds its bundle revoked asks for that refresh, too. Within those 10 s a further
    /// withdrawal by the upstream is met by the next ordinary refresh only.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use tower_secrets::{Attempt, Secrets};
    ///
    /// struct App {
    ///     api_key: String,
    /// }
    ///
    /// async fn quote(secrets: Secrets<App>, client: reqwest::Client) -> reqwest::Result<String> {
    ///     let answer = secrets.try_each(|app: Arc<App>| {
    ///         let request = client.get("http://quotes.internal/").bearer_auth(&app.api_key);
    ///         async move {
    ///             let response = request.send().await.map_err(Attempt::Other)?;
    ///             match response.error_for_status() {
    ///                 Ok(response) => Ok(response),
    ///                 Err(error) if error.status() == Some(reqwest::StatusCode::UNAUTHORIZED) => {
    ///                     Err(Attempt::Unauthenticated(error))
    ///                 }
    ///                 Err(error) => Err(Attempt::Other(error)),
    ///             }
    ///         }
    ///     });
    ///     answer.await?.text().await
    /// }
    /// ```
    ///
    /// # Errors
    /// That of `op` with the newest credential tried, or the first [`Attempt::Other`] before the
    /// previous one.
    ///
    /// # Cancellation safety
    /// Dropping the future drops the call in progress; a refresh that was asked for goes on.
    pub async fn try_each<R, E, F, Fut>(&self, op: F) -> Result<R, E>
    where
        F: FnMut(Arc<T>) -> Fut,
        Fut: Future<Output = Result<R, Attempt<E>>>,
    {
        self.try_overlapping(op).await
    }

    /// [`try_each`](Self::try_each) for a credential of this [kind](CredentialKind).
    ///
    /// [`Overlapping`](CredentialKind::Overlapping) is `try_each`. A
    /// [`SingleUser`](CredentialKind::SingleUser) is one whose password is changed first and
    /// labelled current some seconds later; in between only the *pending* one works:
    ///
    /// 1. The newest current bundle: this snapshot's, unless a rotation came after it.
    /// 2. After an authentication failure the shared refresh, and the newest bundle, if its version
    ///    differs.
    /// 3. The pending bundle, where this process holds it and it is trusted: not revoked, not older
    ///    than current, never in use before, within [`max_pending`](crate::Builder::max_pending).
    ///    Not with a [`prepare`](crate::Builder::prepare) step, which is run for current alone.
    /// 4. A wait for the flip, 10 s unless [`flip_wait`](CredentialKind::flip_wait) says otherwise;
    ///    then the new current bundle. While anybody waits, the source is asked about once a second,
    ///    for all of them together and for a minute at most; after a failed fetch the back-off
    ///    decides. A pending bundle that appears meanwhile is tried, too. When the keyring is
    ///    gone or was shut down, the wait ends at once.
    ///
    /// The previous one is never tried: it is dead, and each login with it brings the account
    /// nearer to being locked. For the same reason a version that was refused three times in a row, by
    /// whichever calls, is left alone: after 10 s one of them may try it again, and after each further
    /// refusal the pause doubles, up to 160 s. Once it was refused, and before it was seen to work where
    /// it is pending or was waited for, calls under way count as refused, so that no crowd knocks at
    /// once; let `op` be a login or a short call, because others may wait for its end. Each is tried at most once by a call, and none that was revoked; a call that may try
    /// nothing within its wait ends with [`TryError::LeftAlone`] and without a login.
    ///
    /// With `sqlx` the code is that of `error.as_database_error()`; `examples/postgres` shows it whole,
    /// with a pool and with connections of one's own.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use tower_secrets::{Attempt, CredentialKind, Secrets, TryError};
    /// # struct Connection;
    /// # struct Error;
    /// # impl Error { fn code(&self) -> Option<&str> { None } }
    /// # async fn connect(password: &str) -> Result<Connection, Error> {
    /// #     let _ = password;
    /// #     Ok(Connection)
    /// # }
    ///
    /// struct App {
    ///     database_password: String,
    /// }
    ///
    /// async fn session(secrets: &Secrets<App>) -> Result<Connection, TryError<Error>> {
    ///     let log_in = |app: Arc<App>| async move {
    ///         let connection = connect(&app.database_password).await;
    ///         connection.map_err(|error| match error.code() {
    ///             // invalid_password, in PostgreSQL's list of error codes
    ///             Some("28P01") => Attempt::Unauthenticated(error),
    ///             _ => Attempt::Other(error),
    ///         })
    ///     };
    ///     secrets.try_each_as(CredentialKind::single_user(), log_in).await
    /// }
    /// ```
    ///
    /// # Errors
    /// [`TryError::Failed`] with that of `op`: the newest credential's, or the first
    /// [`Attempt::Other`] (for `Overlapping`, before the previous one). For a single user also
    /// [`TryError::LeftAlone`] and [`TryError::Untrusted`], after which `op` was not called at all.
    ///
    /// # Cancellation safety
    /// Dropping the future drops the call in progress and ends its waiting; a refresh that was asked
    /// for goes on.
    pub async fn try_each_as<R, E, F, Fut>(
        &self,
        kind: CredentialKind,
        op: F,
    ) -> Result<R, TryError<E>>
    where
        F: FnMut(Arc<T>) -> Fut,
        Fut: Future<Output = Result<R, Attempt<E>>>,
    {
        match kind {
            CredentialKind::Overlapping => self.try_overlapping(op).await.map_err(TryError::Failed),
            CredentialKind::SingleUser { flip_wait } => self.try_single_user(flip_wait, op).await,
        }
    }

    async fn try_overlapping<R, E, F, Fut>(&self, mut op: F) -> Result<R, E>
    where
        F: FnMut(Arc<T>) -> Fut,
        Fut: Future<Output = Result<R, Attempt<E>>>,
    {
        let mut refusal = None;
        if self.holds(&self.snapshot.current) {
            self.note_use(self.version(), &self.snapshot.current.bundle);
            match op(self.bundle()).await {
                Err(Attempt::Unauthenticated(error)) => refusal = Some(error),
                answer => return answer.map_err(Attempt::into_error),
            }
        }
        if self.newest().version() == self.version() {
            self.refresh_after_refusal().await;
        }
        let newest = self.newest();
        let is_untried = refusal.is_none() || newest.version() != self.version();
        if is_untried && self.holds(&newest.snapshot.current) {
            match op(newest.bundle()).await {
                Err(Attempt::Unauthenticated(error)) => refusal = Some(error),
                answer => return answer.map_err(Attempt::into_error),
            }
        }
        let previous = newest.snapshot.previous();
        if let Some(previous) = previous.filter(|held| held.id != *self.version()) {
            self.note_use(&previous.id, &previous.bundle);
            match op(previous.bundle.clone()).await {
                Ok(result) => return Ok(result),
                Err(error) => {
                    refusal.get_or_insert(error.into_error());
                }
            }
        }
        match refusal {
            Some(error) => Err(error),
            None => op(newest.bundle()).await.map_err(Attempt::into_error),
        }
    }

    async fn try_single_user<R, E, F, Fut>(
        &self,
        wait: Duration,
        mut op: F,
    ) -> Result<R, TryError<E>>
    where
        F: FnMut(Arc<T>) -> Fut,
        Fut: Future<Output = Result<R, Attempt<E>>>,
    {
        let mut refusal = None;
        let mut tried = Vec::new();
        let mut is_refreshed = false;
        let mut waiting: Option<(FlipWait, Instant)> = None;
        loop {
            let newest = self.newest();
            let leave = newest.next_to_try(&tried, is_refreshed, waiting.is_some());
            if let Some((held, leave)) = leave {
                newest.note_use(&held.id, &held.bundle);
                let error = match op(held.bundle.clone()).await {
                    Ok(result) => {
                        if let Some(leave) = leave {
                            leave.accepted();
                        }
                        return Ok(result);
                    }
                    Err(Attempt::Other(error)) => return Err(TryError::Failed(error)),
                    Err(Attempt::Unauthenticated(error)) => error,
                };
                let now = self.snapshot.clock.now().mono;
                if let Some(leave) = leave {
                    leave.refused(now);
                }
                let is_current = held.id == *newest.version();
                let is_older = is_current && newest.has_tried_pending(&tried);
                if refusal.is_none() || !is_older {
                    refusal = Some(error);
                }
                tried.push(held.id.clone());
                if let Some((flip, _)) = &waiting
                    && is_current
                    && held.id != *flip.version()
                {
                    break; // The flip came, and was no help.
                }
            } else if !is_refreshed {
                self.refresh_after_refusal().await;
                is_refreshed = true;
            } else if let Some((flip, limit)) = &mut waiting {
                let now = self.snapshot.clock.now().mono;
                if !flip.news(*limit, now).await {
                    break;
                }
            } else {
                // What came before this moment is looked at once more before anything is waited for.
                let Some(flip) = newest.wait_for_flip() else {
                    break;
                };
                waiting = Some((flip, Instant::now() + wait.min(LONGEST_WAIT)));
            }
        }
        Err(refusal.map_or_else(|| self.newest().why_nothing(), TryError::Failed))
    }

    /// For whoever wants to know whether a version that was replaced is still sent to upstreams.
    fn note_use(&self, version: &VersionId, bundle: &Arc<T>) {
        if let Some(keyring) = self.snapshot.keyring.upgrade()
            && keyring.snapshot().current.id != *version
        {
            keyring.note_use(version, bundle);
        }
    }

    /// What a single user's call may try next, current, else pending, with leave to do so (`None`
    /// where the keyring is gone).
    fn next_to_try<'a>(
        &'a self,
        tried: &[VersionId],
        with_pending: bool,
        has_waited: bool,
    ) -> Option<(&'a Held<T>, Option<Try>)> {
        let keyring = self.snapshot.keyring.upgrade();
        let now = self.snapshot.clock.now();
        let leave = |held: &'a Held<T>, is_proven| {
            if tried.contains(&held.id) || !held.trust.holds(now) {
                return None;
            }
            match &keyring {
                Some(keyring) => {
                    let leave = keyring.refusals.begin(&held.id, is_proven, now.mono)?;
                    Some((held, Some(leave)))
                }
                None => Some((held, None)),
            }
        };
        // What was waited for is met by a crowd.
        let current = leave(&self.snapshot.current, !has_waited);
        current.or_else(|| {
            let pending = self.snapshot.pending().filter(|_| with_pending)?;
            leave(pending, false)
        })
    }

    /// Why a single user's call has tried nothing.
    fn why_nothing<E>(&self) -> TryError<E> {
        let version = self.version().clone();
        if self.holds(&self.snapshot.current) {
            TryError::LeftAlone { version }
        } else {
            TryError::Untrusted { version }
        }
    }

    fn has_tried_pending(&self, tried: &[VersionId]) -> bool {
        let pending = self.snapshot.pending.as_ref();
        pending.is_some_and(|held| tried.contains(&held.id))
    }

    fn holds(&self, held: &Held<T>) -> bool {
        held.trust.holds(self.snapshot.clock.now())
    }

    /// The newest snapshot, or this one where the keyring is gone.
    fn newest(&self) -> Self {
        let keyring = self.snapshot.keyring.upgrade();
        keyring.map_or_else(|| self.clone(), |keyring| keyring.secrets())
    }

    /// Holds no keyring while it waits: the last handle may go meanwhile.
    async fn refresh_after_refusal(&self) {
        let keyring = self.snapshot.keyring.upgrade();
        let ended = keyring.map(|keyring| keyring.refresh_after_refusal());
        if let Some(mut ended) = ended {
            // An error says that the refresh has ended. What came of it is told by the events.
            let _ = ended.changed().await;
        }
    }

    fn wait_for_flip(&self) -> Option<FlipWait> {
        let keyring = self.snapshot.keyring.upgrade()?;
        let now = self.snapshot.clock.now().mono;
        let refusals = keyring.refusals.clone();
        Some(refusals.wait_for_flip(self.version().clone(), now))
    }
}
