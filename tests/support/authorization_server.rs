//! An authorization server for tests, on 127.0.0.1: metadata (RFC 8414), registration of clients
//! (RFC 7591), the grants `authorization_code` with PKCE (RFC 7636) and `client_credentials`, and
//! resource indicators (RFC 8707). Everybody is let in, always as alice. What a token is made of is
//! the test's affair.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    Form, Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle};

/// The client that need not register.
pub(crate) const CLIENT: (&str, &str) = ("a-service", "a-secret-of-32-characters-or-more");

/// What is granted, and so what the token is to say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grant {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) client: String,
    /// What the client said that the token is for.
    pub(crate) resource: Option<String>,
    /// What the client asked for; RFC 6749 lets it leave that to the server.
    pub(crate) scope: Option<String>,
}

type Sign = Arc<dyn Fn(&Grant) -> String + Send + Sync>;

pub(crate) struct AuthorizationServer {
    pub(crate) issuer: String,
    asked: Arc<Mutex<Vec<String>>>,
    serving: AbortHandle,
}

impl AuthorizationServer {
    /// `sign` makes the token.
    pub(crate) async fn start(sign: impl Fn(&Grant) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::default();
        let office = Office {
            issuer: issuer.clone(),
            sign: Arc::new(sign),
            clients: Arc::default(),
            codes: Arc::default(),
            asked: Arc::clone(&asked),
        };
        let routes = Router::new()
            .route("/.well-known/oauth-authorization-server", get(metadata))
            .route("/register", post(register))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(office);
        let serving = tokio::spawn(async { axum::serve(listener, routes).await.unwrap() });
        Self {
            issuer,
            asked,
            serving: serving.abort_handle(),
        }
    }

    /// What it was asked for since the last time, but for its metadata, which clients read as often as
    /// they please.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Drop for AuthorizationServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[derive(Clone)]
struct Office {
    issuer: String,
    sign: Sign,
    /// The ids of those who registered, with where they may be sent back to.
    clients: Arc<Mutex<HashMap<String, Vec<String>>>>,
    codes: Arc<Mutex<HashMap<String, Code>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Office {
    fn note(&self, what: impl Into<String>) {
        self.asked.lock().unwrap().push(what.into());
    }
}

/// Waits to be exchanged.
struct Code {
    grant: Grant,
    redirect_uri: String,
    challenge: String,
}

async fn metadata(State(office): State<Office>) -> Json<Value> {
    let issuer = &office.issuer;
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "registration_endpoint": format!("{issuer}/register"),
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "client_credentials"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
        "authorization_response_iss_parameter_supported": true,
    }))
}

async fn register(State(office): State<Office>, Json(mut client): Json<Value>) -> Response {
    office.note("register");
    let uris: Vec<String> = match client["redirect_uris"].as_array() {
        Some(uris) => uris
            .iter()
            .filter_map(|uri| uri.as_str().map(str::to_owned))
            .collect(),
        None => return refuse("invalid_redirect_uri"),
    };
    let id = random();
    client["client_id"] = json!(id);
    client["token_endpoint_auth_method"] = json!("none");
    office.clients.lock().unwrap().insert(id, uris);
    (StatusCode::CREATED, Json(client)).into_response()
}

#[derive(Deserialize)]
struct Authorize {
    response_type: String,
    client_id: String,
    redirect_uri: String,
    code_challenge: String,
    code_challenge_method: String,
    state: Option<String>,
    scope: Option<String>,
    resource: Option<String>,
}

async fn authorize(State(office): State<Office>, Query(asked): Query<Authorize>) -> Response {
    let scope = asked.scope.as_deref().unwrap_or_default();
    office.note(format!("authorize {scope}").trim_end());
    let known = match office.clients.lock().unwrap().get(&asked.client_id) {
        Some(uris) => uris.contains(&asked.redirect_uri),
        None => false,
    };
    if !known || asked.response_type != "code" || asked.code_challenge_method != "S256" {
        return refuse("invalid_request");
    }
    let code = random();
    // What these clients send needs no escape.
    let state = asked
        .state
        .map(|it| format!("&state={it}"))
        .unwrap_or_default();
    let issuer = office.issuer.replace(':', "%3A").replace('/', "%2F");
    let back = format!("{}?code={code}{state}&iss={issuer}", asked.redirect_uri);
    let waiting = Code {
        grant: Grant {
            issuer: office.issuer.clone(),
            subject: "alice".to_owned(),
            client: asked.client_id,
            resource: asked.resource,
            scope: asked.scope,
        },
        redirect_uri: asked.redirect_uri,
        challenge: asked.code_challenge,
    };
    office.codes.lock().unwrap().insert(code, waiting);
    Redirect::to(&back).into_response()
}

#[derive(Deserialize)]
struct Token {
    grant_type: String,
    client_id: Option<String>,
    code: Option<String>,
    code_verifier: Option<String>,
    redirect_uri: Option<String>,
    scope: Option<String>,
    resource: Option<String>,
}

async fn token(
    State(office): State<Office>,
    headers: HeaderMap,
    Form(asked): Form<Token>,
) -> Response {
    let scope = asked.scope.as_deref().unwrap_or_default();
    office.note(format!("token {} {scope}", asked.grant_type).trim_end());
    let granted = match &*asked.grant_type {
        "authorization_code" => exchange(&office, &asked),
        "client_credentials" if is_the_client(&headers) => Ok(Grant {
            issuer: office.issuer.clone(),
            subject: CLIENT.0.to_owned(),
            client: CLIENT.0.to_owned(),
            resource: asked.resource,
            scope: asked.scope,
        }),
        "client_credentials" => Err("invalid_client"),
        _ => Err("unsupported_grant_type"),
    };
    match granted {
        Ok(grant) => {
            let token = (office.sign)(&grant);
            Json(json!({ "access_token": token, "token_type": "Bearer", "expires_in": 300 }))
                .into_response()
        }
        Err(error) => refuse(error),
    }
}

/// A code is good once, for the client that asked for it and knows the verifier.
fn exchange(office: &Office, asked: &Token) -> Result<Grant, &'static str> {
    let code = asked.code.as_ref().ok_or("invalid_request")?;
    let code = office
        .codes
        .lock()
        .unwrap()
        .remove(code)
        .ok_or("invalid_grant")?;
    let verifier = asked.code_verifier.as_deref().unwrap_or_default();
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
    let is_its_own = challenge == code.challenge
        && asked.redirect_uri.as_ref() == Some(&code.redirect_uri)
        && asked.client_id.as_ref() == Some(&code.grant.client)
        && asked.resource == code.grant.resource;
    is_its_own.then_some(code.grant).ok_or("invalid_grant")
}

fn is_the_client(headers: &HeaderMap) -> bool {
    // Nothing in them needs an escape.
    let client = format!("{}:{}", CLIENT.0, CLIENT.1);
    let sent = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
    let sent = sent.and_then(|it| it.strip_prefix("Basic "));
    let sent = sent.and_then(|it| BASE64_STANDARD.decode(it).ok());
    sent.is_some_and(|it| it == client.as_bytes())
}

fn refuse(error: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response()
}

fn random() -> String {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
