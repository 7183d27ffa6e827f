//! MCP sessions and request states belong to their user: rmcp's own server over axum, behind
//! `JwtRotationLayer` and `BindSessionsLayer`.
#![allow(clippy::unwrap_used)]

mod client;
mod events;
mod forgery;
mod layer;
mod lifetimes;
mod server;
mod states;
mod two_users;
mod world;
