//! Tokens whose key is not known: when one may ask for a refresh, and who may wait for it.

use std::time::Duration;

use tokio::sync::Semaphore;

/// Nobody means more, and a tenth more of it cannot overflow.
pub(super) const LONGEST_COOL_DOWN: Duration = Duration::from_secs(365 * 86_400);

/// When a token of an unknown key asks for a refresh; given to
/// [`Builder::refresh_on_unknown_key`](crate::Builder::refresh_on_unknown_key).
///
/// A token that comes while such a refresh runs shares it, though that may have read the keys before
/// this token's was published. Where it does not bring the key, the token shares the next one as well,
/// if the cool-down allows one within its `max_wait`; else it is refused as soon as the first has ended.
/// The price of the bound: a key that is published just after such a refresh has read the others is not
/// known before the cool-down is over, or somebody else refreshes; with the defaults that is 11 s at most.
///
/// A token of a key that was in use here and is revoked asks for nothing. One of a key that is withdrawn or past its
/// window does: the store may have it in use again.
///
/// | setting | default |
/// |---|---|
/// | [`cool_down`](Self::cool_down) | 10 s |
/// | [`max_wait`](Self::max_wait) | 5 s |
/// | [`max_waiters`](Self::max_waiters) | 1,000 |
/// | [`on_bad_signatures`](Self::on_bad_signatures) | off; on where the source asks for it by itself, as `Jwks` does |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    pub(super) is_on: bool,
    pub(super) cool_down: Duration,
    pub(super) max_wait: Duration,
    pub(super) max_waiters: usize,
    pub(super) on_bad_signatures: bool,
}

impl UnknownKey {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            is_on: true,
            cool_down: Duration::from_secs(10),
            max_wait: Duration::from_secs(5),
            max_waiters: 1_000,
            on_bad_signatures: false,
        }
    }

    /// No token asks for anything, for a source that would let them.
    #[must_use]
    pub fn never() -> Self {
        Self {
            is_on: false,
            ..Self::new()
        }
    }

    /// At most one refresh in this time is asked for by tokens, whatever comes, counted from its
    /// beginning; each cool-down is drawn up to a tenth longer. After each of them that fails it is twice as long, up to
    /// the refresh interval or 5 min where that is shorter, until a refresh succeeds, and as long at least
    /// as the store [asks for](crate::source::SourceError::with_retry_after) within that. Default: 10 s.
    #[must_use]
    pub fn cool_down(mut self, time: Duration) -> Self {
        self.cool_down = time.min(LONGEST_COOL_DOWN);
        self
    }

    /// How long a request waits for the refresh at most; then it is judged by the keys that there
    /// are. Default: 5 s.
    #[must_use]
    pub fn max_wait(mut self, time: Duration) -> Self {
        self.max_wait = time;
        self
    }

    /// How many requests wait at the same time; one more is refused at once. With 0 a token asks for
    /// the refresh and is refused, so that its sender finds the new key at the next try. Default:
    /// 1,000.
    #[must_use]
    pub fn max_waiters(mut self, requests: usize) -> Self {
        self.max_waiters = requests.min(Semaphore::MAX_PERMITS);
        self
    }

    /// Also for a token that names a known key and does not fit it: some providers use a key's id
    /// again for another key.
    #[must_use]
    pub fn on_bad_signatures(mut self) -> Self {
        self.on_bad_signatures = true;
        self
    }
}

impl Default for UnknownKey {
    fn default() -> Self {
        Self::new()
    }
}
