//! The configuration of a layer that verifies tokens.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{EmptyBody, InvalidRealm, JwtRotation, challenge::Realm};
use crate::keyring::{Keyring, registered::RegisteredClaims, verify::Policy};

/// Lets a request through when its bearer token verifies against the keys that are valid now.
///
/// See the [module documentation](super) for what it checks, what it answers and an example.
///
/// `T` is the bundle's type, `C` what a token's claims are read as, `P` how a refusal looks.
#[must_use]
pub struct JwtRotationLayer<T, C = RegisteredClaims, P = EmptyBody> {
    settings: Arc<Settings<T>>,
    respond: P,
    claims: PhantomData<fn() -> C>,
}

impl<T> JwtRotationLayer<T> {
    /// A layer that is safe as it stands: `exp` is required, `nbf` is checked where present, the
    /// leeway is 30 s, a token may have 16 KiB, and every request needs one.
    ///
    /// The keyring must have been built with `.jwt_key(..)`; over another one every request is
    /// answered with a 500 that says so.
    pub fn new(keyring: Keyring<T>) -> Self {
        Self {
            settings: Arc::new(Settings {
                keyring,
                policy: Policy::default(),
                realm: Realm::default(),
                allow_anonymous: false,
            }),
            respond: EmptyBody,
            claims: PhantomData,
        }
    }
}

impl<T, C, P> JwtRotationLayer<T, C, P> {
    /// Requires an `iss` claim (RFC 7519 section 4.1.1) that is equal to this. Called more than
    /// once, any of the issuers will do. Default: `iss` is not looked at.
    pub fn issuer(self, issuer: impl Into<String>) -> Self {
        self.require(|policy| policy.issuers.push(issuer.into()))
    }

    /// Requires an `aud` claim (RFC 7519 section 4.1.3) that names this. Called more than once,
    /// any of the audiences will do. Default: `aud` is not looked at.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.require(|policy| policy.audiences.push(audience.into()))
    }

    /// Requires a `sub` claim (RFC 7519 section 4.1.2) that is equal to this. Called more than
    /// once, any of the subjects will do. Default: `sub` is not looked at.
    pub fn subject(self, subject: impl Into<String>) -> Self {
        self.require(|policy| policy.subjects.push(subject.into()))
    }

    /// Requires a `typ` header (RFC 7515 section 4.1.9) that is this media type, in any case and
    /// with or without `application/`. Called more than once, any of the types will do. Default:
    /// `JWT`, `at+jwt` (RFC 9068 section 2.1) or none.
    pub fn token_type(self, media_type: impl Into<String>) -> Self {
        self.require(|policy| policy.token_types.push(media_type.into()))
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

    /// The length above which a token is refused unread, in bytes. Default: 16 KiB.
    pub fn max_token_bytes(self, bytes: usize) -> Self {
        self.require(|policy| policy.max_token_bytes = bytes)
    }

    /// Lets a request without a token through as well: its handler gets `Secrets`, and
    /// `Option<Claims>` is `None`; one that takes `Claims` answers 401. A token that is there
    /// must still be good. Default: every request needs a token.
    pub fn allow_anonymous(self) -> Self {
        self.change(|settings| settings.allow_anonymous = true)
    }

    /// The `realm` that challenges name (RFC 9110 section 11.5). Default: `restricted`.
    ///
    /// # Errors
    /// When it holds anything but printable ASCII and spaces.
    pub fn realm(self, realm: impl Into<Arc<str>>) -> Result<Self, InvalidRealm> {
        let realm = Realm::new(realm)?;
        Ok(self.change(|settings| settings.realm = realm))
    }

    /// What a token's claims are read as, beside the checks. Default: [`RegisteredClaims`].
    ///
    /// Requests with the same token may share one value
    /// ([`token_cache`](crate::Builder::token_cache)), so what it is read as must depend on the JSON
    /// alone.
    ///
    /// Handlers ask for the same type: `Claims<C2>`.
    pub fn claims<C2>(self) -> JwtRotationLayer<T, C2, P> {
        // Another policy, for what was accepted is remembered together with its claims.
        let this = self.require(|_| ());
        JwtRotationLayer {
            settings: this.settings,
            respond: this.respond,
            claims: PhantomData,
        }
    }

    /// How a refusal looks: [`TextBody`](super::TextBody), or a closure
    /// `Fn(&Refusal) -> Response<R>`. Default: [`EmptyBody`].
    pub fn respond_with<P2>(self, respond: P2) -> JwtRotationLayer<T, C, P2> {
        JwtRotationLayer {
            settings: self.settings,
            respond,
            claims: PhantomData,
        }
    }

    fn require(self, change: impl FnOnce(&mut Policy)) -> Self {
        self.change(|settings| settings.policy.change(change))
    }

    fn change(mut self, change: impl FnOnce(&mut Settings<T>)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<S, T, C, P: Clone> Layer<S> for JwtRotationLayer<T, C, P> {
    type Service = JwtRotation<S, T, C, P>;

    fn layer(&self, inner: S) -> Self::Service {
        JwtRotation::new(inner, self.settings.clone(), self.respond.clone())
    }
}

impl<T, C, P: Clone> Clone for JwtRotationLayer<T, C, P> {
    fn clone(&self) -> Self {
        Self {
            settings: self.settings.clone(),
            respond: self.respond.clone(),
            claims: PhantomData,
        }
    }
}

impl<T, C, P> fmt::Debug for JwtRotationLayer<T, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            settings,
            respond: _,
            claims: _,
        } = self;
        f.debug_struct("JwtRotationLayer")
            .field("settings", settings)
            .field("claims", &std::any::type_name::<C>())
            .finish_non_exhaustive()
    }
}

/// What one layer was told; shared by all services that it made.
// Aligned for the same reason as a snapshot is: each request clones and drops the service.
#[repr(align(128))]
pub(super) struct Settings<T> {
    pub(super) keyring: Keyring<T>,
    pub(super) policy: Policy,
    pub(super) realm: Realm,
    pub(super) allow_anonymous: bool,
}

impl<T> Clone for Settings<T> {
    fn clone(&self) -> Self {
        Self {
            keyring: self.keyring.clone(),
            policy: self.policy.clone(),
            realm: self.realm.clone(),
            allow_anonymous: self.allow_anonymous,
        }
    }
}

impl<T> fmt::Debug for Settings<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            keyring: _,
            policy,
            realm,
            allow_anonymous,
        } = self;
        f.debug_struct("Settings")
            .field("policy", policy)
            .field("realm", realm)
            .field("allow_anonymous", allow_anonymous)
            .finish_non_exhaustive()
    }
}
