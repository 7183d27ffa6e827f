//! An upstream's API key: rotated in time, and once cut off without notice.
//!
//! ```sh
//! cargo run --example api_key
//! ```
//!
//! The provider accepts two keys at a time. A planned rotation makes the second, swaps, and deletes the
//! first later: nobody notices. Then the provider deletes the key in use, as after a leak, and
//! `try_each` carries the call over.

use std::{
    collections::HashSet,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    routing::get,
};
use serde::Deserialize;
use tower_secrets::{Attempt, Keyring, Secrets, source::Memory};

#[derive(Deserialize)]
struct App {
    api_key: String,
}

/// The keys that the provider accepts at this moment.
#[derive(Clone, Default)]
struct Provider(Arc<Mutex<HashSet<String>>>);

impl Provider {
    fn create(&self, key: &str) {
        self.keys().insert(key.to_owned());
    }

    fn delete(&self, key: &str) {
        self.keys().remove(key);
    }

    fn answer(&self, headers: &HeaderMap) -> StatusCode {
        let key = headers.get("x-api-key").and_then(|key| key.to_str().ok());
        match key {
            Some(key) if self.keys().contains(key) => StatusCode::OK,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    fn keys(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self) -> std::io::Result<String> {
        let provider = self.clone();
        let answer = move |headers: HeaderMap| async move { provider.answer(&headers) };
        let routes = Router::new().route("/quote", get(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async { axum::serve(listener, routes).await });
        Ok(format!("http://{address}/quote"))
    }
}

/// What a handler or a tool does.
async fn quote(
    client: &reqwest::Client,
    secrets: &Secrets<App>,
    url: &str,
) -> Result<StatusCode, reqwest::Error> {
    secrets
        .try_each(|app: Arc<App>| {
            let request = client.get(url).header("x-api-key", &app.api_key);
            async move {
                let answer = request.send().await.map_err(Attempt::Other)?;
                let answer = answer
                    .error_for_status()
                    .map_err(|error| match error.status() {
                        Some(StatusCode::UNAUTHORIZED) => Attempt::Unauthenticated(error),
                        _ => Attempt::Other(error),
                    })?;
                Ok(answer.status())
            }
        })
        .await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // One for the process, and never without a limit: `try_each` waits as long as its attempts do.
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .build()?;
    let provider = Provider::default();
    let url = provider.serve().await?;
    provider.create("key-1");
    let source = Memory::new(r#"{"api_key":"key-1"}"#);
    let keyring = Keyring::<App>::builder(source.clone()).build().await?;
    let long_request = keyring.current();
    println!("key-1: {}", quote(&client, &long_request, &url).await?);

    provider.create("key-2");
    source.rotate(r#"{"api_key":"key-2"}"#);
    keyring.refresh().await?;
    println!(
        "key-2, after a reload: {}",
        quote(&client, &keyring.current(), &url).await?
    );
    println!(
        "key-1, in a request that began before: {}",
        quote(&client, &long_request, &url).await?
    );

    // No reload: the refusal itself asks for one.
    provider.delete("key-1");
    provider.delete("key-2");
    provider.create("key-3");
    source.rotate(r#"{"api_key":"key-3"}"#);
    let secrets = keyring.current();
    assert_eq!(secrets.api_key, "key-2");
    println!(
        "key-2 was cut off, healed: {}",
        quote(&client, &secrets, &url).await?
    );
    assert_eq!(keyring.current().api_key, "key-3");
    Ok(())
}
