//! Ways around a scope. Each is tried on a server with the layer and on one without it, in every mode,
//! by a caller whose token grants `files:read`; what it is after is never done.
//!
//! `cargo test --features full --test scopes attacks -- --nocapture` prints the table as it is seen.

use serde_json::{Value, json};

use crate::server::{Bench, Message, Mode, body_2026};

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

fn attacks() -> Vec<Attack> {
    let mut attacks = by_headers();
    attacks.extend(by_versions());
    attacks.extend(by_form());
    attacks.extend(by_name());
    attacks.extend(by_other_methods());
    attacks
}

fn call(tool: &str) -> Value {
    json!({ "name": tool, "arguments": {} })
}

/// A call of `delete_file` on the 2026 wire, whatever the headers say.
fn lie(what: &'static str, headers: &[(&'static str, &str)], status: [u16; 3]) -> Attack {
    let mut all = vec![("mcp-protocol-version", "2026-07-28")];
    all.extend_from_slice(headers);
    Attack {
        what,
        message: Message::raw(&all, body_2026("tools/call", call("delete_file"))),
        status,
        works_bare: NOWHERE,
    }
}

fn by_headers() -> Vec<Attack> {
    let method = ("mcp-method", "tools/call");
    let real = ("mcp-name", "delete_file");
    let encoded = ("mcp-name", "=?base64?ZGVsZXRlX2ZpbGU=?=");
    let free = ("mcp-name", "time");
    let works = |attack: Attack| Attack {
        works_bare: EVERYWHERE,
        ..attack
    };
    vec![
        works(lie("2026: the call as it is", &[method, real], [403; 3])),
        works(lie(
            "2026: its name in Base64",
            &[method, encoded],
            [403; 3],
        )),
        lie("2026: headers name a free tool", &[method, free], [400; 3]),
        lie(
            "2026: headers name a free tool in Base64",
            &[method, ("mcp-name", "=?base64?dGltZQ==?=")],
            [400; 3],
        ),
        lie(
            "2026: Base64 without its padding",
            &[method, ("mcp-name", "=?base64?ZGVsZXRlX2ZpbGU?=")],
            [403; 3],
        ),
        lie(
            "2026: Base64 in the other case",
            &[method, ("mcp-name", "=?BASE64?ZGVsZXRlX2ZpbGU=?=")],
            [400; 3],
        ),
        lie(
            "2026: the name in the other case",
            &[method, ("mcp-name", "Delete_File")],
            [400; 3],
        ),
        lie("2026: an empty name", &[method, ("mcp-name", "")], [400; 3]),
        lie("2026: no name", &[method], [403; 3]),
        lie(
            "2026: two names, free first",
            &[method, free, real],
            [403; 3],
        ),
        lie(
            "2026: two names, free last",
            &[method, real, free],
            [403; 3],
        ),
        lie("2026: no headers", &[], [403; 3]),
        lie("2026: no method", &[real], [403; 3]),
        lie(
            "2026: the method of a list",
            &[("mcp-method", "tools/list")],
            [400; 3],
        ),
        lie(
            "2026: the method of a handshake",
            &[("mcp-method", "initialize")],
            [400; 3],
        ),
        lie(
            "2026: the method of a discovery",
            &[("mcp-method", "server/discover")],
            [400; 3],
        ),
        lie(
            "2026: the method of a notification",
            &[("mcp-method", "notifications/cancelled")],
            [400; 3],
        ),
        lie(
            "2026: the method in the other case",
            &[("mcp-method", "Tools/Call"), free],
            [400; 3],
        ),
        lie(
            "2026: the method with a space behind",
            &[("mcp-method", "tools/call "), free],
            [400; 3],
        ),
        lie(
            "2026: two methods, free first",
            &[("mcp-method", "tools/list"), method, real],
            [403; 3],
        ),
        lie(
            "2026: two methods, free last",
            &[method, real, ("mcp-method", "tools/list")],
            [403; 3],
        ),
        lie(
            "2026: a method that is no text",
            &[("mcp-method", "\u{e9}"), free],
            [403; 3],
        ),
        lie(
            "2026: a name that is no text",
            &[method, ("mcp-name", "\u{e9}")],
            [403; 3],
        ),
        Attack {
            what: "2026: headers of a free tool, a batch for a body",
            message: {
                let batch = format!("[{}]", body_2026("tools/call", call("delete_file")));
                let version = ("mcp-protocol-version", "2026-07-28");
                Message::raw(&[version, method, free], batch)
            },
            status: [415; 3],
            works_bare: NOWHERE,
        },
        Attack {
            what: "2026: headers of a list, a notification for a body",
            message: {
                let body = json!({ "jsonrpc": "2.0", "method": "tools/call", "params": call("delete_file") });
                let version = ("mcp-protocol-version", "2026-07-28");
                Message::raw(&[version, ("mcp-method", "tools/list")], body.to_string())
            },
            status: [400; 3],
            works_bare: NOWHERE,
        },
    ]
}

