//! What is let through, and what a caller is told who may not.

use std::convert::Infallible;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_secrets::mcp::{BytesOr, ScopesLayer};

use crate::server::{Bench, Message, Mode, policy};

type Bytes = bytes::Bytes;

fn call(tool: &str) -> Value {
    json!({ "name": tool, "arguments": {} })
}

fn both_wires(method: &str, name: Option<&str>, params: &Value) -> [Message; 2] {
    [
        Message::v2025(method, params.clone()),
        Message::v2026(method, name, params.clone()),
    ]
}

#[tokio::test]
async fn a_caller_does_what_its_scopes_allow_in_every_mode_and_version() {
    for mode in Mode::ALL {
        let bench = Bench::new(mode).await;
        for (scopes, tool, runs) in [
            ("", "time", true),
            ("", "read_file", false),
            ("files:read", "read_file", true),
            ("files:read", "delete_file", false),
            ("files:write", "delete_file", false),
            ("files:read files:write", "delete_file", true),
        ] {
            for message in both_wires("tools/call", Some(tool), &call(tool)) {
                let answer = bench.send(scopes, message).await;
                let status = if runs { 200 } else { 403 };
                assert_eq!(answer.status, status, "{mode:?} {scopes} {answer:?}");
                let expected = runs.then(|| format!("tool {tool}"));
                assert_eq!(
                    bench.take_done(),
                    Vec::from_iter(expected),
                    "{mode:?} {scopes}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_names_every_scope_and_the_request() {
    let bench = Bench::new(Mode::StatelessJson).await;
    let [by_body, by_headers] = both_wires("tools/call", Some("delete_file"), &call("delete_file"));
    for (message, id) in [(by_body, json!(7)), (by_headers, Value::Null)] {
        let answer = bench.reader(message).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        let challenge = answer.challenge();
        assert!(
            challenge.contains("error=\"insufficient_scope\""),
            "{challenge}"
        );
        assert!(
            challenge.contains("scope=\"files:read files:write\""),
            "{challenge}"
        );
        assert_eq!(answer.headers["content-type"], "application/json");
        let body = answer.json();
        assert_eq!(body["jsonrpc"], "2.0");
        assert_eq!(body.get("id"), Some(&id));
        assert_eq!(body["error"]["code"], -32600);
        assert!(body["error"]["message"].is_string());
    }
}

#[tokio::test]
async fn prompts_resources_subscriptions_and_completions_need_theirs() {
    let prompt = json!({ "type": "ref/prompt", "name": "secret_prompt" });
    let template = json!({ "type": "ref/resource", "uri": "file:///private/{name}" });
    let argument = json!({ "name": "a", "value": "" });
    let secret = json!({ "uri": "file:///secret" });
    let private = json!({ "uri": "file:///private/x" });
    let rows = [
        (
            "prompts/get",
            json!({ "name": "secret_prompt" }),
            "prompts:secret",
        ),
        ("resources/read", secret.clone(), "files:secret"),
        ("resources/read", private.clone(), "files:private"),
        ("resources/subscribe", secret.clone(), "files:secret"),
        ("resources/unsubscribe", private, "files:private"),
        ("resources/directory/read", secret.clone(), "files:secret"),
        ("skills/get", secret, "files:secret"),
        (
            "completion/complete",
            json!({ "ref": prompt, "argument": argument }),
            "prompts:secret",
        ),
        (
            "completion/complete",
            json!({ "ref": template, "argument": argument }),
            "files:private",
        ),
        (
            "subscriptions/listen",
            json!({ "notifications": { "resourceSubscriptions": ["file:///secret", "file:///private/x"] } }),
            "files:secret files:private",
        ),
        ("logging/setLevel", json!({ "level": "debug" }), "ops"),
    ];
    for mode in Mode::ALL {
        let bench = Bench::new(mode).await;
        let messages = rows.iter().flat_map(|(method, params, scopes)| {
            let name = params
                .get("name")
                .or(params.get("uri"))
                .and_then(Value::as_str);
            both_wires(method, name, params).map(|message| (method, message, scopes))
        });
        for (method, message, scopes) in messages.clone() {
            let refused = bench.reader(message).await;
            assert_eq!(refused.status, 403, "{mode:?} {method} {refused:?}");
            let expected = format!("scope=\"{scopes}\"");
            assert!(
                refused.challenge().contains(&expected),
                "{}",
                refused.challenge()
            );
        }
        assert_eq!(bench.take_done(), [""; 0], "{mode:?}");
        for (method, message, scopes) in messages {
            let allowed = bench.send(scopes, message).await;
            assert_ne!(allowed.status, 403, "{mode:?} {method} {allowed:?}");
        }
        // Wherever rmcp knows the method, it was done: what was refused above could have been.
        let done = bench.take_done();
        for what in [
            "prompt secret_prompt",
            "read file:///secret",
            "complete secret_prompt",
        ] {
            assert_eq!(
                done.iter().filter(|done| *done == what).count(),
                2,
                "{mode:?} {done:?}"
            );
        }
        for what in ["listen file:///secret", "listen file:///private/x"] {
            assert!(done.iter().any(|done| done == what), "{mode:?} {done:?}");
        }
    }
}

#[tokio::test]
async fn without_a_token_what_needs_a_scope_needs_one() {
    let bench = Bench::new(Mode::StatelessJson).await;
    for (tool, status) in [("time", 200), ("read_file", 401)] {
        for message in both_wires("tools/call", Some(tool), &call(tool)) {
            let request = bench.request(message);
            let answer = bench.ask(request).await;
            assert_eq!(answer.status, status, "{answer:?}");
            if status == 401 {
                assert_eq!(
                    answer.challenge(),
                    "Bearer realm=\"restricted\", scope=\"files:read\""
                );
                assert_eq!(answer.json()["error"]["code"], -32600);
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_listed_is_refused_without_a_challenge_where_the_policy_says_so() {
    let strict = ScopesLayer::new(policy().tool("time", []).deny_unlisted()).unwrap();
    let bench = Bench::with(Mode::StatelessJson, Some(strict)).await;
    for (method, name, params, status) in [
        ("tools/call", Some("time"), call("time"), 200),
        ("tools/call", Some("Time"), call("Time"), 403),
        ("tools/list", None, json!({}), 200),
        ("prompts/get", Some("p"), json!({ "name": "p" }), 403),
        ("vendor/do", None, json!({}), 403),
    ] {
        for message in both_wires(method, name, &params) {
            let answer = bench.reader(message).await;
            assert_eq!(answer.status, status, "{method} {answer:?}");
            assert!(!answer.headers.contains_key("www-authenticate"));
        }
    }
}

/// A service without any layer of tokens around it.
async fn without_caller(request: Request<Full<Bytes>>) -> Response<BytesOr<Full<Bytes>>> {
    let inner = service_fn(async |_: Request<BytesOr<Full<Bytes>>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let layer = ScopesLayer::new(policy()).unwrap();
    layer.layer(inner).oneshot(request).await.unwrap()
}

#[tokio::test]
async fn without_a_token_layer_the_answer_names_the_mend() {
    let response = without_caller(Request::post("/").body(Full::default()).unwrap()).await;
    assert_eq!(response.status(), 500);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.into()).unwrap();
    assert!(body.contains("JwtRotationLayer::new(keyring)"), "{body}");
    for method in [Method::GET, Method::DELETE, Method::OPTIONS] {
        let request = Request::builder()
            .method(method)
            .body(Full::default())
            .unwrap();
        assert_eq!(without_caller(request).await.status(), 200);
    }
}
