//! When a token that was accepted would be refused.

use std::{sync::Arc, time::Duration};

use crate::{
    keyring::verify::{NumericDate, Validity},
    snapshot::VerifiedBy,
};

/// The wall clock may be stepped and the machine may sleep, of which a timer knows nothing.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// The first moment at which a token is refused for its times, leeway included: a client that comes
/// back with the same token then has to get another one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expiry(NumericDate);

impl Expiry {
    pub(super) fn of(validity: Validity) -> Self {
        Self(validity.until())
    }

    /// Resolves at that moment, or when the key is trusted no longer.
    pub(super) async fn reached(self, key: Arc<VerifiedBy>) {
        loop {
            // Before the look at it, so that no change is missed.
            let changed = key.trust.changed();
            let now = key.clock.now();
            let rest = self.0.since(now.wall);
            if rest.is_zero() || !key.trust.holds(now) {
                return;
            }
            let of_key = key.trust.remaining(now).unwrap_or(Duration::MAX);
            let wait = rest.min(of_key).min(LOOK_AGAIN);
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}
