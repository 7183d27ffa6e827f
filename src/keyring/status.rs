//! What an operator sees of a keyring.

use std::{
    error::Error,
    fmt,
    time::{Duration, SystemTime},
};

use super::{InUse, KeyId, ReplacedStatus, Shared};
use crate::{
    event::RecentEvent,
    refresh::RefreshError,
    source::{SourceError, Stage, VersionId},
};

/// A keyring's state at one moment. Ids, times and reasons; never a value.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The source's name, such as a path or an ARN.
    pub source: String,
    /// The newest snapshot's generation.
    pub generation: u64,
    /// The version in use.
    pub current: VersionStatus,
    /// The version in use before, while it is trusted.
    pub previous: Option<VersionStatus>,
    /// The version about to come into use, while it is accepted.
    pub pending: Option<VersionStatus>,
    /// When a refresh last ended well, unchanged or swapped.
    pub last_success: SystemTime,
    /// The last refresh that did not end well, if any since the start.
    pub last_failure: Option<Failure>,
    /// How many refreshes in a row did not end well.
    pub consecutive_failures: u32,
    /// How long ago the source last answered.
    pub staleness: Duration,
    /// Whether that is longer than `max_staleness` allows.
    pub is_stale: bool,
    /// Whether that is longer than `refuse_after` allows, so that requests get 503.
    pub refuses: bool,
    /// Whether a substitute for the real source gave what is in use.
    pub is_degraded: bool,
    /// A version that was refused and will be tried again.
    pub quarantine: Option<Quarantine>,
    /// The parts of a [`Combined`] source whose stores do not answer; they stay at what is in use.
    ///
    /// [`Combined`]: crate::source::Combined
    pub stale_parts: Vec<StalePart>,
    /// The parts whose new version a [part probe](crate::Builder::part_probe) refused; they stay at
    /// what is in use.
    pub refused_parts: Vec<RefusedPart>,
    /// The versions that were in use before, the newest first, and what still uses them; then those that never
    /// were current in this process.
    pub replaced: Vec<ReplacedStatus>,
    /// What the last refreshes did, and whatever else was told of late, the newest first: up to 32.
    pub recent: Vec<RecentEvent>,
}

impl Status {
    /// Whether the versions that were in use before may be revoked upstream and removed from the store, as
    /// far as this process goes. A session key inside its
    /// [window](crate::Builder::session_key_window), 24 h by default, is a reason not to.
    ///
    /// It does not know what the other processes of a fleet use: each has to be asked, and each must have
    /// answered. It does not see values that were copied out of [`Secrets`](crate::Secrets). Tokens that go on
    /// after the window of their key are no reason not to: they are refused then anyhow. Of them
    /// [`cut_offs`](ReplacedStatus::cut_offs) warns.
    ///
    /// # Errors
    /// Why not: all reasons.
    pub fn safe_to_revoke(&self) -> Result<(), Vec<NotSafe>> {
        let mut reasons = Vec::new();
        let is_cut_off = self.consecutive_failures > 0 || self.is_stale;
        let has_parts_behind = !self.stale_parts.is_empty() || !self.refused_parts.is_empty();
        if is_cut_off || self.is_degraded || has_parts_behind {
            reasons.push(NotSafe::Stale {
                staleness: self.staleness,
            });
        }
        for replaced in &self.replaced {
            reasons.extend(replaced.in_use.iter().map(|in_use| NotSafe::InUse {
                version: replaced.id.clone(),
                in_use: in_use.clone(),
            }));
        }
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(reasons)
        }
    }
}

/// Why [`Status::safe_to_revoke`] says no.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotSafe {
    /// The last refresh did not end well, a store gave no answer in it, or a probe refused a part, so that this
    /// process may not know of the last rotation, or not follow it.
    Stale {
        /// How long ago the source last answered.
        staleness: Duration,
    },
    /// A version that was in use before still is.
    InUse {
        /// Which version.
        version: VersionId,
        /// By what.
        in_use: InUse,
    },
}

impl fmt::Display for NotSafe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale { staleness } => write!(
                f,
                "the last refresh failed, at least in part; the source answered {} s ago",
                staleness.as_secs()
            ),
            Self::InUse { version, in_use } => write!(f, "version {version}: {in_use}"),
        }
    }
}

impl Error for NotSafe {}

/// One version in its stage.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VersionStatus {
    /// The version.
    pub id: VersionId,
    /// Its stage.
    pub stage: Stage,
    /// The keys that verify tokens for it in this stage.
    pub key_ids: Vec<KeyId>,
    /// How long ago this process first saw it in this stage.
    pub age: Option<Duration>,
    /// For previous and pending: how long it is still trusted.
    pub expires_in: Option<Duration>,
    /// Whether it was revoked in this process.
    pub is_revoked: bool,
    /// The latest `exp` of the tokens that these keys have verified in this process, in whatever stage they
    /// were; where a layer's [`max_token_age`](crate::JwtRotationLayer::max_token_age) ends a token earlier, that
    /// end. `None`: there was none.
    pub latest_exp: Option<SystemTime>,
}

