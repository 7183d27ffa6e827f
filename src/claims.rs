//! Who made the request: what the layer leaves behind after one verification.

use std::{any::Any, error::Error, fmt, ops::Deref, sync::Arc};

use crate::{
    keyring::{key::KeyId, registered::RegisteredClaims, verify::Verified},
    secrets::{Pinned, Secrets},
    snapshot::VerifiedBy,
    source::{Stage, VersionId},
};

/// A verified token's claims, and which key verified it.
///
/// An argument of axum handlers (feature `axum`) and of rmcp tools (feature `rmcp`); elsewhere it
/// comes from [`Authentication::claims`]. `C` is chosen once, by
/// [`JwtRotationLayer::claims`](crate::JwtRotationLayer::claims).
///
/// ```
/// use tower_secrets::{Claims, Secrets};
/// # struct App { greeting: String }
///
/// async fn handler(secrets: Secrets<App>, claims: Claims) -> String {
///     format!("{}: verified by the {} key", secrets.greeting, claims.stage())
/// }
/// ```
pub struct Claims<C = RegisteredClaims> {
    claims: Arc<C>,
    key: Arc<VerifiedBy>,
}

impl<C> Claims<C> {
    /// The stage of the key that verified the token. [`Stage::Previous`] says that the caller has
    /// not renewed its token since the key was rotated.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.key.stage
    }

    /// The version of the secret that the key came from.
    #[must_use]
    pub fn version(&self) -> &VersionId {
        &self.key.version
    }

    /// The generation of the snapshot that the token was verified against; the same as that of
    /// the request's [`Secrets`](crate::Secrets).
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.key.generation
    }

    /// The id of the key that verified the token.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        &self.key.id
    }

    /// The claims alone, to be kept or sent elsewhere.
    #[must_use]
    pub fn into_inner(self) -> Arc<C> {
        self.claims
    }
}

impl<C> Deref for Claims<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.claims
    }
}

impl<C> Clone for Claims<C> {
    fn clone(&self) -> Self {
        Self {
            claims: self.claims.clone(),
            key: self.key.clone(),
        }
    }
}

impl<C: fmt::Debug> fmt::Debug for Claims<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { claims, key } = self;
        f.debug_struct("Claims")
            .field("claims", claims)
            .field("key", key)
            .finish()
    }
}

/// A request's verified identity, its claims type-erased.
///
/// [`JwtRotationLayer`](crate::JwtRotationLayer) puts it in the extensions of a request whose
/// token it has verified, and of no other: where it is, somebody was authenticated.
///
/// It holds the request's snapshot, as [`Secrets`](crate::Secrets) does. [`Claims`] do not: keep
/// those, where something is to outlive the request.
///
/// ```
/// use tower_secrets::Authentication;
///
/// fn caller_renewed<B>(request: &http::Request<B>) -> bool {
///     request
///         .extensions()
///         .get::<Authentication>()
///         .is_some_and(|caller| caller.stage() == tower_secrets::source::Stage::Current)
/// }
/// ```
#[derive(Clone)]
pub struct Authentication {
    claims: Arc<dyn Any + Send + Sync>,
    claims_type: &'static str,
    /// What the request is pinned to. An entry of its own beside this one would cost an allocation or
    /// two in each request.
    snapshot: Arc<dyn Pinned>,
    /// An index into the snapshot's keys.
    key: usize,
}

impl Authentication {
    /// `verified` is of a layer whose claims are read as `C`, against this snapshot.
    pub(crate) fn new<C, T>(verified: Verified, secrets: Secrets<T>) -> Self
    where
        T: Send + Sync + 'static,
    {
        Self {
            claims: verified.claims,
            claims_type: std::any::type_name::<C>(),
            snapshot: secrets.into_pinned(),
            key: verified.key,
        }
    }

    /// What the request is pinned to.
    pub(crate) fn snapshot(&self) -> &Arc<dyn Pinned> {
        &self.snapshot
    }

    fn key(&self) -> &Arc<VerifiedBy> {
        self.snapshot.verified_by(self.key)
    }

    /// The claims, as the type that the layer was configured with.
    ///
    /// # Errors
    /// When the layer reads claims as another type than `C`; the error names both.
    pub fn claims<C: Send + Sync + 'static>(&self) -> Result<Claims<C>, ClaimsError> {
        let claims = self
            .claims
            .clone()
            .downcast()
            .map_err(|_| ClaimsError::new::<C>(self.claims_type))?;
        Ok(Claims {
            claims,
            key: self.key().clone(),
        })
    }

    /// The stage of the key that verified the token.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.key().stage
    }

    /// The version of the secret that the key came from.
    #[must_use]
    pub fn version(&self) -> &VersionId {
        &self.key().version
    }

    /// The generation of the snapshot that the token was verified against.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.key().generation
    }

    /// The id of the key that verified the token.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        &self.key().id
    }
}

// Claims are personal data more often than not, and their type is erased: only its name is shown.
impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            claims: _,
            claims_type,
            snapshot,
            key,
        } = self;
        f.debug_struct("Authentication")
            .field("claims_type", claims_type)
            .field("key", snapshot.verified_by(*key))
            .finish()
    }
}

/// The claims were asked for as another type than the layer read them as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimsError {
    wanted: &'static str,
    found: &'static str,
}

impl ClaimsError {
    fn new<C>(found: &'static str) -> Self {
        Self {
            wanted: std::any::type_name::<C>(),
            found,
        }
    }

    /// The type that was asked for.
    #[must_use]
    pub fn wanted(&self) -> &'static str {
        self.wanted
    }

    /// The type that the layer was configured with.
    #[must_use]
    pub fn found(&self) -> &'static str {
        self.found
    }
}

impl fmt::Display for ClaimsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wanted, found } = self;
        write!(
            f,
            "the claims were asked for as `{wanted}`, but the layer reads them as `{found}`: \
             ask for `Claims<{found}>`, or configure `JwtRotationLayer::claims::<{wanted}>()`"
        )
    }
}

impl Error for ClaimsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claims_error_names_both_types() {
        let text = ClaimsError::new::<u8>("app::Roles").to_string();
        assert!(
            text.contains("`u8`") && text.contains("`app::Roles`"),
            "{text}"
        );
    }
}
