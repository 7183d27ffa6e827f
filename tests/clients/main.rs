//! Stock MCP clients that know a server's URL find their way: 401, resource metadata, the metadata of
//! the authorization server, a token, the call. After the key is gone for good they authenticate anew,
//! and where a call needs one scope more they ask for it.
#![cfg(all(unix, feature = "axum", feature = "rmcp"))]
#![allow(clippy::unwrap_used)]

#[path = "../support/authorization_server.rs"]
mod authorization_server;
#[path = "../support/left_out.rs"]
mod left_out;
#[allow(dead_code, reason = "the conformance suite uses more of it")]
#[path = "../support/node.rs"]
mod node;
mod program;
mod service;

use std::process::Command;

use node::Node;
use program::{Program, python};
use service::{READ, Service, WRITE};

/// How the client gets its tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Grant {
    /// It registers, and a person says yes.
    AuthorizationCode,
    /// It has an id and a secret.
    ClientCredentials,
}

impl Grant {
    fn name(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::ClientCredentials => "client_credentials",
        }
    }

    /// What the authorization server is asked for a token with these scopes.
    fn way(self, scopes: &str, asks_for_scopes: bool) -> Vec<String> {
        match self {
            Self::AuthorizationCode => vec![
                format!("authorize {scopes}"),
                "token authorization_code".to_owned(),
            ],
            Self::ClientCredentials if asks_for_scopes => {
                vec![format!("token client_credentials {scopes}")]
            }
            Self::ClientCredentials => vec!["token client_credentials".to_owned()],
        }
    }

    fn subject(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "alice",
            Self::ClientCredentials => authorization_server::CLIENT.0,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_typescript_sdk_with_an_authorization_code() {
    let Some(node) = Node::find() else { return };
    let service = Service::start().await;
    let command = node.command("find_way.mjs");
    finds_its_way(service, command, Grant::AuthorizationCode, &[], true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_typescript_sdk_with_client_credentials() {
    let Some(node) = Node::find() else { return };
    let service = Service::start().await;
    let command = node.command("find_way.mjs");
    // Of a challenge's scopes it tells the token endpoint nothing with this grant.
    finds_its_way(service, command, Grant::ClientCredentials, &[], false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_sdk_with_an_authorization_code() {
    let Some(python) = python() else { return };
    for mode in ["legacy", "2026-07-28"] {
        let service = Service::start().await;
        finds_its_way(service, python(), Grant::AuthorizationCode, &[mode], true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_sdk_with_client_credentials() {
    let Some(python) = python() else { return };
    for mode in ["legacy", "2026-07-28"] {
        let service = Service::start().await;
        finds_its_way(service, python(), Grant::ClientCredentials, &[mode], true).await;
    }
}

async fn finds_its_way(
    service: Service,
    mut command: Command,
    grant: Grant,
    arguments: &[&str],
    asks_for_scopes: bool,
) {
    let (id, secret) = authorization_server::CLIENT;
    command
        .args([&service.url, grant.name()])
        .args(arguments)
        .env("CLIENT_ID", id)
        .env("CLIENT_SECRET", secret)
        .env("ISSUER", &service.authorization.issuer);
    let mut client = Program::start(command);

    let whoami = client.call("whoami").await;
    assert_eq!(whoami["sub"], grant.subject());
    assert_eq!(whoami["stage"], "current");
    assert_eq!(whoami["scope"], READ);
    let mut way = grant.way(READ, asks_for_scopes);
    if grant == Grant::AuthorizationCode {
        way.insert(0, "register".to_owned());
    }
    assert_eq!(service.authorization.asked(), way);

    // The key rotates: nobody needs a new token.
    service.rotate().await;
    assert_eq!(client.call("whoami").await["stage"], "previous");
    assert_eq!(service.authorization.asked(), [""; 0]);

    // The key is gone for good.
    service.drop_previous().await;
    let whoami = client.call("whoami").await;
    assert_eq!(whoami["stage"], "current");
    assert_eq!(whoami["sub"], grant.subject());
    assert_eq!(
        service.authorization.asked(),
        grant.way(READ, asks_for_scopes)
    );

    if asks_for_scopes {
        let both = format!("{READ} {WRITE}");
        assert_eq!(client.call("delete").await["scope"], both);
        assert_eq!(service.authorization.asked(), grant.way(&both, true));
    }
    client.end();
}
