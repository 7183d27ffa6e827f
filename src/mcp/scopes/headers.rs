//! What the headers of MCP 2026-07-28 tell about a message, without reading it.

use std::borrow::Cow;

use http::HeaderMap;

/// The version whose server refuses a request when these headers are not what the body says. Of any
/// other version, later ones too, that is not known.
const VERSION: &str = "2026-07-28";

/// `Mcp-Method`, where the headers are those of a request that rmcp answers only if they agree with the
/// body: version and method are there, once.
pub(super) fn method(headers: &HeaderMap) -> Option<&str> {
    let version = single(headers, "mcp-protocol-version")?;
    (version == VERSION).then(|| single(headers, "mcp-method"))?
}

/// Whether this version has the method no more, so that its server answers 404.
pub(super) fn is_removed(method: &str) -> bool {
    matches!(method, "resources/subscribe" | "resources/unsubscribe")
}

/// `Mcp-Name`, decoded (MCP 2026-07-28, Transports, Value Encoding).
pub(super) fn name(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let value = single(headers, "mcp-name")?;
    let encoded = value
        .strip_prefix("=?base64?")
        .and_then(|value| value.strip_suffix("?="));
    match encoded {
        None => Some(Cow::Borrowed(value)),
        Some(encoded) => {
            let name = base64_simd::STANDARD.decode_to_vec(encoded).ok()?;
            String::from_utf8(name).ok().map(Cow::Owned)
        }
    }
}

fn single<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let parse = |(name, value): &(&'static str, &'static str)| {
            (
                http::HeaderName::from_static(name),
                http::HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(parse).collect()
    }

    #[test]
    fn a_method_counts_in_one_version_and_where_it_stands_once() {
        let (version, method_header) = (("mcp-protocol-version", VERSION), ("mcp-method", "ping"));
        assert_eq!(method(&headers(&[version, method_header])), Some("ping"));
        for others in [
            &[method_header][..],
            &[version],
            &[("mcp-protocol-version", "2025-11-25"), method_header],
            &[("mcp-protocol-version", "2026-07-29"), method_header],
            &[("mcp-protocol-version", "2026-07-28 "), method_header],
        ] {
            assert_eq!(method(&headers(others)), None, "{others:?}");
        }
        for twice in [version, method_header] {
            let mut headers = headers(&[version, method_header]);
            headers.append(twice.0, http::HeaderValue::from_static(twice.1));
            assert_eq!(method(&headers), None, "{twice:?}");
        }
    }

    #[test]
    fn a_name_may_be_encoded() {
        for (value, expected) in [
            ("delete_file", Some("delete_file")),
            ("=?base64?ZGVsZXRlX2ZpbGU=?=", Some("delete_file")),
            ("=?base64??=", Some("")),
            (
                "=?BASE64?ZGVsZXRlX2ZpbGU=?=",
                Some("=?BASE64?ZGVsZXRlX2ZpbGU=?="),
            ),
            ("=?base64?=", Some("=?base64?=")),
            ("=?base64?ZGVsZXRlX2ZpbGU?=", None),
            ("=?base64?ZGVsZXRlX2ZpbG V=?=", None),
            ("=?base64?/w==?=", None),
        ] {
            assert_eq!(
                name(&headers(&[("mcp-name", value)])).as_deref(),
                expected,
                "{value}"
            );
        }
    }
}
