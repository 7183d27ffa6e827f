//! The public keys of an identity provider, over HTTP (feature `jwks`).
//!
//! Most services trust tokens of an authorization server that they do not run. [`Jwks`] is a source
//! like any other, so what holds for secrets holds for its keys: they are fetched before the first
//! request, checked before each swap, and kept when the server fails.
//!
//! ```no_run
//! use tower_secrets::{JwtKey, JwtRotationLayer, Keyring, source::Jwks};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let issuer = "https://login.example";
//! let keys = Keyring::<JwtKey>::builder(Jwks::discover(issuer)).jwt_key(|keys| keys).build().await?;
//! let layer = JwtRotationLayer::new(keys).issuer(issuer).audience("https://mcp.example");
//! # let _ = layer;
//! # Ok(())
//! # }
//! ```
//!
//! Where the service has secrets of its own beside, or more than one issuer, each has a keyring, and
//! one layer trusts them all: [`JwtRotationLayer::trust`](crate::JwtRotationLayer::trust). The settings
//! for Auth0, Entra, Cognito, Keycloak and Okta are in [`provider`](crate::provider).
//!
//! # Stages of a store that has none
//!
//! A key set says which keys are good now, and nothing of what was or will be. So all keys in it are
//! *current*: a provider that publishes a key before it signs with it is understood without more. There is no
//! *pending*. *Previous* is what vanished, and you choose what that means:
//!
//! * By default it means nothing: a key that is no longer served is refused from the next refresh
//!   on, for that is how a provider revokes one. Providers leave a retired key in the set until
//!   its last token has ended, so no good token is lost.
//! * With [`keep_withdrawn`](Jwks::keep_withdrawn) each key that vanishes is previous for the keyring's
//!   overlap window. For providers that replace their set at once. This process must have seen
//!   the key itself: after a restart it is not known.
//!
//! A version is named by a digest of the keys that may verify signatures, in an order of their own,
//! so replicas agree on it whatever else stands in the document.
//!
//! # When the server is asked
//!
//! | | |
//! |---|---|
//! | each [`refresh_every`](crate::Builder::refresh_every) | one request, with `If-None-Match` where the server gave an `ETag`, else with `If-Modified-Since` where its `Last-Modified` is before its `Date`; a 304 costs no parsing |
//! | while the last answer is fresh | none. Freshness is `max-age`, else `Expires` less `Date`, less `Age`, between [`min_freshness`](Jwks::min_freshness) and [`max_freshness`](Jwks::max_freshness); an answer without either is never fresh, nor is one with `no-cache` or `no-store` |
//! | when freshness ends before the interval does | one request, then |
//! | after a 429 or 503 with `Retry-After` | none before that, but for who asks: not sooner than after another failure, and no later than `max_freshness` and the interval |
//! | somebody asked (`refresh()`, SIGHUP) | one request, fresh or not |
//! | a token of an unknown key, or one that does not fit the key that it names | one request in each cool-down of 10 s, shared by all who wait: [`Builder::refresh_on_unknown_key`](crate::Builder::refresh_on_unknown_key), which is on for this source, because providers sign with a new key at once and expect that it is fetched |
//!
//! To find the keys of an issuer takes up to three requests before, at the well-known places, each with
//! a share of the [time limit](crate::Builder::fetch_limit): what is wrong at one, a silence included, is
//! no reason not to ask the next.
//!
//! # What is refused
//!
//! * A URL without https, unless its host is loopback or
//!   [`dangerously_allow_http`](Jwks::dangerously_allow_http) was called; a redirect away from https, and a
//!   fourth one. Certificates are judged by the system's store.
//! * Metadata whose `issuer` is not the one asked for, to the letter.
//! * An answer over 1 MiB, one that is no JWKS (a page with status 200), one without a key that can
//!   verify. The keys at hand stay, and the event `secrets_reload_error` or `secrets_reload_failed` says why.
//! * Single keys: those for encryption, silently; those that are not usable, with
//!   `secrets_key_skipped`; and a secret or private key, with the event `secrets_jwks_secret_served`
//!   (error, once for a set, with how many there are and the first three names): what everybody can read,
//!   everybody could sign with.
//!
//! # When the key server fails
//!
//! What `tests/jwks/chaos.rs` shows, with requests all the time and refreshes without pause:
//!
//! | the key server | tokens of known keys | a token of a key not known yet | when it is over |
//! |---|---|---|---|
//! | takes 300 ms | 200, none waits | waits for the answer, 200 | |
//! | hangs | 200, none waits | waits 5 s at most, 401 | the new key is known at the next refresh |
//! | is gone, answers 429 or 500 | 200, none waits | waits for the failure, 401, never 500 | likewise |
//! | serves an empty set, a page, half a document | 200, none waits | likewise | likewise |
//! | withdraws a key | others 200; the withdrawn one 401 from the refresh on, or 200 for its window with `keep_withdrawn` | | |
//! | adds a key | 200, none waits | waits for the refresh, 200 | |
//!
//! How long the keys may be used without a word from the server is not bounded by default, because
//! an outage there is not one here: see [`max_staleness`](crate::Builder::max_staleness) and
//! [`refuse_after`](crate::Builder::refuse_after). Both count from the server's last answer, a 304
//! included; what is fresh and not asked for is none.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::HeaderMap;
use tokio::{sync::watch, time::Instant};

