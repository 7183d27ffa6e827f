//! The URLs of a resource and of what belongs to it.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The parts of an absolute `https` URL without query and fragment, or of an `http` one of this machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct HttpsUrl<'u> {
    scheme: &'u str,
    pub(super) authority: &'u str,
    host: &'u str,
    port: Option<u16>,
    /// As it is written: empty, or beginning with a slash.
    pub(super) path: &'u str,
}

impl<'u> HttpsUrl<'u> {
    /// Or what is wrong with it, to be read after its text.
    pub(super) fn parse(url: &'u str) -> Result<Self, &'static str> {
        if !url.bytes().all(is_url_char) {
            return Err("has a character that a URL cannot have; percent-encode it");
        }
        if url.contains('#') {
            return Err("has a fragment");
        }
        if url.contains('?') {
            return Err("has a query");
        }
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme @ ("https" | "http"), rest)) => (scheme, rest),
            _ => return Err("does not begin with https://"),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = host_and_port(authority)?;
        check_path(path)?;
        if scheme == "http" && !is_loopback(host) {
            return Err("is not https, which only this machine's own addresses may do without");
        }
        Ok(Self {
            scheme,
            authority,
            host,
            port,
            path,
        })
    }

    /// Clients compare resources as text, after having written the host and the port in their way.
    pub(super) fn check_spelling(&self) -> Result<(), &'static str> {
        if self.host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err("has a host in capitals, which clients write in small letters");
        }
        match (self.scheme, self.port) {
            ("https", Some(443)) | ("http", Some(80)) => {
                Err("has its scheme's own port, which clients leave out")
            }
            _ => Ok(()),
        }
    }

    pub(super) fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }
}

/// `unreserved`, `gen-delims`, `sub-delims` and `%` (RFC 3986 section 2).
fn is_url_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

fn host_and_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']').map(|at| at + 2),
        None => authority.find(':'),
    };
    let (host, port) = authority.split_at(end.unwrap_or(authority.len()));
    let is_name_char = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_host = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(is_name_char),
    };
    if !is_host {
        return Err("has no host, or one that is none");
    }
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().map_err(|_| "has a port that is none")?)
        }
        None if port.is_empty() => None,
        _ => return Err("has a port that is none"),
    };
    Ok((host, port))
}

/// Dot segments are gone before a request is sent (RFC 3986 section 5.2.4).
fn check_path(path: &str) -> Result<(), &'static str> {
    let is_encoded = |part: &str| {
        let code = part.as_bytes().get(..2);
        code.is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit))
    };
    if !path.split('%').skip(1).all(is_encoded) {
        return Err("has a percent sign that encodes nothing");
    }
    let is_dots = |segment: &str| {
        let segment = segment.to_ascii_lowercase().replace("%2e", ".");
        segment == "." || segment == ".."
    };
    if path.split('/').any(is_dots) {
        return Err("has a path with `.` or `..` in it");
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    let is_v4 = |address: Ipv4Addr| address.is_loopback();
    host == "localhost" || host == "[::1]" || host.parse().is_ok_and(is_v4)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_a_url() {
        for (url, path) in [
            ("https://host", ""),
            ("https://host/", "/"),
            ("https://host.example:8443/a/b", "/a/b"),
            ("https://host/mcp/", "/mcp/"),
            ("https://host//a", "//a"),
            ("https://host/a%20b", "/a%20b"),
            ("https://host/...", "/..."),
            ("https://[2001:db8::1]:8443/a", "/a"),
            ("http://localhost:3000/mcp", "/mcp"),
            ("http://127.0.0.2/mcp", "/mcp"),
            ("http://[::1]:1/mcp", "/mcp"),
        ] {
            let parsed = HttpsUrl::parse(url).unwrap();
            assert_eq!(parsed.path, path);
            assert_eq!(parsed.origin() + path, url);
            assert_eq!(parsed.check_spelling(), Ok(()));
        }
    }

    #[test]
    fn what_is_none() {
        for (url, why) in [
            ("", "https://"),
            ("host/mcp", "https://"),
            ("ftp://host", "https://"),
            ("HTTPS://host", "https://"),
            ("https:/host", "https://"),
            ("https://", "host"),
            ("https:///mcp", "host"),
            ("https://user@host/mcp", "host"),
            ("https://user:secret@host/mcp", "port"),
            ("https://ho%73t/mcp", "host"),
            ("https://[::1/mcp", "host"),
            ("https://[v1.x]/mcp", "host"),
            ("https://host:/mcp", "port"),
            ("https://host:+1/mcp", "port"),
            ("https://host:65536/mcp", "port"),
            ("https://[::1]x/mcp", "port"),
            ("https://host/mcp?a=b", "query"),
            ("https://host/mcp#a", "fragment"),
            ("https://host/a b", "character"),
            ("https://host/\"", "character"),
            ("https://host/\\", "character"),
            ("https://host/a\r\nSet-Cookie: x", "character"),
            ("https://h\u{f6}st/", "character"),
            ("https://host/%", "percent"),
            ("https://host/%2", "percent"),
            ("https://host/%zz", "percent"),
            ("https://host/a/../b", ".."),
            ("https://host/a/%2E.", ".."),
            ("https://host/.", ".."),
            ("http://host/mcp", "https"),
            ("http://localhost.evil.example/mcp", "https"),
            ("http://128.0.0.1/mcp", "https"),
        ] {
            let error = HttpsUrl::parse(url).unwrap_err();
            assert!(error.contains(why), "{url:?}: {error}");
        }
    }

    #[test]
    fn what_clients_write_otherwise() {
        for url in ["https://Host/", "https://host:443/", "http://localhost:80/"] {
            assert!(
                HttpsUrl::parse(url).unwrap().check_spelling().is_err(),
                "{url}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_parses_is_a_uri_and_fit_for_a_header(
            rest in "\\PC{0,24}|[a-z0-9.:/%@\\[\\]?#\"\\\\-]{0,24}|[a-z]{1,3}(/[a-z%2.]{0,3}){0,3}"
        ) {
            let url = format!("https://{rest}");
            if let Ok(parsed) = HttpsUrl::parse(&url) {
                let uri: http::Uri = url.parse().unwrap();
                let path = if parsed.path.is_empty() { "/" } else { parsed.path };
                prop_assert_eq!(uri.path_and_query().unwrap().as_str(), path);
                prop_assert_eq!(uri.host().unwrap(), parsed.host);
                prop_assert_eq!(uri.port_u16(), parsed.port);
                let is_fit = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
                prop_assert!(url.bytes().all(is_fit));
            }
        }
    }
}
