//! Why a request was refused.

use std::{error::Error, fmt};

use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::{challenge::BearerError, edge::Edge, mcp_body::is_mcp};
use crate::keyring::verify::{VerifyError, VerifyErrorKind};

/// A request that was not let through, and why.
///
/// A [`Respond`](super::Respond) turns it into a response; the layer also puts it in that
/// response's extensions, for metrics and logs further out. It holds nothing of the token.
#[derive(Clone, Debug)]
pub struct Refusal {
    kind: RefusalKind,
    challenge: Option<HeaderValue>,
    description: &'static str,
    is_mcp: bool,
}

impl Refusal {
    /// What kind of refusal it is.
    #[must_use]
    pub fn kind(&self) -> RefusalKind {
        self.kind
    }

    /// The status that the response carries.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// The value of `WWW-Authenticate` (RFC 6750 section 3), on every 400 and 401, and on a 403 that
    /// another scope would mend.
    #[must_use]
    pub fn challenge(&self) -> Option<&HeaderValue> {
        self.challenge.as_ref()
    }

    /// A fixed text that is safe to show to the client, the same for every refusal of one kind
    /// and reason.
    #[must_use]
    pub fn description(&self) -> &'static str {
        self.description
    }

    /// What was wrong with the token, where it was the token.
    #[must_use]
    pub fn verify_error(&self) -> Option<VerifyErrorKind> {
        match self.kind {
            RefusalKind::InvalidToken(kind) => Some(kind),
            _ => None,
        }
    }

    /// Whether the request was one of MCP, as far as its head tells: it has a header whose name begins with `Mcp-`,
    /// or it is a POST of JSON that accepts an event stream. Its client reads a body that is a JSON-RPC error object.
    #[must_use]
    pub fn is_mcp(&self) -> bool {
        self.is_mcp
    }

    /// `needed` are the scopes that a token will have to grant, beside those that the layer requires.
    pub(super) fn no_credentials(needed: &[&str], edge: &Edge) -> Self {
        let description = "this resource needs a bearer token";
        Self::challenging(RefusalKind::NoCredentials, description, needed, edge)
    }

    /// The same, as the answer to a request.
    pub(crate) fn answering(self, method: &Method, headers: &HeaderMap) -> Self {
        Self {
            is_mcp: is_mcp(method, headers),
            ..self
        }
    }

    pub(super) fn malformed(edge: &Edge) -> Self {
        Self::challenging(
            RefusalKind::InvalidRequest,
            "the Authorization header is not of the form: Bearer, a space, one token",
            &[],
            edge,
        )
    }

    pub(super) fn repeated(edge: &Edge) -> Self {
        Self::challenging(
            RefusalKind::InvalidRequest,
            "there is more than one Authorization header",
            &[],
            edge,
        )
    }

    pub(super) fn invalid_token(error: &VerifyError, edge: &Edge) -> Self {
        let kind = RefusalKind::InvalidToken(error.kind());
        Self::challenging(kind, error.description(), &[], edge)
    }

    /// `needed` are all the scopes that the call needs, those that were granted too: a client that asks
    /// for less than these would lose some (MCP 2025-11-25, Authorization, Scope Challenge Handling).
    pub(crate) fn insufficient_scope(needed: &[&str], edge: &Edge) -> Self {
        let description = "the token does not allow what this call needs";
        Self::challenging(RefusalKind::InsufficientScope, description, needed, edge)
    }

    /// Not the client's fault, so it is asked for nothing.
    pub(super) fn stale() -> Self {
        Self {
            kind: RefusalKind::Stale,
            challenge: None,
            is_mcp: false,
            description: "the server could not renew its secrets for too long",
        }
    }

    pub(crate) fn no_token_layer() -> Self {
        Self::misconfigured(
            "no layer has read a token before scopes are asked for: add `JwtRotationLayer::new(keyring)` \
             around, in axum after it: the layer that is added last is the outermost",
        )
    }

    pub(super) fn no_jwt_key() -> Self {
        Self::misconfigured(
            "JwtRotationLayer has no key to verify tokens with: \
             add `.jwt_key(..)` to the keyring's builder",
        )
    }

    /// What no scope would help with, so a client is not sent to get one.
    #[cfg(feature = "rmcp")]
    pub(crate) fn unlisted() -> Self {
        Self {
            kind: RefusalKind::InsufficientScope,
            challenge: None,
            is_mcp: false,
            description: "nobody is allowed what this call is for",
        }
    }

    /// The description names the mend.
    pub(crate) fn misconfigured(description: &'static str) -> Self {
        Self {
            kind: RefusalKind::Misconfigured,
            challenge: None,
            is_mcp: false,
            description,
        }
    }

    fn challenging(
        kind: RefusalKind,
        description: &'static str,
        needed: &[&str],
        edge: &Edge,
    ) -> Self {
        let error = kind.code().map(|code| BearerError { code, description });
        Self {
            kind,
            challenge: Some(edge.challenge(error, needed)),
            description,
            is_mcp: false,
        }
    }

    /// One event for each refusal: its kind, and never anything of the token.
    pub(super) fn log(&self) {
        let Self {
            kind, description, ..
        } = self;
        match kind {
            RefusalKind::Misconfigured => {
                tracing::error!(
                    kind = kind.as_str(),
                    "secrets_request_refused: {description}"
                );
            }
            RefusalKind::InvalidToken(reason) => {
                tracing::debug!(kind = kind.as_str(), ?reason, "secrets_request_refused");
            }
            _ => tracing::debug!(kind = kind.as_str(), "secrets_request_refused"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description)
    }
}

