//! The shared, refreshable handle on a secret, and what it knows about its keys.

use std::{fmt, sync::Arc};

use crate::{
    clock::Clock,
    event::Events,
    refresh::{Builder, RefreshError, Refreshed, Trigger},
    secrets::Secrets,
    source::{Source, VersionId},
};

pub(crate) mod key;
pub use key::{JwtKey, KeyError, KeyErrorKind, KeyId, SignError, SignErrorKind};

pub(crate) mod registered;
pub use registered::{Audience, RegisteredClaims};

pub(crate) mod ledger;
pub use ledger::CutOff;

mod drain;
mod in_flight;
pub use in_flight::{InUse, ReplacedStatus, UnknownVersion};

mod authority;
pub(crate) use authority::{Authority, Judged};
mod refusals;
#[cfg(test)]
mod refusals_tests;
pub(crate) use refusals::{FLIP_INTERVAL, FlipWait, Try};

mod frame;
mod shared;
pub(crate) use shared::{LoopEnds, Reply, Request, Settings, Shared};

pub(crate) mod session_key;
pub use session_key::SessionKey;

pub(crate) mod session_keys;
pub use session_keys::SessionKeys;

mod signer;
pub use signer::Signer;

mod status;
pub use status::{Failure, NotSafe, Quarantine, RefusedPart, StalePart, Status, VersionStatus};
pub(crate) use status::{Refused, Sample};

pub(crate) mod verify;
pub use verify::{VerifyError, VerifyErrorKind};

mod latest_exp;
pub(crate) use latest_exp::LatestExp;

pub(crate) mod cache;

mod unknown_key;
pub use unknown_key::UnknownKey;

mod gate;
#[cfg(test)]
mod gate_tests;
pub(crate) use gate::Waiter;

mod self_test;

/// The shared handle on a secret that changes while the process runs.
///
/// Made by [`Keyring::builder`]; cheap to clone. A background task keeps it fresh for as long as
/// any clone lives; [`Secrets`] held by requests do not count.
///
/// ```
/// use serde::Deserialize;
/// use tower_secrets::{JwtKey, Keyring, source::Memory};
///
/// #[derive(Deserialize)]
/// struct App {
///     jwt_secret: JwtKey,
///     api_key: String,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let source = Memory::new(r#"{"jwt_secret":"0123456789abcdef0123456789abcdef","api_key":"one"}"#);
/// let keyring = Keyring::<App>::builder(source.clone())
///     .jwt_key(|app| &app.jwt_secret)
///     .build()
///     .await?;
///
/// source.rotate(r#"{"jwt_secret":"fedcba9876543210fedcba9876543210","api_key":"two"}"#);
/// assert!(keyring.refresh().await?.is_swapped());
///
/// let secrets = keyring.current();
/// assert_eq!(secrets.api_key, "two");
/// assert_eq!(secrets.previous().expect("inside the window").api_key, "one");
/// # Ok(())
/// # }
/// ```
pub struct Keyring<T> {
    shared: Arc<Shared<T>>,
}

