//! What happened, told twice: to `tracing`, with stable names for an operator's alerts, and to
//! [`Keyring::subscribe`](crate::Keyring::subscribe).
//!
//! A message is one of these names. Where a mistake in a program is told, an explanation follows the name.
//!
//! | message | level | fields |
//! |---|---|---|
//! | `secrets_reloaded` | info | `generation`, `version`, `trigger` |
//! | `secrets_unchanged` | debug | `generation` |
//! | `secrets_reload_requested` | debug (timer), info | `trigger` |
//! | `secrets_reload_failed` | error (debug while the version waits to be tried again) | `step`, `probe`, `part`, `version`, `error`: a new version was refused; with `part`, that of one part only |
//! | `secrets_reload_error` | error | `error`, `kind`: nothing usable came from the source, a file that is not JSON included |
//! | `secrets_probe_warning` | warn | `probe`, `version`, `error`: refused at start, where it only warns |
//! | `secrets_stage_skipped` | warn | `stage`, `version`, `reason` |
//! | `secrets_key_skipped` | warn | `stage`, `version`, `reason`: one key of a set |
//! | `secrets_previous_expired` | info | `version`, `generation` |
//! | `secrets_previous_withdrawn` | warn | `version`: the source no longer vouches for it |
//! | `secrets_window_cut_short` | warn | `version`, `key_id`: two rotations inside one window; of session keys, more than 32 |
//! | `secrets_tokens_cut_off` | warn | `version`, `key_id`, `seconds`: the key's window ends so long before the last token that it has verified; told once for each window, as soon as that is known |
//! | `secrets_revoked`, `secrets_restored` | warn | `version` |
//! | `secrets_drained` | info | `generation`, `version`: its last reader is gone |
//! | `secrets_part_stale` | warn | `part`, `error`, `kind`: one part of a `Combined` source gives no answer and stays as it is; told when that begins |
//! | `secrets_stale` | warn | `age_secs`: the source has not answered for `max_staleness` |
//!
//! Sources add their own: `File` tells of `secrets_previous_not_durable`,
//! `secrets_previous_without_not_after`, `secrets_watch_unavailable` and
//! `secrets_mount_may_never_update`, `SecretsManager` of `secrets_describe_denied` (warn, once),
//! `Vault` and `VaultDatabase` of `secrets_token_not_renewed`, `secrets_token_ends` and
//! `secrets_lease_not_revoked` (warn), `SecretsManager` and `Vault` of `secrets_store_behind` (warn),
//! `Fallback` of `secrets_fallback_used`, `Jwks` of
//! `secrets_jwks_secret_served` (error). The layers tell of what they refuse at debug, and of a
//! mistake in the program at error: `secrets_request_refused`, `secrets_extractor_rejected`,
//! `secrets_session_refused`, `secrets_request_state_refused`, `secrets_stream_without_end`.
//!
//! What should never happen is told at error: code of yours that panicked, and what was made of it
//! (`secrets_source_panicked`, `secrets_watch_ended`, `secrets_on_swap_panicked`,
//! `secrets_panicked_in_drop`), and a system without random numbers (`secrets_no_random_session_key`).
//!
//! Version and key ids appear, values never.

use std::{sync::Arc, time::Duration};

use tokio::sync::broadcast::{self, error::RecvError};

use crate::{
    clock::Clock,
    guard::{let_go, log},
    keyring::{CutOff, KeyId},
    metrics::Meter,
    refresh::{RefreshError, Trigger},
    source::{SourceError, Stage, VersionId},
};

mod recent;
use recent::Recent;
pub use recent::RecentEvent;

