//! What is remembered between fetches: the last good answer, for how long it is fresh, and where it
//! came from.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use super::{
    fresh::{Condition, condition, lifetime},
    http_get::Http,
};
use crate::source::{Version, VersionId};

/// The keyring's default, for a source that nobody told.
const FETCH_LIMIT: Duration = Duration::from_secs(10);

/// Of that, what the fetch takes at most, so that its own errors come first: they name the place.
const SHARE: f64 = 0.95;

pub(super) struct Memory {
    pub(super) http: Option<Http>,
    /// How long one fetch may take.
    pub(super) limit: Duration,
    /// Where the issuer has its keys.
    pub(super) discovered: Option<String>,
    /// Whether the last request there has failed, or was given up: they may have moved.
    pub(super) is_doubted: bool,
    held: Option<Held>,
    /// What was fetched and refused by a later step must not count as fresh.
    pub(super) published: Option<VersionId>,
}

/// The last good answer.
struct Held {
    version: Version,
    /// Of the next request.
    condition: Option<Condition>,
    answered_at: Instant,
    fresh_until: Option<Instant>,
}

impl Memory {
    pub(super) fn set_fetch_limit(&mut self, limit: Duration) {
        self.limit = limit.mul_f64(SHARE);
    }

    /// What need not be asked for, and how long ago it was.
    pub(super) fn fresh(&self) -> Option<(Version, Duration)> {
        let held = self.held.as_ref()?;
        let now = Instant::now();
        let is_in_use = self.published.as_ref() == Some(held.version.id());
        let is_fresh = held.fresh_until.is_some_and(|end| now < end);
        let age = now.saturating_duration_since(held.answered_at);
        (is_in_use && is_fresh).then(|| (held.version.clone(), age))
    }

    pub(super) fn condition(&self) -> Option<Condition> {
        self.held.as_ref()?.condition.clone()
    }

    pub(super) fn moved_to(&mut self, url: &str) {
        if self.discovered.as_deref() != Some(url) {
            // It belongs to the place before.
            self.held.iter_mut().for_each(|held| held.condition = None);
            self.discovered = Some(url.to_owned());
        }
    }

    pub(super) fn invalidate(&mut self) {
        self.held
            .iter_mut()
            .for_each(|held| held.fresh_until = None);
    }

    /// Notes a good answer; without a version, that the one held is still good. Gives the version,
    /// and when it ceases to be fresh.
    pub(super) fn note(
        &mut self,
        headers: &HeaderMap,
        version: Option<Version>,
        bounded: impl FnOnce(Duration) -> Duration,
    ) -> Option<(Version, Option<Instant>)> {
        let answered_at = Instant::now();
        let lifetime = lifetime(headers).map(bounded).filter(|it| !it.is_zero());
        let fresh_until = lifetime.and_then(|it| answered_at.checked_add(it));
        let (version, condition) = match (version, self.held.take()) {
            (Some(version), _) => (version, condition(headers)),
            (None, held) => held.map(|held| (held.version, held.condition))?,
        };
        self.held = Some(Held {
            version: version.clone(),
            condition,
            answered_at,
            fresh_until,
        });
        Some((version, fresh_until))
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            http: None,
            limit: FETCH_LIMIT.mul_f64(SHARE),
            discovered: None,
            is_doubted: false,
            held: None,
            published: None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{HeaderValue, header::CACHE_CONTROL};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_age_is_counted_from_the_servers_answer_a_304_included() {
        let mut memory = Memory::default();
        let value = HeaderValue::from_static("max-age=300");
        let headers = HeaderMap::from_iter([(CACHE_CONTROL, value)]);
        let version = Version::new("1", "{}");
        memory.published = Some(version.id().clone());
        let age = |memory: &Memory| memory.fresh().map(|(_, age)| age);
        assert!(memory.note(&headers, None, |it| it).is_none(), "of nothing");
        memory.note(&headers, Some(version), |it| it).unwrap();
        tokio::time::advance(100 * SECOND).await;
        assert_eq!(age(&memory), Some(100 * SECOND));
        memory.note(&headers, None, |it| it).unwrap();
        tokio::time::advance(299 * SECOND).await;
        assert_eq!(age(&memory), Some(299 * SECOND));
        tokio::time::advance(SECOND).await;
        assert_eq!(age(&memory), None);
    }
}
