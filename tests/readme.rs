//! What the README shows in parts compiles too: each block of Rust there that is no program of its own
//! (`rust,ignore`) stands here as it stands there.
#![cfg(all(
    feature = "aws",
    feature = "axum",
    feature = "jwks",
    feature = "rmcp",
    feature = "vault"
))]
#![allow(
    dead_code,
    unused_variables,
    reason = "to compile is all that they are for"
)]

use axum::{Router, routing::post};
use http::{
    HeaderName, HeaderValue, Method,
    header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE},
};
use rmcp::{
    ServerHandler, tool, tool_handler, tool_router,
    transport::streamable_http_server::{
        StreamableHttpService, session::local::LocalSessionManager,
    },
};
use tower_http::cors::CorsLayer;
use tower_secrets::{
    Claims, JwtKey, JwtRotationLayer, Keyring, Secrets,
    layer::{Issuer, McpBody, ResourceMetadata},
    mcp::{McpLayer, ScopePolicy, ScopesLayer},
    source::{Jwks, SecretsManager, Vault, VaultAuth, VaultClient, VaultDatabase},
};

type Anything<T> = Result<T, Box<dyn std::error::Error>>;

#[derive(Debug, serde::Deserialize)]
struct App {
    jwt_secret: JwtKey,
}

struct Server;

#[rustfmt::skip]
#[tool_router]
impl Server {
    #[tool(description = "Who calls")]
    fn whoami(&self, secrets: Secrets<App>, claims: Claims) -> String {
        format!("{:?}, version {}", claims.sub(), secrets.version())
    }
}

#[tool_handler]
impl ServerHandler for Server {}

#[rustfmt::skip]
async fn aws() -> Anything<()> {
    let source = SecretsManager::from_env("mcp/jwt-secret").await; // or a full ARN, or a client of yours
    let keyring = Keyring::<App>::builder(source).jwt_key(|app| &app.jwt_secret).build().await?;
    Ok(())
}

#[rustfmt::skip]
fn vault() -> Anything<()> {
    let client = VaultClient::builder("https://vault.example:8200").auth(VaultAuth::kubernetes("my-server")).build()?;
    let source = Vault::new(&client, "my-server/jwt"); // a KV engine, version 2
    let password = VaultDatabase::dynamic_role(&client, "my-server"); // or static_role
    Ok(())
}

#[rustfmt::skip]
async fn identity_provider(app: Keyring<App>) -> Anything<()> {
    let issuer = "https://login.example";
    let keys = Keyring::<JwtKey>::builder(Jwks::discover(issuer)).jwt_key(|keys| keys).build().await?;
    let layer = JwtRotationLayer::new(keys.clone()).issuer(issuer).audience("https://mcp.example");
    // or, where the service has secrets of its own, and there may be more than one issuer:
    let layer = JwtRotationLayer::new(app).trust(Issuer::new(issuer, keys).audience("https://mcp.example"));
    Ok(())
}

#[rustfmt::skip]
fn resource_server(keyring: Keyring<App>) -> Anything<()> {
    let metadata = ResourceMetadata::new("https://api.example/mcp").authorization_server("https://login.example");
    let tokens = JwtRotationLayer::new(keyring).resource_metadata(metadata)?.required_scopes(["mcp:read"])?.respond_with(McpBody);
    Ok(())
}

#[rustfmt::skip]
fn mcp(
    service: StreamableHttpService<Server, LocalSessionManager>,
    tokens: JwtRotationLayer<App>,
) -> Anything<Router> {
    let policy = ScopePolicy::new().tool("delete_file", ["files:write"]).resource_prefix("file:///private/", ["files:private"]);
    let mcp = McpLayer::new().scopes(ScopesLayer::new(policy)?);
    let app = Router::new().nest_service("/mcp", service).layer(mcp).layer(tokens);
    Ok(app)
}

#[rustfmt::skip]
fn browsers(keyring: Keyring<App>, origin: HeaderValue) -> Router {
    async fn handler() {}
    let [session_id, protocol_version, method, name, last_event_id] = [
        "mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name", "last-event-id",
    ].map(HeaderName::from_static);
    Router::new()
        .route("/mcp", post(handler))
        .layer(JwtRotationLayer::new(keyring))
        .layer(
            CorsLayer::new()
                .allow_origin(origin)
                .allow_methods([Method::GET, Method::POST, Method::DELETE])
                // The last five by `HeaderName::from_static("mcp-session-id")` and so on.
                .allow_headers([AUTHORIZATION, CONTENT_TYPE, session_id.clone(), protocol_version, method, name, last_event_id])
                .expose_headers([WWW_AUTHENTICATE, session_id]),
        )
}

#[test]
fn each_block_is_here() {
    let readme = include_str!("../README.md");
    let here: Vec<_> = include_str!("readme.rs").lines().map(str::trim).collect();
    let blocks: Vec<Vec<_>> = readme
        .split("\n```rust,ignore\n")
        .skip(1)
        .map(|rest| {
            rest.split_once("\n```")
                .expect("a block ends")
                .0
                .lines()
                .map(str::trim)
                .collect()
        })
        .collect();
    assert_eq!(blocks.len(), 7, "{blocks:#?}");
    for block in blocks {
        let found = here.windows(block.len()).any(|lines| lines == block);
        assert!(found, "{block:#?}");
    }
}
