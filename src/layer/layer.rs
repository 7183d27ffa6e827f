//! The configuration of a layer that verifies tokens.

use std::{fmt, iter, marker::PhantomData, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    Discovery, EmptyBody, InvalidMetadata, InvalidRealm, InvalidScope, Issuer, JwtRotation,
    NoDiscovery, ResourceMetadata,
    challenge::Realm,
    edge::{Edge, ScopeRule},
    issuer::token_rules,
    scopes::Scopes,
};
use crate::{
    keyring::{
        Keyring,
        registered::RegisteredClaims,
        verify::{AcceptedUse, IssuerName, Policy},
    },
    per_thread::PerThread,
};

/// Lets a request through when its bearer token verifies against the keys that are valid now.
///
/// See the [module documentation](super) for what it checks, what it answers and an example.
///
/// `T` is the bundle's type, `C` what a token's claims are read as, `P` how a refusal looks, `D` what is
/// answered without a token.
#[must_use]
pub struct JwtRotationLayer<T, C = RegisteredClaims, P = EmptyBody, D = NoDiscovery> {
    // Its services have it from here, and axum may make one for each request.
    settings: Arc<PerThread<Settings<T>>>,
    respond: P,
    discovery: D,
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
            settings: share(Settings {
                keyring,
                policy: Policy::default(),
                trusted: Vec::new(),
                edge: Arc::default(),
                has_own_edge: false,
                allow_anonymous: false,
                keep_authorization: false,
                fault: None,
            }),
            respond: EmptyBody,
            discovery: NoDiscovery,
            claims: PhantomData,
        }
    }
}

impl<T, C, P, D> JwtRotationLayer<T, C, P, D> {
    /// Requires an `iss` claim (RFC 7519 section 4.1.1) that is equal to this. Called more than
    /// once, any of the issuers will do. Default: `iss` is not looked at.
    pub fn issuer(self, issuer: impl Into<String>) -> Self {
        let name = IssuerName::Exact(issuer.into());
        self.require(|policy| policy.issuers.push(name))
    }

    /// Trusts another issuer too, each with keys and rules of its own. From the first call on, `iss`
    /// chooses who judges a token: an [`Issuer`] given here for its name, the layer's own keyring for
    /// those of [`issuer`](Self::issuer), nobody for any other name or none. A key never verifies
    /// another issuer's token, and [`max_token_bytes`](Self::max_token_bytes) holds for all.
    ///
    /// The layer's own keyring still gives the request its [`Secrets`](crate::Secrets). It need not
    /// have a `jwt_key` where `issuer` is not called. What [`Claims`](crate::Claims) say of key,
    /// version and generation is of the issuer's keyring.
    ///
    /// ```
    /// # use tower_secrets::{JwtKey, Keyring, JwtRotationLayer, layer::Issuer};
    /// # struct App;
    /// fn layer(app: Keyring<App>, login: Keyring<JwtKey>, partner: Keyring<JwtKey>) -> JwtRotationLayer<App> {
    ///     let ours = "https://mcp.example";
    ///     JwtRotationLayer::new(app)
    ///         .trust(Issuer::new("https://login.example", login).audience(ours))
    ///         .trust(Issuer::new("https://partner.example", partner).audience(ours))
    /// }
    /// ```
    pub fn trust(self, mut issuer: Issuer) -> Self {
        self.change(|settings| {
            let longest = settings.policy.max_token_bytes;
            let audiences = settings.policy.default_audiences.clone();
            // Changed in any case: the same value may be given to a layer with other claims.
            let rules = |policy: &mut Policy| {
                policy.max_token_bytes = longest;
                policy.default_audiences = audiences;
            };
            issuer.policy.change(rules);
            settings.trusted.push(issuer);
        })
    }

    token_rules!();

