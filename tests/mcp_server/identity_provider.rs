//! Tokens of an issuer whose keys are fetched: the server holds no key at all.

use std::process::Command;

use serde_json::json;

use crate::process::{Server, example};

#[allow(dead_code, reason = "the tests of the source use all of it")]
#[path = "../jwks/idp.rs"]
mod idp;
use idp::{Answer, KeyServer, SigningKey, set};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_needed_to_protect_the_tools() {
    let (a, b) = (SigningKey::new("a"), SigningKey::new("b"));
    let provider = KeyServer::serving(&[&a]).await;
    let issuer = provider.origin.clone();
    let metadata = json!({ "issuer": issuer, "jwks_uri": provider.keys_url() });
    provider.put(
        "/.well-known/openid-configuration",
        Answer::ok(metadata.to_string()),
    );
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
