//! The official MCP conformance suite finds the same in a server without a layer of ours and with it,
//! scenario by scenario, on both versions of the wire, while the server's key rotates.
#![cfg(all(unix, feature = "axum", feature = "rmcp"))]
#![allow(clippy::unwrap_used)]
#![allow(
    deprecated,
    reason = "the suite asks for logging and sampling, which the older wire has"
)]

use std::{collections::BTreeMap, io::Write};

use futures::future::join_all;

mod fixture;
#[path = "../support/left_out.rs"]
mod left_out;
#[path = "../support/node.rs"]
mod node;
mod rounds;
mod servers;
mod suite;
mod tasks;
mod tools;

use node::Node;
use servers::Server;
use suite::{Checks, Column};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_the_same_on_the_wire_of_2026_07_28() {
    let Some(node) = Node::find() else { return };
    compare(node, "2026-07-28", &["--requirements", "2026-07-28"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_the_same_on_the_wire_of_2025_11_25() {
    let Some(node) = Node::find() else { return };
    let all = &["--suite", "all", "--spec-version", "2025-11-25"];
    compare(node, "2025-11-25", all).await;
}

/// The suite gives a stream a second and a half, which a busy machine may need for itself.
const TRIES: usize = 3;

/// Prints the columns; then they must be equal, each scenario at one try at least, and nothing in them
/// have failed.
async fn compare(node: Node, version: &str, scenarios: &'static [&'static str]) {
    let mut differing: Option<BTreeMap<_, _>> = None;
    for _ in 0..TRIES {
        // Their keys rotate once.
        let servers = servers::all().await;
        let columns = servers.iter().map(|it| column(&node, scenarios, it));
        let columns = join_all(columns).await;
        print(version, &servers, &columns);
        let failed = columns[0].iter().filter(|(_, it)| it.has_failed());
        let failed = failed.map(|(scenario, it)| {
            let text = format!("{it:#?}");
            ((servers[0].name, scenario.clone()), text)
        });
        let mut now: BTreeMap<_, _> = failed.collect();
        for (server, column) in servers.iter().zip(&columns) {
            for (scenario, both) in suite::differing(&columns[0], column) {
                now.insert((server.name, scenario.clone()), format!("{both:#?}"));
            }
        }
        if let Some(before) = differing {
            now.retain(|scenario, _| before.contains_key(scenario));
        }
        if now.is_empty() {
            assert!(servers.iter().all(Server::has_rotated));
            return;
        }
        differing = Some(now);
    }
    let texts = differing.unwrap().into_iter();
    let texts = texts.map(|((server, scenario), both)| format!("{server}, {scenario}: {both}\n"));
    panic!("{}", texts.collect::<String>());
}

async fn column(node: &Node, scenarios: &'static [&'static str], server: &Server) -> Column {
    let (node, origin, token) = (node.clone(), server.origin.clone(), server.token.clone());
    let run = move || suite::run(&node, scenarios, &origin, token.as_deref());
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn print(version: &str, servers: &[Server], columns: &[Column]) {
    let mut text = format!("\n{version:<46}");
    for server in servers {
        text += &format!("{:>16}", server.name);
    }
    for scenario in columns[0].keys() {
        text += &format!("\n{scenario:<46}");
        for column in columns {
            let checks = column.get(scenario);
            let summary = checks.map_or_else(|| "missing".to_owned(), Checks::summary);
            text += &format!("{summary:>16}");
        }
    }
    // Around the capture of test output: the columns are what is asked of this test.
    let _ = writeln!(std::io::stderr(), "{text}");
}
