//! What a request holds: one consistent view of the secret.

use std::{any::Any, fmt, future::Future, ops::Deref, sync::Arc};

use crate::{
    keyring::Keyring,
    snapshot::{Snapshot, VerifiedBy},
    source::VersionId,
};

/// One consistent view of the secret, for as long as it is held.
///
/// It dereferences to the bundle of the version that was current when it was taken. A rotation in
/// the middle of a request changes nothing in it: all fields, [`previous`](Self::previous) and the
/// [`version`](Self::version) come from one [generation](Self::generation). What it does obey at
/// once is the end of a window and a revocation: then `previous` is `None`.
///
/// In axum handlers and rmcp tools it is an argument; elsewhere
/// [`Keyring::current`](crate::Keyring::current) gives one. Take a new one for each unit of work:
/// whoever holds one for ever holds old credentials.
pub struct Secrets<T> {
    snapshot: Arc<Snapshot<T>>,
}

impl<T> Secrets<T> {
    pub(crate) fn new(snapshot: Arc<Snapshot<T>>) -> Self {
        Self { snapshot }
    }

    pub(crate) fn snapshot(&self) -> &Snapshot<T> {
        &self.snapshot
    }

    /// Whether it was taken from this keyring.
    pub(crate) fn is_of(&self, keyring: &Keyring<T>) -> bool
    where
        T: Send + Sync + 'static,
    {
        std::ptr::eq(
            self.snapshot.keyring.as_ptr(),
            Arc::as_ptr(keyring.shared()),
        )
    }

    /// The version that `Deref` shows.
    #[must_use]
    pub fn version(&self) -> &VersionId {
        &self.snapshot.current.id
    }

    /// Grows by one at each published snapshot: a new version, the end of a window, a revocation.
    /// Local to this process.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.snapshot.generation
    }

    /// The bundle that was current before, while its overlap window lasts and nobody revoked it.
    ///
    /// `None` where no previous is trusted, and always with `release_previous_at_swap`. With a
    /// `prepare` step also after a start, until this process has seen a rotation itself.
    #[must_use]
    pub fn previous(&self) -> Option<Arc<T>> {
        self.snapshot.previous().map(|held| held.bundle.clone())
    }

    /// The current bundle, shared.
    #[must_use]
    pub fn bundle(&self) -> Arc<T> {
        self.snapshot.current.bundle.clone()
    }
}

/// A snapshot whose bundle's type is not known where it is held.
pub(crate) trait Pinned: Any + Send + Sync {
    /// What is said of one of its keys.
    fn verified_by(&self, key: usize) -> &Arc<VerifiedBy>;

    /// Gives it an entry of its own, as `Secrets`, where there is none of its type.
    fn put_in(self: Arc<Self>, extensions: &mut http::Extensions);
}

impl<T: Send + Sync + 'static> Pinned for Snapshot<T> {
    fn verified_by(&self, key: usize) -> &Arc<VerifiedBy> {
        &self.verified_by[key]
    }

    fn put_in(self: Arc<Self>, extensions: &mut http::Extensions) {
        extensions.get_or_insert_with(|| Secrets::new(self));
    }
}

impl<T: Send + Sync + 'static> Secrets<T> {
    pub(crate) fn into_pinned(self) -> Arc<dyn Pinned> {
        self.snapshot
    }

    /// `None` for the snapshot of another type's bundle.
    pub(crate) fn of_pinned(pinned: &Arc<dyn Pinned>) -> Option<Self> {
        let any: &dyn Any = &**pinned;
        any.is::<Snapshot<T>>().then_some(())?;
        let any: Arc<dyn Any + Send + Sync> = pinned.clone();
        any.downcast().ok().map(Self::new)
    }

    /// Calls an upstream with the current credential and, where that is refused, with what else
    /// may work:
    ///
    /// 1. the bundle of this snapshot, unless it was revoked or its window ended meanwhile;
    /// 2. after an authentication failure a refresh is asked for and waited for (shared by all callers, at most
    ///    one in 10 s); then the newest bundle, if its version differs;
    /// 3. the previous bundle, while it is trusted.
    ///
    /// Where everything was revoked, the newest is tried all the same, for its error.
    ///
    /// Within those 10 s a second withdrawal by the upstream is met by the next ordinary refresh
    /// only.
    ///
    /// Each is tried at most once. The error that comes back is that of the newest credential
    /// tried. It is how a credential that the upstream revoked at once does not become an outage,
    /// and the one thing that looks past this snapshot.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use tower_secrets::{Attempt, Secrets};
    ///
    /// struct App { api_key: String }
    /// # struct Answer { status: u16 }
    /// # async fn call(key: &str) -> Result<Answer, std::io::Error> { Ok(Answer { status: key.len() as u16 }) }
    ///
    /// async fn handler(secrets: Secrets<App>) -> Result<Answer, String> {
    ///     secrets
    ///         .try_each(|app: Arc<App>| async move {
    ///             match call(&app.api_key).await {
    ///                 Ok(answer) if answer.status == 401 => {
    ///                     Err(Attempt::Unauthenticated("refused".to_owned()))
    ///                 }
    ///                 Ok(answer) => Ok(answer),
    ///                 Err(error) => Err(Attempt::Other(error.to_string())),
    ///             }
    ///         })
    ///         .await
    /// }
    /// ```
    ///
    /// # Errors
    /// That of `op` with the newest credential tried, or the first [`Attempt::Other`] before the
    /// previous one.
    ///
    /// # Cancellation safety
    /// Dropping the future drops the call in progress; a refresh that was asked for goes on.
    pub async fn try_each<R, E, F, Fut>(&self, mut op: F) -> Result<R, E>
    where
        F: FnMut(Arc<T>) -> Fut,
        Fut: Future<Output = Result<R, Attempt<E>>>,
    {
        let mut refused = None;
        let now = self.snapshot.clock.now();
        // A pinned credential that was revoked meanwhile is not sent any more.
        if self.snapshot.current.trust.holds(now) {
            match op(self.bundle()).await {
                Ok(result) => return Ok(result),
                Err(Attempt::Other(error)) => return Err(error),
                Err(Attempt::Unauthenticated(error)) => refused = Some(error),
            }
        }
        let newest = match self.snapshot.keyring.upgrade() {
            Some(keyring) => keyring.newest_after_refusal(self.version()).await,
            None => self.clone(),
        };
        let answer = match refused {
            Some(error) if newest.version() == self.version() => error,
            _ => match op(newest.bundle()).await {
                Ok(result) => return Ok(result),
                Err(Attempt::Other(error)) => return Err(error),
                Err(Attempt::Unauthenticated(error)) => error,
            },
        };
        let Some(previous) = newest.snapshot.previous() else {
            return Err(answer);
        };
        if previous.id == *self.version() {
            return Err(answer);
        }
        match op(previous.bundle.clone()).await {
            Ok(result) => Ok(result),
            Err(_) => Err(answer),
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

impl<T> Deref for Secrets<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.snapshot.current.bundle
    }
}

impl<T> Clone for Secrets<T> {
    fn clone(&self) -> Self {
        Self {
            snapshot: self.snapshot.clone(),
        }
    }
}

impl<T> fmt::Debug for Secrets<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { snapshot } = self;
        f.debug_struct("Secrets")
            .field("generation", &snapshot.generation)
            .field("version", &snapshot.current.id)
            .field("bundle", &"[redacted]")
            .finish()
    }
}
