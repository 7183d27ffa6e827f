//! Minting tokens, for servers that issue their own and for tests.

use std::fmt;

use serde::Serialize;

use super::{Keyring, SignError, SignErrorKind};

/// Mints tokens with the current key, whichever that is at the moment of signing.
///
/// The new key signs from the moment of the swap. Where other processes verify, stage it as pending
/// first, or those that have not refreshed yet refuse its tokens. Of a set, the first key that can
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
        let snapshot = self.keyring.shared().snapshot();
        let current = snapshot.current_keys();
        let mut revoked = false;
        for held in current.filter(|held| held.key.can_sign()) {
            if held.trust.is_revoked() {
                revoked = true;
                continue;
            }
            return held.key.mint(claims);
        }
        Err(SignError::new(if revoked {
            SignErrorKind::Revoked
        } else {
            SignErrorKind::CannotSign
        }))
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