/// What the version says and what the rest says are two things.
fn by_versions() -> Vec<Attack> {
    let list = ("mcp-method", "tools/list");
    let legacy =
        json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": call("delete_file") });
    let legacy = legacy.to_string();
    let modern = body_2026("tools/call", call("delete_file"));
    let old_meta = modern.replace("2026-07-28", "2025-11-25");
    let attack = |what, versions: &[&str], body: &str, status, works_bare| {
        let versions = versions
            .iter()
            .map(|version| ("mcp-protocol-version", *version));
        let headers: Vec<_> = versions.chain([list]).collect();
        Attack {
            what,
            message: Message::raw(&headers, body),
            status,
            works_bare,
        }
    };
    vec![
        attack(
            "no version, headers of a list",
            &[],
            &legacy,
            [403; 3],
            EVERYWHERE,
        ),
        attack(
            "no version, headers of a list, a body of 2026",
            &[],
            &modern,
            [403; 3],
            NOWHERE,
        ),
        attack(
            "2025-11-25, headers of a list",
            &["2025-11-25"],
            &legacy,
            [403; 3],
            EVERYWHERE,
        ),
        attack(
            "2025-11-25, headers of a list, a body of 2026",
            &["2025-11-25"],
            &modern,
            [403; 3],
            NOWHERE,
        ),
        attack(
            "2025-11-25 in headers and `_meta`, headers of a list",
            &["2025-11-25"],
            &old_meta,
            [403; 3],
            EVERYWHERE,
        ),
        attack(
            "2024-11-05, headers of a list",
            &["2024-11-05"],
            &legacy,
            [403; 3],
            EVERYWHERE,
        ),
        attack(
            "2026-07-28, headers of a list, no `_meta`",
            &["2026-07-28"],
            &legacy,
            [400; 3],
            NOWHERE,
        ),
        attack(
            "2026-07-28, headers of a list, `_meta` of 2025",
            &["2026-07-28"],
            &old_meta,
            [400; 3],
            NOWHERE,
        ),
        attack(
            "two versions, 2026 first",
            &["2026-07-28", "2025-11-25"],
            &legacy,
            [403; 3],
            NOWHERE,
        ),
        attack(
            "two versions, 2025 first",
            &["2025-11-25", "2026-07-28"],
            &legacy,
            [403; 3],
            EVERYWHERE,
        ),
        attack(
            "twice the same version",
            &["2026-07-28", "2026-07-28"],
            &modern,
            [403; 3],
            NOWHERE,
        ),
        attack(
            "a version to come",
            &["2027-01-01"],
            &legacy,
            [403; 3],
            NOWHERE,
        ),
        attack(
            "a version with a space",
            &["2026-07-28 "],
            &legacy,
            [403; 3],
            NOWHERE,
        ),
        attack(
            "a version with more to it",
            &["2026-07-28;q=1"],
            &legacy,
            [403; 3],
            NOWHERE,
        ),
        attack(
            "a version that is too short",
            &["2026-07-2"],
            &legacy,
            [403; 3],
            NOWHERE,
        ),
        attack(
            "a version that is no text",
            &["\u{e9}"],
            &legacy,
            [403; 3],
            NOWHERE,
        ),
        attack("an empty version", &[""], &legacy, [403; 3], NOWHERE),
    ]
}

fn old(what: &'static str, body: impl Into<Vec<u8>>, status: u16, works_bare: [bool; 3]) -> Attack {
    Attack {
        what,
        message: Message::raw(&[("mcp-protocol-version", "2025-11-25")], body),
        status: [status; 3],
        works_bare,
    }
}