/// Something an operator may want to know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A new view was published: a new current, or another previous or pending beside the same one.
    /// Not told for the first version.
    #[non_exhaustive]
    Reloaded {
        /// The new snapshot's generation.
        generation: u64,
        /// Its current version.
        version: VersionId,
        /// What asked for the refresh.
        trigger: Trigger,
    },
    /// The source has what is already in use.
    #[non_exhaustive]
    Unchanged {
        /// The generation that stays.
        generation: u64,
    },
    /// A refresh begins.
    #[non_exhaustive]
    ReloadRequested {
        /// What asked for it.
        trigger: Trigger,
    },
    /// A new version was refused, or that of one [part](RefreshError::part); the one in use stays. Told again at each poll while the version
    /// waits to be tried again; then [`RefreshError::is_quarantined`] is true.
    ReloadFailed(RefreshError),
    /// The source gave no answer; what is in use stays.
    ReloadError(RefreshError),
    /// A probe refused the first version, which is in use nevertheless. Told while `build` runs, so
    /// it is seen through `tracing` only.
    #[non_exhaustive]
    ProbeWarning {
        /// The probe's name.
        probe: Arc<str>,
        /// The version.
        version: VersionId,
        /// Why.
        reason: String,
    },
    /// A previous or pending version was left out.
    #[non_exhaustive]
    StageSkipped {
        /// Which.
        stage: Stage,
        /// The version's name, where it has one.
        version: Option<VersionId>,
        /// Why.
        reason: String,
    },
    /// A key of a set was left out; the rest of the set stands.
    #[non_exhaustive]
    KeySkipped {
        /// The stage of the version that holds it.
        stage: Stage,
        /// The version that holds it.
        version: VersionId,
        /// Why.
        reason: String,
    },
    /// A window ended.
    #[non_exhaustive]
    PreviousExpired {
        /// The version that is no longer trusted.
        version: VersionId,
        /// The generation without it.
        generation: u64,
    },
    /// The source no longer vouches for the previous version, so it is refused from now on.
    #[non_exhaustive]
    PreviousWithdrawn {
        /// Which version.
        version: VersionId,
    },
    /// A key's window ended early, because the key that replaced it was replaced too; a session key's,
    /// because more than 32 were replaced inside of its window.
    #[non_exhaustive]
    WindowCutShort {
        /// The version the key belonged to.
        version: VersionId,
        /// The key.
        key_id: KeyId,
    },
    /// A replaced key's window ends before the last token that it has verified here. Told once for each
    /// window, when that is seen: as the window opens, or later, at a refresh, of a token that came later.
    #[non_exhaustive]
    TokensCutOff {
        /// The version the key belongs to.
        version: VersionId,
        /// The key, and the two ends.
        cut_off: CutOff,
    },
    /// A version was revoked in this process.
    #[non_exhaustive]
    Revoked {
        /// Which version.
        version: VersionId,
    },
    /// A revocation was taken back.
    #[non_exhaustive]
    Restored {
        /// Which version.
        version: VersionId,
    },
    /// The last reader of an older snapshot is gone.
    #[non_exhaustive]
    Drained {
        /// The snapshot's generation.
        generation: u64,
        /// The version that was current in it.
        version: VersionId,
    },
    /// A part of a [`Combined`](crate::source::Combined) source gives no answer. It stays at what is
    /// in use while the other parts move on. Told when that begins.
    #[non_exhaustive]
    PartStale {
        /// The part's name.
        part: Arc<str>,
        /// Why.
        error: SourceError,
    },
    /// The source has not answered for longer than `max_staleness`.
    #[non_exhaustive]
    Stale {
        /// For how long.
        age: Duration,
    },
    /// The subscriber was too slow: this many events were lost.
    Missed(u64),
}

