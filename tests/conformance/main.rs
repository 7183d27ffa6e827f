//! The official MCP conformance suite finds the same in a server without a layer of ours and with it,
//! scenario by scenario, on both versions of the wire.
#![cfg(all(unix, feature = "axum", feature = "rmcp"))]
#![allow(clippy::unwrap_used)]
#![allow(
    deprecated,
    reason = "the suite asks for logging and sampling, which the older wire has"
)]

use std::{
    io::Write,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::Router;
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use serde::Deserialize;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};
use tower_secrets::{JwtKey, JwtRotationLayer, Keyring, RegisteredClaims, source::Memory};

mod fixture;
#[path = "../support/node.rs"]
mod node;
mod rounds;
mod suite;
mod tasks;
mod tools;

use fixture::Fixture;
use node::Node;
use suite::{Checks, Column};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_the_same_on_the_wire_of_2026_07_28() {
    let Some(node) = Node::find() else { return };
    let columns = columns(node, &["--requirements", "2026-07-28"]).await;
    compare("2026-07-28", &columns);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_the_same_on_the_wire_of_2025_11_25() {
    let Some(node) = Node::find() else { return };
    let columns = columns(node, &["--suite", "all", "--spec-version", "2025-11-25"]).await;
    compare("2025-11-25", &columns);
}

/// Without a layer, and with the one that verifies tokens.
async fn columns(node: Node, options: &'static [&'static str]) -> [(&'static str, Column); 2] {
    let keyring = keyring().await;
    let later = SystemTime::now() + Duration::from_secs(3600);
    let claims = RegisteredClaims::new("alice").expires_at(later);
    let token = keyring.signer().sign(&claims).unwrap();
    let run = async |router, token: Option<String>| {
        let (origin, server) = serve(router).await;
        let refused = reqwest::get(format!("{origin}/mcp"))
            .await
            .unwrap()
            .status()
            == 401;
        assert_eq!(refused, token.is_some());
        let node = node.clone();
        let column = tokio::task::spawn_blocking(move || {
            suite::run(&node, options, &origin, token.as_deref())
        });
        let column = column.await.unwrap();
        server.abort();
        column
    };
    let (plain, with_layer) = tokio::join!(
        run(router(), None),
        run(router().layer(JwtRotationLayer::new(keyring)), Some(token)),
    );
    [("without", plain), ("token layer", with_layer)]
}

#[derive(Deserialize)]
struct App {
    jwt_secret: JwtKey,
}

async fn keyring() -> Keyring<App> {
    let bundle = json!({ "jwt_secret": "a secret of a test, of 32 bytes or more" });
    Keyring::<App>::builder(Memory::new(bundle.to_string()))
        .jwt_key(|app| &app.jwt_secret)
        .build()
        .await
        .unwrap()
}

fn router() -> Router {
    let fixture = Fixture::default();
    let mcp = StreamableHttpService::new(
        move || Ok(fixture.clone()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    Router::new().nest_service("/mcp", mcp)
}

async fn serve(router: Router) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (origin, server)
}

/// Prints the columns; then they must be equal, and nothing in them have failed.
fn compare(version: &str, columns: &[(&str, Column)]) {
    let (_, first) = &columns[0];
    let mut text = format!("\n{version:<46}");
    for (name, _) in columns {
        text += &format!("{name:>16}");
    }
    for scenario in first.keys() {
        text += &format!("\n{scenario:<46}");
        for (_, column) in columns {
            let checks = column.get(scenario);
            let summary = checks.map_or_else(|| "missing".to_owned(), Checks::summary);
            text += &format!("{summary:>16}");
        }
    }
    // Around the capture of test output: the columns are what is asked of this test.
    let _ = writeln!(std::io::stderr(), "{text}");
    for (name, column) in &columns[1..] {
        assert_eq!(column, first, "{name}");
    }
    let failed: Vec<_> = first.iter().filter(|(_, it)| it.has_failed()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}
