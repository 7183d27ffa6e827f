//! The MCP Inspector (npm `@modelcontextprotocol/inspector`) calls without pause while the key and
//! everything else rotates.

use std::{
    io::{self, Read},
    net::{Shutdown, TcpListener, TcpStream},
    process::Stdio,
    sync::mpsc::{self, Receiver},
    thread,
};

use serde_json::Value;

use crate::{
    node::Node,
    process::{Directory, PATIENCE, Server},
};

const AT_ONCE: usize = 8;

#[test]
fn the_inspector_has_no_error_across_a_rotation_2025_11_25() {
    load_across_a_rotation("legacy");
}

#[test]
fn the_inspector_has_no_error_across_a_rotation_2026_07_28() {
    load_across_a_rotation("modern");
}

fn load_across_a_rotation(era: &str) {
    let Some(node) = Node::find() else { return };
    let directory = Directory::new();
    let server = Server::start(directory.path());
    let (address, connections) = relay(server.address.clone());
    // It keeps a folder of its own there.
    let home = tempfile::tempdir().unwrap();
    let mut inspector = node
        .command("node_modules/.bin/mcp-inspector")
        .env("HOME", home.path())
        .args(["--cli", &format!("http://{address}/mcp")])
        .args(["--transport", "http", "--protocol-era", era])
        .args([
            "--header",
            &format!("Authorization: Bearer {}", server.token),
        ])
        .args(["--method", "tools/call", "--tool-name", "quote"])
        .args(["--load", "--load-duration", "8"])
        .args(["--load-concurrency", &AT_ONCE.to_string()])
        .args(["--format", "json", "--quiet"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{node:?}: {error}"));

    // So many at once are only there under load.
    for _ in 0..AT_ONCE {
        connections.recv_timeout(PATIENCE).unwrap();
    }
    directory.rotate(1);
    let renewed = server.reloaded_to(1);
    assert_eq!(
        inspector.try_wait().unwrap(),
        None,
        "the load ended too soon"
    );

    let mut summary = String::new();
    let mut stdout = inspector.stdout.take().unwrap();
    stdout.read_to_string(&mut summary).unwrap();
    assert!(inspector.wait().unwrap().success(), "{summary}");
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let result = &summary["result"];
    println!("{result}");
    assert!(result["ok"].as_u64().unwrap() > 50, "{summary}");
    assert_eq!(result["ok"], result["requests"], "{summary}");
    assert_eq!(server.whoami(&server.token)["stage"], "previous");
    assert_eq!(server.whoami(&renewed)["stage"], "current");
}

/// Stands before the server and tells of each connection.
fn relay(server: String) -> (String, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, told) = mpsc::channel();
    // It ends with the test's process.
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(&server) else {
                continue;
            };
            for socket in [&client, &server] {
                let _ = socket.set_nodelay(true);
            }
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
            let _ = tell.send(());
        }
    });
    (address, told)
}
