//! Scopes by the name of the tool, prompt or resource that a message is about.
//!
//! [`ScopesLayer`] goes *inside* [`JwtRotationLayer`](crate::JwtRotationLayer) and around the MCP server
//! alone, for it takes every POST for a message. A [`ScopePolicy`] says what needs which scopes; who is
//! granted what, the token layer knows: [`Authentication::grants`](crate::Authentication::grants), and so
//! [`scope_rule`](crate::JwtRotationLayer::scope_rule).
//!
//! ```
//! use axum::Router;
//! use tower_secrets::{
//!     JwtRotationLayer, Keyring,
//!     layer::InvalidScope,
//!     mcp::{ScopePolicy, ScopesLayer},
//! };
//! # use rmcp::ServerHandler;
//! # use rmcp::transport::streamable_http_server::{StreamableHttpService, session::local::LocalSessionManager};
//! # struct App;
//!
//! # fn app(
//! #     keyring: Keyring<App>,
//! #     server: StreamableHttpService<impl ServerHandler, LocalSessionManager>,
//! # ) -> Result<Router, InvalidScope> {
//! let policy = ScopePolicy::new()
//!     .tool("delete_file", ["files:read", "files:write"])
//!     .resource_prefix("file:///private/", ["files:private"]);
//! let app = Router::new()
//!     .nest_service("/mcp", server)
//!     .layer(ScopesLayer::new(policy)?)
//!     .layer(JwtRotationLayer::new(keyring));
//! # Ok(app)
//! # }
//! ```
//!
//! # How it decides
//!
//! | `MCP-Protocol-Version` | what decides |
//! |---|---|
//! | `2026-07-28`, `Mcp-Method` and, where the method has one, `Mcp-Name` (decoded), each there once | these headers; the body is not touched |
//! | the same, of `completion/complete`, `subscriptions/listen`, `resources/directory/read` or `skills/get` where the policy is about prompts or resources | the body, which alone has the names |
//! | the same, of `resources/subscribe` or `resources/unsubscribe`, without `Mcp-Name` | `Mcp-Method`: the version has them no more, and the server answers 404 |
//! | any other, none, or headers that are missing, there twice or unreadable | the body |
//!
//! The headers of 2026-07-28 (Streamable HTTP, Standard MCP Request Headers) decide because rmcp answers 400 to a request
//! whose body says something else; the tests of this crate hold it to that. In front of another server use
//! [`always_read_bodies`](ScopesLayer::always_read_bodies), and also where an `on_custom_request` of yours
//! takes messages of these methods: rmcp hands it those whose body names nothing, whatever the headers say.
//!
//! A body is held whole, up to [`max_body_bytes`](ScopesLayer::max_body_bytes), and handed on as the same
//! bytes. How long a client may take to send it is for the server that has the connection to limit. What
//! two readers could read in two ways is refused: a member that is there twice, a name that is no text, an
//! array where an object belongs.
//!
//! # What is answered
//!
//! Each is a JSON-RPC error object, with the id of the message where that was read, else `null`.
//!
//! | message | status | code |
//! |---|---|---|
//! | needs scopes that the token does not grant | 403, a challenge with all that the message, or the whole batch, needs (RFC 6750 section 3.1) | -32600 |
//! | names what is not listed, under [`deny_unlisted`](ScopePolicy::deny_unlisted) | 403 without a challenge | -32600 |
//! | needs scopes, and [`allow_anonymous`](crate::JwtRotationLayer::allow_anonymous) let it through without a token | 401, a challenge with the same scopes | -32600 |
//! | is no JSON, no message, or names nothing where it should | 400 | -32700, -32600, -32602 |
//! | is too long to be held | 413 | -32600 |
//! | met no token layer on its way | 500 that names the mend | -32603 |
//!
//! GET and DELETE, which carry no message, pass. So do client responses, which have no method.
//!
//! # What is not protected
//!
//! A task is bound to neither the user who began it nor the scopes of the tool that it runs: `tasks/get`,
//! `tasks/result` and `tasks/cancel` name it by its id alone, which no rule here knows. Who writes a server
//! with tasks keeps with each whose it is, and lets nobody else at it.
//!
//! # Cancellation
//!
//! Dropping the response future drops what was read of the body; the server has not seen the request then.

mod answer;
mod future;
mod headers;
mod judge;
mod layer;
mod policy;
mod uri;
#[cfg(test)]
mod uri_tests;

pub use self::{
    future::ScopesFuture,
    layer::{ScopesLayer, ScopesService},
    policy::ScopePolicy,
};
