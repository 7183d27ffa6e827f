//! What well-known identity providers put into their access tokens, and where their keys are.
//!
//! An [`IdentityProvider`] is a set of values that could all be written by hand: the issuer's name, the
//! address of its keys, and which tokens of it are access tokens. The audience is yours to add: without one, and without
//! `.any_audience()`, every request is answered with a 500 that says so.
//!
//! ```no_run
//! use tower_secrets::{JwtKey, JwtRotationLayer, Keyring, provider::IdentityProvider};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let auth0 = IdentityProvider::auth0("example.eu.auth0.com");
//! let keyring = Keyring::<JwtKey>::builder(auth0.jwks()).jwt_key(|keys| keys).build().await?;
//! let layer = JwtRotationLayer::new(keyring).provider(&auth0).audience("https://mcp.example");
//! # let _ = layer;
//! # Ok(())
//! # }
//! ```
//!
//! | provider | `iss` | `aud` | what tells access tokens from others | scopes |
//! |---|---|---|---|---|
//! | [Auth0](IdentityProvider::auth0) | `https://DOMAIN/`, with the slash | the API's identifier | `aud`; with the RFC 9068 profile also `.require_type("at+jwt")` | `scope`; with RBAC also `permissions` |
//! | [Entra](IdentityProvider::entra), tokens of version 2.0 | `https://login.microsoftonline.com/TENANT/v2.0` | the API's client id | `aud`, unless the client is the API itself: then ask for a scope or role too | `scp`, a string; `roles` |
//! | [Cognito](IdentityProvider::cognito) | `https://cognito-idp.REGION.amazonaws.com/POOL` | none: `.audience_claim("client_id")` and the clients' ids | `token_use` | `scope` |
//! | [Keycloak](IdentityProvider::keycloak) | `BASE/realms/REALM` | what an audience mapper adds, often only `account` | the claim `typ` | `scope`; roles in `realm_access` and `resource_access` |
//! | [Okta](IdentityProvider::okta), a custom authorization server | `https://DOMAIN/oauth2/SERVER` | the server's audience, such as `api://default` | `aud` | `scp`, an array |
//!
//! Claims that are not registered ones need a type of your own:
//! [`JwtRotationLayer::claims`](crate::JwtRotationLayer::claims). What roles, groups and permissions in them
//! allow is for [`scope_rule`](crate::JwtRotationLayer::scope_rule) to say.

use crate::{
    keyring::verify::{AcceptedUse, IssuerName, Policy},
    source::Jwks,
};

/// An issuer's name, the address of its keys, and its rules; see the
/// [module documentation](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityProvider {
    issuer: String,
    jwks_url: String,
    required_claim: Option<(&'static str, &'static str)>,
}

impl IdentityProvider {
    /// Auth0, by its tenant's or custom domain, such as `example.eu.auth0.com`.
    #[must_use]
    pub fn auth0(domain: &str) -> Self {
        Self::new(
            format!("https://{domain}/"),
            format!("https://{domain}/.well-known/jwks.json"),
        )
    }

    /// Microsoft Entra ID, tokens of version 2.0 of one tenant, by the tenant's id and not by a domain
    /// name. The version is chosen in the API's manifest (`requestedAccessTokenVersion`); those of version
    /// 1.0 have the issuer `https://sts.windows.net/TENANT/`.
    #[must_use]
    pub fn entra(tenant: &str) -> Self {
        Self::new(
            format!("https://login.microsoftonline.com/{tenant}/v2.0"),
            format!("https://login.microsoftonline.com/{tenant}/discovery/v2.0/keys"),
        )
    }

    /// Microsoft Entra ID, tokens of version 2.0 of *any* tenant: `iss` must name the tenant that
    /// `tid` names, and be the issuer that the key in the common set is for. Which tenants are customers of yours is for the handler to decide, by `tid`.
    #[must_use]
    pub fn entra_multi_tenant() -> Self {
        Self::new(
            "https://login.microsoftonline.com/{tid}/v2.0".to_owned(),
            "https://login.microsoftonline.com/common/discovery/v2.0/keys".to_owned(),
        )
    }

    /// A user pool of Amazon Cognito, such as `eu-central-1` and `eu-central-1_abc`. Its access tokens
    /// name the client that asked for them and no audience, so add
    /// `.audience_claim("client_id").audience("THE CLIENT'S ID")`.
    #[must_use]
    pub fn cognito(region: &str, user_pool: &str) -> Self {
        let issuer = format!("https://cognito-idp.{region}.amazonaws.com/{user_pool}");
        let jwks_url = format!("{issuer}/.well-known/jwks.json");
        Self {
            required_claim: Some(("token_use", "access")),
            ..Self::new(issuer, jwks_url)
        }
    }

    /// A realm of a Keycloak, such as `https://login.example` and `main`.
    #[must_use]
    pub fn keycloak(base: &str, realm: &str) -> Self {
        let issuer = format!("{}/realms/{realm}", base.trim_end_matches('/'));
        let jwks_url = format!("{issuer}/protocol/openid-connect/certs");
        Self::new(issuer, jwks_url)
    }

    /// A custom authorization server of Okta, such as `example.okta.com` and `default`. Tokens of the
    /// organisation's own server are for Okta alone, and cannot be verified.
    #[must_use]
    pub fn okta(domain: &str, authorization_server: &str) -> Self {
        let issuer = format!("https://{domain}/oauth2/{authorization_server}");
        let jwks_url = format!("{issuer}/v1/keys");
        Self::new(issuer, jwks_url)
    }

    fn new(issuer: String, jwks_url: String) -> Self {
        Self {
            issuer,
            jwks_url,
            required_claim: None,
        }
    }

    /// The `iss` of its tokens; of more than one, a template with a claim's name in braces.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Where its keys are.
    #[must_use]
    pub fn jwks_url(&self) -> &str {
        &self.jwks_url
    }

    /// The source of its keys.
    #[must_use]
    pub fn jwks(&self) -> Jwks {
        Jwks::new(&self.jwks_url)
    }

    /// Its name, and that its tokens must be access tokens.
    pub(crate) fn rule(&self, policy: &mut Policy) {
        policy.issuers.push(IssuerName::template(&self.issuer));
        policy.accepted_use = AcceptedUse::Access;
        policy.needs_audience = true;
        policy.providers += 1;
        let claim = self.required_claim.iter();
        let claim = claim.map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        policy.required_claims.extend(claim);
    }
}
