//! The settings of a keyring.

use std::{error::Error, fmt, future::Future, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;

use super::{
    Parts, Probe,
    recipe::{Make, Recipe},
};
use crate::{
    clock::{Clock, SystemClock},
    keyring::{JwtKey, UnknownKey},
    source::BoxSource,
};

mod session;

mod signing;
use signing::Signing;

mod start;

/// How many verified tokens a snapshot remembers by default.
const TOKEN_CACHE: usize = 10_000;

/// Builds a [`Keyring`](crate::Keyring); made by [`Keyring::builder`](crate::Keyring::builder).
///
/// | setting | default |
/// |---|---|
/// | [`refresh_every`](Self::refresh_every) | 300 s |
/// | [`refresh_while_pending`](Self::refresh_while_pending) | no more often than that |
/// | [`overlap`](Self::overlap) | the least that the other settings allow, and 900 s at least: 910 s, with a probe 920 s |
/// | [`session_key_window`](Self::session_key_window) | 24 h, or the overlap where that is longer |
/// | [`fetch_limit`](Self::fetch_limit), [`probe_limit`](Self::probe_limit) | 10 s each, or the refresh interval where that is shorter |
/// | [`max_pending`](Self::max_pending) | 24 h |
/// | [`activation_delay`](Self::activation_delay) | one refresh interval and twice the limits: 320 s, with a probe 340 s |
/// | [`token_lifetime`](Self::token_lifetime) | not known, not checked |
/// | [`start_budget`](Self::start_budget) | 30 s |
/// | [`max_staleness`](Self::max_staleness), [`refuse_after`](Self::refuse_after) | off |
/// | [`token_cache`](Self::token_cache) | 10,000 entries |
/// | [`refresh_on_unknown_key`](Self::refresh_on_unknown_key) | what the source says: off, except for `Jwks` |
#[must_use = "a builder does nothing before `build`"]
pub struct Builder<Raw, T = Raw> {
    recipe: Recipe<Raw, T>,
    refresh_every: Duration,
    refresh_while_pending: Option<Duration>,
    fetch_limit: Option<Duration>,
    probe_limit: Option<Duration>,
    overlap: Option<Duration>,
    session_key_window: Option<Duration>,
    max_pending: Duration,
    release_previous_at_swap: bool,
    start_budget: Duration,
    max_staleness: Option<Duration>,
    refuse_after: Option<Duration>,
    reload_on_sighup: bool,
    token_cache: usize,
    unknown_key: Option<UnknownKey>,
    signing: Signing,
    clock: Arc<dyn Clock>,
}

impl<Raw: DeserializeOwned + Send + Sync + 'static> Builder<Raw> {
    pub(crate) fn new(source: BoxSource) -> Self {
        Self {
            recipe: Recipe::new(source),
            refresh_every: Duration::from_secs(300),
            refresh_while_pending: None,
            fetch_limit: None,
            probe_limit: None,
            overlap: None,
            session_key_window: None,
            max_pending: Duration::from_secs(24 * 3600),
            release_previous_at_swap: false,
            start_budget: Duration::from_secs(30),
            max_staleness: None,
            refuse_after: None,
            reload_on_sighup: false,
            token_cache: TOKEN_CACHE,
            unknown_key: None,
            signing: Signing::default(),
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// Builds the bundle `T` from the document `Raw`, for bundles that own resources made from
    /// secrets: a connection pool that is opened and tried with the new password before anyone
    /// gets it. It runs for current only, after the probes declared before this call, which see
    /// `Raw`; probes declared after it see `T`.
    ///
    /// [`Parts::reuse`] keeps what need not be built again. The bundle that was current stays as
    /// [`previous`](crate::Secrets::previous) until its window ends, and its resources are closed
    /// when their last holder lets go. After a start, `previous()` is `None` although the previous
    /// key verifies.
    ///
    /// The step has the time limit of a probe. An error's text is logged, after every string
    /// value of the document was taken out of it.
    ///
    /// ```
    /// # use std::{sync::Arc, io};
    /// # use serde::Deserialize;
    /// use tower_secrets::{Keyring, Parts, source::Memory};
    ///
    /// #[derive(Deserialize)]
    /// struct Raw { db_password: String }
    ///
    /// struct App { pool: Arc<String> }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let source = Memory::new(r#"{"db_password":"hunter2"}"#);
    /// let keyring = Keyring::<Raw>::builder(source)
    ///     .prepare(|raw: Arc<Raw>, parts: Parts| async move {
    ///         let connect = async { Ok::<_, io::Error>(Arc::new("a pool".to_owned())) };
    ///         let pool = parts.reuse("pool", &raw.db_password, connect).await?;
    ///         Ok::<_, io::Error>(App { pool })
    ///     })
    ///     .build()
    ///     .await?;
    /// assert_eq!(*keyring.current().pool, "a pool");
    /// # Ok(())
    /// # }
    /// ```
    pub fn prepare<T, E, F, Fut>(self, f: F) -> Builder<Raw, T>
    where
        T: Send + Sync + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
        F: Fn(Arc<Raw>, Parts) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let make = Make::Prepared(Box::new(move |raw, parts| {
            let prepared = f(raw, parts);
            Box::pin(async move { prepared.await.map_err(Into::into) })
        }));
        Builder {
            recipe: self.recipe.with_make(make),
            refresh_every: self.refresh_every,
            refresh_while_pending: self.refresh_while_pending,
            fetch_limit: self.fetch_limit,
            probe_limit: self.probe_limit,
            overlap: self.overlap,
            session_key_window: self.session_key_window,
            max_pending: self.max_pending,
            release_previous_at_swap: self.release_previous_at_swap,
            start_budget: self.start_budget,
            max_staleness: self.max_staleness,
            refuse_after: self.refuse_after,
            reload_on_sighup: self.reload_on_sighup,
            token_cache: self.token_cache,
            unknown_key: self.unknown_key,
            signing: self.signing,
            clock: self.clock,
        }
    }
}

impl<Raw, T> Builder<Raw, T>
where
    Raw: DeserializeOwned + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    /// The cache's time to live: how often the source is asked. Default 300 s. Each interval is
    /// drawn 0 to 10 % shorter, the first after the start 0 to 75 %, so that replicas do not ask in step,
    /// and never longer; a refresh that something else asks for moves none. After a
    /// failure the source is asked again after 1 s, doubled with jitter, never later than that. While a call
    /// of [`try_each_as`](crate::Secrets::try_each_as) waits for a flip, it is asked every second for up to
    /// a minute.
    pub fn refresh_every(mut self, interval: Duration) -> Self {
        self.refresh_every = interval;
        self
    }

    /// Asks the source so often while a pending version is seen, for up to ten minutes, so that its
    /// becoming current is met soon. Each interval is drawn 0 to 10 % shorter. Default: no more often than
    /// [`refresh_every`](Self::refresh_every) says, because all replicas see a pending version, and the
    /// calls of all together count for the store. Nothing needs it: pending keys verify, and
    /// [`try_each_as`](crate::Secrets::try_each_as) tries pending credentials.
    pub fn refresh_while_pending(mut self, interval: Duration) -> Self {
        self.refresh_while_pending = Some(interval);
        self
    }

    /// How long a replaced key stays trusted. It must be three times the refresh interval plus the time
    /// limits of fetch, `prepare` and probes, or some process would still use the old key when it ends; and
    /// as long as the last process signs with the old key, which is the
    /// [`activation_delay`](Self::activation_delay) after it saw the rotation, and those tokens live, where
    /// [`token_lifetime`](Self::token_lifetime) says how long.
    /// Default: that, and 900 s at least. With the other defaults it is 910 s, with a probe 920 s, and
    /// with it and a [`token_lifetime`](Self::token_lifetime) of 300 s 1010 s.
    pub fn overlap(mut self, window: Duration) -> Self {
        self.overlap = Some(window);
        self
    }

    /// Which field of the document verifies bearer tokens. Without it
    /// [`JwtRotationLayer`](crate::JwtRotationLayer) answers 500.
    pub fn jwt_key<F>(mut self, field: F) -> Self
    where
        F: for<'a> Fn(&'a Raw) -> &'a JwtKey + Send + Sync + 'static,
    {
        self.recipe.jwt_key = Some(Box::new(field));
        self
    }

    /// Accepts HMAC secrets shorter than their hash: 32 bytes for HS256, 48 for HS384, 64 for HS512.
    ///
    /// **Dangerous**: a short secret can be found offline from one token, and with it anybody's
    /// token forged (RFC 7518 section 3.2 requires those lengths). It is here for tests against
    /// systems that issue such secrets. An empty secret, and a public key given as a secret, are
    /// refused all the same.
    pub fn dangerously_allow_short_hmac_secrets(mut self) -> Self {
        self.recipe.allow_weak = true;
        self
    }

    /// Adds a check that a new bundle must pass before it is swapped in; see [`Probe`]. At the first
    /// build it only warns; to be strict there, use [`Probe::require`].
    pub fn probe<F, Fut, E>(self, name: impl Into<Arc<str>>, check: F) -> Self
    where
        F: Fn(Arc<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.probe_with(Probe::new(name, check))
    }

    /// Adds a check with settings of its own.
    pub fn probe_with(mut self, probe: Probe<T>) -> Self {
        self.recipe.probes.push(probe);
        self
    }

    /// Adds a check of one part of a [`Combined`](crate::source::Combined) source. It runs when that
    /// part has a new version, and refuses that version only: the part stays at what is in use, the rest is
    /// proved again without it and swapped in. The refusal is told as `secrets_reload_failed` with
    /// the part, stands in [`Status::refused_parts`](crate::Status::refused_parts), and the version
    /// is tried again after the pauses of other refused versions. Where the rest has nothing new,
    /// the refresh is an error.
    ///
    /// The check gets the whole bundle. At the first build it only warns, unless it was declared
    /// with [`Probe::require`]; then the bundle is refused as a whole. A part that the source does
    /// not have is an error of [`build`](Self::build). In what the substitute of a
    /// [`Fallback`](crate::source::Fallback) gives, which may have no parts, it judges the whole.
    ///
    /// ```
    /// # use std::{io, sync::Arc};
    /// # use serde::Deserialize;
    /// use tower_secrets::{Keyring, Probe, source::{Combined, Memory}};
    ///
    /// #[derive(Deserialize)]
    /// struct App { db: String, mail: String }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (db, mail) = (Memory::new(r#""one""#), Memory::new(r#""one""#));
    /// let source = Combined::new().with("db", db.clone()).with("mail", mail.clone());
    /// let keyring = Keyring::<App>::builder(source)
    ///     .part_probe("db", Probe::new("login", |app: Arc<App>| async move {
    ///         // Log in with the new password here.
    ///         if app.db == "wrong" { Err(io::Error::other("refused")) } else { Ok(()) }
    ///     }))
    ///     .build()
    ///     .await?;
    ///
    /// db.rotate(r#""wrong""#);
    /// mail.rotate(r#""two""#);
    /// assert!(keyring.refresh().await?.is_swapped());
    /// let secrets = keyring.current();
    /// assert_eq!((secrets.db.as_str(), secrets.mail.as_str()), ("one", "two"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn part_probe(self, part: impl Into<Arc<str>>, probe: Probe<T>) -> Self {
        self.probe_with(probe.of_part(part.into()))
    }

    /// Calls `f(old, new)` right after a new version came into use: the lighter form of
    /// [`prepare`](Builder::prepare), for a resource that takes a new password while it lives. It
    /// runs in the refresh loop, so it should be quick; a panic is caught and logged. It is not
    /// called for the first version. Set it after `prepare`, which drops one that was set before,
    /// because its bundle has another type.
    pub fn on_swap<F>(mut self, f: F) -> Self
    where
        F: Fn(&Arc<T>, &Arc<T>) + Send + Sync + 'static,
    {
        self.recipe.on_swap = Some(Box::new(f));
        self
    }

    /// Lets the previous bundle go at the swap instead of at the end of its window. Its key still
    /// verifies tokens. For bundles that own connections, where two sets would exceed a budget.
    pub fn release_previous_at_swap(mut self) -> Self {
        self.release_previous_at_swap = true;
        self
    }

    /// Reloads on SIGHUP. The handler stands before the first fetch, so an early signal does not
    /// end the process; it then counts as one reload. Signals within one second after a reload began
    /// are answered by one more at the end of that second. Does nothing off Unix.
    pub fn reload_on_sighup(mut self) -> Self {
        self.reload_on_sighup = true;
        self
    }

    /// How long one fetch may take. Default 10 s, or the refresh interval where that is shorter.
    pub fn fetch_limit(mut self, limit: Duration) -> Self {
        self.fetch_limit = Some(limit);
        self
    }

    /// How long the `prepare` step, and each probe without a limit of its own, may take. Default
    /// 10 s, or the refresh interval where that is shorter.
    pub fn probe_limit(mut self, limit: Duration) -> Self {
        self.probe_limit = Some(limit);
        self
    }

    /// How long a pending key is accepted for verification, and a pending credential is tried by
    /// [`try_each_as`](crate::Secrets::try_each_as). Default 24 h.
    pub fn max_pending(mut self, limit: Duration) -> Self {
        self.max_pending = limit;
        self
    }

    /// How long [`build`](Self::build) goes on trying while the source gives no answer. Default
    /// 30 s.
    pub fn start_budget(mut self, budget: Duration) -> Self {
        self.start_budget = budget;
        self
    }

    /// Raises the event `secrets_stale` when no fetch has succeeded for this long, and shows it in
    /// the status. Set it above `refresh_every`. What a source answers from memory does not count,
    /// and where half of this time has passed the store itself is asked. Off by default; refuses
    /// nothing.
    pub fn max_staleness(mut self, limit: Duration) -> Self {
        self.max_staleness = Some(limit);
        self
    }

    /// Refuses every request with 503 when no fetch has succeeded for this long. A file that is
    /// missing, unreadable or not JSON is such a failure; a bundle that a later step refuses is
    /// not. Counted as for [`max_staleness`](Self::max_staleness). Off by default, because a store's outage is not ours; at least ten refresh intervals.
    pub fn refuse_after(mut self, limit: Duration) -> Self {
        self.refuse_after = Some(limit);
        self
    }

    /// How many verified tokens each snapshot remembers, so that a token seen before costs a digest
    /// instead of a signature check. Only tokens of asymmetric keys are remembered, and only those
    /// of at most 4 KiB that were accepted; `exp`, `nbf`, the key's deadline and revocation are
    /// checked again each time. Kept are the claims as the layer's type, some 450 bytes of
    /// [`RegisteredClaims`](crate::RegisteredClaims) each; a type such as `serde_json::Value` may be
    /// many times as large as its JSON. Room for them, some 130 bytes each and for 65,536 at the most, is taken
    /// with the first token of a generation, and kept where something holds that one after a rotation. 0 turns it off. Default: 10,000.
    pub fn token_cache(mut self, entries: usize) -> Self {
        self.token_cache = entries;
        self
    }

    /// Lets a token of an unknown key ask for a refresh and wait for it, because whoever signs may
    /// have rotated before this process saw it: another replica, an identity provider. Such is a token whose
    /// `kid` no key here answers to or, without a `kid` or with a key that has none, whose signature
    /// fits no key; and whose header and claims are what the layer asks for. See [`UnknownKey`]
    /// for the bounds. Whatever comes of the refresh, a token that is still not good afterwards gets the
    /// ordinary 401, and a refresh that fails keeps the keys.
    ///
    /// It is the one way in which a request waits for the source. Default: off, unless the source
    /// says otherwise ([`Source::refresh_on_unknown_key`](crate::source::Source::refresh_on_unknown_key)).
    pub fn refresh_on_unknown_key(mut self, policy: UnknownKey) -> Self {
        self.unknown_key = Some(policy);
        self
    }

    /// Where the time comes from: the system's clocks unless this is called. See
    /// [`TokioClock`](crate::clock::TokioClock) for tests.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

impl<Raw, T> fmt::Debug for Builder<Raw, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("source", &self.recipe.source_name())
            .field("refresh_every", &self.refresh_every)
            .field("overlap", &self.overlap)
            .finish_non_exhaustive()
    }
}
