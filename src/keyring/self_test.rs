//! One real token, signed and verified before the first request: a crypto library that does not
//! work shows at start, and not as refusals of good tokens.

use std::{sync::Arc, time::Duration};

use super::{
    key::PreparedKey,
    registered::RegisteredClaims,
    verify::{Policy, read_as, verify_with},
};
use crate::{
    clock::Now,
    snapshot::{Snapshot, Trust, TrustedKey},
    source::Stage,
};

/// With the first key that can sign; where all are public, with one made for the purpose.
pub(super) fn passes<T>(snapshot: &Snapshot<T>, now: Now) -> bool {
    let own = snapshot
        .keys_of(Stage::Current)
        .find(|held| held.key.can_sign());
    let key = match own {
        Some(held) => Some(held.key.clone()),
        None => PreparedKey::ephemeral().ok().map(Arc::new),
    };
    key.is_some_and(|key| round_trip(&key, key.clone(), now))
}

fn round_trip(signing: &PreparedKey, verifying: Arc<PreparedKey>, now: Now) -> bool {
    let held = TrustedKey {
        key: verifying,
        stage: Stage::Current,
        version: "self-test".into(),
        trust: Trust::open(),
        other_names: Arc::default(),
        signs_from: Duration::ZERO,
    };
    let end = now.wall.checked_add(Duration::from_secs(60));
    let claims = RegisteredClaims::new("self-test").expires_at(end.unwrap_or(now.wall));
    let Ok(token) = signing.mint(&claims) else {
        return false;
    };
    let read = read_as::<RegisteredClaims>;
    verify_with(token.as_bytes(), &[held], &Policy::default(), now, read)
        .is_ok_and(|verified| verified.claims.downcast_ref() == Some(&claims))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::clock::{Clock, SystemClock};

    #[test]
    fn only_the_key_that_signed_passes() {
        let [one, other] = [(); 2].map(|()| Arc::new(PreparedKey::ephemeral().unwrap()));
        let now = SystemClock::new().now();
        assert!(round_trip(&one, one.clone(), now));
        assert!(!round_trip(&one, other, now));
    }
}
