//! Tokens of well-known providers: synthetic, in the shape that each of them documents.

use serde_json::{Value, json};
use tower_secrets::{JwtRotationLayer, provider::IdentityProvider, source::Jwks};

use crate::{
    ask_layer, builder,
    idp::{Answer, KeyServer, SigningKey},
};

const TENANT: &str = "72f988bf-0000-41af-91ab-2d7cd011db47";
const CLIENT: &str = "6e74172b-be56-4843-9ff4-e66a39bb12e3";

/// A provider's key as it is served, and tokens that it signs.
struct Case {
    provider: IdentityProvider,
    /// What stands in the JWK beside the key itself.
    key_members: Value,
    header: Value,
    access: Value,
    id: Value,
}

async fn check(
    case: Case,
    rules: impl Fn(JwtRotationLayer<tower_secrets::JwtKey>) -> JwtRotationLayer<tower_secrets::JwtKey>,
) {
    let key = SigningKey::new("provider-key");
    let mut public = key.public();
    let members = public.as_object_mut().unwrap();
    members.remove("use");
    members.extend(case.key_members.as_object().unwrap().clone());
    let server = KeyServer::start().await;
    let for_encryption = json!({ "kty": "RSA", "use": "enc", "alg": "RSA-OAEP", "kid": "e", "n": "AQAB", "e": "AQAB" });
    let served = json!({ "keys": [for_encryption, public] });
    server.put("/keys", Answer::ok(served.to_string()));
    let keyring = builder(Jwks::new(server.keys_url())).build().await.unwrap();
    let layer = rules(JwtRotationLayer::new(keyring).provider(&case.provider));

    let issuer = case.provider.issuer().replace("{tid}", TENANT);
    let sign = |claims: &Value, more: Value| {
        let mut claims = claims.clone();
        let members = claims.as_object_mut().unwrap();
        members.entry("iss").or_insert(json!(issuer));
        members.extend(more.as_object().unwrap().clone());
        let mut header = case.header.clone();
        header["kid"] = json!(key.kid);
        key.token_of(&header, claims)
    };
    let access = sign(&case.access, json!({}));
    assert!(ask_layer(&layer, &access).await.is_ok(), "{issuer}");
    assert!(
        ask_layer(&layer, &sign(&case.id, json!({}))).await.is_err(),
        "{issuer}: an ID token"
    );
    // An ID token for this service itself, as where client and service are one registration.
    let audience = case.access.get("aud").cloned().unwrap_or(Value::Null);
    let own = sign(&case.id, json!({ "aud": audience }));
    assert!(
        ask_layer(&layer, &own).await.is_err(),
        "{issuer}: an ID token for us"
    );
    for other in ["https://evil.example/", ""] {
        let token = sign(&case.access, json!({ "iss": other }));
        assert!(ask_layer(&layer, &token).await.is_err(), "{issuer}");
    }
    let stripped = issuer
        .strip_suffix('/')
        .map_or_else(|| format!("{issuer}/"), str::to_owned);
    let token = sign(&case.access, json!({ "iss": stripped }));
    assert!(ask_layer(&layer, &token).await.is_err(), "to the letter");
}

#[tokio::test]
async fn auth0() {
    let provider = IdentityProvider::auth0("example.eu.auth0.com");
    assert_eq!(provider.issuer(), "https://example.eu.auth0.com/");
    assert_eq!(
        provider.jwks_url(),
        "https://example.eu.auth0.com/.well-known/jwks.json"
    );
    let userinfo = "https://example.eu.auth0.com/userinfo";
    let case = |typ: &str| Case {
        provider: provider.clone(),
        key_members: json!({ "use": "sig", "x5t": "x", "x5c": ["MIIC"] }),
        header: json!({ "alg": "EdDSA", "typ": typ }),
        access: json!({
            "sub": "auth0|507f1f77bcf86cd799439020", "aud": ["https://mcp.example", userinfo],
            "iat": 1_700_000_000, "azp": "client", "scope": "openid tools:read",
            "permissions": ["tools:read"],
        }),
        id: json!({
            "sub": "auth0|507f1f77bcf86cd799439020", "aud": "client", "nonce": "n-0S6_WzA2Mj",
            "sid": "s", "name": "Alice", "iat": 1_700_000_000,
        }),
    };
    check(case("JWT"), |layer| layer.audience("https://mcp.example")).await;
    check(case("at+jwt"), |layer| {
        layer.audience("https://mcp.example").require_type("at+jwt")
    })
    .await;
}

