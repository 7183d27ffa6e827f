//! Where secrets come from.
//!
//! A [`Source`] answers one question: which versions of the secret are valid now, and what is in
//! them? All [stages](Stage) come in one answer, [`Versions`], taken from one consistent view of
//! the store, so that a current and a previous from different moments can never meet.
//!
//! | source | feature | what it reads |
//! |---|---|---|
//! | [`Memory`] | | versions put in by the program; for tests of your own server |
//! | a closure | | `Fn() -> impl Future<Output = Result<Versions, SourceError>>` |
//! | [`File`] | `file` | a mounted directory, such as a Kubernetes Secret |
//! | [`SecretsManager`] | `aws` | a secret of AWS Secrets Manager, with its staging labels |
//! | [`Jwks`] | `jwks` | the public keys of an identity provider, over HTTP |
//! | [`Combined`] | | several secrets, each with its own source, as one bundle |
//! | [`Vault`] | `vault` | a secret of a Vault or OpenBao KV engine, version 2 |
//! | [`VaultDatabase`] | `vault` | a database's credentials, changed or lent by Vault or OpenBao |
//! | [`Fallback`] | | a second source for a start while the first is down |

use std::{fmt, future::Future, pin::Pin, time::Duration};

use crate::guard::{FAR, catch, guarded, log};

mod version;
pub(crate) use version::Side;
pub use version::{Stage, Version, VersionId, Versions};

mod error;
pub use error::{SourceError, SourceErrorKind};

mod memory;
pub use memory::Memory;

#[cfg(feature = "file")]
mod file;
#[cfg(feature = "file")]
pub use file::File;

#[cfg(any(feature = "file", feature = "vault"))]
mod rfc3339;

#[cfg(any(feature = "aws", feature = "vault"))]
mod fetch_time;

#[cfg(any(feature = "aws", feature = "vault"))]
mod last_word;

#[cfg(any(feature = "aws", feature = "vault"))]
mod window_start;
#[cfg(any(feature = "aws", feature = "vault"))]
pub use window_start::WindowStart;

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "aws")]
pub use aws::SecretsManager;

#[cfg(feature = "jwks")]
pub mod jwks;
#[cfg(feature = "jwks")]
pub use jwks::Jwks;
pub(crate) mod combined;
pub use combined::Combined;
#[cfg(feature = "vault")]
pub mod vault;
#[cfg(feature = "vault")]
pub use vault::{Vault, VaultAuth, VaultClient, VaultDatabase};

mod fallback;
pub use fallback::Fallback;

/// A store of secret versions.
///
/// Implementors write `async fn`s. Where the source is chosen at run time, [`boxed`](Source::boxed)
/// erases its type.
///
/// ```
/// use tower_secrets::source::{Source, SourceError, Version, Versions};
///
/// struct Vending;
///
/// impl Source for Vending {
///     async fn fetch(&self) -> Result<Versions, SourceError> {
///         let document = br#"{"api_key":"a key fetched from somewhere"}"#;
///         Ok(Versions::new(Version::new("7", document)))
///     }
/// }
/// # let _ = Vending.boxed();
/// ```
pub trait Source: Send + Sync + 'static {
    /// Reads all stages from one consistent view of the store.
    ///
    /// A view without a previous *withdraws* it: after a rotation the old key is then refused at
    /// once, without a window. Where the store holds one value only, keep the version that
    /// [`published`](Self::published) named last, and add it with [`Versions::with_previous`] when
    /// current changes, as `File` does.
    ///
    /// # Errors
    /// When *current* cannot be read. A previous or pending version that cannot be read is no
    /// error; it is reported with [`Versions::with_unreadable`].
    ///
    /// # Cancellation safety
    /// The refresh loop drops the future when its time limit (10 s by default) has passed, and at
    /// shutdown; the next call starts over.
    fn fetch(&self) -> impl Future<Output = Result<Versions, SourceError>> + Send;

    /// Resolves when the source itself knows that something changed; never, by default. It is
    /// awaited while `fetch` may be running. A panic ends the watching; the interval goes on.
    ///
    /// # Cancellation safety
    /// A change that was not yet reported when the future was dropped must be reported by the next
    /// call.
    fn changed(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Tells the source that this version was proved and swapped in as current: at start and after
    /// each swap, also when only another stage changed. It must not block.
    fn published(&self, current: &VersionId) {
        let _ = current;
    }

    /// Called before a [`fetch`](Self::fetch) that somebody asked for: a person, a signal, a token
    /// of an unknown key, an upstream that refused a credential. A source that answers from memory
    /// while its last answer is fresh must ask the store this time. It must not block.
    fn invalidate(&self) {}

    /// Whether a token of an unknown key may ask for a refresh unless the builder says otherwise;
    /// see [`Builder::refresh_on_unknown_key`](crate::Builder::refresh_on_unknown_key). `true` for a
    /// store whose writer signs with a new key at once and expects readers to fetch it.
    fn refresh_on_unknown_key(&self) -> bool {
        false
    }

    /// Tells the source how long one fetch may take, before the first and where that changes: for a
    /// source that divides the time among several calls. What takes longer is dropped anyway. It must not block.
    fn set_fetch_limit(&self, limit: Duration) {
        let _ = limit;
    }

    /// Tells the source that the bundles of these versions are used no more: none is current or
    /// previous, and the last request that held one as such has ended. It must not block. For a
    /// source that ends what it gave out, such as a lease.
    ///
    /// Previous lasts until its window ends, or with
    /// [`release_previous_at_swap`](crate::Builder::release_previous_at_swap) until the swap; a key
    /// of it may then verify tokens for longer.
    ///
    /// A version that comes into use again is told of again. What was never in use, such as a
    /// version that a probe refused, is not told of, and neither is what is in use at shutdown.
    /// `in_use` are the versions that still are, for a source whose versions have parts.
    fn drained(&self, versions: &[VersionId], in_use: &[VersionId]) {
        let _ = (versions, in_use);
    }

    /// A short name for logs and errors, such as a path or an ARN; never a value.
    fn name(&self) -> String {
        "source".to_owned()
    }

    /// Erases the type, so that a source can be chosen at run time.
    fn boxed(self) -> BoxSource
    where
        Self: Sized,
    {
        BoxSource(Box::new(self))
    }
}

