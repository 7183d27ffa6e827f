//! Minting tokens, for servers that issue their own and for tests.

use std::fmt;

use serde::Serialize;

use super::{Keyring, SignError, SignErrorKind};
use crate::{
    clock::Now,
    snapshot::{Snapshot, TrustedKey},
    source::Stage,
};

/// Mints tokens that every process over the same secret can verify.
///
/// After a rotation it goes on with the key before, because other processes may not have seen the new one
/// yet. It changes over one [activation delay](crate::Builder::activation_delay) after this
/// process had the new key as current (as pending, if it was staged), and at once when there is no
/// key before, when that is revoked or withdrawn, when the process starts so long after the store was last
/// changed (where it says when), or when its window is closer to its end than a token
/// lives ([`Builder::token_lifetime`](crate::Builder::token_lifetime)). Of a set, the first key that can
/// sign is used.
///
/// The token's `kid` is the key's id, never the version's: rotating another field of the bundle
/// logs nobody out.
///
/// ```
/// # use serde::Deserialize;
/// use std::time::{Duration, SystemTime};
/// use tower_secrets::{JwtKey, Keyring, RegisteredClaims, source::Memory};
/// # #[derive(Deserialize)] struct App { jwt_secret: JwtKey }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let source = Memory::new(r#"{"jwt_secret":"0123456789abcdef0123456789abcdef"}"#);
/// let keyring = Keyring::<App>::builder(source).jwt_key(|app| &app.jwt_secret).build().await?;
///
/// let claims = RegisteredClaims::new("alice")
///     .expires_at(SystemTime::now() + Duration::from_secs(300));
/// let token = keyring.signer().sign(&claims)?;
/// assert_eq!(token.split('.').count(), 3);
/// # Ok(())
/// # }
/// ```
pub struct Signer<T> {
    keyring: Keyring<T>,
}

impl<T: Send + Sync + 'static> Signer<T> {
    pub(super) fn new(keyring: Keyring<T>) -> Self {
        Self { keyring }
    }

    /// Signs `claims`, which must serialise to a JSON object.
    ///
    /// # Errors
    /// When there is no current key that can sign: none was named with `jwt_key`, it is the
    /// public half only, or it was revoked; and when `claims` do not serialise.
    pub fn sign<C: Serialize>(&self, claims: &C) -> Result<String, SignError> {
        if !self.keyring.has_jwt_key() {
            return Err(SignError::new(SignErrorKind::NoKey));
        }
        loop {
            let snapshot = self.keyring.shared().snapshot();
            let now = self.keyring.clock().now();
            if let Some(held) = self.choose(&snapshot, now) {
                return held.key.mint(claims);
            }
            // Its keys may have been replaced, and their windows cut short, in this very moment.
            if self.keyring.shared().snapshot().generation == snapshot.generation {
                let mut current = snapshot.keys_of(Stage::Current);
                let can_sign = current.any(|held| held.key.can_sign());
                return Err(SignError::new(if can_sign {
                    SignErrorKind::Revoked
                } else {
                    SignErrorKind::CannotSign
                }));
            }
        }
    }

    /// The first current key that everybody knows by now; else the key before it, while tokens of that
    /// live long enough; else the current one, for somebody has to begin.
    fn choose<'s>(&self, snapshot: &'s Snapshot<T>, now: Now) -> Option<&'s TrustedKey> {
        let signing = |stage| {
            let keys = snapshot.keys_of(stage);
            keys.filter(|held| held.key.can_sign() && held.trust.holds(now))
        };
        let first = signing(Stage::Current).next()?;
        let known = signing(Stage::Current).find(|held| held.signs_from <= now.mono);
        known
            .or_else(|| signing(Stage::Previous).find(|held| self.outlives_tokens(held, now)))
            .or(Some(first))
    }

    /// Close to the end of the window its tokens would be cut off, and the rotation is so old that
    /// everybody knows of it.
    fn outlives_tokens(&self, held: &TrustedKey, now: Now) -> bool {
        let needed = self.keyring.shared().settings.token_life;
        held.trust.remaining(now).is_none_or(|rest| rest >= needed)
    }
}

impl<T> Clone for Signer<T> {
    fn clone(&self) -> Self {
        Self {
            keyring: self.keyring.clone(),
        }
    }
}

impl<T> fmt::Debug for Signer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keyring } = self;
        f.debug_struct("Signer").field("keyring", keyring).finish()
    }
}
