//! Refusals as clients of MCP read them.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};

use super::{Refusal, Respond};

// Codes of JSON-RPC 2.0, section 5.1.
pub(crate) const INVALID_REQUEST: i32 = -32600;
const INTERNAL_ERROR: i32 = -32603;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// A JSON-RPC error object where the request [is one of MCP](Refusal::is_mcp), whose clients show its
/// message; the description as `text/plain` elsewhere. For any body that is made from [`Bytes`].
///
/// Its `id` is `null`: what the body asks is not looked at (JSON-RPC 2.0 section 5). Its `code` is -32600,
/// Invalid Request, as rmcp and the Python SDK have it where they refuse a request by its head, and -32603,
/// Internal error, where the fault is the server's: MCP 2026-07-28 leaves nobody a code from -32000 to
/// -32099, and has none of its own for authorization. What a client does next it learns from status and challenge alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct McpBody;

impl<R: From<Bytes>> Respond<R> for McpBody {
    fn respond(&self, refusal: &Refusal) -> Response<R> {
        let (content_type, body) = body(refusal);
        let mut response = Response::new(R::from(body));
        *response.status_mut() = refusal.status();
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    }
}

/// The media type, and what is of it.
pub(crate) fn body(refusal: &Refusal) -> (HeaderValue, Bytes) {
    if !refusal.is_mcp() {
        let text = Bytes::from_static(refusal.description().as_bytes());
        return (HeaderValue::from_static(TEXT), text);
    }
    let object = json_rpc_error(code_of(refusal.status()), refusal.description(), None);
    (HeaderValue::from_static(JSON), object.into())
}

/// See [`McpBody`] for why these two.
pub(crate) fn code_of(status: StatusCode) -> i32 {
    if status.is_server_error() {
        INTERNAL_ERROR
    } else {
        INVALID_REQUEST
    }
}

/// An error object (JSON-RPC 2.0 section 5). `id` is JSON, and `null` where it is not known: the Python SDK
/// takes no error without one.
pub(crate) fn json_rpc_error(code: i32, text: &str, id: Option<&str>) -> String {
    let (id, text) = (id.unwrap_or("null"), serde_json::Value::from(text));
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":{code},\"message\":{text}}}}}")
}

/// The first request of the older wire has no header of MCP's. It must accept both forms of an answer.
pub(super) fn is_mcp(method: &Method, headers: &HeaderMap) -> bool {
    let names = |header, media_type| {
        let values = headers.get_all(header).iter();
        let mut texts = values.filter_map(|value| value.to_str().ok());
        texts.any(|text| names_media_type(text, media_type))
    };
    // `MCP-Protocol-Version`, `Mcp-Session-Id`, `Mcp-Method` and so on.
    let mut all = headers.keys();
    all.any(|name| name.as_str().starts_with("mcp-"))
        || method == Method::POST && names(CONTENT_TYPE, JSON) && names(ACCEPT, "text/event-stream")
}

/// RFC 9110 section 8.3.1: without regard to case, parameters aside.
fn names_media_type(list: &str, media_type: &str) -> bool {
    list.split(',').any(|part| {
        let essence = part.split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case(media_type)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Edge;

    fn head(method: Method, headers: &[(&'static str, &'static str)]) -> (Method, HeaderMap) {
        let headers = headers.iter().map(|(name, value)| {
            (
                http::HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        (method, headers.collect())
    }

    #[test]
    fn which_requests_are_of_mcp() {
        let json = ("content-type", "application/json");
        let both = ("accept", "application/json, text/event-stream");
        let yes = [
            head(Method::POST, &[json, both]),
            head(
                Method::POST,
                &[
                    ("content-type", "Application/JSON; charset=utf-8"),
                    ("accept", "text/html"),
                    ("accept", "Text/Event-Stream;q=0.5"),
                ],
            ),
            head(Method::GET, &[("mcp-protocol-version", "2025-11-25")]),
            head(Method::DELETE, &[("mcp-session-id", "s")]),
            head(Method::POST, &[("mcp-method", "tools/call")]),
        ];
        let no = [
            head(Method::GET, &[]),
            head(Method::GET, &[both]),
            head(Method::POST, &[json]),
            head(Method::POST, &[both]),
            head(Method::PUT, &[json, both]),
            head(Method::POST, &[json, ("accept", "text/event-streams")]),
            head(
                Method::POST,
                &[("content-type", "application/json-seq"), both],
            ),
        ];
        for (method, headers) in &yes {
            assert!(is_mcp(method, headers), "{headers:?}");
        }
        for (method, headers) in &no {
            assert!(!is_mcp(method, headers), "{headers:?}");
        }
    }

    #[test]
    fn an_object_where_it_is_read_and_a_text_elsewhere() {
        let (method, headers) = head(Method::POST, &[("mcp-method", "tools/list")]);
        for (refusal, status, object) in [
            (
                Refusal::no_credentials(&[], &Edge::default()),
                401,
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"this resource needs a bearer token"}}"#,
            ),
            (
                Refusal::stale(),
                503,
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"the server could not renew its secrets for too long"}}"#,
            ),
        ] {
            let text: Response<Bytes> = McpBody.respond(&refusal);
            assert_eq!(text.headers()[CONTENT_TYPE], TEXT);
            assert_eq!(text.body(), refusal.description().as_bytes());

            let refusal = refusal.answering(&method, &headers);
            let json: Response<Bytes> = McpBody.respond(&refusal);
            assert_eq!(json.status(), status);
            assert_eq!(json.headers()[CONTENT_TYPE], JSON);
            assert_eq!(json.body(), object);
        }
    }
}
