//! With `--toy-authorization-server`, clients that know the URL, and the printed secret, find metadata, get
//! a token and call.

use std::process::Command;

use serde_json::Value;

use crate::{
    http::{Answer, Request},
    node::Node,
    process::{Directory, Server, example},
    program::{Program, python},
};

fn start(directory: &Directory) -> (Server, String) {
    let mut command = Command::new(example());
    command.arg("--secrets").arg(directory.path());
    let server = Server::start_with(command.arg("--toy-authorization-server"));
    let secret = server.said("  client secret: ");
    (server, secret)
}

fn find_way(mut client: Command, server: &Server, secret: &str, mode: Option<&str>) -> Program {
    let origin = format!("http://{}", server.address);
    client
        .args([&format!("{origin}/mcp"), "client_credentials"])
        .args(mode)
        .env("CLIENT_ID", "toy-client")
        .env("CLIENT_SECRET", secret)
        .env("ISSUER", origin);
    Program::start(client)
}

#[tokio::test]
async fn the_python_sdk_finds_its_way_and_one_scope_further() {
    let Some(python) = python() else { return };
    for mode in ["legacy", "2026-07-28"] {
        let directory = Directory::new();
        let (server, secret) = start(&directory);
        let mut client = find_way(python(), &server, &secret, Some(mode));
        assert_eq!(client.call("whoami").await["sub"], "toy-client");
        assert_eq!(client.call("quote").await["version"], "bundle-0");
        client.end();
    }
}

#[tokio::test]
async fn the_typescript_sdk_finds_its_way() {
    let Some(node) = Node::find() else { return };
    let directory = Directory::new();
    let (server, secret) = start(&directory);
    let mut client = find_way(node.command("find_way.mjs"), &server, &secret, None);
    assert_eq!(client.call("whoami").await["sub"], "toy-client");
    client.end();
}

#[test]
fn servers_behind_one_url_accept_each_other_s_tokens() {
    let directory = Directory::new();
    let start = || {
        let mut command = Command::new(example());
        command.arg("--secrets").arg(directory.path());
        command.args(["--public-url", "https://mcp.example/mcp"]);
        let server = Server::start_with(command.arg("--toy-authorization-server"));
        let secret = server.said("  client secret: ");
        (server, secret)
    };
    let ((one, secret), (other, _)) = (start(), start());
    let form = format!(
        "grant_type=client_credentials&client_id=toy-client&client_secret={secret}&scope=tools"
    );
    let answer = Request::form("/token", &form).send(&one.address);
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!(other.whoami(token)["sub"], "toy-client");
}

#[test]
fn nobody_else_gets_a_token_and_the_printed_one_is_enough_for_all() {
    let json = |answer: &Answer| -> Value { serde_json::from_str(&answer.body).unwrap() };
    let directory = Directory::new();
    let (server, secret) = start(&directory);
    let ask = |form: &str| Request::form("/token", form).send(&server.address);
    let client = format!("client_id=toy-client&client_secret={secret}");
    let grant = "grant_type=client_credentials";
    for (form, status, error) in [
        (
            format!("{grant}&client_id=toy-client&client_secret=x"),
            401,
            "invalid_client",
        ),
        (
            format!("{grant}&client_id=x&client_secret={secret}"),
            401,
            "invalid_client",
        ),
        (grant.to_owned(), 401, "invalid_client"),
        (
            format!("grant_type=password&{client}"),
            400,
            "unsupported_grant_type",
        ),
        (
            format!("{grant}&{client}&scope=admin"),
            400,
            "invalid_scope",
        ),
        (
            format!("{grant}&{client}&resource=http://other.example"),
            400,
            "invalid_target",
        ),
    ] {
        let answer = ask(&form);
        assert_eq!(answer.status, status, "{form}");
        assert_eq!(json(&answer)["error"], error, "{form}");
    }
    // Stock clients get by without it where the two servers share an origin, so it is asked for here.
    let metadata = Request::get("/.well-known/oauth-protected-resource/mcp").send(&server.address);
    assert_eq!(metadata.status, 200);
    let origin = format!("http://{}", server.address);
    assert_eq!(json(&metadata)["authorization_servers"][0], origin);
    let answer = ask(&format!("{grant}&{client}"));
    assert_eq!(json(&answer)["scope"], "tools");
    assert_eq!(server.whoami(&server.token)["sub"], "alice");
}
