//! An issuer beside the layer's own: its keys, and what its tokens must be.

use std::{fmt, sync::Arc, time::Duration};

use crate::keyring::{
    Authority, Keyring,
    verify::{AcceptedUse, IssuerName, Policy},
};

/// An issuer that a layer trusts beside the keyring it was made with: its name, its keys, and what its
/// tokens must be; see [`JwtRotationLayer::trust`](super::JwtRotationLayer::trust).
///
/// ```
/// # use tower_secrets::{JwtKey, Keyring};
/// use tower_secrets::layer::Issuer;
///
/// fn partner(keyring: Keyring<JwtKey>) -> Issuer {
///     Issuer::new("https://login.partner.example", keyring).audience("https://mcp.example")
/// }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Issuer {
    pub(super) authority: Arc<dyn Authority>,
    pub(super) policy: Policy,
}

impl Issuer {
    /// Tokens whose `iss` is this, to be verified with the keys of this keyring and no others. As
    /// with the layer itself, `exp` is required. Tokens that have marks of an ID token are refused
    /// ([`access_tokens_only`](Self::access_tokens_only)).
    ///
    /// An issuer makes tokens for other services too, so an [`audience`](Self::audience) is required:
    /// without one, without the layer's
    /// [`resource_metadata`](super::JwtRotationLayer::resource_metadata), and without
    /// [`any_audience`](Self::any_audience), the layer answers every request with a 500 that says so.
    ///
    /// A name in braces stands for the token's own claim of that name: the issuer
    /// `https://login.microsoftonline.com/{tid}/v2.0` is any tenant's, and a token must name the
    /// same tenant in `tid` as in `iss`.
    pub fn new<T: Send + Sync + 'static>(issuer: impl Into<String>, keyring: Keyring<T>) -> Self {
        let mut policy = Policy::default();
        policy.change(|policy| {
            policy.issuers.push(IssuerName::template(&issuer.into()));
            policy.accepted_use = AcceptedUse::Access;
            policy.needs_audience = true;
        });
        Self {
            authority: Arc::new(keyring),
            policy,
        }
    }
}

/// The name and the rules of a well-known provider.
#[cfg(feature = "jwks")]
impl Issuer {
    /// Tokens of this provider, to be verified with the keys of this keyring.
    pub fn of<T: Send + Sync + 'static>(
        provider: &crate::provider::IdentityProvider,
        keyring: Keyring<T>,
    ) -> Self {
        let mut policy = Policy::default();
        policy.change(|policy| provider.rule(policy));
        Self {
            authority: Arc::new(keyring),
            policy,
        }
    }
}

/// Setters that a layer has for its own tokens, and an [`Issuer`] for its.
macro_rules! token_rules {
    () => {
        /// Requires an `aud` claim (RFC 7519 section 4.1.3) that names this. Called more than once,
        /// any of the audiences will do. Default: the resource of the layer's
        /// [`resource_metadata`](super::JwtRotationLayer::resource_metadata). Without that, `aud` is not
        /// looked at by a layer; for a provider and an [`Issuer`](super::Issuer) one must be named.
        pub fn audience(self, audience: impl Into<String>) -> Self {
            self.require(|policy| policy.audiences.push(audience.into()))
        }

        /// Looks for the audience in this claim and not in `aud`, for issuers whose access tokens have
        /// none: Cognito writes the client into `client_id`. It then says which *client* asked for
        /// the token and not for which service it is: a token that the same client got for another
        /// service of the issuer is accepted too. Without [`audience`](Self::audience) there is
        /// nothing to compare it with, and every request is answered with a 500 that says so. Default: `aud`.
        pub fn audience_claim(self, claim: impl Into<String>) -> Self {
            self.require(|policy| policy.audience_claim = Some(claim.into()))
        }

        /// Takes the tokens of a provider or an [`Issuer`](super::Issuer) whoever
        /// they are for, where no [`audience`](Self::audience) is named: **a token that any other service of
        /// this issuer was called with is good here too**. For issuers that serve nobody else.
        pub fn any_audience(self) -> Self {
            self.require(|policy| policy.any_audience = true)
        }

        /// Requires a `sub` claim (RFC 7519 section 4.1.2) that is equal to this. Called more than
        /// once, any of the subjects will do. Default: `sub` is not looked at.
        pub fn subject(self, subject: impl Into<String>) -> Self {
            self.require(|policy| policy.subjects.push(subject.into()))
        }

        /// Requires a claim of this name that is this text, such as Cognito's `token_use`. Called more
        /// than once, all of them are required. Default: none.
        pub fn required_claim(self, name: impl Into<String>, text: impl Into<String>) -> Self {
            let claim = (name.into(), text.into());
            self.require(|policy| policy.required_claims.push(claim))
        }

        /// Requires a `typ` header (RFC 7515 section 4.1.9) that is this media type, in any case and
        /// with or without `application/`. Called more than once, any of the types will do. Default:
        /// `JWT`, `at+jwt` (RFC 9068 section 2.1) or none.
        pub fn require_type(self, media_type: impl Into<String>) -> Self {
            self.require(|policy| policy.token_types.push(media_type.into()))
        }

        /// Refuses every token with a mark of an ID token (OpenID Connect Core 1.0): `at_hash`,
        /// `c_hash`, `nonce`, or the claim `typ` of Keycloak's ID, refresh and logout tokens; and those
        /// with `events` (RFC 8417), as logout tokens have. An issuer signs those with the same keys, and an ID token is given to the client, to know
        /// who logged in: it is no permission to call anybody. The surest rule is the
        /// [`audience`](Self::audience), which is the client in an ID token.
        ///
        /// Without it, `nonce` and `events` alone are allowed, because others than OpenID providers use
        /// them too.
        pub fn access_tokens_only(self) -> Self {
            self.require(|policy| policy.accepted_use = AcceptedUse::Access)
        }

        /// Takes tokens with marks of an ID token, for services that are called with those by design.
        pub fn allow_id_tokens(self) -> Self {
            self.require(|policy| policy.accepted_use = AcceptedUse::Any)
        }

        /// Requires an `iat` claim (RFC 7519 section 4.1.6) that is at most this long ago, and not in
        /// the future. Default: a token's age is not looked at.
        pub fn max_token_age(self, age: Duration) -> Self {
            self.require(|policy| policy.max_token_age = Some(age))
        }

        /// How far the clocks of issuer and server may be apart when `exp`, `nbf` and a token's age are
        /// judged. Default: 30 s. With 0, a token whose `exp` is now has expired.
        pub fn leeway(self, leeway: Duration) -> Self {
            self.require(|policy| policy.leeway = leeway)
        }
    };
}
pub(super) use token_rules;

impl Issuer {
    token_rules!();

    fn require(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        self.policy.change(change);
        self
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            authority: _,
            policy,
        } = self;
        f.debug_struct("Issuer")
            .field("policy", policy)
            .finish_non_exhaustive()
    }
}
