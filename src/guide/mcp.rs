//! An MCP server that stock clients find their way into, and that keeps users apart.
//!
//! # An MCP server in 60 lines
//!
//! Its API key is in a directory that is rotated under it, its users come from an identity provider, and no
//! key of either is in the program. It is the example `mcp_resource_server`:
//!
//! ```no_run
#![doc = include_str!("../../examples/mcp_resource_server.rs")]
//! ```
//!
//! ```sh
//! mkdir -p secrets && echo '{"api_key":"one"}' > secrets/current.json
//! SECRETS=secrets LISTEN=127.0.0.1:8080 PUBLIC_URL=http://127.0.0.1:8080/mcp ISSUER=https://login.example \
//!   cargo run --example mcp_resource_server --features file,jwks,axum,rmcp
//! ```
//!
//! `ISSUER` is yours: its tokens need `aud` = `PUBLIC_URL` and the scopes `mcp` and `upstream`. rmcp answers to the names of this
//! machine only: for another `PUBLIC_URL` add its host to `allowed_hosts` of its configuration.
//!
//! A client that knows the URL alone calls it, gets a 401 that names the metadata document, reads there who
//! gives out tokens, gets one and calls again. For a tool that needs more it gets a 403 that names all the
//! scopes of that call, and comes back with a token that has them. To see that without an identity provider of
//! your own, start the example `mcp_server` with `--toy-authorization-server`: it prints what a client needs.
//!
//! # What MCP requires, and what meets it
//!
//! "Authorization", "Transports" and "Security Best Practices" are pages of the specification of
//! 2025-11-25; 2026-07-28 has the same requirements, and no sessions.
//!
//! | requirement | met by |
//! |---|---|
//! | Protected resource metadata (RFC 9728), with at least one authorization server | [`ResourceMetadata`], given to [`JwtRotationLayer::resource_metadata`], which serves the document |
//! | A 401 names the metadata document in `WWW-Authenticate`, and should name the scopes to ask for | default, once there is metadata: every challenge has `resource_metadata`, and `scope` where scopes are known |
//! | Tokens are validated before anything else, and a bad one gets 401 | [`JwtRotationLayer`] |
//! | A token must have been issued for this server: its audience (RFC 8707) | default, once there is metadata: `aud` must be the resource. Another one by [`audience`](crate::JwtRotationLayer::audience) |
//! | A server must not pass the token on to others | default: the header is removed once it is verified. [`keep_authorization`](crate::JwtRotationLayer::keep_authorization) keeps it. Call an upstream with a credential of your own, from [`Secrets`] |
//! | Tokens in the header only, never in the URL | default: nothing else is looked at |
//! | Not enough scope: 403, `insufficient_scope`, and all the scopes that the operation needs | [`required_scopes`](crate::JwtRotationLayer::required_scopes) for all, [`ScopePolicy`] for tools, prompts and resources, [`RequireScopes`] for a route |
//! | Few scopes at first, more when they are needed | [`ResourceMetadata::scopes`] says what to ask for at first; single calls say what they need |
//! | Sessions must not be used for authentication, and should be bound to the user | [`McpLayer`], or [`BindSessionsLayer`] alone: each request needs its own token, and a session is its user's |
//! | An event stream ends when its authorization does | [`McpLayer`], or [`EndStreamsLayer`]: those of GET and of `subscriptions/listen`. In other calls that stream, [`SecretsContext::expired`] |
//! | What a client hands back, such as `requestState`, must be checked | [`RequestStates`] seals it, for its user alone |
//! | `Origin` must be validated, and a local server should listen on loopback only | rmcp: `enforce_origin_validation()` and `allowed_hosts` of its `StreamableHttpServerConfig`; where you bind is yours |
//! | Asymmetric keys that rotate are followed | [`Jwks`]: fetched as their `Cache-Control` says, and when a token names a key that is not known |
//!
//! # What remains yours
//!
//! * **TLS.** The resource is an `https` URL to clients; a proxy, or your server, has to speak it.
//! * **The authorization server.** It must offer what MCP clients need: metadata (RFC 8414 or OpenID
//!   discovery), PKCE, and a way for clients to be known (a registered client, Client ID Metadata Documents, or
//!   RFC 7591). It must write this server's URL into `aud` when a client asks for it with `resource`.
//! * **Who may see what.** Scopes say which tools a caller may use. Whether file 7 is Alice's is for the tool to
//!   ask, with [`Claims`]: `sub` is one user only together with `iss`.
//! * **Tasks, and what else lives longer than a call** is bound to neither user nor scope by this crate: check
//!   its owner when it is asked for.
//! * **Consent and confused deputies.** A server that is a client of another service on behalf of its users
//!   must ask each of them, for each client.
//! * **Limits**: how long a client may take to send a request, and how many it may send.
//! * **An orderly end**: `with_graceful_shutdown`, as in the example `mcp_server`.
//! * **More than one replica.** rmcp's sessions live in one process, so a session's requests have to reach
//!   that one. Where replicas share a session store, bind with [`BindSessionsLayer::shared`] and seal with
//!   [`RequestStates::shared`], which take a [`SessionKey`](crate::keyring::SessionKey) of the bundle.
//!
//! [`JwtRotationLayer`]: crate::JwtRotationLayer
//! [`JwtRotationLayer::resource_metadata`]: crate::JwtRotationLayer::resource_metadata
//! [`ResourceMetadata`]: crate::layer::ResourceMetadata
//! [`ResourceMetadata::scopes`]: crate::layer::ResourceMetadata::scopes
//! [`RequireScopes`]: crate::layer::RequireScopes
//! [`ScopePolicy`]: crate::mcp::ScopePolicy
//! [`McpLayer`]: crate::mcp::McpLayer
//! [`BindSessionsLayer`]: crate::mcp::BindSessionsLayer
//! [`BindSessionsLayer::shared`]: crate::mcp::BindSessionsLayer::shared
//! [`EndStreamsLayer`]: crate::mcp::EndStreamsLayer
//! [`SecretsContext::expired`]: crate::mcp::SecretsContext::expired
//! [`RequestStates`]: crate::mcp::RequestStates
//! [`RequestStates::shared`]: crate::mcp::RequestStates::shared
//! [`Jwks`]: crate::source::Jwks
//! [`Secrets`]: crate::Secrets
//! [`Claims`]: crate::Claims