    /// Requires the `iss` of this provider, and tokens that it says are access tokens; the keyring
    /// is one over its [`jwks`](crate::provider::IdentityProvider::jwks). Add the
    /// [`audience`](Self::audience); it is required.
    ///
    /// There is one provider for the layer's keyring: after a second call every request is answered with
    /// a 500 that says so. More of them are [trusted](Self::trust), each with a keyring of its own
    /// ([`Issuer::of`]).
    #[cfg(feature = "jwks")]
    pub fn provider(self, provider: &crate::provider::IdentityProvider) -> Self {
        self.require(|policy| provider.rule(policy))
    }

    /// The length above which a token is refused unread, in bytes, whoever issued it. Default: 16 KiB.
    pub fn max_token_bytes(self, bytes: usize) -> Self {
        self.change(|settings| {
            for policy in settings.policies_mut() {
                policy.change(|policy| policy.max_token_bytes = bytes);
            }
        })
    }

    /// Lets a request without a token through as well: its handler gets `Secrets`, and
    /// `Option<Claims>` is `None`; one that takes `Claims` answers 401. A token that is there
    /// must still be good. Default: every request needs a token.
    pub fn allow_anonymous(self) -> Self {
        self.change(|settings| settings.allow_anonymous = true)
    }

    /// Requires every one of these scopes of every request, besides what handlers and layers further in ask
    /// for; a token that lacks any gets a 403 whose challenge names them all. Without a token there are none,
    /// so [`allow_anonymous`](Self::allow_anonymous) then lets nobody through. Called more than once, all are
    /// required. Default: none. What a scope is, [`scope_rule`](Self::scope_rule) decides; for a single
    /// route there is [`RequireScopes`](super::RequireScopes).
    ///
    /// # Errors
    /// When one is not of the form of a scope (RFC 6749 section 3.3).
    pub fn required_scopes(
        self,
        scopes: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, InvalidScope> {
        let scopes = Scopes::new(scopes)?;
        Ok(self.tell(|edge| edge.required_scopes.extend(scopes)))
    }

    /// Tells clients of this resource: who issues tokens for it, and which scopes it has (RFC 9728).
    ///
    /// * `GET`, `HEAD` and `OPTIONS` of `/.well-known/oauth-protected-resource`, and of that with the
    ///   resource's path behind it, are answered here, before any check and for every origin; the service
    ///   further in does not see them. So the layer must be where such requests come by: in axum on the outer
    ///   `Router`, not on one that is nested at a path. A router that is merged into it afterwards takes its fallback
    ///   away, and the document with it: merge before `layer`, or merge the layered one into the other.
    /// * Each challenge names the document, and the scopes to ask for: those that the call needs, else those
    ///   of the metadata.
    /// * Where no [`audience`](Self::audience) is named, `aud` must name the resource, in tokens of
    ///   [trusted](Self::trust) issuers too.
    ///
    /// Called again, the last one counts. Default: none.
    ///
    /// ```
    /// # use tower_secrets::{Keyring, JwtRotationLayer, layer::{Discovery, InvalidMetadata, ResourceMetadata}};
    /// # type Layer<App> = JwtRotationLayer<App, tower_secrets::RegisteredClaims, tower_secrets::layer::EmptyBody, Discovery>;
    /// # fn layer<App>(keyring: Keyring<App>) -> Result<Layer<App>, InvalidMetadata> {
    /// let metadata = ResourceMetadata::new("https://api.example/mcp")
    ///     .authorization_server("https://login.example")
    ///     .scopes(["mcp:read"]);
    /// let layer = JwtRotationLayer::new(keyring).resource_metadata(metadata)?;
    /// # Ok(layer)
    /// # }
    /// ```
    ///
    /// # Errors
    /// When there is no authorization server, or a value is one that clients cannot use or a header cannot
    /// carry.
    pub fn resource_metadata(
        self,
        metadata: ResourceMetadata,
    ) -> Result<JwtRotationLayer<T, C, P, Discovery>, InvalidMetadata> {
        let published = Arc::new(metadata.publish()?);
        let this = self
            .tell(|edge| edge.metadata = Some(published.clone()))
            .change(|settings| {
                for policy in settings.policies_mut() {
                    let audiences = published.audiences.clone();
                    policy.change(|policy| policy.default_audiences = audiences);
                }
            });
        Ok(JwtRotationLayer {
            settings: this.settings,
            respond: this.respond,
            discovery: Discovery(published),
            claims: PhantomData,
        })
    }

    /// Leaves `Authorization` in the request, marked sensitive, for a second `JwtRotationLayer` further in or
    /// a service that reads it. Default: it is removed once its token is verified, so that nobody hands on a
    /// token that was issued for this resource alone (MCP 2026-07-28, Authorization, Access Token Privilege
    /// Restriction), and no log of a request has it.
    pub fn keep_authorization(self) -> Self {
        self.change(|settings| settings.keep_authorization = true)
    }

    /// The `realm` that challenges name (RFC 9110 section 11.5). Default: `restricted`.
    ///
    /// # Errors
    /// When it holds anything but printable ASCII and spaces.
    pub fn realm(self, realm: impl Into<Arc<str>>) -> Result<Self, InvalidRealm> {
        let realm = Realm::new(realm)?;
        Ok(self.tell(|edge| edge.realm = realm))
    }

    /// Who may do what: whether claims allow what a scope stands for. Default: those whose `scope`, else
    /// `scp`, names it ([`RegisteredClaims::scope`]). It decides wherever this crate asks for a scope, and
    /// in [`Authentication::grants`](crate::Authentication::grants); for issuers that write scopes
    /// elsewhere, and for scopes that include others:
    ///
    /// ```
    /// # use tower_secrets::{Keyring, JwtRotationLayer, RegisteredClaims};
    /// # fn layer<App>(keyring: Keyring<App>) {
    /// JwtRotationLayer::new(keyring).scope_rule(|claims: &RegisteredClaims, scope: &str| {
    ///     let includes = |granted: &str| granted == scope || granted == "files:write" && scope == "files:read";
    ///     claims.scopes().any(includes)
    /// });
    /// # }
    /// ```
    ///
    /// It goes with the type of the claims: [`claims`](Self::claims) takes it back. The tokens of
    /// [trusted](Self::trust) issuers are judged by it too.
    pub fn scope_rule(self, rule: impl Fn(&C, &str) -> bool + Send + Sync + 'static) -> Self
    where
        C: 'static,
    {
        let rule: ScopeRule = Arc::new(move |claims, scope| {
            claims
                .downcast_ref()
                .is_some_and(|claims| rule(claims, scope))
        });
        self.tell(|edge| edge.scope_rule = Some(rule))
    }

    /// What a token's claims are read as, beside the checks. Default: [`RegisteredClaims`].
    ///
    /// Requests with the same token may share one value
    /// ([`token_cache`](crate::Builder::token_cache)), so what it is read as must depend on the JSON
    /// alone.
    ///
    /// Handlers ask for the same type: `Claims<C2>`.
    pub fn claims<C2>(self) -> JwtRotationLayer<T, C2, P, D> {
        // Other policies, for what was accepted is remembered together with its claims.
        let this = self.change(|settings| {
            if settings.edge.scope_rule.is_some() {
                Arc::make_mut(&mut settings.edge).scope_rule = None;
            }
            for policy in settings.policies_mut() {
                policy.change(|_| ());
            }
        });
        JwtRotationLayer {
            settings: this.settings,
            respond: this.respond,
            discovery: this.discovery,
            claims: PhantomData,
        }
    }

    /// How a refusal looks: [`TextBody`](super::TextBody), [`McpBody`](super::McpBody), or a closure
    /// `Fn(&Refusal) -> Response<R>`. Default: [`EmptyBody`].
    pub fn respond_with<P2>(self, respond: P2) -> JwtRotationLayer<T, C, P2, D> {
        JwtRotationLayer {
            settings: self.settings,
            respond,
            discovery: self.discovery,
            claims: PhantomData,
        }
    }

    /// Whether a token of any user at all would do.
    #[cfg(feature = "admin")]
    pub(crate) fn requires_scopes(&self) -> bool {
        !self.settings.edge.required_scopes.is_empty()
    }

    fn require(self, change: impl FnOnce(&mut Policy)) -> Self {
        self.change(|settings| settings.policy.change(change))
    }

    fn tell(self, change: impl FnOnce(&mut Edge)) -> Self {
        self.change(|settings| {
            change(Arc::make_mut(&mut settings.edge));
            settings.has_own_edge = true;
        })
    }

    fn change(mut self, change: impl FnOnce(&mut Settings<T>)) -> Self {
        let mut settings = Settings::clone(&self.settings);
        change(&mut settings);
        let fault = settings.policies().find_map(Policy::fault);
        settings.fault = fault;
        self.settings = share(settings);
        self
    }
}

fn share<T>(settings: Settings<T>) -> Arc<PerThread<Settings<T>>> {
    Arc::new(PerThread::new(settings))
}

impl<S, T, C, P: Clone, D: Clone> Layer<S> for JwtRotationLayer<T, C, P, D> {
    type Service = JwtRotation<S, T, C, P, D>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self {
            settings,
            respond,
            discovery,
            claims: _,
        } = self;
        JwtRotation::new(inner, settings.clone(), respond.clone(), discovery.clone())
    }
}

impl<T, C, P: Clone, D: Clone> Clone for JwtRotationLayer<T, C, P, D> {
    fn clone(&self) -> Self {
        Self {
            settings: self.settings.clone(),
            respond: self.respond.clone(),
            discovery: self.discovery.clone(),
            claims: PhantomData,
        }
    }
}

impl<T, C, P, D> fmt::Debug for JwtRotationLayer<T, C, P, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            settings,
            respond: _,
            discovery: _,
            claims: _,
        } = self;
        f.debug_struct("JwtRotationLayer")
            .field("settings", &***settings)
            .field("claims", &std::any::type_name::<C>())
            .finish_non_exhaustive()
    }
}

