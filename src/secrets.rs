//! What a request holds: one consistent view of the secret, and the way past it, by name, for
//! upstreams that refuse a credential.

use std::{any::Any, fmt, ops::Deref, sync::Arc};

use crate::{
    keyring::Keyring,
    per_thread::Share,
    snapshot::{Reader, Snapshot, VerifiedBy},
    source::VersionId,
};

mod try_each;
pub use try_each::{Attempt, CredentialKind};
mod try_error;
pub use try_error::TryError;

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
    snapshot: Reader<T>,
}

impl<T> Secrets<T> {
    pub(crate) fn new(snapshot: Reader<T>) -> Self {
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

impl<T: Send + Sync + 'static> Pinned for Share<Snapshot<T>> {
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
        any.is::<Share<Snapshot<T>>>().then_some(())?;
        let any: Arc<dyn Any + Send + Sync> = pinned.clone();
        any.downcast().ok().map(Self::new)
    }
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
