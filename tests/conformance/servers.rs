//! The servers that are compared: one fixture, with nothing of ours before it, and with it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn},
};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use serde::Deserialize;
use serde_json::json;
use tokio::{net::TcpListener, task::AbortHandle};
use tower_secrets::{JwtKey, JwtRotationLayer, Keyring, RegisteredClaims, source::Memory};

use crate::fixture::Fixture;

/// The key rotates when this request comes: the suite sends about two hundred.
const ROTATES_AT: usize = 50;

pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) origin: String,
    /// What its clients send, where it needs one.
    pub(crate) token: Option<String>,
    keyring: Option<Keyring<App>>,
    serving: AbortHandle,
}

#[derive(Deserialize)]
pub(crate) struct App {
    jwt_secret: JwtKey,
}

/// The first has nothing of ours.
pub(crate) async fn all() -> Vec<Server> {
    vec![
        Server::start("without", fixture(), None).await,
        Server::protected("token layer", |keyring| {
            fixture().layer(JwtRotationLayer::new(keyring))
        })
        .await,
    ]
}

fn fixture() -> Router {
    let fixture = Fixture::default();
    let mcp = StreamableHttpService::new(
        move || Ok(fixture.clone()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    Router::new().nest_service("/mcp", mcp)
}

fn bundle(number: usize) -> String {
    json!({ "jwt_secret": format!("the signing secret of bundle number {number:04}") }).to_string()
}

impl Server {
    /// One whose key rotates while it is in use.
    async fn protected(name: &'static str, router: impl FnOnce(Keyring<App>) -> Router) -> Self {
        let source = Memory::new(bundle(0));
        let keyring = Keyring::<App>::builder(source.clone())
            .jwt_key(|app| &app.jwt_secret)
            .build()
            .await
            .unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let rotating = keyring.clone();
        let rotate = from_fn(move |request: Request, next: Next| {
            let (source, keyring) = (source.clone(), rotating.clone());
            let number = requests.fetch_add(1, Ordering::Relaxed);
            async move {
                if number == ROTATES_AT {
                    source.rotate(bundle(1));
                    keyring.refresh().await.unwrap();
                }
                next.run(request).await
            }
        });
        let server = Self::start(name, router(keyring.clone()).layer(rotate), Some(keyring)).await;
        let refused = reqwest::get(format!("{}/mcp", server.origin)).await;
        assert_eq!(refused.unwrap().status(), 401, "{name}");
        server
    }

    async fn start(name: &'static str, router: Router, keyring: Option<Keyring<App>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        let claims = RegisteredClaims::new("alice")
            .expires_at(SystemTime::now() + Duration::from_secs(3600));
        let token = keyring
            .as_ref()
            .map(|it| it.signer().sign(&claims).unwrap());
        Self {
            name,
            origin,
            token,
            keyring,
            serving: serving.abort_handle(),
        }
    }

    /// Whether its key has rotated, where it has one.
    pub(crate) fn has_rotated(&self) -> bool {
        let keyring = self.keyring.as_ref();
        keyring.is_none_or(|keyring| keyring.current().generation() == 2)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
