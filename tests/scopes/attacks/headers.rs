//! Headers that say something else than the body.

use serde_json::json;

use super::{Attack, EVERYWHERE, NOWHERE, call};
use crate::server::{Message, body_2026};

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

/// A subscription on the 2026 wire, which has that no more.
fn removed(what: &'static str, more: &[(&'static str, &str)]) -> Attack {
    let mut all = vec![
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "resources/subscribe"),
    ];
    all.extend_from_slice(more);
    let params = json!({ "uri": "file:///secret" });
    Attack {
        what,
        message: Message::raw(&all, body_2026("resources/subscribe", params)),
        status: [400; 3],
        works_bare: NOWHERE,
    }
}

pub(super) fn by_headers() -> Vec<Attack> {
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
        removed("2026: a method that is no more", &[]),
        removed("2026: the same, with names", &[free, real]),
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
pub(super) fn by_versions() -> Vec<Attack> {
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
