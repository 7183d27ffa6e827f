//! Tokens that were accepted before, so that the next request with one of them costs a digest
//! instead of a signature check.
//!
//! A cache belongs to one snapshot and ends with it: a rotation, the end of a window and a
//! revocation publish another snapshot, and with it an empty cache. What can change inside of a
//! snapshot is looked at on every hit: the token's times, and the trust in its key. Nothing in a
//! cache points back to its snapshot.
//!
//! Only accepted tokens enter, so whoever cannot get tokens cannot fill it. HMAC tokens stay out:
//! their check costs no more than the digest.

use std::{
    hash::{BuildHasherDefault, Hash, Hasher},
    sync::OnceLock,
};

use aws_lc_rs::digest::{SHA256, digest};
use quick_cache::{Options, OptionsBuilder, UnitWeighter, sync::Cache};

use super::verify::{
    AnyClaims, ClaimsSet, Policy, PolicyId, Verified, VerifyError, VerifyErrorKind, names_secret,
    verify_with,
};
use crate::{
    clock::{Clock, Now},
    metrics::Meter,
    snapshot::{TrustedKey, now_for},
};

#[cfg(test)]
mod tests;

/// Longer tokens are rare, and would make the bound in entries a loose one in bytes.
const MAX_TOKEN_BYTES: usize = 4096;

/// The most entries that memory is reserved for before they are there: some 130 bytes each.
const MAX_RESERVED: u64 = 65_536;

/// The accepted tokens of one snapshot.
pub(crate) struct TokenCache {
    /// `None`: nothing is remembered.
    options: Option<Options>,
    /// Whether there are HMAC keys beside the others, as while an algorithm is rotated.
    has_secrets: bool,
    // Many snapshots are replaced before they see a token.
    entries: OnceLock<Entries>,
    meter: Meter,
}

type Entries = Cache<Key, Verified, UnitWeighter, BuildHasherDefault<FirstBytes>>;

impl TokenCache {
    /// For at most `capacity` tokens of these keys.
    pub(crate) fn new(capacity: usize, keys: &[TrustedKey], meter: Meter) -> Self {
        let is_of_use = capacity > 0 && keys.iter().any(|held| held.key.is_asymmetric());
        Self {
            options: is_of_use.then(|| options(capacity)).flatten(),
            has_secrets: keys.iter().any(|held| !held.key.is_asymmetric()),
            entries: OnceLock::new(),
            meter,
        }
    }

    /// [`verify_with`], by memory where that is possible. The keys are the same at every call.
    pub(crate) fn verify(
        &self,
        token: &[u8],
        keys: &[TrustedKey],
        policy: &Policy,
        clock: &dyn Clock,
        read: impl Fn(&ClaimsSet<'_>, &[u8]) -> Result<AnyClaims, VerifyErrorKind>,
    ) -> Result<Verified, VerifyError> {
        let Some(options) = self.options_for(token, keys, policy) else {
            return judge(token, keys, policy, now_for(keys, clock), read);
        };
        let key = Key::new(policy.id(), token);
        let was_seen = match self.get(&key) {
            Some(seen) if is_good(&seen, keys, clock) => {
                self.meter.looked_up(true);
                return Ok(seen);
            }
            seen => seen.is_some(),
        };
        self.meter.looked_up(false);
        let now = now_for(keys, clock);
        let verified = judge(token, keys, policy, now, read).inspect_err(|_| {
            // Its time is over; what it claimed need not be kept.
            if was_seen {
                self.remove(&key);
            }
        })?;
        if keys[verified.key].key.is_asymmetric() {
            self.entries(options).insert(key, verified.clone());
        }
        Ok(verified)
    }

    /// Lets all of them go. For a snapshot that was replaced and is still held, by a stream say.
    pub(crate) fn clear(&self) {
        if let Some(entries) = self.entries.get() {
            entries.clear();
        }
    }

    fn get(&self, key: &Key) -> Option<Verified> {
        self.entries.get()?.get(key)
    }

    fn remove(&self, key: &Key) {
        if let Some(entries) = self.entries.get() {
            entries.remove(key);
        }
    }

    /// `None` for tokens that stay out.
    fn options_for(&self, token: &[u8], keys: &[TrustedKey], policy: &Policy) -> Option<&Options> {
        let options = self.options.as_ref()?;
        let is_short = token.len() <= MAX_TOKEN_BYTES.min(policy.max_token_bytes);
        let is_of_secret = self.has_secrets && names_secret(token, keys);
        (is_short && !is_of_secret).then_some(options)
    }

    fn entries(&self, options: &Options) -> &Entries {
        self.entries.get_or_init(|| {
            let entries = Cache::with_options(
                options.clone(),
                UnitWeighter,
                Default::default(),
                Default::default(),
            );
            // It would begin with no memory and move at each doubling, while requests wait.
            let shards = entries.num_shards() as u64;
            let capacity = entries.shard_capacity().saturating_mul(shards);
            entries.reserve(capacity.min(MAX_RESERVED) as usize);
            entries
        })
    }
}

/// [`verify_with`], and a note of until when the token goes on.
fn judge(
    token: &[u8],
    keys: &[TrustedKey],
    policy: &Policy,
    now: Now,
    read: impl Fn(&ClaimsSet<'_>, &[u8]) -> Result<AnyClaims, VerifyErrorKind>,
) -> Result<Verified, VerifyError> {
    let verified = verify_with(token, keys, policy, now, read)?;
    let exp = verified.validity.until().minus(policy.leeway);
    keys[verified.key].trust.latest_exp.note(exp);
    Ok(verified)
}

fn options(capacity: usize) -> Option<Options> {
    OptionsBuilder::new()
        .estimated_items_capacity(capacity)
        .weight_capacity(capacity as u64)
        // In a full cache, what an insertion touches should be warm: so nothing is noted of what was
        // put out, and a token has to come back within the next hundred new ones (of 10,000) to
        // stay. With the defaults of the crate an insertion took half a microsecond more, or more.
        .ghost_allocation(0.0)
        .hot_allocation(0.99)
        .build()
        .ok()
}

fn is_good(seen: &Verified, keys: &[TrustedKey], clock: &dyn Clock) -> bool {
    let key = keys.get(seen.key);
    seen.validity.holds(clock.wall()) && key.is_some_and(|held| held.trust.holds_by(clock))
}

/// One token under one policy. The policy is a part of its own, so that no digest has to be broken
/// for two layers to be kept apart.
#[derive(Clone, PartialEq, Eq)]
struct Key {
    policy: PolicyId,
    digest: [u8; 32],
}

impl Key {
    fn new(policy: PolicyId, token: &[u8]) -> Self {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest(&SHA256, token).as_ref());
        Self {
            policy,
            digest: sha256,
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.digest);
    }
}

/// Takes the beginning of a digest for its hash: it is as good as random already.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, digest: &[u8]) {
        self.0 = digest
            .first_chunk()
            .map_or(0, |first| u64::from_le_bytes(*first));
    }
}
