//! A second source for a start while the first is down.

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{BoxSource, Source, SourceError, VersionId, Versions};
use crate::guard::{guarded, log};

const DEFAULT_PATIENCE: Duration = Duration::from_secs(4);

/// Asks the second source while the first has never answered since this process started.
///
/// A running server needs no fallback: when its store is down, the keyring keeps the snapshot that
/// it has. A *starting* server has none. So the second source, such as a sealed copy on disk, is
/// asked only until the first has answered once; after that the first one's errors are errors. What
/// the second source gave is marked [degraded](Versions::degraded), and each use of it emits the
/// event `secrets_fallback_used` with the first one's error.
///
/// ```
/// use std::time::Duration;
/// use tower_secrets::source::{Fallback, Memory, Source};
///
/// let store = Memory::new(r#"{"api_key":"from the store"}"#);
/// let copy = Memory::new(r#"{"api_key":"from the copy"}"#);
/// let source = Fallback::new(store, copy).patience(Duration::from_secs(2));
/// assert_eq!(source.name(), "memory, else memory");
/// ```
pub struct Fallback {
    primary: BoxSource,
    other: BoxSource,
    patience: Duration,
    answered: AtomicBool,
    /// What the first source is to be told of its time when it has answered, where that is more.
    limit: Mutex<Option<Duration>>,
}

impl Fallback {
    /// Asks `primary`, and `other` while `primary` has never answered.
    pub fn new(primary: impl Source, other: impl Source) -> Self {
        Self {
            primary: primary.boxed(),
            other: other.boxed(),
            patience: DEFAULT_PATIENCE,
            answered: AtomicBool::new(false),
            limit: Mutex::default(),
        }
    }

    /// How long the first source may take before the second is asked; 4 s by default. It counts
    /// only until the first one has answered once.
    ///
    /// A store that is down often hangs instead of refusing, so keep this, plus the time that the
    /// second source needs, below the keyring's time limit for a fetch (10 s by default).
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    async fn fetch_primary_in_time(&self) -> Result<Versions, SourceError> {
        guarded(self.patience, || self.primary.fetch())
            .await
            .unwrap_or_else(|fault| Err(fault.into()))
    }

    fn limit(&self) -> MutexGuard<'_, Option<Duration>> {
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A withdrawal counts as this source's own, once nothing of the other one is asked for any more.
    fn passed_on(&self, error: SourceError) -> SourceError {
        match error.withdraws_previous_of(&self.primary.name()) {
            true => error.without_previous(self.name()),
            false => error,
        }
    }

    async fn fetch_other(&self, error: SourceError) -> Result<Versions, SourceError> {
        match self.other.fetch().await {
            Ok(versions) => {
                log(|| {
                    tracing::warn!(
                        source = %self.primary.name(),
                        fallback = %self.other.name(),
                        kind = error.kind().as_str(),
                        %error,
                        "secrets_fallback_used"
                    );
                });
                Ok(versions.degraded())
            }
            Err(other) => {
                let (primary, fallback) = (self.primary.name(), self.other.name());
                let text = format!("{primary}: {error}; fallback {fallback}: {other}");
                let both = SourceError::new(error.kind(), text);
                Err(match error.retry_after() {
                    Some(pause) => both.with_retry_after(pause),
                    None => both,
                })
            }
        }
    }
}

impl Source for Fallback {
    async fn fetch(&self) -> Result<Versions, SourceError> {
        if self.answered.load(Ordering::Acquire) {
            let answer = self.primary.fetch().await;
            return answer.map_err(|error| self.passed_on(error));
        }
        match self.fetch_primary_in_time().await {
            Ok(versions) => {
                self.answered.store(true, Ordering::Release);
                let limit = self.limit().take();
                if let Some(limit) = limit {
                    self.primary.set_fetch_limit(limit);
                }
                Ok(versions)
            }
            Err(error) => self.fetch_other(error).await,
        }
    }

    async fn changed(&self) {
        // Each source reports again a change that was not reported when its future was dropped.
        tokio::select! {
            () = self.primary.changed() => {}
            () = self.other.changed() => {}
        }
    }

    fn published(&self, current: &VersionId) {
        self.primary.published(current);
        self.other.published(current);
    }

    fn invalidate(&self) {
        self.primary.invalidate();
        self.other.invalidate();
    }

    fn refresh_on_unknown_key(&self) -> bool {
        self.primary.refresh_on_unknown_key()
    }

    fn set_fetch_limit(&self, limit: Duration) {
        let has_answered = self.answered.load(Ordering::Acquire);
        let is_shorter = self.patience < limit && !has_answered;
        *self.limit() = is_shorter.then_some(limit);
        let own = if is_shorter { self.patience } else { limit };
        self.primary.set_fetch_limit(own);
        self.other.set_fetch_limit(limit);
    }

