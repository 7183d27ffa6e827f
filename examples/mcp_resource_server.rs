//! An MCP server whose secrets rotate, and that stock clients find their way into.
use std::{env::var, error::Error, sync::Arc};

use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use rmcp::{ServerHandler, model::*, tool, tool_handler, tool_router};
use tower_secrets::layer::{Issuer, McpBody, ResourceMetadata};
use tower_secrets::mcp::{McpLayer, ScopePolicy, ScopesLayer};
use tower_secrets::source::{File, Jwks};
use tower_secrets::{Claims, JwtKey, JwtRotationLayer, Keyring, Secrets};

#[derive(serde::Deserialize)]
struct App {
    api_key: String,
}

struct Tools;

#[tool_router]
impl Tools {
    #[tool(description = "Asks an upstream for the caller")]
    async fn ask(&self, app: Secrets<App>, caller: Claims) -> String {
        let bytes = app.api_key.len(); // call the upstream with it here
        format!("{:?} asks with a key of {bytes} bytes", caller.sub())
    }
}

#[tool_handler]
impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init(); // tells of refused rotations
    let (url, issuer) = (var("PUBLIC_URL")?, var("ISSUER")?);
    let app = Keyring::<App>::builder(File::new(var("SECRETS")?));
    let login = Keyring::<JwtKey>::builder(Jwks::discover(&issuer)).jwt_key(|keys| keys);
    let login = Issuer::new(&issuer, login.build().await?);
    let metadata = ResourceMetadata::new(&url).authorization_server(&issuer);
    let scopes = ScopesLayer::new(ScopePolicy::new().tool("ask", ["mcp", "upstream"]))?;
    let tokens = JwtRotationLayer::new(app.build().await?)
        .trust(login)
        .resource_metadata(metadata.scopes(["mcp"]))?
        .required_scopes(["mcp"])?
        .respond_with(McpBody);
    let sessions = Arc::new(LocalSessionManager::default());
    let config = StreamableHttpServerConfig::default().enforce_origin_validation();
    let mcp = StreamableHttpService::new(|| Ok(Tools), sessions, config);
    let routes = axum::Router::new()
        .nest_service("/mcp", mcp)
        .layer(McpLayer::new().scopes(scopes))
        .layer(tokens);
    let listener = tokio::net::TcpListener::bind(var("LISTEN")?).await?;
    println!("listening on {}", listener.local_addr()?);
    Ok(axum::serve(listener, routes).await?)
}