impl Error for Refusal {}

/// The kinds of [`Refusal`], with the answer that each gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalKind {
    /// No token, or credentials of another scheme alone: 401, a challenge without `error`.
    NoCredentials,
    /// Bearer credentials of a bad form, or two `Authorization` headers: 400 `invalid_request`.
    InvalidRequest,
    /// A token that does not pass: 401 `invalid_token`.
    InvalidToken(VerifyErrorKind),
    /// A good token that does not grant a scope which the call needs: 403 `insufficient_scope`.
    InsufficientScope,
    /// The secrets are older than the keyring's `refuse_after` allows: 503. Never a 401, or
    /// clients would throw away tokens that are fine.
    Stale,
    /// The keyring was built without `.jwt_key(..)`, or an issuer is trusted without an audience, or
    /// there are two providers over one set of keys, or a layer misses what one further out should have
    /// left: 500.
    /// The [description](Refusal::description) says which, and what mends it.
    Misconfigured,
}

impl RefusalKind {
    /// The name that events and metrics use, such as `invalid_token`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCredentials => "no_credentials",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken(_) => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::Stale => "stale",
            Self::Misconfigured => "misconfigured",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::NoCredentials | Self::InvalidToken(_) => StatusCode::UNAUTHORIZED,
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::InsufficientScope => StatusCode::FORBIDDEN,
            Self::Stale => StatusCode::SERVICE_UNAVAILABLE,
            Self::Misconfigured => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The error code of RFC 6750 section 3.1.
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::InvalidRequest => Some("invalid_request"),
            Self::InvalidToken(_) => Some("invalid_token"),
            Self::InsufficientScope => Some("insufficient_scope"),
            Self::NoCredentials | Self::Stale | Self::Misconfigured => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn challenge_of(refusal: &Refusal) -> &str {
        refusal.challenge().unwrap().to_str().unwrap()
    }

    #[test]
    fn no_credentials_challenges_without_an_error() {
        let refusal = Refusal::no_credentials(&[], &Edge::default());
        assert_eq!(refusal.status(), 401);
        assert_eq!(challenge_of(&refusal), "Bearer realm=\"restricted\"");
    }

    #[test]
    fn a_bad_form_is_an_invalid_request() {
        for refusal in [
            Refusal::malformed(&Edge::default()),
            Refusal::repeated(&Edge::default()),
        ] {
            assert_eq!(refusal.status(), 400);
            let challenge = challenge_of(&refusal);
            assert!(
                challenge.contains("error=\"invalid_request\""),
                "{challenge}"
            );
            assert!(challenge.contains(refusal.description()), "{challenge}");
        }
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let kinds = [
            RefusalKind::NoCredentials,
            RefusalKind::InvalidRequest,
            RefusalKind::InvalidToken(VerifyErrorKind::Expired),
            RefusalKind::InsufficientScope,
            RefusalKind::Stale,
            RefusalKind::Misconfigured,
        ];
        let names = std::collections::HashSet::from(kinds.map(RefusalKind::as_str));
        assert_eq!(names.len(), kinds.len());
        // A client finds the same word in the challenge.
        for kind in kinds {
            assert!(kind.code().is_none_or(|code| code == kind.as_str()));
        }
    }

    #[test]
    fn faults_of_the_server_challenge_nobody() {
        for (refusal, status) in [(Refusal::stale(), 503), (Refusal::no_jwt_key(), 500)] {
            assert_eq!(refusal.status(), status);
            assert!(refusal.challenge().is_none());
            assert!(refusal.verify_error().is_none());
        }
        assert!(Refusal::no_jwt_key().to_string().contains(".jwt_key(..)"));
    }
}