    fn drained(&self, versions: &[VersionId], in_use: &[VersionId]) {
        self.primary.drained(versions, in_use);
        self.other.drained(versions, in_use);
    }

    fn name(&self) -> String {
        format!("{}, else {}", self.primary.name(), self.other.name())
    }
}

impl fmt::Debug for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            primary,
            other,
            patience,
            answered,
            limit: _,
        } = self;
        f.debug_struct("Fallback")
            .field("primary", primary)
            .field("other", other)
            .field("patience", patience)
            .field("answered", answered)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use super::*;
    use crate::source::{Memory, SourceErrorKind};

    fn down() -> SourceError {
        SourceError::new(SourceErrorKind::Unavailable, "store is down")
    }

    fn pair() -> (Memory, Memory, Fallback) {
        let primary = Memory::new("{}");
        let other = Memory::new("{}");
        other.rotate("{}");
        let source = Fallback::new(primary.clone(), other.clone());
        (primary, other, source)
    }

    #[tokio::test]
    async fn other_answers_until_primary_did_once() {
        let (primary, other, source) = pair();
        primary.fail_next(1, down());
        let first = source.fetch().await.unwrap();
        assert!(first.is_degraded());
        assert_eq!(first.current().id().as_str(), "2");

        let second = source.fetch().await.unwrap();
        assert!(!second.is_degraded());
        assert_eq!(second.current().id().as_str(), "1");

        primary.fail_next(1, down());
        let error = source.fetch().await.unwrap_err();
        assert_eq!(error.to_string(), "store is down");
        assert_eq!(other.fetches(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_primary_that_hangs_does_not_block_the_start() {
        let (primary, _other, source) = pair();
        primary.pause();
        assert!(source.fetch().await.unwrap().is_degraded());
        primary.resume();
        assert!(!source.fetch().await.unwrap().is_degraded());
    }

    #[tokio::test]
    async fn error_names_both() {
        let (primary, other, source) = pair();
        let pause = Duration::from_secs(60);
        primary.fail_next(1, down().with_retry_after(pause));
        let missing = SourceError::new(SourceErrorKind::NotFound, "no copy here");
        other.fail_next(1, missing.with_retry_after(2 * pause));
        let error = source.fetch().await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Unavailable);
        // It is the first source that is waited for.
        assert_eq!(error.retry_after(), Some(pause));
        assert_eq!(
            error.to_string(),
            "memory: store is down; fallback memory: no copy here"
        );
    }

    /// Or one that divides its time would count on more than it has, and fail whole over a part of it.
    #[tokio::test]
    async fn until_the_first_source_has_answered_its_time_is_what_it_is_waited_for() {
        #[derive(Clone, Default)]
        struct Told(Arc<Mutex<Vec<Duration>>>);

        impl Source for Told {
            async fn fetch(&self) -> Result<Versions, SourceError> {
                Ok(Versions::new(crate::source::Version::new("1", "{}")))
            }

            fn set_fetch_limit(&self, limit: Duration) {
                self.0.lock().unwrap().push(limit);
            }
        }

        let seconds = Duration::from_secs;
        for (limit, told) in [(10, vec![4, 10]), (3, vec![3])] {
            let primary = Told::default();
            let source = Fallback::new(primary.clone(), Memory::new("{}"));
            source.set_fetch_limit(seconds(limit));
            for _ in 0..2 {
                source.fetch().await.unwrap();
            }
            let expected: Vec<_> = told.into_iter().map(seconds).collect();
            assert_eq!(*primary.0.lock().unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn a_withdrawal_is_passed_on_once_the_first_source_has_answered() {
        let (primary, other, source) = pair();
        let withdrawal = down().without_previous("memory");
        primary.fail_next(1, withdrawal.clone());
        other.fail_next(1, withdrawal.clone());
        let error = source.fetch().await.unwrap_err();
        assert!(!error.withdraws_previous_of(&source.name()));
        source.fetch().await.unwrap();

        primary.fail_next(1, withdrawal);
        let error = source.fetch().await.unwrap_err();
        assert!(error.withdraws_previous_of(&source.name()));
        primary.fail_next(1, down().without_previous("another source"));
        let error = source.fetch().await.unwrap_err();
        assert!(!error.withdraws_previous_of(&source.name()));
    }

    #[tokio::test]
    async fn either_source_may_report_a_change_and_both_hear_of_a_swap() {
        let primary = Memory::new("{}").watched();
        let other = Memory::new("{}").watched();
        let source = Fallback::new(primary.clone(), other.clone());
        primary.rotate("{}");
        source.changed().await;
        other.rotate("{}");
        source.changed().await;

        source.published(&VersionId::new("2"));
        source.drained(&[VersionId::new("1")], &[]);
        for memory in [primary, other] {
            assert_eq!(memory.last_published(), Some("2".into()));
            assert_eq!(memory.drained_versions(), ["1".into()]);
        }
    }
}
