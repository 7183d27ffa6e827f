//! Files change, signals come, and callers notice nothing.

use std::{
    collections::HashSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
    sync::{Mutex, mpsc},
    time::Duration,
};

use serde_json::json;

use crate::{
    http::Request,
    process::{Directory, PATIENCE, Server, bundle, example, version},
};

#[test]
fn health_needs_no_token_and_the_rest_does() {
    let directory = Directory::new();
    let server = Server::start(directory.path());

    assert_eq!(server.get("/healthz", None).status, 200);

    let whoami = server.whoami(&server.token);
    assert_eq!(whoami["sub"], "alice");
    assert_eq!(whoami["version"], version(0));
    assert_eq!(whoami["stage"], "current");
    assert_eq!(whoami["generation"], 1);

    for path in ["/whoami", "/mcp"] {
        let answer = server.get(path, None);
        assert_eq!(answer.status, 401, "{path}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer "), "{challenge}");
        assert!(!challenge.contains("error"), "{challenge}");

        let answer = server.get(path, Some("not.a.token"));
        assert_eq!(answer.status, 401, "{path}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.contains("invalid_token"), "{challenge}");
    }
}

#[test]
#[cfg(feature = "admin")]
fn the_operator_s_page_is_on_a_listener_of_its_own() {
    let directory = Directory::new();
    let page = ["--admin", "127.0.0.1:0"];
    let start = |page| {
        let mut command = Command::new(example());
        command.arg("--secrets").arg(directory.path()).args(page);
        command
    };
    let server = Server::start_tokenless(&mut start(page));
    let address = server.said("operator's page on http://");
    let token = server.said("token: ");
    let answer = Request::get("/status").send(&address);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.contains(&version(0)), "{answer:?}");
    assert!(!answer.body.contains("api-key-0"), "{answer:?}");
    assert_eq!(server.get("/status", Some(&token)).status, 404);

    let refused = start(["--admin", "0.0.0.0:0"])
        .args(["--listen", "127.0.0.1:0"])
        .output();
    let refused = refused.unwrap();
    assert!(!refused.status.success());
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(
        error.contains("the operator's page is not opened on 0.0.0.0:0"),
        "{error}"
    );
}

#[test]
fn a_rotation_by_files_fails_no_call() {
    const CALLERS: usize = 4;
    let directory = Directory::new();
    let server = Server::start(directory.path());
    let newest = Mutex::new(server.token.clone());
    let (report, reports) = mpsc::channel();

    let tokens = std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (report, server, newest) = (report.clone(), &server, &newest);
            scope.spawn(move || {
                loop {
                    let token = newest.lock().unwrap().clone();
                    server.whoami(&token);
                    // The calls end with the one who reads the reports.
                    if report.send((caller, token)).is_err() {
                        break;
                    }
                }
            });
        }
        // In here, so that a failed assertion drops it, and with it the callers end.
        let reports = reports;
        let mut tokens = vec![server.token.clone()];
        for number in 1..=3 {
            directory.rotate(number);
            let token = server.reloaded_to(number);
            let before = server.whoami(&tokens[number - 1]);
            assert_eq!(before["stage"], "previous");
            assert_eq!(before["version"], version(number));
            assert_eq!(before["key_version"], version(number - 1));
            assert_eq!(server.whoami(&token)["stage"], "current");
            newest.lock().unwrap().clone_from(&token);
            // At most two keys overlap: the next rotation waits until everybody has renewed.
            let mut waiting: HashSet<usize> = (0..CALLERS).collect();
            while !waiting.is_empty() {
                let (caller, used) = reports.recv_timeout(PATIENCE).unwrap();
                if used == token {
                    waiting.remove(&caller);
                }
            }
            tokens.push(token);
        }
        tokens
    });

    // Two rotations ago: its key is over.
    assert_eq!(server.get("/whoami", Some(&tokens[1])).status, 401);
}

