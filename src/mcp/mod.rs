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
//! Around the MCP service, inside of the layer that verifies tokens:
//!
//! * [`EndStreamsLayer`]: an event stream ends with the token that opened it.
//!
//! Over HTTP, what they give is what [`JwtRotationLayer`](crate::JwtRotationLayer) or
//! [`SecretsLayer`](crate::SecretsLayer) has put in the very request that made the call: within a
//! session, each call has its own. Without HTTP (stdio) there is no layer; wrap the server in
//! [`WithSecrets`], and the same tools work.

mod context;
mod streams;
mod with_secrets;

pub use self::{
    context::SecretsContext,
    streams::{EndStreams, EndStreamsLayer, EndingBody},
    with_secrets::WithSecrets,
};
