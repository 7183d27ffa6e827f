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
use tower_secrets::{
    JwtKey, JwtRotationLayer, Keyring, RegisteredClaims, SessionKey,
    layer::{McpBody, ResourceMetadata},
    mcp::{BindSessionsLayer, McpLayer, RequestStates, ScopePolicy, ScopesLayer},
    source::Memory,
};

use crate::{fixture::Fixture, rounds::States};

const ISSUER: &str = "https://login.example";
const SCOPE: &str = "mcp:read";

/// The key rotates when this request comes: the suite sends about two hundred.
const ROTATES_AT: usize = 50;

pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) origin: String,
    /// What its clients send, where it needs one.
    pub(crate) token: Option<String>,
    keyring: Option<Keyring<App>>,
    _serving: Serving,
}

#[derive(Deserialize)]
pub(crate) struct App {
    jwt_secret: JwtKey,
    session_key: SessionKey,
}

/// The first has nothing of ours.
pub(crate) async fn all() -> Vec<Server> {
    let (listener, origin) = listen().await;
    let without = Server::serve("without", listener, origin, server(States::of_rmcp()));
    vec![
        without,
        Server::protected("token layer", |keyring, _| {
            server(States::of_rmcp()).layer(JwtRotationLayer::new(keyring))
        })
        .await,
        Server::protected("McpLayer", with_mcp_layer).await,
    ]
}

/// All of it, with keys that replicas share.
fn with_mcp_layer(keyring: Keyring<App>, resource: &str) -> Router {
    let policy = ScopePolicy::new()
        .tool("test_simple_text", [SCOPE])
        .prompt("test_simple_prompt", [SCOPE])
        .resource_prefix("test://", [SCOPE])
        .other_tools([SCOPE]);
    let mcp = McpLayer::new()
        .scopes(ScopesLayer::new(policy).unwrap())
        .bind_sessions(BindSessionsLayer::shared(&keyring).unwrap());
    let states = States::Ours(RequestStates::shared(&keyring).unwrap());
    let metadata = ResourceMetadata::new(resource)
        .authorization_server(ISSUER)
        .scopes([SCOPE]);
    let tokens = JwtRotationLayer::new(keyring)
        .issuer(ISSUER)
        .resource_metadata(metadata)
        .unwrap()
        .required_scopes([SCOPE])
        .unwrap()
        .respond_with(McpBody);
    server(states).layer(mcp).layer(tokens)
}

fn server(states: States) -> Router {
    let fixture = Fixture::new(states);
    let mcp = StreamableHttpService::new(
        move || Ok(fixture.clone()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    Router::new().nest_service("/mcp", mcp)
}

fn bundle(number: usize) -> String {
    let bundle = json!({
        "jwt_secret": format!("the signing secret of bundle number {number:04}"),
        "session_key": format!("the session key of bundle number {number:04}"),
    });
    bundle.to_string()
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    (listener, origin)
}

impl Server {
    /// One whose keys rotate while it is in use. The router is for the resource of this URL.
    async fn protected(
        name: &'static str,
        router: impl FnOnce(Keyring<App>, &str) -> Router,
    ) -> Self {
        let source = Memory::new(bundle(0));
        let keyring = Keyring::<App>::builder(source.clone())
            .jwt_key(|app| &app.jwt_secret)
            .session_key(|app| &app.session_key)
            .build()
            .await
            .unwrap();
        let (listener, origin) = listen().await;
        let resource = format!("{origin}/mcp");
        let claims = RegisteredClaims::new("alice")
            .issuer(ISSUER)
            .audience(&resource)
            .granting(SCOPE)
            .expires_at(SystemTime::now() + Duration::from_secs(3600));
        let token = keyring.signer().sign(&claims).unwrap();

        let requests = Arc::new(AtomicUsize::new(0));
        let router = router(keyring.clone(), &resource);
        let rotating = keyring.clone();
        let router = router.layer(from_fn(move |request: Request, next: Next| {
            let (source, keyring) = (source.clone(), rotating.clone());
            let number = requests.fetch_add(1, Ordering::Relaxed);
            async move {
                if number == ROTATES_AT {
                    source.rotate(bundle(1));
                    keyring.refresh().await.unwrap();
                }
                next.run(request).await
            }
        }));
        let server = Self {
            token: Some(token),
            keyring: Some(keyring),
            ..Self::serve(name, listener, origin, router)
        };
        let refused = reqwest::get(resource).await;
        assert_eq!(refused.unwrap().status(), 401, "{name}");
        server
    }

    fn serve(name: &'static str, listener: TcpListener, origin: String, router: Router) -> Self {
        let serving = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self {
            name,
            origin,
            token: None,
            keyring: None,
            _serving: Serving(serving.abort_handle()),
        }
    }

    /// Whether its key has rotated, where it has one.
    pub(crate) fn has_rotated(&self) -> bool {
        let keyring = self.keyring.as_ref();
        keyring.is_none_or(|keyring| keyring.current().generation() == 2)
    }
}

/// Ends with it.
struct Serving(AbortHandle);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}
