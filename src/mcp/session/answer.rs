//! What those get who may not get in.

use http::{HeaderValue, Method, Response, StatusCode, header::CONTENT_TYPE};

use super::{BytesOr, SessionBody};
use crate::layer::{code_of, json_rpc_error};

/// Why a request, or its response, was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is no such session, or it is another user's: nobody is told which.
    NotTheirs,
    Nameless,
    MissingLayer,
    NoKey,
    /// The bound id is no header value.
    NoHeader,
}

impl Refused {
    pub(super) fn response<R>(self, method: &Method) -> Response<SessionBody<R>> {
        let (status, text) = self.answer();
        match self {
            Self::NotTheirs | Self::Nameless => {
                tracing::debug!(reason = ?self, "secrets_session_refused");
            }
            Self::MissingLayer | Self::NoKey | Self::NoHeader => {
                tracing::error!(reason = ?self, "secrets_session_refused: {text}");
            }
        }
        let (content_type, body) = if method == Method::POST {
            // Without its id, because the request was not read.
            (
                "application/json",
                json_rpc_error(code_of(status), text, None),
            )
        } else {
            ("text/plain; charset=utf-8", text.to_owned())
        };
        let mut response = Response::new(SessionBody::plain(BytesOr::bytes(body.into())));
        *response.status_mut() = status;
        let content_type = HeaderValue::from_static(content_type);
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    }

    /// What a client does about a session that is over it learns from the status, in both official SDKs.
    const fn answer(self) -> (StatusCode, &'static str) {
        match self {
            Self::NotTheirs => (StatusCode::NOT_FOUND, "Session not found"),
            Self::Nameless => (
                StatusCode::FORBIDDEN,
                "the token names neither a subject nor a client, so no session can be its user's",
            ),
            Self::MissingLayer => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "BindSessionsLayer does not know who calls: put JwtRotationLayer::new(keyring) outside of it",
            ),
            Self::NoKey => (
                StatusCode::SERVICE_UNAVAILABLE,
                "no session key is trusted at the moment, so no session can be bound to its user",
            ),
            Self::NoHeader => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "the session could not be bound to its user",
            ),
        }
    }
}
