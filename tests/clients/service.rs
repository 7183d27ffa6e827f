//! An MCP server behind the layer, and the authorization server that its metadata names.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::Router;
use rmcp::{
    Json, ServerHandler,
    handler::server::router::tool::ToolRouter,
    model::{ServerCapabilities, ServerConfig},
    schemars, tool, tool_handler, tool_router,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{net::TcpListener, task::AbortHandle};
use tower_secrets::{
    Claims, JwtKey, JwtRotationLayer, Keyring, RegisteredClaims,
    layer::{McpBody, ResourceMetadata},
    mcp::{McpLayer, ScopePolicy, ScopesLayer},
    source::Memory,
};

use crate::authorization_server::AuthorizationServer;

/// What every call needs.
pub(crate) const READ: &str = "mcp:read";

/// What the tool `delete` needs beside it.
pub(crate) const WRITE: &str = "files:write";

pub(crate) struct Service {
    pub(crate) url: String,
    pub(crate) authorization: AuthorizationServer,
    source: Memory,
    keyring: Keyring<App>,
    serving: AbortHandle,
}

#[derive(Deserialize)]
struct App {
    jwt_secret: JwtKey,
}

fn bundle(number: usize) -> String {
    json!({ "jwt_secret": format!("the signing secret of bundle number {number:04}") }).to_string()
}

impl Service {
    pub(crate) async fn start() -> Self {
        let source = Memory::new(bundle(0));
        let keyring = Keyring::<App>::builder(source.clone())
            .jwt_key(|app| &app.jwt_secret)
            .build()
            .await
            .unwrap();
        let signer = keyring.signer();
        let authorization = AuthorizationServer::start(move |grant| {
            let claims = RegisteredClaims::new(&grant.subject)
                .issuer(&grant.issuer)
                .client(&grant.client)
                .granting(grant.scope.as_deref().unwrap_or(READ))
                .expires_at(SystemTime::now() + Duration::from_secs(300));
            // A token that is for nobody in particular is refused.
            let claims = match &grant.resource {
                Some(resource) => claims.audience(resource),
                None => claims,
            };
            signer.sign(&claims).unwrap()
        });
        let authorization = authorization.await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let routes = routes(keyring.clone(), &url, &authorization.issuer);
        let serving = tokio::spawn(async { axum::serve(listener, routes).await.unwrap() });
        Self {
            url,
            authorization,
            source,
            keyring,
            serving: serving.abort_handle(),
        }
    }

    pub(crate) async fn rotate(&self) {
        self.source.rotate(bundle(1));
        self.keyring.refresh().await.unwrap();
    }

    pub(crate) async fn drop_previous(&self) {
        self.source.drop_previous();
        self.keyring.refresh().await.unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn routes(keyring: Keyring<App>, url: &str, issuer: &str) -> Router {
    let metadata = ResourceMetadata::new(url)
        .authorization_server(issuer)
        .scopes([READ]);
    let tokens = JwtRotationLayer::new(keyring)
        .issuer(issuer)
        .resource_metadata(metadata)
        .unwrap()
        .required_scopes([READ])
        .unwrap()
        .respond_with(McpBody);
    let tools = Tools::new();
    let mcp = StreamableHttpService::new(
        move || Ok(tools.clone()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    let policy = ScopePolicy::new().tool("delete", [WRITE]);
    Router::new()
        .nest_service("/mcp", mcp)
        .layer(McpLayer::new().scopes(ScopesLayer::new(policy).unwrap()))
        .layer(tokens)
}

#[derive(Clone)]
struct Tools {
    router: ToolRouter<Self>,
}

#[tool_router]
impl Tools {
    fn new() -> Self {
        Self {
            router: Self::tool_router(),
        }
    }

    #[tool(description = "Who calls")]
    fn whoami(&self, claims: Claims) -> Json<WhoAmI> {
        Json(WhoAmI::new(&claims))
    }

    #[tool(description = "Would delete something")]
    fn delete(&self, claims: Claims) -> Json<WhoAmI> {
        Json(WhoAmI::new(&claims))
    }
}

#[tool_handler(router = self.router)]
impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}

#[derive(Serialize, schemars::JsonSchema)]
struct WhoAmI {
    sub: Option<String>,
    scope: Option<String>,
    stage: String,
}

impl WhoAmI {
    fn new(claims: &Claims) -> Self {
        Self {
            sub: claims.sub().map(str::to_owned),
            scope: claims.scope().map(str::to_owned),
            stage: claims.stage().to_string(),
        }
    }
}
