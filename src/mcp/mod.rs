//! The MCP edge: [`Secrets`](crate::Secrets) and [`Claims`](crate::Claims) in rmcp servers.
//!
//! In a function marked `#[tool]` or `#[prompt]` both are arguments, beside `Parameters<_>`. In
//! the methods of `ServerHandler`, which get a bare `RequestContext`, the trait [`SecretsContext`]
//! gives them:
//!
//! ```
//! use rmcp::{ErrorData, RoleServer, service::RequestContext};
//! use tower_secrets::mcp::SecretsContext;
//! # struct App { api_key: String }
//!
//! fn upstream_key(context: &RequestContext<RoleServer>) -> Result<String, ErrorData> {
//!     let secrets = context.secrets::<App>()?;
//!     Ok(secrets.api_key.clone())
//! }
//! ```
//!
//! Over HTTP, what they give is what [`JwtRotationLayer`](crate::JwtRotationLayer) or
//! [`SecretsLayer`](crate::SecretsLayer) has put in the very request that made the call: within a
//! session, each call has its own. Without HTTP (stdio) there is no layer; wrap the server in
//! [`WithSecrets`], and the same tools work.
//!
//! # Layers
//!
//! Around the MCP service, inside of the layer that verifies tokens, [`McpLayer`]. It is made of
//!
//! * [`EndStreamsLayer`]: an event stream of GET or `subscriptions/listen` ends with its token.
//! * [`ScopesLayer`]: which scopes a tool, a prompt or a resource needs.
//! * [`BindSessionsLayer`]: a session, and the events in it, belong to the user who opened it.
//!
//! [`RequestStates`] does the same for the state that a client hands back. Whether the keys of these two
//! are of one process or shared by a fleet is said by name: `of_process()` or `shared(&keyring)`.

mod body;
mod context;
mod layer;
mod message;
mod principal;
mod request_state;
pub mod scopes;
pub(crate) mod session;
mod streams;
mod with_secrets;

pub use self::{
    body::BytesOr,
    context::SecretsContext,
    layer::McpLayer,
    request_state::RequestStates,
    scopes::{ScopePolicy, ScopesLayer},
    session::{BindSessions, BindSessionsLayer, NoSessionKey, SessionBody, SessionFuture},
    streams::{EndStreams, EndStreamsLayer, EndingBody, EndingFuture},
    with_secrets::WithSecrets,
};
