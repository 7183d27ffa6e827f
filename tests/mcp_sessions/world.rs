//! Replicas of the server, users with tokens, and a client that speaks the wire by hand.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    response::Response,
};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use serde::Deserialize;
use serde_json::{Value, json};
use tower::{Layer, Service, ServiceExt};
use tower_secrets::{
    JwtKey, JwtRotationLayer, Keyring, RegisteredClaims, SessionKey,
    clock::{Clock, Now},
    mcp::{BindSessionsLayer, RequestStates},
    source::Source,
};

use crate::{events::Events, server::service};

pub(crate) const MODERN: &str = "2026-07-28";
pub(crate) const LEGACY: &str = "2025-11-25";

#[derive(Deserialize)]
pub(crate) struct App {
    pub(crate) jwt_secret: JwtKey,
    pub(crate) session_key: SessionKey,
}

/// A version of the secret: the keys are made of their names.
pub(crate) fn bundle(jwt: &str, session: &str) -> String {
    let (jwt_secret, session_key) = (jwt_secret(jwt), session_secret(session));
    json!({ "jwt_secret": jwt_secret, "session_key": session_key }).to_string()
}

pub(crate) fn jwt_secret(name: &str) -> String {
    format!("the JWT secret {name}, of more than 32 bytes")
}

pub(crate) fn session_secret(name: &str) -> String {
    format!("the session secret {name}, of more than 32 bytes")
}

/// Time that moves when it is told to.
#[derive(Clone)]
pub(crate) struct Hands(Arc<AtomicU64>, SystemTime);

impl Hands {
    pub(crate) fn new() -> Self {
        Self(Arc::default(), SystemTime::now())
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn now(&self) -> Now {
        let mono = Duration::from_secs(self.0.load(Ordering::Relaxed));
        Now::new(self.1 + mono, mono)
    }
}

pub(crate) async fn keyring(source: impl Source, hands: &Hands) -> Keyring<App> {
    Keyring::<App>::builder(source)
        .jwt_key(|app: &App| &app.jwt_secret)
        .session_key(|app: &App| &app.session_key)
        .clock(hands.clone())
        .build()
        .await
        .unwrap()
}

/// One process of the server, in front of sessions that may be shared with another's.
#[derive(Clone)]
pub(crate) struct Replica {
    pub(crate) keyring: Keyring<App>,
    pub(crate) router: Router,
}

impl Replica {
    pub(crate) fn new(
        keyring: &Keyring<App>,
        sessions: &Arc<LocalSessionManager>,
        bind: BindSessionsLayer,
        states: RequestStates,
    ) -> Self {
        Self::around(keyring, bind.layer(service(sessions, states)))
    }

    pub(crate) fn around<S, B>(keyring: &Keyring<App>, service: S) -> Self
    where
        S: Service<Request<Body>, Response = http::Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let router = Router::new()
            .nest_service("/mcp", service)
            .layer(JwtRotationLayer::new(keyring.clone()).allow_anonymous());
        Self {
            keyring: keyring.clone(),
            router,
        }
    }

    /// One that shares everything that can be shared.
    pub(crate) fn sharing(keyring: &Keyring<App>, sessions: &Arc<LocalSessionManager>) -> Self {
        let bind = BindSessionsLayer::shared(keyring).unwrap();
        let states = RequestStates::shared(keyring).unwrap();
        Self::new(keyring, sessions, bind, states)
    }

    pub(crate) fn user(&self, who: User) -> Caller {
        let router = self.router.clone();
        let token = who.token(&self.keyring);
        Caller { router, token }
    }

    pub(crate) fn alice(&self) -> Caller {
        self.user(ALICE)
    }

    /// Without a token.
    pub(crate) fn anyone(&self) -> Caller {
        self.user(User(None, None, None))
    }
}

/// Sessions with an event store behind them.
pub(crate) fn sessions() -> Arc<LocalSessionManager> {
    let events = Arc::new(Events::default());
    Arc::new(LocalSessionManager::default().with_event_store(events))
}

/// Issuer, subject and client; all of them are missing in the token of nobody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User(
    pub(crate) Option<&'static str>,
    pub(crate) Option<&'static str>,
    pub(crate) Option<&'static str>,
);

pub(crate) const ISSUER: &str = "https://login.example";
pub(crate) const ALICE: User = User(Some(ISSUER), Some("alice"), Some("inspector"));
pub(crate) const BOB: User = User(Some(ISSUER), Some("bob"), Some("inspector"));

impl User {
    /// A new one at each call. Without any claim: no token at all.
    fn token(self, keyring: &Keyring<App>) -> Option<String> {
        let Self(issuer, subject, client) = self;
        issuer.or(subject).or(client)?;
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let id = COUNT.fetch_add(1, Ordering::Relaxed).to_string();
        let later = SystemTime::now() + Duration::from_secs(10_000_000);
        let claims = match subject {
            Some(subject) => RegisteredClaims::new(subject),
            None => serde_json::from_value(json!({ "exp": 0 })).unwrap(),
        };
        let claims = claims.expires_at(later).token_id(id);
        let claims = issuer.into_iter().fold(claims, RegisteredClaims::issuer);
        let claims = client.into_iter().fold(claims, RegisteredClaims::client);
        Some(keyring.signer().sign(&claims).unwrap())
    }
}

