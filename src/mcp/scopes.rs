//! Scopes by the name of the tool, prompt or resource that a message is about.
mod answer;
mod future;
mod headers;
mod judge;
mod layer;
mod policy;
mod uri;

pub use self::{
    future::ScopesFuture,
    layer::{CheckScopes, ScopesLayer},
    policy::{InvalidScope, ScopePolicy},
};