fn entra_case(provider: IdentityProvider) -> Case {
    Case {
        provider,
        key_members: json!({
            "use": "sig", "x5t": "x", "x5c": ["MIIC"], "cloud_instance_name": "microsoftonline.com",
            "issuer": "https://login.microsoftonline.com/{tenantid}/v2.0",
        }),
        header: json!({ "typ": "JWT", "alg": "EdDSA" }),
        access: json!({
            "aud": CLIENT, "azp": "client", "azpacr": "1", "oid": "o", "rh": "0.A", "scp": "tools.read",
            "sub": "s", "tid": TENANT, "uti": "u", "ver": "2.0", "iat": 1_700_000_000, "nbf": 1_700_000_000,
        }),
        id: json!({
            "aud": "client", "name": "Alice", "nonce": "n", "oid": "o", "preferred_username": "a@x",
            "rh": "0.A", "sub": "s", "tid": TENANT, "uti": "u", "ver": "2.0", "iat": 1_700_000_000,
        }),
    }
}

#[tokio::test]
async fn entra() {
    let provider = IdentityProvider::entra(TENANT);
    assert_eq!(
        provider.issuer(),
        format!("https://login.microsoftonline.com/{TENANT}/v2.0")
    );
    check(entra_case(provider), |layer| layer.audience(CLIENT)).await;
}

#[tokio::test]
async fn entra_for_any_tenant_binds_the_issuer_to_the_token() {
    let provider = IdentityProvider::entra_multi_tenant();
    check(entra_case(provider.clone()), |layer| layer.audience(CLIENT)).await;

    let key = SigningKey::new("k");
    let server = KeyServer::serving(&[&key]).await;
    let keyring = builder(Jwks::new(server.keys_url())).build().await.unwrap();
    let layer = JwtRotationLayer::new(keyring)
        .provider(&provider)
        .audience(CLIENT);
    let token = |iss: &str, tid: Value| {
        let iss = format!("https://login.microsoftonline.com/{iss}/v2.0");
        key.token(json!({ "iss": iss, "tid": tid, "aud": CLIENT }))
    };
    assert!(
        ask_layer(&layer, &token(TENANT, json!(TENANT)))
            .await
            .is_ok()
    );
    for tid in [json!("another"), json!(""), json!([TENANT]), Value::Null] {
        assert!(ask_layer(&layer, &token(TENANT, tid)).await.is_err());
    }
    let without =
        json!({ "iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0"), "aud": CLIENT });
    assert!(ask_layer(&layer, &key.token(without)).await.is_err());
}

#[tokio::test]
async fn a_key_of_entras_common_set_is_for_the_issuer_that_it_names() {
    let [anybodys, consumers, odd] = ["any", "consumers", "odd"].map(SigningKey::new);
    let consumer_tenant = "9188040d-6c67-4c5b-b112-36a304b66dad";
    let issuer = |tenant: &str| format!("https://login.microsoftonline.com/{tenant}/v2.0");
    let jwk = |key: &SigningKey, issuer: Value| {
        let mut jwk = key.public();
        jwk["issuer"] = issuer;
        jwk
    };
    let keys = [
        jwk(&anybodys, json!(issuer("{tenantid}"))),
        jwk(&consumers, json!(issuer(consumer_tenant))),
        jwk(&odd, json!([issuer(TENANT)])),
    ];
    let server = KeyServer::start().await;
    server.put("/keys", Answer::ok(json!({ "keys": keys }).to_string()));
    let keyring = builder(Jwks::new(server.keys_url())).build().await.unwrap();
    let layer = JwtRotationLayer::new(keyring)
        .provider(&IdentityProvider::entra_multi_tenant())
        .audience(CLIENT);
    let ask = async |key: &SigningKey, tenant: &str| {
        let claims = json!({ "iss": issuer(tenant), "tid": tenant, "aud": CLIENT });
        ask_layer(&layer, &key.token(claims)).await.is_ok()
    };
    // Twice: the second answer may come from the memory of tokens.
    for _ in 0..2 {
        assert!(ask(&anybodys, TENANT).await);
        assert!(ask(&consumers, consumer_tenant).await);
        assert!(!ask(&consumers, TENANT).await, "of another issuer");
        assert!(!ask(&odd, TENANT).await, "skipped");
    }
}

