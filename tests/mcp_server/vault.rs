//! Secrets in OpenBao, rotated by the `bao` command under callers that never pause.

use std::{
    collections::HashSet,
    io::Write,
    process::{Command, Stdio},
    sync::{Mutex, mpsc},
};

use crate::{
    bao::Bao,
    process::{PATIENCE, Server, bundle, example},
};

const PATH: &str = "mcp/app";

#[test]
fn a_rotation_by_the_bao_command_fails_no_call() {
    const CALLERS: usize = 4;
    let Some(bao) = Bao::dev() else { return };
    put(&bao, 1, 0);
    let server = start_server(&bao);
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
        // At most two keys overlap: a rotation waits until everybody has renewed.
        let mut wait_for_all = |token: &str| {
            let mut waiting: HashSet<usize> = (0..CALLERS).collect();
            while !waiting.is_empty() {
                let (caller, used) = reports.recv_timeout(PATIENCE).unwrap();
                calls += 1;
                if used == token {
                    waiting.remove(&caller);
                }
            }
        };
        let mut old = server.token.clone();
        for number in 2..=5 {
            // By turns at once, and staged before its flip.
            if number % 2 == 0 {
                put(&bao, number, number - 1);
            } else {
                let pending = format!("-custom-metadata=pending={number}");
                metadata(&bao, &pending);
                put(&bao, number, number - 1);
                metadata(&bao, "-remove-custom-metadata=pending");
            }
            let token = reloaded_to(&server, number);
            assert_eq!(server.whoami(&old)["stage"], "previous");
            assert_eq!(server.whoami(&token)["stage"], "current");
            newest.lock().unwrap().clone_from(&token);
            wait_for_all(&token);
            old = token;
        }

        // Destroyed: what was signed with an older version is refused from the next refresh on.
        put(&bao, 6, 5);
        let token = reloaded_to(&server, 6);
        newest.lock().unwrap().clone_from(&token);
        wait_for_all(&token);
        assert_eq!(server.get("/whoami", Some(&old)).status, 200);
        bao.run(&[
            "kv",
            "destroy",
            "-mount=secret",
            "-versions=1,2,3,4,5",
            PATH,
        ]);
        server.logged("secrets_previous_withdrawn");
        assert_eq!(server.get("/whoami", Some(&old)).status, 401);
        println!("{calls} calls, none failed");
    });
}

#[test]
fn a_secret_that_is_not_there_is_told_and_ends_it() {
    let Some(bao) = Bao::dev() else { return };
    let output = with_environment(&mut Command::new(example()), &bao)
        .args(["--listen", "127.0.0.1:0", "--vault-secret", "nobody"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("`secret/metadata/nobody`: there is nothing"),
        "{text}"
    );
}

fn put(bao: &Bao, number: u64, cas: u64) {
    let cas = format!("-cas={cas}");
    let mut child = bao
        .command()
        .args(["kv", "put", "-mount=secret", &cas, PATH, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let document = bundle(usize::try_from(number).unwrap()).to_string();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(document.as_bytes()).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

fn metadata(bao: &Bao, change: &str) {
    bao.run(&["kv", "metadata", "patch", "-mount=secret", change, PATH]);
}

fn with_environment<'a>(command: &'a mut Command, bao: &Bao) -> &'a mut Command {
    command
        .env("VAULT_ADDR", bao.address())
        .env("VAULT_TOKEN", &bao.root)
}

fn start_server(bao: &Bao) -> Server {
    Server::start_with(
        with_environment(&mut Command::new(example()), bao)
            .args(["--vault-secret", PATH])
            .args(["--refresh-every", "1s", "--overlap", "1h"]),
    )
}

/// The token that comes with this version.
fn reloaded_to(server: &Server, number: u64) -> String {
    let version = format!(", version {number}@");
    while !server.said("reloaded: ").contains(&version) {}
    server.said("token: ")
}
