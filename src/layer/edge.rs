//! What a layer tells those further in, and clients in its challenges.

use std::{any::Any, fmt, sync::Arc};

use http::HeaderValue;

use super::{
    challenge::{BearerError, Challenge, Realm},
    resource_metadata::Published,
    scopes::{Scopes, may_be_named},
};

/// Whether claims, of the type that the layer reads, allow what a scope stands for.
pub(super) type ScopeRule = Arc<dyn Fn(&(dyn Any + Send + Sync), &str) -> bool + Send + Sync>;

/// Shared by the layer and by the authentications that it leaves in requests.
#[derive(Clone, Default)]
pub(crate) struct Edge {
    pub(super) realm: Realm,
    pub(super) scope_rule: Option<ScopeRule>,
    /// What every request needs.
    pub(super) required_scopes: Scopes,
    pub(super) metadata: Option<Arc<Published>>,
}

impl Edge {
    pub(crate) fn scope_rule(&self) -> Option<&ScopeRule> {
        self.scope_rule.as_ref()
    }

    /// `needed` are the scopes of this call, where a layer further in asks for some.
    pub(super) fn challenge(&self, error: Option<BearerError>, needed: &[&str]) -> HeaderValue {
        let scope = self.scope(needed);
        let challenge = Challenge {
            realm: &self.realm,
            scope: (!scope.is_empty()).then_some(&scope),
            error,
            resource_metadata: self.metadata.as_ref().map(|metadata| &*metadata.url),
        };
        challenge.header()
    }

    /// All that a call needs, of this layer too: a client that is told of them one by one has to ask its
    /// user once for each. Where nothing is known to be needed, what is enough for a start.
    fn scope(&self, needed: &[&str]) -> String {
        let mut names: Vec<&str> = Vec::new();
        for name in self.required_scopes.iter().chain(needed.iter().copied()) {
            if may_be_named(name) && !names.contains(&name) {
                names.push(name);
            }
        }
        if let (true, Some(metadata)) = (names.is_empty(), &self.metadata) {
            names.extend(metadata.scopes.named());
        }
        names.join(" ")
    }
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            realm,
            scope_rule,
            required_scopes,
            metadata,
        } = self;
        f.debug_struct("Edge")
            .field("realm", realm)
            .field("scope_rule", &scope_rule.is_some())
            .field("required_scopes", required_scopes)
            .field("metadata", metadata)
            .finish()
    }
}
