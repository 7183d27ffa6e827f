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

mod body;
mod context;
mod message;
pub mod scopes;
mod with_secrets;

pub use self::{
    body::BytesOr,
    context::SecretsContext,
    scopes::{ScopePolicy, ScopesLayer},
    with_secrets::WithSecrets,
};