/// A closure that returns [`Versions`] is a source.
///
/// ```
/// use tower_secrets::source::{Source, SourceError, Version, Versions};
///
/// let source = || async { Ok::<_, SourceError>(Versions::new(Version::new("1", b"{}"))) };
/// let _ = source.boxed();
/// ```
impl<F, Fut> Source for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Versions, SourceError>> + Send,
{
    fn fetch(&self) -> impl Future<Output = Result<Versions, SourceError>> + Send {
        self()
    }

    fn name(&self) -> String {
        "closure".to_owned()
    }
}

/// Any [`Source`], its type erased; made by [`Source::boxed`].
pub struct BoxSource(Box<dyn ErasedSource>);

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

// Its method names differ from `Source`'s: with equal names a call on the box would be ambiguous.
trait ErasedSource: Send + Sync {
    fn fetch_boxed(&self) -> BoxFuture<'_, Result<Versions, SourceError>>;
    fn changed_boxed(&self) -> BoxFuture<'_, ()>;
    fn tell_published(&self, current: &VersionId);
    fn tell_invalidate(&self);
    fn asks_on_unknown_key(&self) -> bool;
    fn tell_fetch_limit(&self, limit: Duration);
    fn tell_drained(&self, versions: &[VersionId], in_use: &[VersionId]);
    fn own_name(&self) -> String;
}

impl<S: Source> ErasedSource for S {
    fn fetch_boxed(&self) -> BoxFuture<'_, Result<Versions, SourceError>> {
        Box::pin(self.fetch())
    }

    fn changed_boxed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.changed())
    }

    fn tell_published(&self, current: &VersionId) {
        self.published(current);
    }

    fn tell_invalidate(&self) {
        self.invalidate();
    }

    fn asks_on_unknown_key(&self) -> bool {
        self.refresh_on_unknown_key()
    }

    fn tell_fetch_limit(&self, limit: Duration) {
        self.set_fetch_limit(limit);
    }

    fn tell_drained(&self, versions: &[VersionId], in_use: &[VersionId]) {
        self.drained(versions, in_use);
    }

    fn own_name(&self) -> String {
        self.name()
    }
}

impl BoxSource {
    /// What it is told is its own affair: where one of several panics, the others hear of it still.
    fn tell(&self, how: impl FnOnce(&dyn ErasedSource)) {
        if catch(|| how(&*self.0)).is_err() {
            log(|| tracing::error!(source = self.name(), "secrets_source_panicked"));
        }
    }
}

/// A panic is caught, in all but [`fetch`](Source::fetch): whoever awaits that has a limit for it, too.
impl Source for BoxSource {
    fn fetch(&self) -> impl Future<Output = Result<Versions, SourceError>> + Send {
        self.0.fetch_boxed()
    }

    /// After a panic there is none any more; the interval goes on.
    async fn changed(&self) {
        if guarded(FAR, || self.0.changed_boxed()).await.is_err() {
            log(|| tracing::error!(source = self.name(), "secrets_watch_ended"));
            std::future::pending().await
        }
    }

    fn published(&self, current: &VersionId) {
        self.tell(|source| source.tell_published(current));
    }

    fn invalidate(&self) {
        self.tell(|source| source.tell_invalidate());
    }

    fn refresh_on_unknown_key(&self) -> bool {
        catch(|| self.0.asks_on_unknown_key()).unwrap_or(false)
    }

    fn set_fetch_limit(&self, limit: Duration) {
        self.tell(|source| source.tell_fetch_limit(limit));
    }

    fn drained(&self, versions: &[VersionId], in_use: &[VersionId]) {
        self.tell(|source| source.tell_drained(versions, in_use));
    }

    fn name(&self) -> String {
        catch(|| self.0.own_name()).unwrap_or_else(|_| "source".to_owned())
    }

    fn boxed(self) -> BoxSource {
        self
    }
}

impl fmt::Debug for BoxSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BoxSource").field(&self.name()).finish()
    }
}
