//! What a token of each provider allows: by its scopes, and by a rule of the user's own.

use std::convert::Infallible;

use http::{Request, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_secrets::{
    Authentication, JwtKey, JwtRotationLayer, Keyring,
    layer::Issuer,
    provider::IdentityProvider,
    source::{Jwks, Memory},
};

use crate::{
    builder,
    idp::{KeyServer, SigningKey},
};

const OURS: &str = "https://mcp.example";

/// A provider, its keys, and an access token's claims in its shape.
struct Provider {
    preset: IdentityProvider,
    claims: Value,
    key: SigningKey,
    keys: Keyring<JwtKey>,
}

impl Provider {
    async fn new(preset: IdentityProvider, claims: Value) -> Self {
        let key = SigningKey::new("1");
        let server = KeyServer::serving(&[&key]).await;
        let keys = builder(Jwks::new(server.keys_url())).build().await.unwrap();
        Self {
            preset,
            claims,
            key,
            keys,
        }
    }

    fn token(&self) -> String {
        let mut claims = self.claims.clone();
        claims["iss"] = json!(self.preset.issuer());
        self.key.token(claims)
    }

    /// With its own layer, and trusted by another's, whose keyring has no key.
    async fn layers(&self) -> [JwtRotationLayer<JwtKey>; 2] {
        let secrets = Memory::new(r#""no key of 32 bytes, and never used""#);
        let keyless = Keyring::<JwtKey>::builder(secrets).build().await.unwrap();
        let issuer = Issuer::of(&self.preset, self.keys.clone());
        let own = JwtRotationLayer::new(self.keys.clone()).provider(&self.preset);
        if self.claims.get("aud").is_some() {
            let trusting = JwtRotationLayer::new(keyless).trust(issuer.audience(OURS));
            return [own.audience(OURS), trusting];
        }
        let issuer = issuer.audience_claim("client_id").audience(OURS);
        let trusting = JwtRotationLayer::new(keyless).trust(issuer);
        let own = own.audience_claim("client_id").audience(OURS);
        [own, trusting]
    }
}

async fn providers() -> [Provider; 5] {
    let auth0 = IdentityProvider::auth0("example.eu.auth0.com");
    let entra = IdentityProvider::entra("the-tenant");
    let cognito = IdentityProvider::cognito("eu-central-1", "eu-central-1_EXAMPLE");
    let keycloak = IdentityProvider::keycloak("https://login.example", "main");
    let okta = IdentityProvider::okta("example.okta.com", "default");
    [
        Provider::new(
            auth0,
            json!({ "aud": OURS, "scope": "openid tools:read", "permissions": ["editor"] }),
        )
        .await,
        Provider::new(
            entra,
            json!({ "aud": OURS, "scp": "openid tools:read", "roles": ["editor"] }),
        )
        .await,
        Provider::new(
            cognito,
            json!({
                "client_id": OURS, "token_use": "access", "scope": "openid tools:read",
                "cognito:groups": ["editor"],
            }),
        )
        .await,
        Provider::new(
            keycloak,
            json!({
                "aud": OURS, "typ": "Bearer", "scope": "openid tools:read",
                "realm_access": { "roles": ["editor"] },
            }),
        )
        .await,
        Provider::new(
            okta,
            json!({ "aud": OURS, "scp": ["openid", "tools:read"], "groups": ["editor"] }),
        )
        .await,
    ]
}

async fn grants<C>(layer: &JwtRotationLayer<JwtKey, C>, token: &str, scope: &'static str) -> bool
where
    C: for<'de> Deserialize<'de> + Send + Sync + 'static,
{
    let service = layer.layer(service_fn(async |request: Request<()>| {
        let caller: &Authentication = request.extensions().get().unwrap();
        let granted = caller.grants(scope);
        let response = Response::builder().extension(granted).body(()).unwrap();
        Ok::<_, Infallible>(response)
    }));
    let request = Request::builder().header("authorization", format!("Bearer {token}"));
    let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    *response.extensions().get().unwrap()
}

#[tokio::test]
async fn the_scopes_of_each_provider_are_found_whoever_has_its_keys() {
    for provider in providers().await {
        let token = provider.token();
        for layer in provider.layers().await {
            // Twice: the second answer may come from the memory of tokens.
            for _ in 0..2 {
                let name = provider.preset.issuer();
                assert!(grants(&layer, &token, "tools:read").await, "{name}");
                assert!(!grants(&layer, &token, "tools:write").await, "{name}");
                assert!(!grants(&layer, &token, "editor").await, "{name}");
            }
        }
    }
}

/// Where providers write roles, groups and permissions.
#[derive(Deserialize)]
struct Roles {
    #[serde(
        default,
        alias = "permissions",
        alias = "groups",
        alias = "cognito:groups"
    )]
    roles: Vec<String>,
    realm_access: Option<RealmAccess>,
}

#[derive(Deserialize)]
struct RealmAccess {
    roles: Vec<String>,
}

impl Roles {
    fn allow(&self, scope: &str) -> bool {
        let realm = self.realm_access.iter().flat_map(|realm| &realm.roles);
        let mut roles = self.roles.iter().chain(realm);
        roles.any(|role| role == "editor") && ["tools:read", "tools:write"].contains(&scope)
    }
}

#[tokio::test]
async fn a_rule_of_the_users_own_decides_for_each_provider_whoever_has_its_keys() {
    for provider in providers().await {
        let token = provider.token();
        for layer in provider.layers().await {
            let layer = layer.claims::<Roles>().scope_rule(Roles::allow);
            for _ in 0..2 {
                let name = provider.preset.issuer();
                assert!(grants(&layer, &token, "tools:write").await, "{name}");
                assert!(!grants(&layer, &token, "openid").await, "{name}");
            }
        }
    }
}