#[tokio::test]
async fn cognito() {
    let provider = IdentityProvider::cognito("eu-central-1", "eu-central-1_EXAMPLE");
    let issuer = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_EXAMPLE";
    assert_eq!(provider.issuer(), issuer);
    assert_eq!(
        provider.jwks_url(),
        format!("{issuer}/.well-known/jwks.json")
    );
    let case = Case {
        provider,
        key_members: json!({ "use": "sig" }),
        header: json!({ "alg": "EdDSA" }),
        access: json!({
            "sub": "s", "device_key": "d", "cognito:groups": ["g"], "client_id": "the-client",
            "token_use": "access", "scope": "tools/read", "auth_time": 1_700_000_000, "version": 2,
            "origin_jti": "o", "event_id": "e", "jti": "j", "username": "alice",
        }),
        id: json!({
            "sub": "s", "aud": "the-client", "token_use": "id", "at_hash": "h", "client_id": "the-client",
            "cognito:username": "alice", "auth_time": 1_700_000_000,
        }),
    };
    check(case, |layer| {
        layer.audience_claim("client_id").audience("the-client")
    })
    .await;
}

#[tokio::test]
async fn keycloak() {
    let provider = IdentityProvider::keycloak("https://login.example/", "main");
    assert_eq!(provider.issuer(), "https://login.example/realms/main");
    assert_eq!(
        provider.jwks_url(),
        "https://login.example/realms/main/protocol/openid-connect/certs"
    );
    for nonce in [
        json!({}),
        json!({ "nonce": "as Keycloak wrote it before version 25" }),
    ] {
        let mut access = json!({
            "sub": "s", "typ": "Bearer", "azp": "client", "aud": ["https://mcp.example", "account"],
            "sid": "x", "acr": "1", "scope": "openid profile", "realm_access": { "roles": ["user"] },
            "jti": "j", "iat": 1_700_000_000, "preferred_username": "alice",
        });
        access
            .as_object_mut()
            .unwrap()
            .extend(nonce.as_object().unwrap().clone());
        let case = Case {
            provider: provider.clone(),
            key_members: json!({ "use": "sig", "x5c": ["MIIC"], "x5t": "x", "x5t#S256": "y" }),
            header: json!({ "alg": "EdDSA", "typ": "JWT" }),
            access,
            id: json!({
                "sub": "s", "typ": "ID", "azp": "client", "aud": "client", "at_hash": "h", "sid": "x",
                "nonce": "n", "iat": 1_700_000_000,
            }),
        };
        check(case, |layer| layer.audience("https://mcp.example")).await;
    }
}

#[tokio::test]
async fn okta() {
    let provider = IdentityProvider::okta("example.okta.com", "default");
    assert_eq!(provider.issuer(), "https://example.okta.com/oauth2/default");
    assert_eq!(
        provider.jwks_url(),
        "https://example.okta.com/oauth2/default/v1/keys"
    );
    let case = |header: Value| Case {
        provider: provider.clone(),
        key_members: json!({ "use": "sig" }),
        header,
        access: json!({
            "ver": 1, "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE", "aud": "api://default",
            "iat": 1_700_000_000, "cid": "client", "uid": "u", "scp": ["openid", "tools.read"], "sub": "a@x",
        }),
        id: json!({
            "ver": 1, "jti": "ID.x", "aud": "client", "sub": "u", "amr": ["pwd"], "idp": "i",
            "nonce": "n", "at_hash": "h", "iat": 1_700_000_000,
        }),
    };
    check(case(json!({ "alg": "EdDSA" })), |layer| {
        layer.audience("api://default")
    })
    .await;

    // A token of the organisation's own server says in its header that it is for Okta alone.
    let key = SigningKey::new("k");
    let server = KeyServer::serving(&[&key]).await;
    let keyring = builder(Jwks::new(server.keys_url())).build().await.unwrap();
    let layer = JwtRotationLayer::new(keyring)
        .provider(&provider)
        .any_audience();
    let header = json!({ "alg": "EdDSA", "kid": "k", "typ": "application/okta-internal-at+jwt" });
    let token = key.token_of(&header, json!({ "iss": provider.issuer() }));
    assert!(ask_layer(&layer, &token).await.is_err());
}
