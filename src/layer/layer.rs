//! The configuration of a layer that verifies tokens.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{EmptyBody, InvalidRealm, JwtRotation, challenge::Realm};
use crate::keyring::{Keyring, registered::RegisteredClaims, verify::Policy};

const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);
const DEFAULT_MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Lets a request through when its bearer token verifies against the keys that are valid now.
///
/// See the [module documentation](super) for what it checks, what it answers and an example.
///
/// `T` is the bundle's type, `C` what a token's claims are read as, `P` how a refusal looks.
#[must_use]
pub struct JwtRotationLayer<T, C = RegisteredClaims, P = EmptyBody> {
    keyring: Keyring<T>,
    settings: Arc<Settings>,
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
            keyring,
            settings: Arc::new(Settings::default()),
            respond: EmptyBody,
            claims: PhantomData,
        }
    }
}

impl<T, C, P> JwtRotationLayer<T, C, P> {
    /// Requires an `iss` claim (RFC 7519 section 4.1.1) that is equal to this. Called more than
    /// once, any of the issuers will do. Default: `iss` is not looked at.
    pub fn issuer(self, issuer: impl Into<String>) -> Self {
        self.change(|settings| settings.policy.issuers.push(issuer.into()))
    }

    /// Requires an `aud` claim (RFC 7519 section 4.1.3) that names this. Called more than once,
    /// any of the audiences will do. Default: `aud` is not looked at.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.change(|settings| settings.policy.audiences.push(audience.into()))
    }

    /// How far the clocks of issuer and server may be apart when `exp` and `nbf` are judged.
    /// Default: 30 s.
    pub fn leeway(self, leeway: Duration) -> Self {
        self.change(|settings| settings.policy.leeway = leeway)
    }

    /// The length above which a token is refused unread, in bytes. Default: 16 KiB.
    pub fn max_token_bytes(self, bytes: usize) -> Self {
        self.change(|settings| settings.policy.max_token_bytes = bytes)
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
    /// Handlers ask for the same type: `Claims<C2>`.
    pub fn claims<C2>(self) -> JwtRotationLayer<T, C2, P> {
        JwtRotationLayer {
            keyring: self.keyring,
            settings: self.settings,
            respond: self.respond,
            claims: PhantomData,
        }
    }

    /// How a refusal looks: [`TextBody`](super::TextBody), or a closure
    /// `Fn(&Refusal) -> Response<R>`. Default: [`EmptyBody`].
    pub fn respond_with<P2>(self, respond: P2) -> JwtRotationLayer<T, C, P2> {
        JwtRotationLayer {
            keyring: self.keyring,
            settings: self.settings,
            respond,
            claims: PhantomData,
        }
    }

    fn change(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<S, T, C, P: Clone> Layer<S> for JwtRotationLayer<T, C, P> {
    type Service = JwtRotation<S, T, C, P>;

    fn layer(&self, inner: S) -> Self::Service {
        JwtRotation::new(
            inner,
            self.keyring.clone(),
            self.settings.clone(),
            self.respond.clone(),
        )
    }
}

impl<T, C, P: Clone> Clone for JwtRotationLayer<T, C, P> {
    fn clone(&self) -> Self {
        Self {
            keyring: self.keyring.clone(),
            settings: self.settings.clone(),
            respond: self.respond.clone(),
            claims: PhantomData,
        }
    }
}

impl<T, C, P> fmt::Debug for JwtRotationLayer<T, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            keyring: _,
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
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) policy: Policy,
    pub(super) realm: Realm,
    pub(super) allow_anonymous: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policy: Policy {
                issuers: Vec::new(),
                audiences: Vec::new(),
                leeway: DEFAULT_LEEWAY,
                max_token_bytes: DEFAULT_MAX_TOKEN_BYTES,
            },
            realm: Realm::default(),
            allow_anonymous: false,
        }
    }
}
