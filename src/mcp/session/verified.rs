//! The sessions that were seen here, which outlive the window of their key.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use quick_cache::sync::Cache;

use crate::mcp::principal::Principal;

/// Beyond it, the sessions seen least are forgotten, which matters to those whose key is over.
const CAPACITY: usize = 10_000;

/// From a bound session id and its user, as a digest, to the key that bound it.
pub(super) struct Verified(Cache<[u8; 32], [u8; 32]>);

impl Default for Verified {
    fn default() -> Self {
        Self(Cache::new(CAPACITY))
    }
}

impl Verified {
    pub(super) fn remember(&self, bound: &[u8], principal: &Principal, key: [u8; 32]) {
        let entry = digest(bound, principal);
        if self.0.get(&entry).is_none() {
            self.0.insert(entry, key);
        }
    }

    pub(super) fn key_of(&self, bound: &[u8], principal: &Principal) -> Option<[u8; 32]> {
        self.0.get(&digest(bound, principal))
    }

    pub(super) fn forget(&self, bound: &[u8], principal: &Principal) {
        self.0.remove(&digest(bound, principal));
    }
}

fn digest(bound: &[u8], principal: &Principal) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&(bound.len() as u64).to_be_bytes());
    context.update(bound);
    context.update(principal.as_bytes());
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("sessions", &self.0.len())
            .finish()
    }
}
