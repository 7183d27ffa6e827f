//! What a stranger gets of another user's session, by every way into it.

use http::Method;
use serde_json::{Value, json};
use tower_secrets::{mcp::RequestStates, source::Memory};

use crate::{
    server,
    world::{
        ALICE, Answer, BOB, Caller, Hands, ISSUER, LEGACY, MODERN, Replica, User, bundle, call,
        initialize, keyring, modern, modern_call, sessions,
    },
};

const NOBODY: &str = "a token that names nobody";

/// The id of the call that is open.
const ASK: u32 = 8;

/// A user beside Alice, and what sets them apart.
const STRANGERS: [(&str, User); 7] = [
    ("another user", BOB),
    (
        "the same name at another issuer",
        User(Some("https://other.example"), ALICE.1, ALICE.2),
    ),
    ("the same name at no issuer", User(None, ALICE.1, ALICE.2)),
    (
        "another client of hers",
        User(Some(ISSUER), ALICE.1, Some("other")),
    ),
    ("no client", User(Some(ISSUER), ALICE.1, None)),
    (NOBODY, User(Some(ISSUER), None, None)),
    ("no token", User(None, None, None)),
];

/// What Alice has, all of it known to the stranger.
struct Alice {
    session: String,
    /// An event of an answer in her session, and one of a stream without a session.
    event: String,
    /// What the server has asked her, in an answer that is open still.
    question: Value,
    answer: Answer,
    state: String,
}

impl Alice {
    async fn new(alice: &Caller) -> Self {
        let session = alice.open().await;
        let mut ask = call("ask");
        ask["id"] = json!(ASK);
        let mut answer = alice.post(&session, &ask).await;
        let asked = answer
            .message(|it| it["method"] == "elicitation/create")
            .await;
        let first = alice.round(None).await;
        Self {
            session,
            event: answer.last_event.clone().unwrap(),
            question: asked["id"].clone(),
            answer,
            state: first["result"]["requestState"].as_str().unwrap().to_owned(),
        }
    }

    fn reply(&self) -> Value {
        let result = json!({ "action": "accept", "content": { "one": "the first" } });
        json!({ "jsonrpc": "2.0", "id": self.question, "result": result })
    }
}

/// A way into a session.
struct Attempt {
    what: &'static str,
    method: Method,
    headers: Vec<(&'static str, String)>,
    body: Option<Value>,
}

/// Every way into a session, the one that ends it last. `own` is a session of whoever tries, where it can
/// open one.
fn attempts(alice: &Alice, own: Option<&str>) -> Vec<Attempt> {
    const SESSION: &str = "mcp-session-id";
    let raw = alice.session.split('.').next().unwrap();
    let (hers, raw) = ((SESSION, alice.session.clone()), (SESSION, raw.to_owned()));
    let event = ("last-event-id", alice.event.clone());
    let legacy = ("mcp-protocol-version", LEGACY.to_owned());
    let modern = ("mcp-protocol-version", MODERN.to_owned());
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/roots/list_changed" });
    let attempt =
        |what, method, headers: &[&(&'static str, String)], body: Option<Value>| Attempt {
            what,
            method,
            headers: headers.iter().map(|it| (*it).clone()).collect(),
            body,
        };
    let post = |what, headers: &[&_], body: Value| attempt(what, Method::POST, headers, Some(body));
    let get = |what, headers: &[&_]| attempt(what, Method::GET, headers, None);
    let delete = |what, headers: &[&_]| attempt(what, Method::DELETE, headers, None);
    let mut all = vec![
        post("POST a call", &[&hers, &legacy], call("whoami")),
        post("POST a call, no version", &[&hers], call("whoami")),
        post("POST a notification", &[&hers, &legacy], note),
        get("GET the stream", &[&hers, &legacy]),
        get("GET, resumed", &[&hers, &legacy, &event]),
        get("GET, resumed in no session", &[&modern, &event]),
        post(
            "POST the answer to a question",
            &[&hers, &legacy],
            alice.reply(),
        ),
    ];
    if let Some(own) = own {
        let own = (SESSION, own.to_owned());
        all.push(get(
            "GET, her event in one's own session",
            &[&own, &legacy, &event],
        ));
        all.push(post(
            "POST, one's own session and hers",
            &[&own, &hers, &legacy],
            call("whoami"),
        ));
    }
    all.push(post(
        "POST, the id without its binding",
        &[&raw, &legacy],
        call("whoami"),
    ));
    all.push(delete(
        "DELETE, the id without its binding",
        &[&raw, &legacy],
    ));
    all.push(delete("DELETE", &[&hers, &legacy]));
    all
}

impl Attempt {
    /// The status that comes of it.
    async fn by(&self, who: &str, caller: &Caller) -> u16 {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, it)| (*name, it.as_str()))
            .collect();
        let answer = caller
            .send(self.method.clone(), &headers, self.body.as_ref())
            .await;
        println!("{who:32} {:38} {}", self.what, answer.status.as_u16());
        answer.status.as_u16()
    }
}

async fn replica() -> Replica {
    let source = Memory::new(bundle("1", "1"));
    Replica::sharing(&keyring(source.clone(), &Hands::new()).await, &sessions())
}