/// A user's client.
#[derive(Clone)]
pub(crate) struct Caller {
    router: Router,
    token: Option<String>,
}

impl Caller {
    pub(crate) async fn send(
        &self,
        method: Method,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri("/mcp")
            .header("host", "localhost")
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = request.body(body).unwrap();
        Answer::new(self.router.clone().oneshot(request).await.unwrap())
    }

    pub(crate) fn token(&self) -> Option<String> {
        self.token.clone()
    }

    /// A message in a session of the older wire.
    pub(crate) async fn post(&self, session: &str, message: &Value) -> Answer {
        let headers = [
            ("mcp-session-id", session),
            ("mcp-protocol-version", LEGACY),
        ];
        self.send(Method::POST, &headers, Some(message)).await
    }

    /// Opens a session of the older wire, and gives its id.
    pub(crate) async fn open(&self) -> String {
        let answer = self.send(Method::POST, &[], Some(&initialize())).await;
        assert_eq!(answer.status, StatusCode::OK);
        let session = answer.session().unwrap();
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let answer = self.post(&session, &initialized).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        session
    }

    /// Who the server says that the caller is, in this session.
    pub(crate) async fn whoami(&self, session: &str) -> Result<String, StatusCode> {
        let mut answer = self.post(session, &call("whoami")).await;
        if answer.status != StatusCode::OK {
            return Err(answer.status);
        }
        let result = answer.message(|it| it["id"] == 7).await;
        Ok(result["result"]["content"][0]["text"]
            .as_str()
            .unwrap()
            .to_owned())
    }

    /// A round of the tool `rounds`, on the newer wire.
    pub(crate) async fn round(&self, state: Option<&str>) -> Value {
        let mut message = modern_call("rounds");
        if let Some(state) = state {
            message["params"]["requestState"] = json!(state);
        }
        let mut answer = self
            .send(Method::POST, &modern("rounds"), Some(&message))
            .await;
        answer.message(|it| it["id"] == 7).await
    }
}

pub(crate) fn initialize() -> Value {
    let params = json!({
        "protocolVersion": LEGACY,
        "capabilities": { "elicitation": {} },
        "clientInfo": { "name": "test", "version": "0" },
    });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params })
}

pub(crate) fn call(tool: &str) -> Value {
    let params = json!({ "name": tool, "arguments": {} });
    json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params })
}

pub(crate) fn modern_call(tool: &str) -> Value {
    let mut message = call(tool);
    message["params"]["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "0" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    message
}

pub(crate) fn modern(tool: &str) -> [(&str, &str); 3] {
    [
        ("mcp-protocol-version", MODERN),
        ("mcp-method", "tools/call"),
        ("mcp-name", tool),
    ]
}

/// An answer, whose events are read as they come.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Body,
    text: String,
    /// The id of the last event that had one.
    pub(crate) last_event: Option<String>,
}

impl Answer {
    fn new(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        Self {
            status: parts.status,
            headers: parts.headers,
            body,
            text: String::new(),
            last_event: None,
        }
    }

    pub(crate) fn session(&self) -> Option<String> {
        let session = self.headers.get("mcp-session-id")?;
        Some(session.to_str().unwrap().to_owned())
    }

    /// The first message like this, of a stream or a single one.
    pub(crate) async fn message(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let is_stream = self.headers[header::CONTENT_TYPE] == "text/event-stream";
        if !is_stream {
            return serde_json::from_str(&self.rest().await).unwrap();
        }
        loop {
            let event = self.event().await.expect("the stream ended too early");
            if let Ok(message) = serde_json::from_str(&event)
                && wanted(&message)
            {
                return message;
            }
        }
    }

    /// The data of the next event; `None` at the end.
    pub(crate) async fn event(&mut self) -> Option<String> {
        while !self.text.contains("\n\n") {
            let frame = self.body.frame().await?.unwrap();
            let data = frame.into_data().unwrap_or_default();
            self.text += std::str::from_utf8(&data).unwrap();
        }
        let (event, rest) = self.text.split_once("\n\n").unwrap();
        let field = |name: &str| {
            let lines = event.lines().filter_map(|line| line.strip_prefix(name));
            lines
                .map(|value| value.trim_start())
                .collect::<Vec<_>>()
                .join("\n")
        };
        let data = field("data:");
        let id = field("id:");
        if !id.is_empty() {
            self.last_event = Some(id);
        }
        self.text = rest.to_owned();
        Some(data)
    }

    /// All that is left of the body.
    pub(crate) async fn rest(&mut self) -> String {
        let body = std::mem::take(&mut self.body);
        let rest = body.collect().await.unwrap().to_bytes();
        let mut text = std::mem::take(&mut self.text);
        text += std::str::from_utf8(&rest).unwrap();
        text
    }
}
