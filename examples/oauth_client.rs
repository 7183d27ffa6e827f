//! An OAuth client secret that changes under a client-credentials exchange (RFC 6749 section 4.4).
//!
//! ```sh
//! cargo run --example oauth_client
//! ```
//!
//! The authorization server knows one secret a client and refuses the old one at once. The access
//! token that the client holds stays good; its *next* exchange is refused with `invalid_client`
//! (section 5.2), asks for a refresh, and goes through with the new secret.

use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_secrets::{Attempt, Keyring, Secrets, source::Memory};

#[derive(Deserialize)]
struct App {
    client_id: String,
    client_secret: String,
}

/// Knows one client and one secret of it, and counts the exchanges.
#[derive(Clone)]
struct AuthorizationServer(Arc<Mutex<(String, u32)>>);

impl AuthorizationServer {
    fn new(secret: &str) -> Self {
        Self(Arc::new(Mutex::new((secret.to_owned(), 0))))
    }

    fn change_secret(&self, secret: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = secret.to_owned();
    }

    fn exchange(&self, headers: &HeaderMap) -> (StatusCode, Json<Value>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (secret, count) = &mut *state;
        let expected = format!("Basic {}", STANDARD.encode(format!("mcp-server:{secret}")));
        if headers
            .get("authorization")
            .is_none_or(|sent| *sent != *expected)
        {
            return (
                StatusCode::UNAUTHORIZED,
                Json(json!({ "error": "invalid_client" })),
            );
        }
        *count += 1;
        let token = json!({ "access_token": format!("token-{count}"), "token_type": "Bearer", "expires_in": 300 });
        (StatusCode::OK, Json(token))
    }

    async fn serve(&self) -> std::io::Result<String> {
        let server = self.clone();
        let exchange = move |headers: HeaderMap| async move { server.exchange(&headers) };
        let routes = Router::new().route("/token", post(exchange));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async { axum::serve(listener, routes).await });
        Ok(format!("http://{address}/token"))
    }
}

/// One exchange; the refusal of the client itself is what another secret may mend.
async fn access_token(
    http: &reqwest::Client,
    secrets: &Secrets<App>,
    url: &str,
) -> Result<String, Box<dyn Error>> {
    let answer = secrets.try_each(|app: Arc<App>| {
        let request = http
            .post(url)
            .basic_auth(&app.client_id, Some(&app.client_secret))
            .header("content-type", "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials");
        async move {
            let answer = request.send().await.map_err(Attempt::Other)?;
            match answer.error_for_status_ref() {
                Ok(_) => answer.bytes().await.map_err(Attempt::Other),
                Err(error) if error.status() == Some(StatusCode::UNAUTHORIZED) => {
                    Err(Attempt::Unauthenticated(error))
                }
                Err(error) => Err(Attempt::Other(error)),
            }
        }
    });
    let answer: Value = serde_json::from_slice(&answer.await?)?;
    let token = answer["access_token"]
        .as_str()
        .ok_or("no access_token in the answer")?;
    Ok(token.to_owned())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // One for the process, and never without a limit: `try_each` waits as long as its attempts do.
    let http = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .build()?;
    let server = AuthorizationServer::new("secret-1");
    let url = server.serve().await?;
    let source = Memory::new(r#"{"client_id":"mcp-server","client_secret":"secret-1"}"#);
    let keyring = Keyring::<App>::builder(source.clone()).build().await?;
    println!(
        "secret-1: {}",
        access_token(&http, &keyring.current(), &url).await?
    );

    server.change_secret("secret-2");
    source.rotate(r#"{"client_id":"mcp-server","client_secret":"secret-2"}"#);
    let secrets = keyring.current();
    assert_eq!(secrets.client_secret, "secret-1");
    println!(
        "secret-1 is refused, healed: {}",
        access_token(&http, &secrets, &url).await?
    );
    assert_eq!(keyring.current().client_secret, "secret-2");
    Ok(())
}
