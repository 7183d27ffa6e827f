//! Secrets in AWS Secrets Manager (moto), rotated by an independent client (boto3) in the four
//! steps of a rotation Lambda, under callers that never pause.

use std::{
    collections::HashSet,
    process::Command,
    sync::{Mutex, mpsc},
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};

use crate::{
    lambda::{Aws, Lambda, with_environment},
    process::{PATIENCE, Server, bundle, example},
    python::{Client, python},
};

const INTERVAL: Duration = Duration::from_secs(2);

/// The least that is allowed with that interval: three of it, a fetch and a probe.
const WINDOW: Duration = Duration::from_secs(10);

/// A fetch, and a machine that is busy.
const SLACK: Duration = Duration::from_secs(8);

#[test]
fn a_rotation_lambda_rotates_and_no_call_fails() {
    const CALLERS: usize = 4;
    let Some(aws) = Aws::find() else { return };
    let mut lambda = Lambda::start(&aws);
    let first = lambda.step(json!({"step": "first", "document": bundle(0).to_string()}));
    let server = start_server(&aws, &lambda.secret);
    let mut mcp_client = python().map(|python| Client::start(&python, &server.address, "legacy"));
    let newest = Mutex::new(server.token.clone());
    let (report, reports) = mpsc::channel();

    std::thread::scope(|scope| {
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
        let mut calls = 0;
        let mut old = server.token.clone();
        let mut version = first["version"].as_str().unwrap().to_owned();
        for number in 1..=2 {
            let document = bundle(number).to_string();
            let created = lambda.step(json!({"step": "create_secret", "document": document}));
            let next = created["version"].as_str().unwrap().to_owned();
            lambda.step(json!({"step": "set_secret"}));

            // A replica that is ahead signs with the pending key already.
            let early = token_of(&bundle(number));
            let url = format!("http://{}/whoami", server.address);
            let tested = json!({"step": "test_secret", "url": url, "bearer": early});
            let tested = lambda.step(tested);
            println!("pending accepted after {} s", tested["seconds"]);
            assert!(tested["seconds"].as_f64().unwrap() < (INTERVAL + SLACK).as_secs_f64());
            assert_eq!(tested["answer"]["stage"], "pending", "{tested}");
            assert_eq!(tested["answer"]["version"], version, "{tested}");
            assert_eq!(tested["answer"]["key_version"], next, "{tested}");

            let flip = Instant::now();
            lambda.step(json!({"step": "finish_secret"}));
            let token = reloaded_to(&server, &next);
            println!("in use after {:?}", flip.elapsed());
            assert!(flip.elapsed() < INTERVAL + SLACK);
            for token in [&token, &early] {
                let whoami = server.whoami(token);
                assert_eq!(whoami["stage"], "current", "{whoami}");
                assert_eq!(whoami["version"], next, "{whoami}");
            }
            let whoami = server.whoami(&old);
            assert_eq!(whoami["stage"], "previous", "{whoami}");
            assert_eq!(whoami["key_version"], version, "{whoami}");

            if let Some(client) = &mut mcp_client {
                let round = client.round_with(&token);
                assert_eq!(round["tools"]["quote"]["version"], next, "{round}");
            }
            newest.lock().unwrap().clone_from(&token);
            let mut waiting: HashSet<usize> = (0..CALLERS).collect();
            while !waiting.is_empty() {
                let (caller, used) = reports.recv_timeout(PATIENCE).unwrap();
                calls += 1;
                if used == token {
                    waiting.remove(&caller);
                }
            }

            server.logged("secrets_previous_expired");
            println!("previous gone after {:?}", flip.elapsed());
            assert!(flip.elapsed() >= WINDOW && flip.elapsed() < WINDOW + INTERVAL + SLACK);
            assert_eq!(server.get("/whoami", Some(&old)).status, 401);
            calls += reports.try_iter().count();
            (old, version) = (token, next);
        }
        println!("{calls} calls, none failed");
    });
    if let Some(client) = &mut mcp_client {
        client.end();
    }
    lambda.end();
}

#[test]
fn a_secret_that_is_not_there_is_told_and_ends_it() {
    let Some(aws) = Aws::find() else { return };
    let output = with_environment(&mut Command::new(example()), &aws.endpoint)
        .args(["--listen", "127.0.0.1:0", "--aws-secret", "tests/nobody"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("`tests/nobody`: not found"), "{text}");
}

#[test]
fn a_directory_and_a_secret_exclude_each_other() {
    let both = ["--secrets", ".", "--aws-secret", "x"];
    let output = Command::new(example()).args(both).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

fn start_server(aws: &Aws, secret: &str) -> Server {
    let seconds = |time: Duration| format!("{}s", time.as_secs());
    Server::start_with(
        with_environment(&mut Command::new(example()), &aws.endpoint)
            .args(["--aws-secret", secret])
            .args(["--refresh-every", &seconds(INTERVAL)])
            .args(["--overlap", &seconds(WINDOW)]),
    )
}

/// The token that comes with this version.
fn reloaded_to(server: &Server, version: &str) -> String {
    let end = format!(", version {version}");
    while !server.said("reloaded: ").ends_with(&end) {}
    server.said("token: ")
}

/// Signed with this bundle's key, by somebody else than the server.
fn token_of(bundle: &Value) -> String {
    use jsonwebtoken::{EncodingKey, Header, encode};

    let later = SystemTime::now() + Duration::from_secs(300);
    let later = later.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let claims = json!({"sub": "early", "exp": later.as_secs()});
    let key = EncodingKey::from_secret(bundle["jwt_secret"].as_str().unwrap().as_bytes());
    encode(&Header::default(), &claims, &key).unwrap()
}
