//! What a layer tells those further in, and clients in its challenges.

use std::{any::Any, fmt, sync::Arc};

use http::HeaderValue;

use super::challenge::{BearerError, Challenge, Realm};

/// Whether claims, of the type that the layer reads, allow what a scope stands for.
pub(super) type ScopeRule = Arc<dyn Fn(&(dyn Any + Send + Sync), &str) -> bool + Send + Sync>;

/// Shared by the layer and by the authentications that it leaves in requests.
#[derive(Clone, Default)]
pub(crate) struct Edge {
    pub(super) realm: Realm,
    pub(super) scope_rule: Option<ScopeRule>,
}

impl Edge {
    pub(crate) fn scope_rule(&self) -> Option<&ScopeRule> {
        self.scope_rule.as_ref()
    }

    /// `needed` are the scopes of this call, where it was refused for one of them.
    pub(super) fn challenge(&self, error: Option<BearerError>, needed: &[&str]) -> HeaderValue {
        let needed = needed.join(" ");
        let challenge = Challenge {
            realm: &self.realm,
            scope: (!needed.is_empty()).then_some(&needed),
            error,
        };
        challenge.header()
    }
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { realm, scope_rule } = self;
        f.debug_struct("Edge")
            .field("realm", realm)
            .field("scope_rule", &scope_rule.is_some())
            .finish()
    }
}