/// What one layer was told; shared by all services that it made.
pub(super) struct Settings<T> {
    pub(super) keyring: Keyring<T>,
    pub(super) policy: Policy,
    /// Empty: the keyring judges every token.
    pub(super) trusted: Vec<Issuer>,
    pub(super) edge: Arc<Edge>,
    /// Whether requests take it along. One that says nothing of its own is not worth a count in each.
    has_own_edge: bool,
    pub(super) allow_anonymous: bool,
    pub(super) keep_authorization: bool,
    /// What is wrong with the rules, so that nobody may be let through by them.
    pub(super) fault: Option<&'static str>,
}

impl<T> Settings<T> {
    /// What an authentication takes along.
    pub(super) fn left_edge(&self) -> Option<Arc<Edge>> {
        self.has_own_edge.then(|| self.edge.clone())
    }

    fn policies(&self) -> impl Iterator<Item = &Policy> {
        let trusted = self.trusted.iter().map(|issuer| &issuer.policy);
        iter::once(&self.policy).chain(trusted)
    }

    fn policies_mut(&mut self) -> impl Iterator<Item = &mut Policy> {
        let trusted = self.trusted.iter_mut().map(|issuer| &mut issuer.policy);
        iter::once(&mut self.policy).chain(trusted)
    }
}

impl<T> Clone for Settings<T> {
    fn clone(&self) -> Self {
        Self {
            keyring: self.keyring.clone(),
            policy: self.policy.clone(),
            trusted: self.trusted.clone(),
            edge: self.edge.clone(),
            has_own_edge: self.has_own_edge,
            allow_anonymous: self.allow_anonymous,
            keep_authorization: self.keep_authorization,
            fault: self.fault,
        }
    }
}

impl<T> fmt::Debug for Settings<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            keyring: _,
            policy,
            trusted,
            edge,
            has_own_edge: _,
            allow_anonymous,
            keep_authorization,
            fault,
        } = self;
        f.debug_struct("Settings")
            .field("policy", policy)
            .field("trusted", trusted)
            .field("edge", edge)
            .field("allow_anonymous", allow_anonymous)
            .field("keep_authorization", keep_authorization)
            .field("fault", fault)
            .finish_non_exhaustive()
    }
}
