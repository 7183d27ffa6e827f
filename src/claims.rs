//! Who made the request: what the layer leaves behind after one verification.

use std::{error::Error, fmt, future::Future, ops::Deref, sync::Arc};

use crate::{
    keyring::{
        Judged,
        key::KeyId,
        registered::RegisteredClaims,
        verify::{AnyClaims, Verified},
    },
    layer::{Edge, Refusal},
    secrets::{Pinned, Secrets},
    snapshot::VerifiedBy,
    source::{Stage, VersionId},
};

mod expiry;
use expiry::Expiry;

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
    expiry: Expiry,
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
    /// the request's [`Secrets`](crate::Secrets), unless the token's issuer has a keyring of its own
    /// ([`JwtRotationLayer::trust`](crate::JwtRotationLayer::trust)).
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.key.generation
    }

    /// The id of the key that verified the token.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        &self.key.id
    }

    /// Resolves when the token would be refused, should it be presented again: its `exp` is over, and the
    /// leeway of the layer too; the window of its key has ended; or the key is revoked. For work that
    /// outlives its request's answer, such as a `subscriptions/listen` of MCP.
    ///
    /// Cancellation safe. It holds neither the claims nor the snapshot. A token that the caller has renewed
    /// meanwhile has claims, and an end, of its own.
    ///
    /// ```
    /// use tower_secrets::Claims;
    ///
    /// async fn follow(claims: Claims, mut news: tokio::sync::mpsc::Receiver<String>) {
    ///     let expired = std::pin::pin!(claims.expired());
    ///     tokio::select! {
    ///         () = expired => {}
    ///         () = async { while let Some(_line) = news.recv().await { /* send it */ } } => {}
    ///     }
    /// }
    /// ```
    pub fn expired(&self) -> impl Future<Output = ()> + Send + use<C> {
        self.expiry.reached(self.key.clone())
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
            expiry: self.expiry,
        }
    }
}

impl<C: fmt::Debug> fmt::Debug for Claims<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            claims,
            key,
            expiry: _,
        } = self;
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
    claims: AnyClaims,
    claims_type: &'static str,
    expiry: Expiry,
    /// `None` for a layer of which there is nothing to say.
    edge: Option<Arc<Edge>>,
    /// What the request is pinned to. An entry of its own beside this one would cost an allocation or
    /// two in each request.
    snapshot: Arc<dyn Pinned>,
    key: Key,
}

#[derive(Clone)]
enum Key {
    /// An index into the snapshot's keys.
    Own(usize),
    /// A key of another keyring.
    Other(Arc<VerifiedBy>),
}

impl Authentication {
    /// `verified` is of a layer whose claims are read as `C`, against this snapshot.
    pub(crate) fn new<C, T>(
        verified: Verified,
        secrets: Secrets<T>,
        edge: Option<Arc<Edge>>,
    ) -> Self
    where
        T: Send + Sync + 'static,
    {
        let key = Key::Own(verified.key);
        Self::by::<C, T>(verified, key, secrets, edge)
    }

    /// The same of a token that another keyring judged.
    pub(crate) fn by_other<C, T>(
        judged: Judged,
        secrets: Secrets<T>,
        edge: Option<Arc<Edge>>,
    ) -> Self
    where
        T: Send + Sync + 'static,
    {
        Self::by::<C, T>(judged.verified, Key::Other(judged.key), secrets, edge)
    }

    fn by<C, T>(verified: Verified, key: Key, secrets: Secrets<T>, edge: Option<Arc<Edge>>) -> Self
    where
        T: Send + Sync + 'static,
    {
        Self {
            claims: verified.claims,
            claims_type: std::any::type_name::<C>(),
            expiry: Expiry::of(verified.validity),
            edge,
            snapshot: secrets.into_pinned(),
            key,
        }
    }

    /// What the request is pinned to.
    pub(crate) fn snapshot(&self) -> &Arc<dyn Pinned> {
        &self.snapshot
    }

    fn key(&self) -> &Arc<VerifiedBy> {
        match &self.key {
            Key::Own(index) => self.snapshot.verified_by(*index),
            Key::Other(key) => key,
        }
    }

    /// The claims, as the type that the layer was configured with.
    ///
    /// # Errors
    /// When the layer reads claims as another type than `C`; the error names both.
    pub fn claims<C: Send + Sync + 'static>(&self) -> Result<Claims<C>, ClaimsError> {
        let claims = self.claims.downcast();
        Ok(Claims {
            claims: claims.ok_or_else(|| ClaimsError::new::<C>(self.claims_type))?,
            key: self.key().clone(),
            expiry: self.expiry,
        })
    }

    /// The registered claims, whatever type the layer reads claims as. `None` where that is a type of
    /// your own and one of these claims is not what RFC 7519 says, such as a `sub` that is a number.
    #[must_use]
    pub fn registered(&self) -> Option<&RegisteredClaims> {
        self.claims.registered()
    }

    /// Whether the token allows what this scope stands for: it names the scope in `scope` or `scp`
    /// ([`RegisteredClaims::scope`]), or the layer's
    /// [`scope_rule`](crate::JwtRotationLayer::scope_rule) says so.
    #[must_use]
    pub fn grants(&self, scope: &str) -> bool {
        match self.edge.as_ref().and_then(|edge| edge.scope_rule()) {
            Some(rule) => rule(&*self.claims, scope),
            None => {
                let claims = self.registered();
                claims.is_some_and(|claims| claims.scopes().any(|granted| granted == scope))
            }
        }
    }

    /// The answer to a caller whose token does not [grant](Self::grants) all that a call needs: 403 with a
    /// challenge that names every one of these scopes (RFC 6750, section 3.1), so that a client can ask
    /// for them at once.
    #[must_use]
    pub fn insufficient_scope<'s>(&self, needed: impl IntoIterator<Item = &'s str>) -> Refusal {
        let needed: Vec<&str> = needed.into_iter().collect();
        Refusal::insufficient_scope(&needed, self.edge.as_deref().unwrap_or(&Edge::default()))
    }

    /// Resolves when the token would be refused, should it be presented again; see [`Claims::expired`].
    /// It does not hold the snapshot.
    pub fn expired(&self) -> impl Future<Output = ()> + Send + use<> {
        self.expiry.reached(self.key().clone())
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
            expiry: _,
            edge: _,
            snapshot: _,
            key: _,
        } = self;
        f.debug_struct("Authentication")
            .field("claims_type", claims_type)
            .field("key", self.key())
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
