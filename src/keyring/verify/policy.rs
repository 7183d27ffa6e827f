//! What a layer asks of a token besides its signature.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::IssuerName;

const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);
const DEFAULT_MAX_TOKEN_BYTES: usize = 16 * 1024;

const NO_AUDIENCE: &str = "JwtRotationLayer trusts an issuer whose tokens may be for any service: \
                           add `.audience(..)` or `.resource_metadata(..)`, or `.any_audience()` where that is meant";
const NO_AUDIENCE_TO_COMPARE: &str = "JwtRotationLayer has an `.audience_claim(..)` and nothing to \
                                      compare it with: add `.audience(..)`";
const TWO_PROVIDERS: &str = "JwtRotationLayer has two providers over one set of keys: give each a keyring, \
                             and `.trust(Issuer::of(..))`";

/// The rules of one configured layer. Change it through [`change`](Self::change) alone, so that
/// its id stays its own.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    id: PolicyId,
    /// Empty: `iss` is not looked at. Otherwise it is required and must be one of these.
    pub(crate) issuers: Vec<IssuerName>,
    /// Empty: `aud` is not looked at. Otherwise it is required and must name one of these.
    pub(crate) audiences: Vec<String>,
    /// What stands in for them where none was named and that was not meant.
    pub(crate) default_audiences: Vec<String>,
    /// The claim that has the audience where it is not `aud`.
    pub(crate) audience_claim: Option<String>,
    /// How many providers it has the rules of.
    pub(crate) providers: usize,
    /// Whether it is a mistake that no audience is named.
    pub(crate) needs_audience: bool,
    /// That it is meant.
    pub(crate) any_audience: bool,
    /// Claims that must be there with these texts.
    pub(crate) required_claims: Vec<(String, String)>,
    pub(crate) accepted_use: AcceptedUse,
    /// Empty: `sub` is not looked at. Otherwise it is required and must be one of these.
    pub(crate) subjects: Vec<String>,
    /// Empty: what JWTs have. Otherwise `typ` is required and must be one of these.
    pub(crate) token_types: Vec<String>,
    pub(crate) leeway: Duration,
    pub(crate) max_token_age: Option<Duration>,
    pub(crate) max_token_bytes: usize,
}

/// What tokens may be for (OpenID Connect Core 1.0, section 2, names what ID tokens have).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AcceptedUse {
    Any,
    /// Not what can only be an ID, refresh or logout token.
    #[default]
    NotId,
    /// Nor what has a `nonce` or `events`.
    Access,
}

impl Policy {
    pub(crate) fn id(&self) -> PolicyId {
        self.id
    }

    /// Whether a token that claims this issuer is for this policy to judge.
    pub(crate) fn names_issuer(&self, iss: &str) -> bool {
        self.issuers.iter().any(|name| name.may_be(iss))
    }

    /// What must be mended before it may judge anything.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        if self.providers > 1 {
            Some(TWO_PROVIDERS)
        } else if !self.audiences.is_empty() || self.any_audience {
            None
        } else if self.audience_claim.is_some() {
            Some(NO_AUDIENCE_TO_COMPARE)
        } else {
            let is_missing = self.needs_audience && self.default_audiences.is_empty();
            is_missing.then_some(NO_AUDIENCE)
        }
    }

    /// Empty: tokens for anybody will do.
    pub(super) fn accepted_audiences(&self) -> &[String] {
        let is_said = !self.audiences.is_empty() || self.any_audience;
        if is_said {
            &self.audiences
        } else {
            &self.default_audiences
        }
    }

    /// Makes it another policy.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Self)) {
        change(self);
        self.id = PolicyId::unique();
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            id: PolicyId::unique(),
            issuers: Vec::new(),
            audiences: Vec::new(),
            default_audiences: Vec::new(),
            audience_claim: None,
            providers: 0,
            needs_audience: false,
            any_audience: false,
            required_claims: Vec::new(),
            accepted_use: AcceptedUse::default(),
            subjects: Vec::new(),
            token_types: Vec::new(),
            leeway: DEFAULT_LEEWAY,
            max_token_age: None,
            max_token_bytes: DEFAULT_MAX_TOKEN_BYTES,
        }
    }
}

/// Names one policy within the process, so that no layer takes another's acceptance for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PolicyId(u64);

impl PolicyId {
    fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}
