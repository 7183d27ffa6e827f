//! Ways around a scope. Each is tried on a server with the layer and on one without it, in every mode,
//! by a caller whose token grants `files:read`; what it is after is never done.
//!
//! `cargo test --features full --test scopes attacks -- --nocapture` prints the table as it is seen.

use serde_json::{Value, json};
use tower_secrets::mcp::ScopesLayer;

use crate::server::{Bench, Message, Mode, body_2026, policy};

mod forms;
mod headers;

struct Attack {
    what: &'static str,
    message: Message,
    /// What comes back from a server with sessions, a stateless one, and one that answers with JSON.
    status: [u16; 3],
    /// Without the layer it would work, in these modes.
    works_bare: [bool; 3],
}

const EVERYWHERE: [bool; 3] = [true; 3];
const NOWHERE: [bool; 3] = [false; 3];
/// Of notifications: a stateless server handles none.
const IN_SESSIONS: [bool; 3] = [true, false, false];

/// What no call of this caller may do.
fn is_forbidden(done: &str) -> bool {
    let (kind, of) = done.split_once(' ').unwrap();
    match kind {
        "tool" => of == "delete_file",
        "custom" | "notification" => of == "tools/call",
        _ => of.contains("secret"),
    }
}

#[tokio::test]
async fn no_way_around_a_scope_leads_to_what_it_guards() {
    let mut wrong = Vec::new();
    println!("{:<66} | with the layer | worked without", "");
    for (at, mode) in Mode::ALL.into_iter().enumerate() {
        let (guarded, bare) = (Bench::new(mode).await, Bench::bare(mode).await);
        for attack in attacks() {
            let Attack {
                what,
                message,
                status,
                works_bare,
            } = attack;
            let answer = guarded.reader(message.clone()).await;
            let done = guarded.take_done();
            assert!(
                !done.iter().any(|done| is_forbidden(done)),
                "{mode:?} {what}: {done:?}"
            );
            bare.reader(message).await;
            // A notification is answered before it is handled.
            for _ in 0..64 {
                tokio::task::yield_now().await;
            }
            let worked = bare.take_done().iter().any(|done| is_forbidden(done));
            println!(
                "{what:<66} | {mode:?} {} | {worked}",
                answer.status.as_u16()
            );
            if (answer.status, worked) != (status[at].try_into().unwrap(), works_bare[at]) {
                let answer = (answer.status.as_u16(), answer.body);
                wrong.push(format!("{mode:?} {what}: {answer:?}, worked: {worked}"));
            }
        }
        // Nothing came later either.
        assert_eq!(guarded.take_done(), [""; 0]);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Where the body has no name that is a text, rmcp has nothing to hold the header against, and takes the
/// message for one of a method that it does not know. It reaches no tool, and the server's own
/// `on_custom_request` with a name that is none.
#[tokio::test]
async fn a_name_that_is_no_text_reaches_no_tool() {
    let body = body_2026("tools/call", json!({ "name": ["delete_file"] }));
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "time"),
    ];
    for mode in Mode::ALL {
        let message = Message::raw(&headers, body.clone());
        let bench = Bench::new(mode).await;
        bench.reader(message.clone()).await;
        assert_eq!(bench.take_done(), ["custom tools/call"], "{mode:?}");

        let scopes = ScopesLayer::new(policy()).unwrap().always_read_bodies();
        let bench = Bench::with(mode, Some(scopes)).await;
        assert_eq!(bench.reader(message).await.status, 400);
        assert_eq!(bench.take_done(), [""; 0], "{mode:?}");
    }
}

fn attacks() -> Vec<Attack> {
    let mut attacks = headers::by_headers();
    attacks.extend(headers::by_versions());
    attacks.extend(forms::by_form());
    attacks.extend(forms::by_name());
    attacks.extend(forms::by_other_methods());
    attacks
}

fn call(tool: &str) -> Value {
    json!({ "name": tool, "arguments": {} })
}
