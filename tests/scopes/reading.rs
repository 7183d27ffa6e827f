//! Whatever a body looks like: where rmcp reads a name out of it, the layer has read the same one.

use std::convert::Infallible;

use bytes::Bytes;
use futures::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, JsonRpcMessage, Reference};
use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};
use tower_secrets::{
    JwtRotationLayer,
    mcp::{BytesOr, ScopePolicy, ScopesLayer},
};

use crate::server::keyring;

/// What rmcp would hand to a server's methods: the names that a policy may guard, each with its kind.
fn named_by_rmcp(body: &[u8]) -> Vec<(&'static str, String)> {
    let Ok(JsonRpcMessage::Request(message)) = serde_json::from_slice::<ClientJsonRpcMessage>(body)
    else {
        return Vec::new();
    };
    match message.request {
        ClientRequest::CallToolRequest(call) => vec![("tool", call.params.name.into_owned())],
        ClientRequest::GetPromptRequest(get) => vec![("prompt", get.params.name)],
        ClientRequest::ReadResourceRequest(read) => vec![("resource", read.params.uri)],
        ClientRequest::SubscribeRequest(it) => vec![("resource", it.params.uri)],
        ClientRequest::UnsubscribeRequest(it) => vec![("resource", it.params.uri)],
        ClientRequest::ReadResourceDirectoryRequest(it) => vec![("resource", it.params.uri)],
        ClientRequest::CompleteRequest(complete) => match complete.params.r#ref {
            Reference::Prompt(prompt) => vec![("prompt", prompt.name)],
            Reference::Resource(template) => vec![("resource", template.uri)],
            _ => Vec::new(),
        },
        ClientRequest::SubscriptionsListenRequest(listen) => {
            let uris = listen.params.notifications.resource_subscriptions;
            uris.into_iter()
                .flatten()
                .map(|uri| ("resource", uri))
                .collect()
        }
        // A guarded method whose message is not as it should be goes to the server's own code.
        ClientRequest::CustomRequest(custom) => {
            named_in(&custom.method, &custom.params.unwrap_or_default())
        }
        _ => Vec::new(),
    }
}

/// What somebody would take for the names, who finds the parameters as rmcp leaves them.
fn named_in(method: &str, params: &Value) -> Vec<(&'static str, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("what is no text").to_owned();
    match method {
        "tools/call" => vec![("tool", text(&params["name"]))],
        "prompts/get" => vec![("prompt", text(&params["name"]))],
        "completion/complete" => match params["ref"]["type"].as_str() {
            Some("ref/resource") => vec![("resource", text(&params["ref"]["uri"]))],
            _ => vec![("prompt", text(&params["ref"]["name"]))],
        },
        "subscriptions/listen" => {
            let uris = &params["notifications"]["resourceSubscriptions"];
            let uris = uris.as_array().into_iter().flatten();
            uris.map(|uri| ("resource", text(uri))).collect()
        }
        method if GUARDED.contains(&method) => vec![("resource", text(&params["uri"]))],
        _ => Vec::new(),
    }
}

const GUARDED: [&str; 8] = [
    "tools/call",
    "prompts/get",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "resources/directory/read",
    "completion/complete",
    "subscriptions/listen",
];

/// Whether a body gets through to a server of which the caller may have `free:tool`, `free:prompt` and
/// `free:resource`, and nothing else that has a name.
fn gets_through(body: &[u8]) -> bool {
    let policy = ScopePolicy::new()
        .tool("free:tool", [])
        .prompt("free:prompt", [])
        .resource("free:resource", [])
        .other_tools(["none"])
        .other_prompts(["none"])
        .other_resources(["none"]);
    let expected = Bytes::copy_from_slice(body);
    let inner = service_fn(move |request: Request<BytesOr<Full<Bytes>>>| {
        let expected = expected.clone();
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, expected);
            Ok::<_, Infallible>(Response::<Full<Bytes>>::default())
        }
    });
    let service = ScopesLayer::new(policy).unwrap().layer(inner);
    let service = JwtRotationLayer::new(keyring())
        .allow_anonymous()
        .respond_with(|_: &_| unreachable!())
        .layer(service);
    let request = Request::post("/").body(Full::from(body.to_vec())).unwrap();
    let response = service.oneshot(request).now_or_never().unwrap().unwrap();
    response.status() == 200
}

fn check(body: &[u8]) -> Result<(), TestCaseError> {
    if gets_through(body) {
        for (kind, name) in named_by_rmcp(body) {
            prop_assert_eq!(
                name,
                format!("free:{}", kind),
                "{}",
                String::from_utf8_lossy(body)
            );
        }
    }
    Ok(())
}

