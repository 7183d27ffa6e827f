//! Tokens of an issuer whose keys are fetched: the server holds no key at all.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use serde_json::json;

use crate::{
    http::{Answer as HttpAnswer, Request},
    process::{Directory, Server, example, example_named},
};

#[allow(dead_code, reason = "the tests of the source use all of it")]
#[path = "../jwks/idp.rs"]
mod idp;
use idp::{Answer, KeyServer, SigningKey, set};

async fn provider(key: &SigningKey) -> KeyServer {
    let provider = KeyServer::serving(&[key]).await;
    let metadata = json!({ "issuer": provider.origin, "jwks_uri": provider.keys_url() });
    let path = "/.well-known/openid-configuration";
    provider.put(path, Answer::ok(metadata.to_string()));
    provider
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_needed_to_protect_the_tools() {
    let (a, b) = (SigningKey::new("a"), SigningKey::new("b"));
    let provider = provider(&a).await;
    let issuer = provider.origin.clone();
    let audience = "https://mcp.example";
    let mut command = Command::new(example());
    command.args(["--issuer", &issuer, "--audience", audience, "--jwks"]);
    let server = Server::start_tokenless(&mut command);
    assert!(
        server
            .said("no token: ")
            .contains("the keys are the issuer's")
    );

    let claims = json!({ "iss": issuer, "aud": audience, "sub": "bob" });
    let whoami = server.whoami(&a.token(claims.clone()));
    assert_eq!(whoami["sub"], "bob");
    // The key of another rotation is fetched at its first token.
    provider.put("/keys", Answer::ok(set(&[&b])));
    server.whoami(&b.token(claims.clone()));
    for token in [
        a.token(claims.clone()),
        b.token(json!({ "iss": issuer, "aud": "https://other.example" })),
        b.token(json!({ "iss": "https://other.example", "aud": audience })),
    ] {
        assert_eq!(server.get("/whoami", Some(&token)).status, 401);
    }
    assert_eq!(server.get("/healthz", None).status, 200);
}

/// The example of the guide's page on MCP.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_lines_are_a_resource_server() {
    let key = SigningKey::new("a");
    let provider = provider(&key).await;
    let (issuer, secrets) = (&provider.origin, Directory::new());
    // Nobody else takes it in this moment.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let url = format!("http://{address}/mcp");
    let server = Command::new(example_named("mcp_resource_server"))
        .env("LISTEN", &address)
        .env("PUBLIC_URL", &url)
        .env("ISSUER", issuer)
        .env("SECRETS", secrets.path())
        .stdout(Stdio::piped())
        .spawn();
    let mut server = Ended(server.unwrap());
    let mut line = String::new();
    let mut stdout = BufReader::new(server.0.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, format!("listening on {address}\n"));

    let call = |scope: &str| -> HttpAnswer {
        let claims = json!({ "iss": issuer, "aud": url, "sub": "bob", "scope": scope });
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let params = json!({ "name": "ask", "arguments": {}, "_meta": meta });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        Request::post("/mcp", &body.to_string())
            .token(Some(&key.token(claims)))
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/call")
            .header("mcp-name", "ask")
            .send(&address)
    };
    let metadata = Request::get("/.well-known/oauth-protected-resource/mcp").send(&address);
    assert!(metadata.body.contains(issuer), "{}", metadata.body);
    for (scope, named) in [("", "scope=\"mcp\""), ("mcp", "scope=\"mcp upstream\"")] {
        let refused = call(scope);
        assert_eq!(refused.status, 403, "{}", refused.body);
        let challenge = refused.header("www-authenticate").unwrap();
        assert!(challenge.contains(named), "{challenge}");
    }
    let answer = call("mcp upstream");
    assert!(
        answer.body.contains("asks with a key of 9 bytes"),
        "{}",
        answer.body
    );
}

/// Ends with the test, whatever comes of it.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