impl<T: Send + Sync + 'static> Keyring<T> {
    /// The newest snapshot, for background tasks, start-up code and servers without HTTP. Never
    /// waits.
    #[must_use]
    pub fn current(&self) -> Secrets<T> {
        self.shared.secrets()
    }

    /// Fetches now and tells what came of it. Callers that ask while a fetch is under way share
    /// the *next* one, so what is answered was fetched after the asking.
    ///
    /// A version that a probe refused before is probed again at once: somebody asked for it.
    ///
    /// # Errors
    /// Which step refused the new version, and why; the snapshot in use stays. After a shutdown
    /// [`RefreshError::is_stopped`] is true.
    ///
    /// # Cancellation safety
    /// Dropping the future cancels nothing: the refresh goes on.
    pub async fn refresh(&self) -> Result<Refreshed, RefreshError> {
        self.shared.refresh(Trigger::Manual).await
    }

    /// Refuses a version's verification key from now on, in whatever stage it is or will be, for the
    /// life of the process and whatever the store says, and gives its bundle as previous no more.
    /// For a key that leaked. An id that is not known yet is remembered.
    ///
    /// Where it is current, `Secrets` goes on showing the bundle, because there is no other; tokens
    /// of its key are refused until the store has a new
    /// one, and a refresh is asked for. It is local to this process: to withdraw a key from a
    /// fleet, remove it from the store.
    pub fn revoke(&self, version: &VersionId) {
        self.shared.revoke(version, false);
    }

    /// [`revoke`](Self::revoke) for what is previous now, without touching current: a key that
    /// both have goes on verifying. Tells which versions that were.
    #[expect(clippy::must_use_candidate, reason = "it is called for what it does")]
    pub fn revoke_previous(&self) -> Vec<VersionId> {
        let versions = self.shared.books().ledger.previous_versions();
        for version in &versions {
            self.shared.revoke(version, true);
        }
        versions
    }

    /// Takes a [`revoke`](Self::revoke) back; `false` where there was none. Deadlines that passed
    /// meanwhile stay passed.
    #[expect(clippy::must_use_candidate, reason = "it is called for what it does")]
    pub fn restore(&self, version: &VersionId) -> bool {
        self.shared.restore(version)
    }

    /// What an operator wants to see: versions, windows, the last refreshes.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Sets the [gauges](crate::metrics) to what is true now. The refresh loop does it when something happens
    /// and every 15 s; call it where a scrape should show this very moment.
    #[cfg(feature = "metrics")]
    pub fn record_metrics(&self) {
        self.shared.sample();
    }

    /// What happens from now on, through [`Events::next`].
    #[must_use]
    pub fn subscribe(&self) -> Events {
        self.shared.events.subscribe()
    }

    /// The public keys of all stages as a JWK Set (RFC 7517, section 5), for verifiers elsewhere: current,
    /// previous while it is trusted, and pending, which is how they know it before it signs. Serve it as
    /// `application/jwk-set+json`. A verifier that caches it knows a new key as much later than the last replica
    /// does: add the cache's life (`max-age`, and what some verifiers add) to the
    /// [activation delay](crate::Builder::activation_delay).
    ///
    /// Secrets and revoked keys are not in it, and private keys with their public half alone; over a bundle
    /// of nothing but secrets the set is empty.
    ///
    /// ```
    /// # use tower_secrets::Keyring;
    /// async fn jwks<App: Send + Sync + 'static>(keyring: Keyring<App>) -> ([(&'static str, &'static str); 2], String) {
    ///     let headers = [("content-type", "application/jwk-set+json"), ("cache-control", "max-age=60")];
    ///     (headers, keyring.jwks())
    /// }
    /// ```
    #[must_use]
    pub fn jwks(&self) -> String {
        let snapshot = self.shared.snapshot();
        let now = self.clock().now();
        let trusted = snapshot.keys.iter().filter(|held| held.trust.holds(now));
        let keys: Vec<_> = trusted.filter_map(|held| held.key.public_jwk()).collect();
        serde_json::json!({ "keys": keys }).to_string()
    }

    /// Mints tokens that the other processes over the same secret can verify.
    #[must_use]
    pub fn signer(&self) -> Signer<T> {
        Signer::new(self.clone())
    }

    /// The keys that bind MCP sessions and request states, which rotate with this keyring. `None` where
    /// the builder was given no [`session_key`](Builder::session_key).
    #[must_use]
    pub fn session_keys(&self) -> Option<SessionKeys> {
        self.shared.session_keys.clone()
    }

    /// Ends the refresh loop and waits until it has ended. The snapshot stays readable; a refresh
    /// under way is abandoned, and later ones fail.
    ///
    /// # Cancellation safety
    /// The loop ends even if the future is dropped after its first poll.
    pub async fn shutdown(&self) {
        self.shared.stop.send_replace(true);
        let mut done = self.shared.done.clone();
        // An error says that the loop dropped its end, which is what is waited for.
        while done.changed().await.is_ok() {}
    }

    /// Whether the refresh loop has ended.
    #[cfg(feature = "admin")]
    pub(crate) fn is_stopped(&self) -> bool {
        self.shared.done.has_changed().is_err()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<T>> {
        &self.shared
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    pub(crate) fn passes_self_test(&self) -> bool {
        !self.has_jwt_key() || self_test::passes(&self.shared.snapshot(), self.clock().now())
    }

    pub(crate) fn has_jwt_key(&self) -> bool {
        self.shared.settings.has_jwt_key
    }

    /// Whether a token of an unknown key may be worth a wait.
    pub(crate) fn waits_for_keys(&self) -> bool {
        self.shared.waits_for_keys()
    }

    /// Whether the source has been silent for longer than `refuse_after`.
    pub(crate) fn refuses(&self) -> bool {
        let limit = self.shared.settings.refuse_after;
        limit.is_some_and(|limit| self.shared.staleness(self.shared.clock.now()) > limit)
    }
}

impl<Raw: serde::de::DeserializeOwned + Send + Sync + 'static> Keyring<Raw> {
    /// Starts to build a keyring over `source`, whose documents are JSON of the shape `Raw`.
    pub fn builder(source: impl Source) -> Builder<Raw> {
        Builder::new(source.boxed())
    }
}

impl<T> Clone for Keyring<T> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<T> fmt::Debug for Keyring<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.shared.snapshot();
        f.debug_struct("Keyring")
            .field("source", &self.shared.settings.source_name)
            .field("generation", &snapshot.generation)
            .field("version", &snapshot.current.id)
            .finish_non_exhaustive()
    }
}
