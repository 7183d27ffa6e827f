//! What a resource says of itself, so that clients find their way in: RFC 9728.

use std::{error::Error, fmt};

use bytes::Bytes;
use serde_json::json;

use super::{
    resource_url::HttpsUrl,
    scopes::{InvalidScope, Scopes},
};

/// Where the document stands, before the resource's own path (RFC 9728 section 3.1).
pub(super) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The name of a protected resource, who issues tokens for it, and its scopes; see
/// [`JwtRotationLayer::resource_metadata`](super::JwtRotationLayer::resource_metadata).
///
/// ```
/// use tower_secrets::layer::ResourceMetadata;
///
/// let metadata = ResourceMetadata::new("https://api.example/mcp")
///     .authorization_server("https://login.example")
///     .scopes(["mcp:read"]);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ResourceMetadata {
    resource: String,
    authorization_servers: Vec<String>,
    scopes: Vec<String>,
    name: Option<String>,
    documentation: Option<String>,
}

impl ResourceMetadata {
    /// The URL that clients call, as they write it: `https`, the host in small letters, no default port, no
    /// query, no fragment. Without TLS, for tests, `http` will do on `localhost` and loopback addresses.
    ///
    /// Its path is the one that clients use, whatever a router or a proxy takes off it.
    pub fn new(resource: impl Into<String>) -> Self {
        Self {
            resource: resource.into(),
            authorization_servers: Vec::new(),
            scopes: Vec::new(),
            name: None,
            documentation: None,
        }
    }

    /// The issuer URL (RFC 8414 section 2) of a server that issues tokens for this resource. Called more
    /// than once, clients choose; at least one is required.
    pub fn authorization_server(mut self, issuer: impl Into<String>) -> Self {
        self.authorization_servers.push(issuer.into());
        self
    }

    /// `scopes_supported`: what a client should ask for at first, the fewest that it gets by with. What
    /// single calls need beyond them it learns from their challenges. Default: none.
    ///
    /// `offline_access` is left out: it is between clients and authorization servers.
    pub fn scopes(mut self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// `resource_name`: what people call it, for the page where they are asked for their consent.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// `resource_documentation`: a page for developers.
    pub fn documentation(mut self, url: impl Into<String>) -> Self {
        self.documentation = Some(url.into());
        self
    }

    /// Checks everything, and makes the document (RFC 9728 section 2), once.
    pub(super) fn publish(self) -> Result<Published, InvalidMetadata> {
        let Self {
            resource,
            authorization_servers,
            scopes,
            name,
            documentation,
        } = self;
        let url = HttpsUrl::parse(&resource).map_err(InvalidMetadata::url("resource"))?;
        url.check_spelling()
            .map_err(InvalidMetadata::url("resource"))?;
        if authorization_servers.is_empty() {
            return Err(InvalidMetadata(Fault::NoServer));
        }
        for server in &authorization_servers {
            HttpsUrl::parse(server).map_err(InvalidMetadata::url("authorization server"))?;
        }
        if let Some(page) = &documentation {
            let base = page.split(['?', '#']).next().unwrap_or_default();
            HttpsUrl::parse(base).map_err(InvalidMetadata::url("documentation"))?;
        }
        let scopes = Scopes::new(scopes).map_err(|error| InvalidMetadata(Fault::Scope(error)))?;
        let mut document = json!({
            "resource": resource,
            "authorization_servers": authorization_servers,
            "bearer_methods_supported": ["header"],
        });
        let named: Vec<&str> = scopes.named().collect();
        if !named.is_empty() {
            document["scopes_supported"] = named.into();
        }
        if let Some(name) = name {
            document["resource_name"] = name.into();
        }
        if let Some(page) = documentation {
            document["resource_documentation"] = page.into();
        }
        // A slash that ends the host is not part of the path (RFC 9728 section 3.1).
        let path = if url.path == "/" { "" } else { url.path };
        Ok(Published {
            url: format!("{}{WELL_KNOWN}{path}", url.origin()),
            audiences: audiences(&url, &resource),
            path: path.to_owned(),
            document: document.to_string().into(),
            scopes,
        })
    }
}

/// What tokens for the resource name as their audience: what a client puts into `resource` (RFC 8707). An
/// empty path and `/` are one URL (RFC 3986 section 6.2.3), and many clients write the latter.
fn audiences(url: &HttpsUrl<'_>, resource: &str) -> Vec<String> {
    match url.path {
        "" | "/" => vec![url.origin(), url.origin() + "/"],
        _ => vec![resource.to_owned()],
    }
}

/// Checked metadata, in the forms in which it is told.
#[derive(Debug)]
pub(super) struct Published {
    /// Of the document, for challenges.
    pub(super) url: String,
    pub(super) audiences: Vec<String>,
    /// The resource's, after [`WELL_KNOWN`].
    pub(super) path: String,
    pub(super) document: Bytes,
    pub(super) scopes: Scopes,
}

/// Metadata that clients could not use, or that would break a header. It names the member and what is
/// wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidMetadata(Fault);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    NoServer,
    /// The member, and what its URL is or has. Not the URL: people write passwords into them.
    Url(&'static str, &'static str),
    Scope(InvalidScope),
}

