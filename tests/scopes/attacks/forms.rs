//! Bodies that may be read in more than one way, and names in other places.

use serde_json::{Value, json};

use super::{Attack, EVERYWHERE, IN_SESSIONS, NOWHERE, call};
use crate::server::Message;

fn old(what: &'static str, body: impl Into<Vec<u8>>, status: u16, works_bare: [bool; 3]) -> Attack {
    Attack {
        what,
        message: Message::raw(&[("mcp-protocol-version", "2025-11-25")], body),
        status: [status; 3],
        works_bare,
    }
}

/// A body whose form is read in more than one way, or should be.
pub(super) fn by_form() -> Vec<Attack> {
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
pub(super) fn by_name() -> Vec<Attack> {
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
pub(super) fn by_other_methods() -> Vec<Attack> {
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
    let skill = "file:///private/secret/SKILL.md";
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
            what: "a skill, by its URI",
            message: Message::v2025("skills/get", json!({ "uri": skill })),
            status: [403; 3],
            works_bare: EVERYWHERE,
        },
        Attack {
            what: "a skill, by its URI, on the newer wire",
            message: Message::v2026("skills/get", None, json!({ "uri": skill })),
            status: [403; 3],
            works_bare: EVERYWHERE,
        },
        Attack {
            what: "a skill, by another URI in a header of that name",
            message: Message::v2026(
                "skills/get",
                Some("file:///public"),
                json!({ "uri": skill }),
            ),
            status: [403; 3],
            works_bare: EVERYWHERE,
        },
        Attack {
            what: "reading, a way back behind a question mark",
            message: Message::v2025(
                "resources/read",
                json!({ "uri": "file:///public?/../secret" }),
            ),
            status: [403; 3],
            works_bare: EVERYWHERE,
        },
        Attack {
            what: "reading, a way back behind a number sign",
            message: Message::v2025(
                "resources/read",
                json!({ "uri": "file:///public#/../secret" }),
            ),
            status: [403; 3],
            works_bare: EVERYWHERE,
        },
        Attack {
            what: "reading, a way back between the two",
            message: Message::v2025(
                "resources/read",
                json!({ "uri": "file:///public?/../private/secret#/../x" }),
            ),
            status: [403; 3],
            works_bare: EVERYWHERE,
        },
        Attack {
            what: "reading, the folder where a host belongs",
            message: Message::v2025("resources/read", json!({ "uri": "file://private/secret" })),
            status: [403; 3],
            works_bare: EVERYWHERE,
        },
        Attack {
            what: "reading, a way back from the host",
            message: Message::v2025(
                "resources/read",
                json!({ "uri": "file://public/../private/secret" }),
            ),
            status: [403; 3],
            works_bare: EVERYWHERE,
        },
        Attack {
            what: "reading, on a host that is not looked at",
            message: Message::v2025(
                "resources/read",
                json!({ "uri": "file://x/private/secret" }),
            ),
            status: [403; 3],
            works_bare: EVERYWHERE,
        },
        Attack {
            what: "reading, on a host that is mapped to localhost",
            message: Message::v2025(
                "resources/read",
                json!({ "uri": "file://loC\u{1d400}\u{1d40b}host/private/secret" }),
            ),
            status: [403; 3],
            works_bare: EVERYWHERE,
        },
        Attack {
            what: "reading, a way back over a slash that is encoded",
            message: Message::v2025(
                "resources/read",
                json!({ "uri": "file:///x%2Fy/../private/secret" }),
            ),
            status: [403; 3],
            works_bare: EVERYWHERE,
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