/// A body whose form is read in more than one way, or should be.
fn by_form() -> Vec<Attack> {
    let delete =
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"delete_file"}}"#;
    let time = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"time"}}"#;
    let with = |from: &str, to: &str| delete.replace(from, to);
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let long = " ".repeat(4 * 1024 * 1024);
    let mut not_utf8 = with(r#""id":7"#, r#""id":7,"x":"?""#).into_bytes();
    let at = not_utf8.iter().position(|c| *c == b'?').unwrap();
    not_utf8[at] = 0xff;
    let utf16: Vec<u8> = delete.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let mut zipped = old(
        "a content coding that is not there",
        delete,
        403,
        EVERYWHERE,
    );
    zipped
        .message
        .headers
        .push(("content-encoding", "gzip".into()));
    let mut overridden = old("a method override", delete, 403, EVERYWHERE);
    overridden
        .message
        .headers
        .push(("x-http-method-override", "GET".into()));
    vec![
        old("the call as it is", delete, 403, EVERYWHERE),
        zipped,
        overridden,
        old(
            "escaped member names",
            with("\"method\"", r#""\u006dethod""#).replace("\"name\"", r#""n\u0061me""#),
            403,
            EVERYWHERE,
        ),
        old(
            "an escaped method",
            with("tools/call", r"tools\/c\u0061ll"),
            403,
            EVERYWHERE,
        ),
        old(
            "an escaped name",
            with("delete_file", r"\u0064elete\u005ffile"),
            403,
            EVERYWHERE,
        ),
        old(
            "two methods, the list first",
            with("\"method\"", r#""method":"tools/list","method""#),
            400,
            NOWHERE,
        ),
        old(
            "two methods, the list last",
            with("}}", r#"},"method":"tools/list"}"#),
            400,
            NOWHERE,
        ),
        old(
            "two methods, one escaped",
            with("\"method\"", r#""\u006dethod":"tools/list","method""#),
            400,
            NOWHERE,
        ),
        old(
            "two params, the free first",
            with("\"params\"", r#""params":{"name":"time"},"params""#),
            400,
            NOWHERE,
        ),
        old(
            "two params, the free last",
            with("}}", r#"},"params":{"name":"time"}}"#),
            400,
            NOWHERE,
        ),
        old(
            "two names, the free first",
            with("\"name\"", r#""name":"time","name""#),
            400,
            EVERYWHERE,
        ),
        old(
            "two names, the free last",
            with("}}", r#","name":"time"}}"#),
            400,
            EVERYWHERE,
        ),
        old(
            "two names, one escaped",
            with("\"name\"", r#""\u006eame":"time","name""#),
            400,
            EVERYWHERE,
        ),
        old(
            "two ids",
            with("\"id\":7", r#""id":7,"id":8"#),
            400,
            NOWHERE,
        ),
        old(
            "a member name in the other case",
            with("\"method\"", r#""method":"ping","Method""#),
            200,
            NOWHERE,
        ),
        old(
            "params as an array",
            with(r#"{"name":"delete_file"}"#, r#"["delete_file",{}]"#),
            400,
            NOWHERE,
        ),
        old(
            "a message as an array",
            r#"["2.0",7,"tools/call",{"name":"delete_file"}]"#,
            400,
            NOWHERE,
        ),
        old(
            "a name that is no text",
            with("\"delete_file\"", r#"["delete_file"]"#),
            400,
            EVERYWHERE,
        ),
        old(
            "no params",
            with(r#","params":{"name":"delete_file"}"#, ""),
            400,
            EVERYWHERE,
        ),
        old("a batch", format!("[{time},{delete}]"), 403, NOWHERE),
        old("a batch of one", format!("[{delete}]"), 403, NOWHERE),
        old("a batch in a batch", format!("[[{delete}]]"), 400, NOWHERE),
        old("an empty batch", "[]", 400, NOWHERE),
        old(
            "a batch with a number",
            format!("[1,{delete}]"),
            400,
            NOWHERE,
        ),
        old(
            "something behind the message",
            format!("{time}{delete}"),
            400,
            NOWHERE,
        ),
        old(
            "lines of messages",
            format!("{time}\n{delete}"),
            400,
            NOWHERE,
        ),
        old(
            "white space around",
            format!("\r\n\t {delete} \n"),
            403,
            EVERYWHERE,
        ),
        old("other space before", format!("\u{c}{delete}"), 400, NOWHERE),
        old(
            "a byte order mark",
            format!("\u{feff}{delete}"),
            400,
            NOWHERE,
        ),
        old("UTF-16", utf16, 400, NOWHERE),
        old("octets that are not UTF-8", not_utf8, 403, NOWHERE),
        old(
            "arguments nested deeply",
            with(
                "}}",
                &format!(r#","arguments":{{"x":{}}}}}}}"#, nested(100)),
            ),
            403,
            EVERYWHERE,
        ),
        old(
            "arguments nested too deeply",
            with(
                "}}",
                &format!(r#","arguments":{{"x":{}}}}}}}"#, nested(100_000)),
            ),
            403,
            NOWHERE,
        ),
        old(
            "a call with a result",
            with("}}", r#"},"result":{}}"#),
            403,
            NOWHERE,
        ),
        old("an id of null", with("7", "null"), 403, NOWHERE),
        old("no id", with(r#""id":7,"#, ""), 403, IN_SESSIONS),
        old(
            "a comment",
            with("{\"jsonrpc", "/**/{\"jsonrpc"),
            400,
            NOWHERE,
        ),
        old(
            "more than 4 MiB",
            delete.replacen('{', &format!("{{{long}"), 1),
            413,
            NOWHERE,
        ),
        old("nothing", "", 400, NOWHERE),
    ]
}

/// Names that somebody could take for the guarded one. rmcp does not, and looks them up in vain.
fn by_name() -> Vec<Attack> {
    let named = |what, name: &str, works_bare| Attack {
        what,
        message: Message::v2025("tools/call", call(name)),
        status: [200; 3],
        works_bare,
    };
    vec![
        named("a name with a space behind", "delete_file ", NOWHERE),
        named("a name with a space before", " delete_file", NOWHERE),
        named("a name with a NUL behind", "delete_file\0", NOWHERE),
        named("a name in the other case", "DELETE_FILE", NOWHERE),
        named("a name in full width (NFKC)", "\u{ff44}elete_file", NOWHERE),
        named("a name with a joiner", "delete\u{200d}_file", NOWHERE),
        named("a name with a namespace", "x/delete_file", NOWHERE),
        Attack {
            what: "the name of another, with this one in its arguments",
            message: Message::v2025(
                "tools/call",
                json!({ "name": "nothing", "arguments": { "name": "delete_file" } }),
            ),
            status: [200; 3],
            works_bare: NOWHERE,
        },
    ]
}

/// Prompts and resources, where their names stand elsewhere.
fn by_other_methods() -> Vec<Attack> {
    let argument = json!({ "name": "a", "value": "" });
    let complete = |what, reference: Value, status, works_bare| Attack {
        what,
        message: Message::v2025(
            "completion/complete",
            json!({ "ref": reference, "argument": argument }),
        ),
        status: [status; 3],
        works_bare,
    };
    let listen = |what, notifications: Value, status: u16, works_bare| Attack {
        what,
        message: Message::v2026(
            "subscriptions/listen",
            None,
            json!({ "notifications": notifications }),
        ),
        status: [status; 3],
        works_bare,
    };
    let secret = "file:///secret";
    vec![
        complete(
            "completing a prompt",
            json!({ "type": "ref/prompt", "name": "secret_prompt" }),
            403,
            EVERYWHERE,
        ),
        complete(
            "completing, the reference an array",
            json!(["ref/prompt", "secret_prompt"]),
            400,
            NOWHERE,
        ),
        complete(
            "completing, the reference of two kinds",
            json!({ "type": "ref/resource", "uri": "x", "name": "secret_prompt" }),
            200,
            NOWHERE,
        ),
        complete(
            "completing, the reference of no kind",
            json!({ "name": "secret_prompt" }),
            400,
            NOWHERE,
        ),
        listen(
            "listening to a resource",
            json!({ "resourceSubscriptions": ["x", secret] }),
            403,
            EVERYWHERE,
        ),
        listen(
            "listening, the filter an array",
            json!([true, true, true, [secret]]),
            400,
            EVERYWHERE,
        ),
        listen(
            "listening, the resources no array",
            json!({ "resourceSubscriptions": secret }),
            400,
            NOWHERE,
        ),
        Attack {
            what: "reading, with the headers of another resource",
            message: Message::v2026(
                "resources/read",
                Some("file:///public"),
                json!({ "uri": secret }),
            ),
            status: [400; 3],
            works_bare: NOWHERE,
        },
        Attack {
            what: "reading, by another spelling of the URI",
            message: Message::v2026(
                "resources/read",
                Some("file:///public/%2e./secret"),
                json!({ "uri": "file:///public/%2e./secret" }),
            ),
            status: [403; 3],
            works_bare: EVERYWHERE,
        },
    ]
}
