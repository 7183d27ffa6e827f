//! The public keys of an identity provider, over HTTP.
//!
//! (docs follow)

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, header::ETAG};
use tokio::{sync::watch, time::Instant};

use super::{Source, SourceError, SourceErrorKind, Version, Versions};

mod discovery;
mod fresh;

mod http_get;
use http_get::{Answer, Http, content_type, shown_text};

mod set;

/// The default floor under what the server says of freshness.
const MIN_FRESHNESS: Duration = Duration::from_secs(60);

/// The default ceiling over it: that of the refresh interval.
const MAX_FRESHNESS: Duration = Duration::from_secs(300);

/// A JWKS that an authorization server publishes (RFC 7517, section 5); see the
/// [module documentation](self).
pub struct Jwks {
    place: Place,
    keep_withdrawn: bool,
    allow_http: bool,
    min_freshness: Duration,
    max_freshness: Duration,
    state: Mutex<State>,
    /// When the last answer ceases to be fresh, until that was reported.
    stale_at: watch::Sender<Option<Instant>>,
}

enum Place {
    Set(String),
    Issuer(String),
}

#[derive(Default)]
struct State {
    http: Option<Http>,
    /// Where the issuer has its keys.
    discovered: Option<String>,
    held: Option<Held>,
}

/// The last good answer.
struct Held {
    version: Version,
    etag: Option<HeaderValue>,
    fresh_until: Option<Instant>,
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
    /// the end included. The metadata are read at the first fetch, and again when the place that
    /// they named is gone (404, 410).
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
            state: Mutex::default(),
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

    /// However short a `max-age` the server gives: the set is not asked for again before this time
    /// has passed. Default: 60 s. It does not delay a refresh that somebody asked for.
    #[must_use]
    pub fn min_freshness(mut self, floor: Duration) -> Self {
        self.min_freshness = floor;
        self
    }

    /// However long a `max-age` the server gives: after this time the set is asked for again. It
    /// bounds how long a withdrawn key can go unnoticed. Default: 300 s. It wins over
    /// [`min_freshness`](Self::min_freshness).
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

    fn fresh(&self) -> Option<Version> {
        let state = self.state();
        let held = state.held.as_ref()?;
        let is_fresh = held.fresh_until.is_some_and(|end| Instant::now() < end);
        is_fresh.then(|| held.version.clone())
    }

    fn http(&self) -> Result<Http, SourceError> {
        let mut state = self.state();
        if let Some(http) = &state.http {
            return Ok(http.clone());
        }
        let http = Http::new(self.allow_http)?;
        state.http = Some(http.clone());
        Ok(http)
    }

    async fn url(&self, http: &Http) -> Result<String, SourceError> {
        let issuer = match &self.place {
            Place::Set(url) => return Ok(url.clone()),
            Place::Issuer(issuer) => issuer,
        };
        if let Some(url) = self.state().discovered.clone() {
            return Ok(url);
        }
        let url = discovery::jwks_uri(http, issuer).await?;
        self.state().discovered = Some(url.clone());
        Ok(url)
    }

    fn etag(&self) -> Option<HeaderValue> {
        self.state().held.as_ref()?.etag.clone()
    }

    /// Notes a good answer; without a version, that the one held is still good.
    fn note(&self, headers: &HeaderMap, version: Option<Version>) -> Option<Version> {
        let lifetime = fresh::lifetime(headers).map(|it| {
            let bounded = it.max(self.min_freshness).min(self.max_freshness);
            // Up to a tenth shorter, or the replicas of a fleet would ask in step.
            bounded.mul_f64(1.0 - 0.1 * fastrand::f64())
        });
        let fresh_until = lifetime.and_then(|lifetime| Instant::now().checked_add(lifetime));
        let mut state = self.state();
        let etag = headers.get(ETAG).cloned();
        let held = match version {
            Some(version) => state.held.insert(Held {
                version,
                etag,
                fresh_until,
            }),
            None => state.held.as_mut()?,
        };
        held.fresh_until = fresh_until;
        self.stale_at.send_replace(fresh_until);
        Some(held.version.clone())
    }

    async fn ask(&self, http: &Http, url: &str) -> Result<Version, SourceError> {
        let place = shown_text(url);
        let (headers, version) = match http.get(url, self.etag().as_ref()).await? {
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Jwks {
    async fn fetch(&self) -> Result<Versions, SourceError> {
        if let Some(version) = self.fresh() {
            return Ok(self.versions(version));
        }
        let http = self.http()?;
        let url = self.url(&http).await?;
        let answer = self.ask(&http, &url).await;
        if let Err(error) = &answer
            && error.kind() == SourceErrorKind::NotFound
        {
            let mut state = self.state();
            state.discovered = None;
            // It belongs to the place that is gone.
            state.held.iter_mut().for_each(|held| held.etag = None);
        }
        answer.map(|version| self.versions(version))
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

    fn invalidate(&self) {
        if let Some(held) = &mut self.state().held {
            held.fresh_until = None;
        }
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
            state: _,
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
