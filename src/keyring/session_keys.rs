//! The session keys that count now, as those who use them see them.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::session_key::PreparedSessionKey;
use crate::{
    clock::{Clock, SystemClock},
    snapshot::Trust,
    source::VersionId,
};

#[cfg(test)]
mod tests;

/// The keys that bind MCP sessions and request states to their users: those of a keyring, which
/// rotate with it, or one of this process alone. Cheap to clone; clones are the same keys.
///
/// | made by | the key | for |
/// |---|---|---|
/// | [`of_process`](Self::of_process) | random, never leaves the process | sessions that live in this process's memory, as rmcp's do |
/// | [`Keyring::session_keys`](super::Keyring::session_keys) | the field that [`session_key`](crate::Builder::session_key) names | what replicas share |
///
/// The current key seals, once it was held for the
/// [`activation_delay`](crate::Builder::activation_delay), as pending or as current: until then some replica may
/// not know it, and the key before it seals. All of them open: the current one, those before it, each until
/// [`session_key_window`](crate::Builder::session_key_window) is over, and the pending one. A key that was
/// revoked opens nothing, and neither does the current one where its version was revoked: then none seals
/// either, until the store has another.
///
/// It does not keep the keyring alive: when the last of its handles is gone, the keys stay as they are.
#[derive(Clone)]
pub struct SessionKeys(Arc<Ring>);

struct Ring {
    view: RwLock<Arc<RingView>>,
    clock: Arc<dyn Clock>,
    is_shared: bool,
}

/// What the books say of the session keys.
#[derive(Default)]
pub(crate) struct RingView {
    /// It seals ..
    pub(crate) current: Option<RingKey>,
    /// .. but not before this moment, on the monotonic clock: until then the key before it does, if that was
    /// replaced only now.
    pub(crate) before: Option<(RingKey, Duration)>,
    /// In the order they are tried: the newest of the replaced first, then pending.
    pub(crate) others: Vec<RingKey>,
    /// Those that ended otherwise than by time.
    pub(crate) cut: HashSet<[u8; 32]>,
    /// Those whose end the store has named; each holds until then.
    pub(crate) named_ends: HashMap<[u8; 32], Arc<Trust>>,
}

/// A session key in the ring.
#[derive(Clone)]
pub(crate) struct RingKey {
    pub(crate) key: Arc<PreparedSessionKey>,
    pub(crate) trust: Arc<Trust>,
    /// The last one that it was in.
    pub(crate) version: VersionId,
}

impl SessionKeys {
    /// A new random key, which no other process can have: what was bound by another process, or by
    /// other keys made by this call, is not known here.
    #[must_use]
    pub fn of_process() -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        let key = match rand::fill(&mut *secret) {
            Ok(()) => PreparedSessionKey::derive(&*secret),
            Err(_) => None,
        };
        if key.is_none() {
            // Then nothing is bound, and so no session opened.
            tracing::error!("secrets_no_random_session_key");
        }
        let current = key.map(|key| RingKey {
            key: Arc::new(key),
            trust: Trust::open(),
            version: VersionId::from("random"),
        });
        let view = RingView {
            current,
            ..RingView::default()
        };
        Self::new(view, Arc::new(SystemClock::new()), false)
    }

    pub(crate) fn of_keyring(view: RingView, clock: Arc<dyn Clock>) -> Self {
        Self::new(view, clock, true)
    }

    fn new(view: RingView, clock: Arc<dyn Clock>, is_shared: bool) -> Self {
        Self(Arc::new(Ring {
            view: RwLock::new(Arc::new(view)),
            clock,
            is_shared,
        }))
    }

    pub(crate) fn publish(&self, view: RingView) {
        let mut held = self.0.view.write().unwrap_or_else(PoisonError::into_inner);
        *held = Arc::new(view);
    }

    fn view(&self) -> Arc<RingView> {
        let held = self.0.view.read().unwrap_or_else(PoisonError::into_inner);
        held.clone()
    }
}

#[cfg_attr(
    not(feature = "rmcp"),
    expect(dead_code, reason = "they are used by MCP")
)]
impl SessionKeys {
    /// Whether other processes may have the same keys.
    pub(crate) fn is_shared(&self) -> bool {
        self.0.is_shared
    }

    /// The key that seals; `None` where there is none to be trusted.
    pub(crate) fn sealing(&self) -> Option<Arc<PreparedSessionKey>> {
        let view = self.view();
        let waits = |(held, until): &&(RingKey, Duration)| {
            let now = self.0.clock.now();
            now.mono < *until && held.trust.holds(now)
        };
        let before = view.before.as_ref().filter(waits).map(|(held, _)| held);
        before
            .or(view.current.as_ref())
            .map(|held| held.key.clone())
    }

    /// The first key that opens something, of those that may.
    pub(crate) fn find<O>(
        &self,
        opens: impl Fn(&PreparedSessionKey) -> Option<O>,
    ) -> Option<(Arc<PreparedSessionKey>, O)> {
        let view = self.view();
        let others = view.others.iter();
        let others = others.filter(|held| held.trust.holds_by(&*self.0.clock));
        let mut keys = view.current.iter().chain(others);
        keys.find_map(|held| Some((held.key.clone(), opens(&held.key)?)))
    }

    /// Whether what a key opened here before its window was over counts no more: it was revoked, or the
    /// store has ended it.
    pub(crate) fn was_cut(&self, identity: &[u8; 32]) -> bool {
        let view = self.view();
        let is_over = |end: &Arc<Trust>| !end.holds_by(&*self.0.clock);
        view.cut.contains(identity) || view.named_ends.get(identity).is_some_and(is_over)
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(ring) = self;
        let view = self.view();
        let current = view.current.as_ref().map(|held| held.key.id());
        f.debug_struct("SessionKeys")
            .field("is_shared", &ring.is_shared)
            .field("current", &current)
            .field("others", &view.others.len())
            .finish()
    }
}