impl InvalidMetadata {
    fn url(member: &'static str) -> impl Fn(&'static str) -> Self {
        move |fault| Self(Fault::Url(member, fault))
    }
}

impl fmt::Display for InvalidMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("in the resource metadata, ")?;
        match &self.0 {
            Fault::NoServer => {
                f.write_str("nobody is named who issues tokens: add `.authorization_server(..)`")
            }
            Fault::Url(member, fault) => write!(f, "the URL of the {member} {fault}"),
            Fault::Scope(error) => error.fmt(f),
        }
    }
}

// `Display` shows the error below whole, so it is not repeated as a source.
impl Error for InvalidMetadata {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::Value;

    use super::*;

    fn metadata(resource: &str) -> ResourceMetadata {
        ResourceMetadata::new(resource).authorization_server("https://login.example")
    }

    fn document(metadata: ResourceMetadata) -> Value {
        serde_json::from_slice(&metadata.publish().unwrap().document).unwrap()
    }

    #[test]
    fn the_document() {
        let least = json!({
            "resource": "https://api.example/mcp",
            "authorization_servers": ["https://login.example"],
            "bearer_methods_supported": ["header"],
        });
        assert_eq!(document(metadata("https://api.example/mcp")), least);

        let full = metadata("https://api.example/mcp")
            .authorization_server("https://tenant.example/")
            .scopes(["mcp:read", "offline_access"])
            .scopes(["mcp:write"])
            .name("Files \"and\" more")
            .documentation("https://docs.example/mcp?v=1#files");
        let expected = json!({
            "resource": "https://api.example/mcp",
            "authorization_servers": ["https://login.example", "https://tenant.example/"],
            "scopes_supported": ["mcp:read", "mcp:write"],
            "bearer_methods_supported": ["header"],
            "resource_name": "Files \"and\" more",
            "resource_documentation": "https://docs.example/mcp?v=1#files",
        });
        assert_eq!(document(full), expected);
    }

    #[test]
    fn where_it_stands_and_whom_tokens_are_for() {
        let root = ["https://api.example", "https://api.example/"];
        for (resource, url, audiences) in [
            (
                root[0],
                "https://api.example/.well-known/oauth-protected-resource",
                &root[..],
            ),
            (
                root[1],
                "https://api.example/.well-known/oauth-protected-resource",
                &root[..],
            ),
            (
                "https://api.example:8443/a/mcp",
                "https://api.example:8443/.well-known/oauth-protected-resource/a/mcp",
                &["https://api.example:8443/a/mcp"],
            ),
            (
                "https://api.example/mcp/",
                "https://api.example/.well-known/oauth-protected-resource/mcp/",
                &["https://api.example/mcp/"],
            ),
        ] {
            let published = metadata(resource).publish().unwrap();
            assert_eq!(published.url, url);
            assert_eq!(published.audiences, audiences);
        }
    }

    #[test]
    fn an_error_names_the_member_and_shows_no_url() {
        let good = "https://api.example/mcp";
        let bad = "https://user:pa55@host/";
        for (metadata, parts) in [
            (metadata(bad), ["resource", "port"]),
            (
                metadata("https://API.example"),
                ["resource", "small letters"],
            ),
            (
                metadata(good).authorization_server(bad),
                ["authorization server", "port"],
            ),
            (
                metadata(good).documentation("/docs"),
                ["documentation", "https://"],
            ),
            (metadata(good).scopes(["a b"]), ["\"a b\"", "scope"]),
            (
                ResourceMetadata::new(good),
                ["metadata", ".authorization_server(..)"],
            ),
        ] {
            let text = metadata.publish().unwrap_err().to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
            assert!(!text.contains("pa55"), "{text}");
        }
    }
}
