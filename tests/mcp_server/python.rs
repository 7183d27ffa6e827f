//! A stock Python client (PyPI `mcp`) holds one session across three rotations.

use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::left_out::needed;
use crate::process::{Directory, Replies, Server, version};

#[test]
fn a_python_client_holds_its_session_legacy() {
    let Some(python) = python() else { return };
    let sessions = hold_session(&python, "legacy");
    assert_eq!(sessions, 1);
}

#[test]
fn a_python_client_goes_on_2026_07_28() {
    let Some(python) = python() else { return };
    // That version of the protocol has no sessions.
    let sessions = hold_session(&python, "2026-07-28");
    assert_eq!(sessions, 0);
}

/// The interpreter of a venv that has `tests/python_client/requirements.txt`.
pub(crate) fn python() -> Option<String> {
    let python = needed("TOWER_SECRETS_PYTHON", "a test with the Python client");
    python.map(|python| python.into_string().unwrap())
}

/// Gives the number of sessions that the client had.
fn hold_session(python: &str, mode: &str) -> usize {
    let directory = Directory::new();
    let server = Server::start(directory.path());
    let mut client = Client::start(python, &server.address, mode);

    let mut token = server.token.clone();
    let mut round = client.round_with(&token);
    assert_eq!(round["tools"]["whoami"]["stage"], "current");
    for number in 1..=3 {
        directory.rotate(number);
        let renewed = server.reloaded_to(number);

        round = client.round_with(&token);
        assert_eq!(round["tools"]["whoami"]["stage"], "previous", "{round}");
        token = renewed;
        round = client.round_with(&token);
        assert_eq!(round["tools"]["whoami"]["stage"], "current", "{round}");
        for tool in ["whoami", "fingerprint", "quote"] {
            assert_eq!(round["tools"][tool]["version"], version(number), "{round}");
        }
        let fingerprints = &round["tools"]["fingerprint"];
        assert_eq!(fingerprints["before"], fingerprints["after"]);
    }
    client.end();
    assert!(round["calls"].as_u64().unwrap() > 10, "{round}");
    round["sessions"].as_array().unwrap().len()
}

pub(crate) struct Client {
    process: Child,
    replies: Replies,
}

impl Client {
    pub(crate) fn start(python: &str, address: &str, mode: &str) -> Self {
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python_client/hold_session.py");
        let mut process = Command::new(python)
            .arg(script)
            .args([&format!("http://{address}/mcp"), mode])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("TOWER_SECRETS_PYTHON={python}: {error}"));
        let replies = Replies::of(process.stdout.take().unwrap());
        Self { process, replies }
    }

    pub(crate) fn round_with(&mut self, token: &str) -> Value {
        let mut stdin = self.process.stdin.as_ref().unwrap();
        writeln!(stdin, "{token}").unwrap();
        serde_json::from_str(&self.replies.next()).unwrap()
    }

    pub(crate) fn end(&mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
