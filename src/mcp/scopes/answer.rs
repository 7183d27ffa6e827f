//! What a caller is told whose message goes no further.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header::CONTENT_TYPE};

use crate::{
    layer::{INVALID_REQUEST, Refusal, code_of, json_rpc_error, refuse},
    mcp::message::Unreadable,
};

/// A refusal, with a JSON-RPC error object for a body. `id` is JSON.
pub(super) fn refused(refusal: Refusal, headers: &HeaderMap, id: Option<&str>) -> Response<Bytes> {
    let respond = |refusal: &Refusal| {
        let status = refusal.status();
        error(status, code_of(status), refusal.description(), id)
    };
    refuse(&respond, refusal.answering(&Method::POST, headers))
}

pub(super) fn unreadable(reason: Unreadable, id: Option<&str>) -> Response<Bytes> {
    let (code, text) = match reason {
        Unreadable::Json => (-32700, "the body is not JSON"),
        Unreadable::Message => (
            INVALID_REQUEST,
            "the body is no JSON-RPC message, or has a member twice",
        ),
        Unreadable::Params => (
            -32602,
            "`params` does not name what the method is for, or has a member twice",
        ),
    };
    error(StatusCode::BAD_REQUEST, code, text, id)
}

/// A body of which not enough came, or too much.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unread {
    TooLong,
    BrokenOff,
}

pub(super) fn unread(reason: Unread) -> Response<Bytes> {
    let (status, text) = match reason {
        Unread::TooLong => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is longer than this server reads",
        ),
        Unread::BrokenOff => (
            StatusCode::BAD_REQUEST,
            "the body could not be read to its end",
        ),
    };
    error(status, INVALID_REQUEST, text, None)
}

fn error(status: StatusCode, code: i32, text: &str, id: Option<&str>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(json_rpc_error(code, text, id)));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
