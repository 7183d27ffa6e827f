//! What the contract needs of a store.

use std::future::Future;

use tower_secrets::source::{Source, SourceErrorKind};

/// A store of one secret, with somebody who changes it.
pub(crate) trait Harness: Sized {
    type Source: Source;

    /// The kind of error while the store is down.
    const OUTAGE: SourceErrorKind;

    /// Whether a writer that never rests may be faster than each reading, which is then refused.
    const MAY_BE_OUTRUN: bool = false;

    /// How an emulator that changes in two steps what the real store changes in one is met between
    /// them: the end of the error's text.
    const GAP: Option<&str> = None;

    /// A store whose only version is this document. `None`, after telling why, where the store
    /// cannot be had.
    fn start(test: &str, document: &str) -> impl Future<Output = Option<Self>>;

    /// A source as a new process makes it.
    fn source(&self) -> Self::Source;

    /// What such a store makes of a document's text.
    fn stored(document: &str) -> String {
        document.to_owned()
    }

    /// Makes this document pending, in place of another.
    async fn stage(&mut self, document: &str);

    /// Makes the pending version current.
    async fn promote(&mut self);

    /// Forgets the pending version.
    async fn unstage(&mut self);

    /// Forgets the previous version.
    async fn withdraw(&mut self);

    /// Makes this document current, at once.
    async fn rotate(&mut self, document: &str);

    /// Takes the store away from its readers.
    async fn go_down(&mut self);

    /// Gives it back.
    async fn come_back(&mut self);
}
