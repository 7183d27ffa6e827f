//! A toy authorization server, in the process of the server that it is for: to try out how a client that
//! knows nothing but a URL finds its way. It keeps nothing, and everybody who knows the printed
//! secret of the one client gets a token. **Not for use.**

use std::{sync::Arc, time::SystemTime};

use axum::{
    Form, Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_secrets::{RegisteredClaims, Signer};

use crate::app::{App, SCOPES, Settings};

/// The one client.
pub(crate) const CLIENT_ID: &str = "toy-client";

#[derive(Clone)]
pub(crate) struct AuthorizationServer(Arc<Office>);

struct Office {
    issuer: String,
    resource: String,
    client_secret: String,
    signer: Signer<App>,
    settings: Settings,
}

impl AuthorizationServer {
    /// For tokens of `resource` and of no other.
    pub(crate) fn new(
        issuer: String,
        resource: String,
        signer: Signer<App>,
        settings: Settings,
    ) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret)?;
        Ok(Self(Arc::new(Office {
            issuer,
            resource,
            client_secret: BASE64_URL_SAFE_NO_PAD.encode(secret),
            signer,
            settings,
        })))
    }

    /// For who starts the server.
    pub(crate) fn how_to_use(&self) -> String {
        let Office {
            issuer,
            resource,
            client_secret,
            ..
        } = &*self.0;
        format!(
            r#"A client that knows {resource} finds its way to a token with these (grant client_credentials):
  client id: {CLIENT_ID}
  client secret: {client_secret}
By hand:
  curl -i -X POST {resource}    # 401: where the metadata are
  curl -u {CLIENT_ID}:{client_secret} -d grant_type=client_credentials {issuer}/token
"#
        )
    }

    /// They need no token, so they go outside of the layer that asks for one.
    pub(crate) fn routes(self) -> Router {
        Router::new()
            .route("/.well-known/oauth-authorization-server", get(metadata))
            .route(
                "/authorize",
                get(async || refuse("unsupported_response_type")),
            )
            .route("/token", post(token))
            .with_state(self)
    }
}

/// RFC 8414, section 2.
async fn metadata(State(AuthorizationServer(office)): State<AuthorizationServer>) -> Json<Value> {
    let issuer = &office.issuer;
    Json(json!({
        "issuer": issuer,
        // There is nobody to ask for consent, but stock clients read no metadata without it.
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "scopes_supported": SCOPES,
    }))
}

#[derive(Deserialize)]
struct TokenRequest {
    grant_type: String,
    scope: Option<String>,
    resource: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

/// RFC 6749, section 4.4, with the resource indicator of RFC 8707.
async fn token(
    State(AuthorizationServer(office)): State<AuthorizationServer>,
    headers: HeaderMap,
    Form(asked): Form<TokenRequest>,
) -> Response {
    match office.grant(&headers, &asked) {
        Ok(answer) => ([("cache-control", "no-store")], Json(answer)).into_response(),
        Err(error) => refuse(error),
    }
}

/// RFC 6749, section 5.2.
fn refuse(error: &str) -> Response {
    let status = match error {
        "invalid_client" => StatusCode::UNAUTHORIZED,
        _ => StatusCode::BAD_REQUEST,
    };
    (status, Json(json!({ "error": error }))).into_response()
}

impl Office {
    fn grant(&self, headers: &HeaderMap, asked: &TokenRequest) -> Result<Value, &'static str> {
        if !self.is_client(headers, asked) {
            return Err("invalid_client");
        }
        if asked.grant_type != "client_credentials" {
            return Err("unsupported_grant_type");
        }
        if asked
            .resource
            .as_ref()
            .is_some_and(|it| *it != self.resource)
        {
            return Err("invalid_target");
        }
        // Who asks for nothing gets the least.
        let scope = asked.scope.as_deref().unwrap_or(SCOPES[0]);
        if scope.split(' ').any(|name| !SCOPES.contains(&name)) {
            return Err("invalid_scope");
        }
        let now = SystemTime::now();
        let claims = RegisteredClaims::new(CLIENT_ID)
            .issuer(&self.issuer)
            .audience(&self.resource)
            .client(CLIENT_ID)
            .granting(scope)
            .issued_at(now)
            .expires_at(now + self.settings.token_ttl);
        let token = self.signer.sign(&claims).map_err(|_| "server_error")?;
        Ok(json!({
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": self.settings.token_ttl.as_secs(),
            "scope": scope,
        }))
    }

    fn is_client(&self, headers: &HeaderMap, asked: &TokenRequest) -> bool {
        let in_header = || {
            let basic = headers.get(AUTHORIZATION)?.to_str().ok()?;
            let decoded = BASE64_STANDARD.decode(basic.strip_prefix("Basic ")?).ok()?;
            let text = String::from_utf8(decoded).ok()?;
            let (id, secret) = text.split_once(':')?;
            Some((id.to_owned(), secret.to_owned()))
        };
        let in_form = || Some((asked.client_id.clone()?, asked.client_secret.clone()?));
        in_header().or_else(in_form).is_some_and(|(id, secret)| {
            let same = |one: &str, other: &str| {
                aws_lc_rs::constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes())
            };
            id == CLIENT_ID && same(&secret, &self.client_secret).is_ok()
        })
    }
}