/// A refresh that did not end well.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// When.
    pub at: SystemTime,
    /// Which step refused, and why.
    pub error: RefreshError,
}

/// A version that was refused and waits to be tried again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Quarantine {
    /// The version.
    pub version: VersionId,
    /// How often it was tried.
    pub tries: u32,
    /// When it is tried again, unless somebody asks before.
    pub next_try_in: Duration,
}

/// A part whose store does not answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StalePart {
    /// The part's name.
    pub part: String,
    /// When that began.
    pub since: SystemTime,
    /// What the newest attempt came to.
    pub error: SourceError,
}

/// A part whose new version was refused and waits to be tried again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RefusedPart {
    /// The part's name.
    pub part: String,
    /// Which version of the part, and when it is tried again.
    pub quarantine: Quarantine,
}

/// What the gauges are set by.
#[cfg_attr(
    not(feature = "metrics"),
    expect(dead_code, reason = "nobody looks at it")
)]
pub(crate) struct Sample {
    pub(crate) at: SystemTime,
    pub(crate) status: Status,
    /// Of the current version, the one before it, and older ones.
    pub(crate) holders: [usize; 3],
}

/// What the refresh loop notes for the status.
#[derive(Debug, Default)]
pub(crate) struct Health {
    pub(crate) last_success: Option<SystemTime>,
    pub(crate) last_failure: Option<Failure>,
    pub(crate) consecutive_failures: u32,
    pub(crate) degraded: bool,
    pub(crate) quarantine: Option<Refused>,
    pub(crate) stale_parts: Vec<StalePart>,
    pub(crate) refused_parts: Vec<(String, Refused)>,
}

/// Version, tries, and the monotonic time of the next one.
pub(crate) type Refused = (VersionId, u32, Duration);

impl<T> Shared<T> {
    /// The first refresh ended well.
    pub(crate) fn opened(&self, degraded: bool) {
        let at = self.clock.now().wall;
        let mut health = self.health();
        health.last_success = Some(at);
        health.degraded = degraded;
    }

    pub(crate) fn status(&self) -> Status {
        let now = self.clock.now();
        let staleness = self.staleness(now);
        let beyond = |limit: Option<Duration>| limit.is_some_and(|limit| staleness > limit);
        let books = self.books();
        let ledger = &books.ledger;
        let keys = ledger.trusted_keys(now);
        let version = |id: &VersionId, stage: Stage| {
            let own = keys.iter().filter(|held| held.stage == stage);
            VersionStatus {
                id: id.clone(),
                stage,
                key_ids: own.clone().map(|held| held.key.id().clone()).collect(),
                age: None,
                latest_exp: own.clone().filter_map(|it| it.trust.latest_exp.get()).max(),
                expires_in: own.filter_map(|held| held.trust.remaining(now)).max(),
                is_revoked: ledger.is_revoked(id),
            }
        };
        let mut current = version(&ledger.current.id, Stage::Current);
        current.age = Some(now.mono.saturating_sub(ledger.current_since.mono));
        current.expires_in = None;
        // Borrowed: nobody else may be the last to hold a bundle.
        let previous = ledger.previous.as_ref();
        let previous = previous.filter(|held| held.trust.holds(now));
        let previous_id = previous.as_ref().map(|held| &held.id).or_else(|| {
            let replaced = keys.iter().find(|held| held.stage == Stage::Previous);
            replaced.map(|held| &held.version)
        });
        let previous = previous_id.map(|id| {
            let mut status = version(id, Stage::Previous);
            let bundle = previous.as_ref().and_then(|it| it.trust.remaining(now));
            status.expires_in = status.expires_in.max(bundle);
            status.age = ledger.previous_age(id, now);
            status
        });
        let pending = ledger.pending.as_ref();
        let pending = pending.map(|id| {
            let mut status = version(id, Stage::Pending);
            let since = ledger.pending_since;
            status.age = since.map(|since| now.mono.saturating_sub(since));
            status
        });
        let generation = books.generation;
        let replaced = self.replaced_status(ledger, &books.in_flight, now);
        drop(books);
        let health = self.health();
        let quarantine = |(version, tries, next): &Refused| Quarantine {
            version: version.clone(),
            tries: *tries,
            next_try_in: next.saturating_sub(now.mono),
        };
        let refused_parts = health
            .refused_parts
            .iter()
            .map(|(part, refused)| RefusedPart {
                part: part.clone(),
                quarantine: quarantine(refused),
            });
        Status {
            source: self.settings.source_name.clone(),
            generation,
            current,
            previous,
            pending,
            last_success: health.last_success.unwrap_or(now.wall),
            last_failure: health.last_failure.clone(),
            consecutive_failures: health.consecutive_failures,
            staleness,
            is_stale: beyond(self.settings.max_staleness),
            refuses: beyond(self.settings.refuse_after),
            is_degraded: health.degraded,
            quarantine: health.quarantine.as_ref().map(quarantine),
            stale_parts: health.stale_parts.clone(),
            refused_parts: refused_parts.collect(),
            replaced,
            recent: self.events.recent(),
        }
    }
}