#[test]
fn sighup_asks_for_a_reload_and_does_not_end_the_server() {
    let directory = Directory::new();
    let server = Server::start(directory.path());

    server.signal("HUP");
    let line = server.logged("trigger=sighup");
    assert!(line.contains("secrets_reload_requested"), "{line}");

    directory.rotate(1);
    server.signal("HUP");
    let token = server.reloaded_to(1);
    assert_eq!(server.whoami(&token)["version"], version(1));
}

#[test]
fn a_bad_file_is_told_and_the_secrets_in_use_stay() {
    let directory = Directory::new();
    let server = Server::start(directory.path());
    let no_key = r#"{"api_key":"api-key-x","db_password":"db-password-x"}"#;
    let refused_upstream = bundle(7).to_string().replace("api-key-7", "bad-key");

    for bad in [r#"{"jwt_secret":"#, "[]", "", no_key, &refused_upstream] {
        directory.put("current.json", bad);
        let line = server.said("not reloaded: ");
        assert!(line.contains("current.json"), "{line}");
        for value in ["api-key-x", "db-password", "signing secret", "bad-key"] {
            assert!(!line.contains(value), "{line}");
        }
        let whoami = server.whoami(&server.token);
        assert_eq!(whoami["version"], version(0), "{bad}");
        assert_eq!(whoami["stage"], "current", "{bad}");
    }

    directory.put("current.json", &bundle(8).to_string());
    let token = server.reloaded_to(8);
    assert_eq!(server.whoami(&token)["version"], version(8));
}

#[test]
fn sigterm_ends_it_in_time_with_a_session_and_a_stream_open() {
    let directory = Directory::new();
    let server = Server::start(directory.path());
    let both = "application/json, text/event-stream";
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{
        "protocolVersion":"2025-06-18","capabilities":{},
        "clientInfo":{"name":"test","version":"1"}}}"#;
    let (answer, _first) = Request::post("/mcp", initialize)
        .token(Some(&server.token))
        .header("accept", both)
        .open(&server.address);
    assert_eq!(answer.status, 200);
    let session = answer.header("mcp-session-id").unwrap().to_owned();
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let answer = Request::post("/mcp", initialized)
        .token(Some(&server.token))
        .header("accept", both)
        .header("mcp-session-id", &session)
        .send(&server.address);
    assert_eq!(answer.status, 202);
    let (answer, _stream) = Request::get("/mcp")
        .token(Some(&server.token))
        .header("accept", "text/event-stream")
        .header("mcp-session-id", &session)
        .open(&server.address);
    assert_eq!(answer.status, 200);

    server.signal("TERM");
    let (code, last) = server.ended_within(Duration::from_secs(5));
    assert_eq!(code, Some(0));
    assert_eq!(last, "ended");
}

#[test]
fn a_call_under_way_at_sigterm_gets_its_answer() {
    let directory = Directory::new();
    let server = Server::start(directory.path());
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({ "name": "quote", "arguments": {}, "_meta": meta });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let body = body.to_string();
    let (begun, rest) = body.split_at(body.len() / 2);
    let mut call = TcpStream::connect(&server.address).unwrap();
    write!(
        call,
        "POST /mcp HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\
         content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
         mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: quote\r\n\r\n{begun}",
        server.address,
        server.token,
        body.len()
    )
    .unwrap();
    // It was accepted: those after it are served.
    server.whoami(&server.token);
    server.signal("TERM");
    while TcpStream::connect(&server.address).is_ok() {}
    write!(call, "{rest}").unwrap();
    let mut answer = String::new();
    call.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("the only constant is change"), "{answer}");
    let (code, _) = server.ended_within(Duration::from_secs(5));
    assert_eq!(code, Some(0));
}

#[test]
fn with_no_directory_it_makes_a_private_one_and_takes_it_away() {
    let server = Server::start_with(&mut Command::new(example()));
    assert_eq!(server.whoami(&server.token)["sub"], "alice");
    let line = server.said("  cd '");
    let directory = PathBuf::from(line.split('\'').next().unwrap());
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join("current.json")), 0o600);

    server.signal("INT");
    let (code, _) = server.ended_within(Duration::from_secs(5));
    assert_eq!(code, Some(0));
    assert!(!directory.exists());
}