impl Event {
    fn log(&self) {
        use tracing::{debug, error, info, warn};
        match self {
            Self::Reloaded {
                generation,
                version,
                trigger,
            } => {
                info!(generation, %version, %trigger, "secrets_reloaded");
            }
            Self::Unchanged { generation } => debug!(generation, "secrets_unchanged"),
            Self::ReloadRequested { trigger } => match trigger {
                Trigger::Timer => debug!(%trigger, "secrets_reload_requested"),
                _ => info!(%trigger, "secrets_reload_requested"),
            },
            Self::ReloadFailed(error) => {
                let step = error.failed_step().map(tracing::field::display);
                let version = error.version().map(tracing::field::display);
                let part = error.part();
                if error.is_quarantined() {
                    // It was told when it was tried; this time nothing was.
                    debug!(step, part, version, error = %error, "secrets_reload_failed");
                    return;
                }
                error!(
                    step,
                    probe = error.probe_name(),
                    part,
                    version,
                    error = %error,
                    "secrets_reload_failed"
                );
            }
            Self::ReloadError(error) => {
                let kind = error.source_error().map(|e| e.kind().as_str());
                error!(kind, error = %error, "secrets_reload_error");
            }
            Self::ProbeWarning {
                probe,
                version,
                reason,
            } => {
                warn!(probe = &**probe, %version, error = reason.as_str(), "secrets_probe_warning");
            }
            Self::StageSkipped {
                stage,
                version,
                reason,
            } => {
                let version = version.as_ref().map(tracing::field::display);
                warn!(%stage, version, reason = reason.as_str(), "secrets_stage_skipped");
            }
            Self::KeySkipped {
                stage,
                version,
                reason,
            } => {
                warn!(%stage, %version, reason = reason.as_str(), "secrets_key_skipped");
            }
            Self::PreviousExpired {
                version,
                generation,
            } => {
                info!(%version, generation, "secrets_previous_expired");
            }
            Self::PreviousWithdrawn { version } => warn!(%version, "secrets_previous_withdrawn"),
            Self::WindowCutShort { version, key_id } => {
                // Quoted and escaped: a `kid` is what its issuer wrote.
                warn!(%version, ?key_id, "secrets_window_cut_short");
            }
            Self::TokensCutOff { version, cut_off } => {
                let seconds = cut_off.early_by().as_secs();
                warn!(%version, key_id = ?cut_off.key_id, seconds, "secrets_tokens_cut_off");
            }
            Self::Revoked { version } => warn!(%version, "secrets_revoked"),
            Self::Restored { version } => warn!(%version, "secrets_restored"),
            Self::Drained {
                generation,
                version,
            } => {
                info!(generation, %version, "secrets_drained");
            }
            Self::PartStale { part, error } => {
                let kind = error.kind().as_str();
                warn!(part = &**part, kind, error = %error, "secrets_part_stale");
            }
            Self::Stale { age } => warn!(age_secs = age.as_secs(), "secrets_stale"),
            Self::Missed(_) => {}
        }
    }
}

/// How many events a slow subscriber may be behind.
const KEPT: usize = 256;

/// Where events are told, and what is counted beside them.
#[derive(Clone, Debug)]
pub(crate) struct Teller {
    subscribers: broadcast::Sender<Event>,
    recent: Arc<Recent>,
    pub(crate) meter: Meter,
}

impl Teller {
    pub(crate) fn new(meter: Meter, clock: Arc<dyn Clock>) -> Self {
        Self {
            subscribers: broadcast::Sender::new(KEPT),
            recent: Arc::new(Recent::new(clock)),
            meter,
        }
    }

    pub(crate) fn tell(&self, event: Event) {
        log(|| event.log());
        self.recent.note(&event);
        if let Event::WindowCutShort { .. } = event {
            self.meter.window_cut_short();
        }
        // It lets go of an older event, perhaps of a source's own error. That nobody listens is no error.
        let_go(|| drop(self.subscribers.send(event)));
    }

    pub(crate) fn tell_all(&self, events: impl IntoIterator<Item = Event>) {
        events.into_iter().for_each(|event| self.tell(event));
    }

    pub(crate) fn subscribe(&self) -> Events {
        Events(self.subscribers.subscribe())
    }

    /// The newest first.
    pub(crate) fn recent(&self) -> Vec<RecentEvent> {
        self.recent.newest_first()
    }
}

/// A stream of [`Event`]s from the moment of subscribing on; made by
/// [`Keyring::subscribe`](crate::Keyring::subscribe).
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    /// The next event; `None` once the keyring is gone. A subscriber more than 256 events behind
    /// gets [`Event::Missed`] with their number instead.
    ///
    /// # Cancellation safety
    /// Cancel safe: dropping the future loses no event.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(lost)) => Some(Event::Missed(lost)),
            Err(RecvError::Closed) => None,
        }
    }
}