#[tokio::test]
async fn a_stranger_gets_nothing_and_the_user_everything() {
    let replica = replica().await;
    let mut alice = Alice::new(&replica.alice()).await;
    for (who, user) in STRANGERS {
        let stranger = replica.user(user);
        let is_somebody = who != NOBODY;
        let own = if is_somebody {
            Some(stranger.open().await)
        } else {
            None
        };
        for attempt in attempts(&alice, own.as_deref()) {
            assert_eq!(
                attempt.by(who, &stranger).await,
                404,
                "{who}: {}",
                attempt.what
            );
        }
        // The state is refused by the tool, in words that are the same for all.
        let answer = stranger.round(Some(&alice.state)).await;
        let error = answer["error"]["code"].as_i64().unwrap();
        println!("{who:32} {:38} 200, error {error}", "her requestState");
        assert_eq!(
            error,
            if is_somebody { -32602 } else { -32600 },
            "{who}: {answer}"
        );
    }

    // Nothing of it has harmed the session: she goes on, with another token each time.
    let second = replica.alice().round(Some(&alice.state)).await;
    let state = second["result"]["requestState"].as_str().unwrap();
    let third = replica.alice().round(Some(state)).await;
    assert_eq!(third["result"]["content"][0]["text"], "after 2 rounds");
    let mut attempts = attempts(&alice, None);
    let delete = attempts.pop().unwrap();
    let mut seen = Vec::new();
    for attempt in &attempts {
        seen.push(
            attempt
                .by("herself, her token renewed", &replica.alice())
                .await,
        );
    }
    assert_eq!(seen, [200, 200, 202, 200, 200, 200, 202, 404, 404]);
    let result = alice.answer.message(|it| it["id"] == ASK).await;
    let text = &result["result"]["content"][0]["text"];
    assert_eq!(text, r#"{"one":"the first"}"#);
    assert_eq!(
        delete
            .by("herself, her token renewed", &replica.alice())
            .await,
        202
    );
    assert_eq!(
        replica.alice().whoami(&alice.session).await.unwrap_err(),
        404
    );
}

/// What the table above is worth: rmcp alone lets everybody in.
#[tokio::test]
async fn without_the_layer_the_same_stranger_gets_all_of_it() {
    let keyring = keyring(Memory::new(bundle("1", "1")), &Hands::new()).await;
    let states = RequestStates::of_process();
    let bare = Replica::around(&keyring, server::service(&sessions(), states));
    let alice = Alice::new(&bare.alice()).await;
    let bob = bare.user(BOB);
    let own = bob.open().await;
    let mut seen = Vec::new();
    for attempt in attempts(&alice, Some(&own)) {
        seen.push(attempt.by("another user, without the layer", &bob).await);
    }
    // Of two ids rmcp goes by the first. After the first DELETE there is no session, and the second is
    // accepted all the same.
    assert_eq!(
        seen,
        [200, 200, 202, 200, 200, 200, 202, 200, 200, 200, 202, 202]
    );
}

#[tokio::test]
async fn events_that_a_client_missed_are_replayed_to_it_alone() {
    let replica = replica().await;
    let alice = replica.alice();
    let session = alice.open().await;
    let mut answer = alice.post(&session, &call("whoami")).await;
    answer.event().await;
    let event = answer.last_event.clone().unwrap();
    answer.message(|it| it["id"] == 7).await;
    drop(answer);
    let headers = [
        ("mcp-session-id", session.as_str()),
        ("mcp-protocol-version", LEGACY),
        ("last-event-id", event.as_str()),
    ];
    let mut replayed = replica.alice().send(Method::GET, &headers, None).await;
    let message = replayed.message(|it| it["id"] == 7).await;
    assert_eq!(message["result"]["content"][0]["text"], "alice");
    // The ids in what is replayed are bound as well.
    assert!(replayed.last_event.unwrap().contains('.'));
}

#[tokio::test]
async fn a_404_to_a_post_is_a_json_rpc_error() {
    let replica = replica().await;
    let session = replica.alice().open().await;
    let mut answer = replica.user(BOB).post(&session, &call("whoami")).await;
    assert_eq!(answer.headers["content-type"], "application/json");
    let body: Value = serde_json::from_str(&answer.rest().await).unwrap();
    assert_eq!(
        body,
        json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32600, "message": "Session not found" } })
    );
    let headers = [("mcp-session-id", session.as_str())];
    let mut answer = replica.user(BOB).send(Method::GET, &headers, None).await;
    assert_eq!(answer.rest().await, "Session not found");
}

#[tokio::test]
async fn who_is_named_by_nothing_opens_no_session_and_may_still_call() {
    let replica = replica().await;
    let nobody = replica.user(User(Some(ISSUER), None, None));
    let answer = nobody.send(Method::POST, &[], Some(&initialize())).await;
    assert_eq!((answer.status.as_u16(), answer.session()), (403, None));
    let message = modern_call("whoami");
    let mut answer = nobody
        .send(Method::POST, &modern("whoami"), Some(&message))
        .await;
    let result = answer.message(|it| it["id"] == 7).await;
    assert_eq!(result["result"]["content"][0]["text"], "nobody");
}

#[tokio::test]
async fn the_newer_wire_has_no_sessions_and_minds_none() {
    let replica = replica().await;
    let alice = replica.alice();
    let session = alice.open().await;
    for session in [session.as_str(), "left over from elsewhere"] {
        let mut headers = modern("whoami").to_vec();
        headers.push(("mcp-session-id", session));
        let call = modern_call("whoami");
        let mut answer = replica
            .user(BOB)
            .send(Method::POST, &headers, Some(&call))
            .await;
        assert_eq!((answer.status.as_u16(), answer.session()), (200, None));
        let result = answer.message(|it| it["id"] == 7).await;
        assert_eq!(result["result"]["content"][0]["text"], "bob");
        // Twice is no more than once.
        headers.push(("mcp-session-id", session));
        let answer = alice.send(Method::POST, &headers, Some(&call)).await;
        assert_eq!((answer.status.as_u16(), answer.session()), (200, None));
    }
}
