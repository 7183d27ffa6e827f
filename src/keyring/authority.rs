//! A keyring as a judge of tokens, whatever its bundle is: what a layer needs of one whose type it
//! does not know.

use std::sync::Arc;

use super::{
    Keyring, Waiter,
    verify::{Policy, ReadClaims, Verified, VerifyError},
};
use crate::snapshot::VerifiedBy;

/// A token that passed, and what is said of the key.
pub(crate) struct Judged {
    pub(crate) verified: Verified,
    pub(crate) key: Arc<VerifiedBy>,
}

pub(crate) trait Authority: Send + Sync {
    /// Judges by the newest keys. The generation goes with an error, so that it can be seen whether
    /// there are newer ones by now.
    fn judge(
        &self,
        token: &[u8],
        policy: &Policy,
        read: ReadClaims,
    ) -> Result<Judged, (VerifyError, u64)>;

    /// The newest generation.
    fn generation(&self) -> u64;

    /// See [`Shared::wait_for_key`](super::Shared::wait_for_key).
    fn wait_for_key(&self, token: &[u8], policy: &Policy, before: Option<Waiter>)
    -> Option<Waiter>;

    fn has_jwt_key(&self) -> bool;

    /// See [`Keyring::refuses`].
    fn refuses(&self) -> bool;
}

impl<T: Send + Sync + 'static> Authority for Keyring<T> {
    fn judge(
        &self,
        token: &[u8],
        policy: &Policy,
        read: ReadClaims,
    ) -> Result<Judged, (VerifyError, u64)> {
        let snapshot = self.shared.snapshot();
        match snapshot.verify_with(token, policy, read) {
            Ok(verified) => Ok(Judged {
                key: snapshot.verified_by[verified.key].clone(),
                verified,
            }),
            Err(error) => Err((error, snapshot.generation)),
        }
    }

    fn generation(&self) -> u64 {
        self.shared.snapshot().generation
    }

    fn wait_for_key(
        &self,
        token: &[u8],
        policy: &Policy,
        before: Option<Waiter>,
    ) -> Option<Waiter> {
        self.shared.wait_for_key(token, policy, before)
    }

    fn has_jwt_key(&self) -> bool {
        self.has_jwt_key()
    }

    fn refuses(&self) -> bool {
        self.refuses()
    }
}