/// Text as JSON has it, with some of it escaped.
fn text() -> impl Strategy<Value = String> {
    let words = GUARDED.iter().copied().chain([
        "method",
        "params",
        "id",
        "jsonrpc",
        "name",
        "uri",
        "ref",
        "type",
        "notifications",
        "resourceSubscriptions",
        "argument",
        "arguments",
        "value",
        "_meta",
        "result",
        "error",
        "2.0",
        "ref/prompt",
        "ref/resource",
        "free:tool",
        "free:prompt",
        "free:resource",
        "other",
        "tools/list",
    ]);
    let words: Vec<_> = words.collect();
    (
        proptest::sample::select(words),
        proptest::option::weighted(0.2, 0_usize..24),
    )
        .prop_map(|(word, escaped)| match escaped {
            Some(at) if at < word.len() => {
                let code = u32::from(word.as_bytes()[at]);
                format!("\"{}\\u{code:04x}{}\"", &word[..at], &word[at + 1..])
            }
            _ => format!("\"{word}\""),
        })
}

fn any_value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![4 => text(), 1 => Just("7".into()), 1 => Just("null".into()), 1 => Just("true".into())];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec((text(), inner), 0..5).prop_map(object),
        ]
    })
}

fn object(members: Vec<(String, String)>) -> String {
    let members: Vec<_> = members
        .iter()
        .map(|(name, value)| format!("{name}:{value}"))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// Something near a message: the members that it should have, of which some are spoilt, some are there
/// twice, in any order.
fn message() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("\"free:tool\"".to_owned()),
        Just("\"free:prompt\"".to_owned()),
        Just("\"free:resource\"".to_owned()),
        Just("\"other\"".to_owned()),
        text(),
        any_value(),
    ];
    let method = prop_oneof![
        8 => proptest::sample::select(&GUARDED[..]).prop_map(|method| format!("\"{method}\"")),
        1 => text(),
    ];
    (
        method,
        name,
        any_value(),
        proptest::collection::vec((text(), any_value()), 0..2),
        any::<u8>(),
    )
        .prop_flat_map(|(method, name, other, more, spoil)| {
            let member = |name: &str, value: String| (format!("\"{name}\""), value);
            let mut params = vec![
                member("name", name.clone()),
                member("uri", name.clone()),
                member(
                    "ref",
                    match spoil % 4 {
                        0 => format!("[\"ref/prompt\",{name}]"),
                        1 => format!("{{\"type\":\"ref/prompt\",\"name\":{name}}}"),
                        2 => {
                            format!("{{\"name\":{name},\"uri\":{name},\"type\":\"ref/resource\"}}")
                        }
                        _ => other.clone(),
                    },
                ),
                member(
                    "notifications",
                    match spoil % 3 {
                        0 => format!("[true,true,true,[{name}]]"),
                        1 => format!("{{\"resourceSubscriptions\":[{name}]}}"),
                        _ => other,
                    },
                ),
                member("argument", "{\"name\":\"a\",\"value\":\"\"}".to_owned()),
            ];
            if spoil >= 128 {
                params.extend(more.clone());
            }
            Just(params).prop_shuffle().prop_flat_map(move |params| {
                let params = match spoil % 16 {
                    0 => format!("[{name}]"),
                    _ => object(params),
                };
                let mut members = vec![
                    member("jsonrpc", "\"2.0\"".to_owned()),
                    member("id", "7".to_owned()),
                    member("method", method.clone()),
                    member("params", params),
                ];
                if spoil % 2 == 0 {
                    members.extend(more.clone());
                }
                Just(members).prop_shuffle().prop_map(object)
            })
        })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4 * ProptestConfig::default().cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_message_near_enough(body in message()) {
        check(body.as_bytes())?;
    }

    #[test]
    fn a_message_with_octets_changed(
        body in message(),
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
    ) {
        let mut body = body.into_bytes();
        for (at, octet) in changes {
            let at = at % body.len();
            body[at] = octet;
        }
        check(&body)?;
    }

    #[test]
    fn any_json(body in any_value()) {
        check(body.as_bytes())?;
    }
}

/// The properties above would hold for a layer that lets nothing through, and for messages that rmcp never
/// understands. They are about others.
#[test]
fn the_messages_are_worth_it() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};

    let mut runner = TestRunner::deterministic();
    let mut counts = [[0_u32; 2]; 2];
    for _ in 0..2_000 {
        let body = message().new_tree(&mut runner).unwrap().current();
        let through = gets_through(body.as_bytes());
        let is_named = !named_by_rmcp(body.as_bytes()).is_empty();
        counts[usize::from(through)][usize::from(is_named)] += 1;
    }
    let [[_, refused], [_, through]] = counts;
    println!(
        "of 2000 messages rmcp read a name in {refused} that were refused, {through} that were not"
    );
    assert!(refused > 100 && through > 50, "{counts:?}");
}
