//! A caller without a token who asks an MCP server for what needs a scope, in whatever form: rmcp
//! reads the same bytes after our layer, so what it did tells whether the two have read the same.
//!
//! Headers, one a line as `name: value`, an empty line, and the body.

use std::{sync::LazyLock, time::Duration};

use url::Url;

use crate::{
    runtime,
    server::{Bench, Message, Mode},
};

/// Those that say something of a message. Their names are one letter for the fuzzer.
const HEADERS: [(&str, &str); 6] = [
    ("v", "mcp-protocol-version"),
    ("m", "mcp-method"),
    ("n", "mcp-name"),
    ("s", "mcp-session-id"),
    ("c", "content-type"),
    ("a", "accept"),
];

/// An event stream has no end of its own. The clock stands still while there is work.
const PATIENCE: Duration = Duration::from_secs(1);

/// Judges one message.
pub fn mcp(bytes: &[u8]) {
    let Some(message) = message(bytes) else {
        return;
    };
    let bench = &*BENCH;
    runtime().block_on(async {
        let request = bench.request(message);
        if let Ok(answer) = tokio::time::timeout(PATIENCE, bench.ask(request)).await {
            assert!(answer.body.len() < 64 * 1024, "a long answer");
        }
    });
    for done in bench.take_done() {
        assert!(!is_guarded(&done), "done without a token: {done}");
    }
}

/// Whether the policy of [`crate::server::policy`] asks for a scope for it.
fn is_guarded(done: &str) -> bool {
    let (what, name) = done.split_once(' ').unwrap_or((done, ""));
    match what {
        "tool" => matches!(name, "read_file" | "delete_file"),
        "prompt" => name == "secret_prompt",
        "custom" | "notification" => name == "logging/setLevel",
        _ => name == "secret_prompt" || is_guarded_uri(name),
    }
}

/// As it is written, and as a reader of URLs takes it.
fn is_guarded_uri(uri: &str) -> bool {
    let is_guarded = |uri: &str| uri == "file:///secret" || uri.starts_with("file:///private/");
    is_guarded(uri) || Url::parse(uri).is_ok_and(|url| is_guarded(url.as_str()))
}

fn message(bytes: &[u8]) -> Option<Message> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\n\n").unwrap_or(("", text));
    let mut headers = Vec::new();
    for line in head.lines() {
        let (letter, value) = line.split_once(": ")?;
        let (_, name) = HEADERS.iter().find(|(short, _)| *short == letter)?;
        http::HeaderValue::from_bytes(value.as_bytes()).ok()?;
        headers.push((*name, value.to_owned()));
    }
    let body = body.as_bytes().to_vec();
    Some(Message { headers, body })
}

static BENCH: LazyLock<Bench> =
    LazyLock::new(|| runtime().block_on(Bench::new(Mode::StatelessJson)));
