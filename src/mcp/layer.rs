//! All of the layers around an MCP server, as one.

use tower_layer::Layer;

use super::{
    BindSessions, BindSessionsLayer, EndStreams, EndStreamsLayer, ScopesLayer,
    scopes::ScopesService,
};

/// What an MCP server needs around it, inside of [`JwtRotationLayer`](crate::JwtRotationLayer): sessions belong
/// to the user who opened them ([`BindSessionsLayer`]), event streams end with their token
/// ([`EndStreamsLayer`]), and tools, prompts and resources need scopes ([`ScopesLayer`]).
///
/// It is safe as it stands: sessions are bound with a random key of this process, which is right for
/// rmcp's sessions, and no scope is asked for beyond the
/// [`required_scopes`](crate::JwtRotationLayer::required_scopes). Who wants less takes the single layers.
///
/// ```
/// use axum::Router;
/// use tower_secrets::{
///     JwtRotationLayer, Keyring,
///     layer::InvalidScope,
///     mcp::{McpLayer, ScopePolicy, ScopesLayer},
/// };
/// # use rmcp::ServerHandler;
/// # use rmcp::transport::streamable_http_server::{StreamableHttpService, session::local::LocalSessionManager};
/// # struct App;
///
/// # fn app(
/// #     keyring: Keyring<App>,
/// #     server: StreamableHttpService<impl ServerHandler, LocalSessionManager>,
/// # ) -> Result<Router, InvalidScope> {
/// let policy = ScopePolicy::new().tool("delete_file", ["files:write"]);
/// let app = Router::new()
///     .nest_service("/mcp", server)
///     .layer(McpLayer::new().scopes(ScopesLayer::new(policy)?))
///     .layer(JwtRotationLayer::new(keyring));
/// # Ok(app)
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct McpLayer {
    streams: EndStreamsLayer,
    sessions: BindSessionsLayer,
    scopes: ScopesLayer,
}

impl McpLayer {
    /// Sessions of this process, streams that end, no scopes.
    pub fn new() -> Self {
        Self {
            streams: EndStreamsLayer::new(),
            sessions: BindSessionsLayer::of_process(),
            scopes: ScopesLayer::default(),
        }
    }

    /// Which scopes tools, prompts and resources need. Default: none.
    pub fn scopes(self, scopes: ScopesLayer) -> Self {
        Self { scopes, ..self }
    }

    /// Whose key binds sessions to their users: [`BindSessionsLayer::shared`] where replicas share
    /// sessions. Default: a random key of this process.
    pub fn bind_sessions(self, sessions: BindSessionsLayer) -> Self {
        Self { sessions, ..self }
    }
}

impl Default for McpLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for McpLayer {
    // A session that is not the caller's is refused before anything is read for it.
    type Service = EndStreams<BindSessions<ScopesService<S>>>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self {
            streams,
            sessions,
            scopes,
        } = self;
        streams.layer(sessions.layer(scopes.layer(inner)))
    }
}