use super::{Source, SourceError, SourceErrorKind, Version, VersionId, Versions};

mod discovery;

#[cfg(any(fuzzing, test))]
pub(crate) mod fuzz;

mod fresh;

mod http_get;
use http_get::{Answer, Http, content_type, shown_text};

mod memory;
use memory::Memory;

mod set;

/// The default floor under what the server says of freshness.
const MIN_FRESHNESS: Duration = Duration::from_secs(60);

/// The default ceiling over it: that of the refresh interval.
const MAX_FRESHNESS: Duration = Duration::from_secs(300);

/// What of a fetch's time the search for the place of the keys may take.
const DISCOVERY: f64 = 0.75;

/// The same where a place is known already, so that time is left to ask there.
const LOOK_UP: f64 = 0.3;

/// A JWKS that an authorization server publishes (RFC 7517, section 5); see the
/// [module documentation](self).
pub struct Jwks {
    place: Place,
    keep_withdrawn: bool,
    allow_http: bool,
    min_freshness: Duration,
    max_freshness: Duration,
    memory: Mutex<Memory>,
    /// When the last answer ceases to be fresh, until that was reported.
    stale_at: watch::Sender<Option<Instant>>,
}

enum Place {
    Set(String),
    Issuer(String),
}

impl Jwks {
    /// The key set at this URL. A URL that may not be asked is an error of the first fetch, and so
    /// of `build()`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self::at(Place::Set(url.into()))
    }

    /// The key set of this issuer, as its metadata name it: RFC 8414 section 3, else OpenID Connect
    /// Discovery 1.0 section 4. The `issuer` there must be equal to this one to the letter, a `/` at
    /// the end included. The metadata are read at the first fetch, and again after a fetch of the
    /// set that failed for whatever reason; where they cannot be read then, the place that they named
    /// before is asked.
    #[must_use]
    pub fn discover(issuer: impl Into<String>) -> Self {
        Self::at(Place::Issuer(issuer.into()))
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            keep_withdrawn: false,
            allow_http: false,
            min_freshness: MIN_FRESHNESS,
            max_freshness: MAX_FRESHNESS,
            memory: Mutex::default(),
            stale_at: watch::Sender::new(None),
        }
    }

    /// Trusts a key that vanished from the set for the keyring's overlap window, counted for each key
    /// from the fetch that no longer found it. Default: it is refused from that fetch on, because
    /// to withdraw a key is how a provider revokes it.
    #[must_use]
    pub fn keep_withdrawn(mut self) -> Self {
        self.keep_withdrawn = true;
        self
    }

    /// However short a lifetime the server gives: the set is not asked for again before this time
    /// has passed. Default: 60 s. It does not delay a refresh that somebody asked for.
    #[must_use]
    pub fn min_freshness(mut self, floor: Duration) -> Self {
        self.min_freshness = floor;
        self
    }

    /// However long a lifetime or a `Retry-After` the server gives: after this time the set is asked for again. It
    /// bounds how long a withdrawn key can go unnoticed. Default: 300 s. It wins over
    /// [`min_freshness`](Self::min_freshness). With zero no answer is fresh: each poll asks.
    #[must_use]
    pub fn max_freshness(mut self, ceiling: Duration) -> Self {
        self.max_freshness = ceiling;
        self
    }

    /// Takes keys over http from any host.
    ///
    /// **Dangerous**: whoever is between this process and that host can serve keys of their own, and
    /// then sign any token. Without it, http is for loopback hosts only.
    #[must_use]
    pub fn dangerously_allow_http(mut self) -> Self {
        self.allow_http = true;
        self
    }

    fn versions(&self, version: Version) -> Versions {
        Versions::new(version).stageless(self.keep_withdrawn)
    }

    fn http(&self) -> Result<Http, SourceError> {
        let mut memory = self.memory();
        if let Some(http) = &memory.http {
            return Ok(http.clone());
        }
        let (Place::Set(first) | Place::Issuer(first)) = &self.place;
        let http = Http::new(first, self.allow_http)?;
        memory.http = Some(http.clone());
        Ok(http)
    }

    async fn url(&self, http: &Http, limit: Duration) -> Result<String, SourceError> {
        let issuer = match &self.place {
            Place::Set(url) => return Ok(url.clone()),
            Place::Issuer(issuer) => issuer,
        };
        let (known, is_doubted) = {
            let memory = self.memory();
            (memory.discovered.clone(), memory.is_doubted)
        };
        let url = match known {
            None => discovery::jwks_uri(http, issuer, limit.mul_f64(DISCOVERY)).await?,
            Some(known) if !is_doubted => return Ok(known),
            Some(known) => match discovery::jwks_uri(http, issuer, limit.mul_f64(LOOK_UP)).await {
                Ok(found) => found,
                Err(_) => return Ok(known),
            },
        };
        self.memory().moved_to(&url);
        Ok(url)
    }

    /// Between the floor and the ceiling, and up to a tenth shorter, or the replicas of a fleet would
    /// ask in step.
    fn bounded(&self, lifetime: Duration) -> Duration {
        let bounded = lifetime.max(self.min_freshness).min(self.max_freshness);
        bounded.mul_f64(1.0 - 0.1 * fastrand::f64())
    }

    fn note(&self, headers: &HeaderMap, version: Option<Version>) -> Option<Version> {
        let mut memory = self.memory();
        let (version, fresh_until) = memory.note(headers, version, |it| self.bounded(it))?;
        self.stale_at.send_replace(fresh_until);
        Some(version)
    }

    async fn ask(&self, http: &Http, url: &str, limit: Duration) -> Result<Version, SourceError> {
        let place = shown_text(url);
        let condition = self.memory().condition();
        let (headers, version) = match http.get(url, condition.as_ref(), limit).await? {
            Answer::NotModified(headers) => (headers, None),
            Answer::Body(headers, body) => {
                let content_type = content_type(&headers);
                let version = set::version(&place, &body, content_type.as_deref())?;
                (headers, Some(version))
            }
        };
        self.note(&headers, version).ok_or_else(|| {
            let text = format!("{place} answered 304 to a request without a condition");
            SourceError::new(SourceErrorKind::Malformed, text)
        })
    }

    async fn fetch_anew(&self) -> Result<Version, SourceError> {
        let began = Instant::now();
        let limit = self.memory().limit;
        let http = self.http()?;
        let url = self.url(&http, limit).await?;
        // Until it has answered: the fetch may be given up meanwhile.
        self.memory().is_doubted = true;
        let left = limit.saturating_sub(began.elapsed());
        let version = self.ask(&http, &url, left).await?;
        self.memory().is_doubted = false;
        Ok(version)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Jwks {
    async fn fetch(&self) -> Result<Versions, SourceError> {
        if let Some((version, age)) = self.memory().fresh() {
            return Ok(self.versions(version).answered_ago(age));
        }
        match self.fetch_anew().await {
            Ok(version) => Ok(self.versions(version)),
            Err(error) => Err(match error.retry_after() {
                Some(pause) => error.with_retry_after(pause.min(self.max_freshness)),
                None => error,
            }),
        }
    }

    /// Resolves when the last answer ceases to be fresh.
    async fn changed(&self) {
        let mut stale_at = self.stale_at.subscribe();
        loop {
            let end = *stale_at.borrow_and_update();
            let ended = async {
                match end {
                    Some(end) => tokio::time::sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = ended => {
                    self.stale_at.send_if_modified(|it| {
                        *it = it.filter(|other| Some(*other) != end);
                        false
                    });
                    return;
                }
                // The sender lives as long as `self`, so this cannot fail.
                _ = stale_at.changed() => {}
            }
        }
    }

    fn published(&self, current: &VersionId) {
        self.memory().published = Some(current.clone());
    }

    fn invalidate(&self) {
        self.memory().invalidate();
    }

    fn set_fetch_limit(&self, limit: Duration) {
        self.memory().set_fetch_limit(limit);
    }

    fn refresh_on_unknown_key(&self) -> bool {
        true
    }

    fn name(&self) -> String {
        match &self.place {
            Place::Set(url) => shown_text(url).to_string(),
            Place::Issuer(issuer) => format!("the key set of {}", shown_text(issuer)),
        }
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place: _,
            keep_withdrawn,
            allow_http,
            min_freshness,
            max_freshness,
            memory: _,
            stale_at: _,
        } = self;
        f.debug_struct("Jwks")
            .field("name", &self.name())
            .field("keep_withdrawn", keep_withdrawn)
            .field("allow_http", allow_http)
            .field("min_freshness", min_freshness)
            .field("max_freshness", max_freshness)
            .finish_non_exhaustive()
    }
}
