//! An identity provider: keys that sign, and a key server on loopback that can be made to fail.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    response::Response,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

pub(crate) struct SigningKey {
    pub(crate) kid: String,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    pub(crate) fn new(kid: &str) -> Self {
        Self {
            kid: kid.to_owned(),
            pair: Ed25519KeyPair::generate().unwrap(),
        }
    }

    pub(crate) fn public(&self) -> Value {
        let x = b64(self.pair.public_key());
        json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": self.kid, "x": x })
    }

    /// A token that outlives every test, unless `claims` say otherwise.
    pub(crate) fn token(&self, claims: Value) -> String {
        let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": self.kid });
        self.token_of(&header, claims)
    }

    pub(crate) fn token_of(&self, header: &Value, more: Value) -> String {
        let mut claims = json!({ "sub": "alice", "exp": 32_503_680_000_u64 });
        if let (Value::Object(claims), Value::Object(more)) = (&mut claims, more) {
            claims.extend(more);
        }
        let input = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let signature = self.pair.sign(input.as_bytes());
        format!("{input}.{}", b64(signature))
    }
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn set(keys: &[&SigningKey]) -> String {
    let keys: Vec<Value> = keys.iter().map(|key| key.public()).collect();
    json!({ "keys": keys }).to_string()
}

/// What the server answers to a path.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    hangs: bool,
}

impl Answer {
    pub(crate) fn ok(body: impl Into<Bytes>) -> Self {
        Self::new(200, body)
    }

    pub(crate) fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap(),
            headers: Vec::new(),
            body: body.into(),
            hangs: false,
        }
    }

    /// One that never comes.
    pub(crate) fn hanging() -> Self {
        Self {
            hangs: true,
            ..Self::ok("")
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(other, _)| *other == name);
        header.map(|(_, value)| &**value)
    }

    /// Whether a request with these conditions need not be told it again.
    fn is_known_to(&self, seen: &Seen) -> bool {
        let holds = |name, condition: &Option<String>| {
            self.header(name).is_some() && self.header(name) == condition.as_deref()
        };
        holds("etag", &seen.if_none_match) || holds("last-modified", &seen.if_modified_since)
    }
}

/// One request, as the server saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) if_none_match: Option<String>,
    pub(crate) if_modified_since: Option<String>,
    pub(crate) status: u16,
}

impl Seen {
    /// Before it is answered.
    fn of(request: &Request) -> Self {
        let header = |name: &str| {
            let value = request.headers().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        Self {
            path: request.uri().path().to_owned(),
            if_none_match: header("if-none-match"),
            if_modified_since: header("if-modified-since"),
            status: 0,
        }
    }
}

struct Shared {
    answers: Mutex<Vec<(String, Answer)>>,
    seen: Mutex<Vec<Seen>>,
    requests: watch::Sender<usize>,
    delay: Mutex<Duration>,
    held: watch::Sender<bool>,
}

pub(crate) struct KeyServer {
    pub(crate) origin: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl KeyServer {
    /// A server on a free port that knows no path.
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Shared {
            answers: Mutex::default(),
            seen: Mutex::default(),
            requests: watch::Sender::new(0),
            delay: Mutex::default(),
            held: watch::Sender::new(false),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().fallback(answer).with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self {
            origin,
            shared,
            serving,
        }
    }

    /// One that serves these keys at `/keys`.
    pub(crate) async fn serving(keys: &[&SigningKey]) -> Self {
        let server = Self::start().await;
        server.put("/keys", Answer::ok(set(keys)));
        server
    }

    pub(crate) fn keys_url(&self) -> String {
        format!("{}/keys", self.origin)
    }

    /// From now on this is the answer at this path.
    pub(crate) fn put(&self, path: &str, answer: Answer) {
        let mut answers = lock(&self.shared.answers);
        answers.retain(|(other, _)| other != path);
        answers.push((path.to_owned(), answer));
    }

    pub(crate) fn delay(&self, delay: Duration) {
        *lock(&self.shared.delay) = delay;
    }

    /// Requests that are under way, and those to come, get no answer until [`release`](Self::release).
    pub(crate) fn hold(&self) {
        self.shared.held.send_replace(true);
    }

    pub(crate) fn release(&self) {
        self.shared.held.send_replace(false);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    pub(crate) fn requests(&self) -> usize {
        *self.shared.requests.borrow()
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.requests.send_modify(|requests| *requests += 1);
    let mut seen = Seen::of(&request);
    let delay = *lock(&shared.delay);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let mut held = shared.held.subscribe();
    held.wait_for(|held| !held).await.unwrap();
    let answers = lock(&shared.answers).clone();
    let found = answers.into_iter().find(|(path, _)| *path == seen.path);
    let mut answer = found.map_or_else(|| Answer::new(404, "no such page"), |(_, answer)| answer);
    if answer.hangs {
        std::future::pending::<()>().await;
    }
    if answer.is_known_to(&seen) {
        answer.status = StatusCode::NOT_MODIFIED;
        answer.body = Bytes::new();
    }
    seen.status = answer.status.as_u16();
    lock(&shared.seen).push(seen);
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    for (name, value) in answer.headers {
        let value = HeaderValue::from_str(&value).unwrap();
        response
            .headers_mut()
            .append(HeaderName::from_static(name), value);
    }
    response
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}
