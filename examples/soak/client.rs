//! The traffic: plain HTTP clients and MCP clients, each with a purse of tokens. They break off in the
//! middle of some calls.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use rmcp::{
    ClientLifecycleMode, ClientServiceExt, RoleClient,
    model::{CallToolRequestParams, ProtocolVersion},
    service::RunningService,
    transport::{
        StreamableHttpClientTransport,
        streamable_http_client::{StreamableHttpClientTransportConfig, StreamableHttpError},
    },
};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    Result,
    authorized::{Authorized, Owner, Refusable},
    server::Seen,
    store::Number,
    tally::{Kind, Tally},
    truth::Truth,
};

/// Far more than a call takes, so that a call that hangs is a failure and not a hang.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client waits for a token of another key than the one that was refused.
const FOR_TOKEN: Duration = Duration::from_secs(6);
const ATTEMPTS: usize = 5;
/// Between two calls, so that the machine is not all busy.
const PAUSE: Duration = Duration::from_millis(10);
/// One call in so many is broken off, within a time that it may or may not take.
const BREAK_OFF: u32 = 20;
/// One request in so many of plain clients has a token that nobody signed.
const FORGE: u32 = 50;
/// After so many calls an MCP client begins anew.
const CALLS_OF_A_SESSION: usize = 400;

/// A token, and the number of the key that signed it.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) jwt: Arc<str>,
    pub(crate) key: Number,
}

/// One owner's tokens.
#[derive(Clone)]
pub(crate) struct Purse {
    newest: watch::Receiver<Token>,
    held: Arc<Mutex<Token>>,
    /// One call in so many looks for a newer token; `None`: only where the one at hand is refused.
    renews: Option<u32>,
    http: reqwest::Client,
    truth: Truth,
    tally: Tally,
}

impl Purse {
    pub(crate) fn new(
        newest: watch::Receiver<Token>,
        number: usize,
        truth: Truth,
        tally: Tally,
    ) -> reqwest::Result<Self> {
        let held = Arc::new(Mutex::new(newest.borrow().clone()));
        Ok(Self {
            newest,
            held,
            renews: [Some(1), Some(30), None][number % 3],
            http: reqwest::Client::builder().no_proxy().build()?,
            truth,
            tally,
        })
    }

    fn token(&self) -> Token {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if self.renews.is_some_and(|often| fastrand::u32(..often) == 0) {
            *held = self.newest.borrow().clone();
        }
        held.clone()
    }

    fn key(&self) -> Number {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).key
    }

    /// Sends with the token at hand and, like any OAuth client, with another one after a 401. Every
    /// refusal and every acceptance is judged. `None`: there was no other token in time.
    async fn send<R, Fut: Future<Output = Sent<R>>>(
        &self,
        kind: Kind,
        request: impl Fn(Arc<str>) -> Fut,
    ) -> Option<R> {
        for _ in 0..ATTEMPTS {
            let token = self.token();
            let (began, start) = (self.truth.begin(token.key), Instant::now());
            let sent = request(token.jwt.clone()).await;
            let verdict = self.truth.verdict(began, token.key);
            match sent {
                Sent::Accepted(answer) => {
                    if verdict.must_refuse {
                        let what = format!("key {:?}: {began:?}", token.key);
                        self.tally
                            .example("a token of an ended key was accepted", what);
                    }
                    self.tally.answered(kind, start.elapsed());
                    return Some(answer);
                }
                Sent::Other(answer) => return Some(answer),
                Sent::Refused => {
                    if !verdict.may_refuse {
                        let what = format!("key {:?}: {began:?}", token.key);
                        self.tally
                            .example("a token of a trusted key was refused", what);
                    }
                    self.tally.refused(kind);
                }
            }
            let mut newest = self.newest.clone();
            let other = newest.wait_for(|newest| newest.key != token.key);
            let other = timeout(FOR_TOKEN, other).await.ok()?.ok()?.clone();
            *self.held.lock().unwrap_or_else(PoisonError::into_inner) = other;
        }
        None
    }
}

enum Sent<R> {
    Accepted(R),
    Refused,
    /// It failed in another way.
    Other(R),
}

/// A client of plain HTTP.
pub(crate) struct Plain {
    url: String,
    purse: Purse,
}

impl Plain {
    pub(crate) fn new(url: String, purse: Purse) -> Self {
        Self { url, purse }
    }

    pub(crate) async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let path = if fastrand::bool() { "whoami" } else { "work" };
            if fastrand::u32(..FORGE) == 0 {
                self.forge(path).await;
            }
            let call = self.call(path);
            if fastrand::u32(..BREAK_OFF) == 0 {
                let limit = Duration::from_micros(fastrand::u64(..20_000));
                if timeout(limit, call).await.is_err() {
                    self.purse.tally.broken_off(Kind::Plain);
                }
            } else if timeout(PATIENCE, call).await.is_err() {
                self.purse.tally.failure("a plain call took more than 10 s");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn call(&self, path: &str) {
        let tally = &self.purse.tally;
        let url = format!("{}/{path}", self.url);
        let request = |jwt: Arc<str>| {
            let request = self.purse.http.get(&url).bearer_auth(jwt);
            async move {
                match request.send().await {
                    Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED => Sent::Refused,
                    Ok(answer) => match answer.error_for_status() {
                        Ok(answer) => Sent::Accepted(answer.json::<Seen>().await),
                        Err(error) => Sent::Other(Err(error)),
                    },
                    Err(error) => Sent::Other(Err(error)),
                }
            }
        };
        match self.purse.send(Kind::Plain, request).await {
            Some(Ok(seen)) => tally.saw(&seen, self.purse.key()),
            Some(Err(error)) => tally.example("a plain call failed", error),
            None => tally.failure("a plain client was left without a token"),
        }
    }

    /// With what nobody signed.
    async fn forge(&self, path: &str) {
        let tally = &self.purse.tally;
        let mut jwt = self.purse.token().jwt.to_string();
        let last = jwt.rfind('.').map_or(0, |at| at + 1);
        let other = if jwt[last..].starts_with('A') {
            "B"
        } else {
            "A"
        };
        jwt.replace_range(last..=last, other);
        let url = format!("{}/{path}", self.url);
        match self.purse.http.get(url).bearer_auth(jwt).send().await {
            Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED => {
                tally.refused(Kind::Forged)
            }
            Ok(answer) => tally.example("a forged token", answer.status()),
            Err(error) => tally.example("a request with a forged token failed", error),
        }
    }
}

/// A client of MCP.
pub(crate) struct Mcp {
    url: String,
    purse: Purse,
    /// With a session, as clients up to 2025-11-25.
    has_session: bool,
}

impl Mcp {
    pub(crate) fn new(url: String, purse: Purse, has_session: bool) -> Self {
        let url = format!("{url}/mcp");
        Self {
            url,
            purse,
            has_session,
        }
    }

    pub(crate) async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let began = self.purse.truth.begin(self.purse.key());
            let key = self.purse.key();
            match timeout(PATIENCE, self.connect()).await {
                Ok(Ok(service)) => {
                    self.talk(&service, &stop).await;
                    let _ = timeout(PATIENCE, service.cancel()).await;
                }
                _ if self.purse.truth.verdict(began, key).may_refuse => {
                    self.purse.tally.broken_off(Kind::Mcp);
                }
                Ok(Err(error)) => self
                    .purse
                    .tally
                    .example("an MCP client cannot connect", error),
                Err(_) => self
                    .purse
                    .tally
                    .failure("an MCP client took 10 s to connect"),
            }
        }
    }

    async fn connect(&self) -> Result<RunningService<RoleClient, ()>> {
        let lifecycle = if self.has_session {
            ClientLifecycleMode::Initialize
        } else {
            ClientLifecycleMode::Discover {
                preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            }
        };
        let config = StreamableHttpClientTransportConfig::with_uri(self.url.clone());
        let transport =
            StreamableHttpClientTransport::with_client(Authorized(self.purse.clone()), config);
        Ok(().serve_with_lifecycle(transport, lifecycle).await?)
    }

    async fn talk(&self, service: &RunningService<RoleClient, ()>, stop: &CancellationToken) {
        for number in 0..CALLS_OF_A_SESSION {
            if stop.is_cancelled() {
                return;
            }
            let tool = ["whoami", "work", "quote"][number % 3];
            let (key, start) = (self.purse.key(), Instant::now());
            let began = self.purse.truth.begin(key);
            let breaks_off = fastrand::u32(..BREAK_OFF) == 0;
            let limit = match breaks_off {
                true => Duration::from_micros(fastrand::u64(..20_000)),
                false => PATIENCE,
            };
            let call = service.call_tool(CallToolRequestParams::new(tool));
            let tally = &self.purse.tally;
            match timeout(limit, call).await {
                Ok(Ok(result)) => {
                    let seen = result.structured_content.unwrap_or_default();
                    match serde_json::from_value::<Seen>(seen) {
                        Ok(seen) => {
                            tally.answered(Kind::Mcp, start.elapsed());
                            tally.saw_with_any(&seen);
                        }
                        Err(error) => tally.example("an MCP answer of another shape", error),
                    }
                }
                Err(_) if breaks_off => tally.broken_off(Kind::Mcp),
                // The stream of an answer ends with the token of its request.
                _ if self.purse.truth.verdict(began, key).may_refuse => {
                    tally.ended_with_token();
                    return;
                }
                Ok(Err(error)) => {
                    tally.example("an MCP call failed", format!("{tool}: {error}"));
                    return;
                }
                Err(_) => {
                    tally.failure("an MCP call took more than 10 s");
                    return;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Owner for Purse {
    fn http(&self) -> &reqwest::Client {
        &self.http
    }

    async fn send_with_token<R, Fut>(
        &self,
        request: impl Fn(Option<String>) -> Fut + Send + Sync,
    ) -> Refusable<R>
    where
        R: Send,
        Fut: Future<Output = Refusable<R>> + Send,
    {
        let request = |jwt: Arc<str>| {
            let answer = request(Some(jwt.to_string()));
            async move {
                match answer.await {
                    Err(StreamableHttpError::AuthRequired(_)) => Sent::Refused,
                    Ok(answer) => Sent::Accepted(Ok(answer)),
                    Err(error) => Sent::Other(Err(error)),
                }
            }
        };
        let sent = self.send(Kind::McpMessage, request).await;
        sent.unwrap_or(Err(StreamableHttpError::UnexpectedEndOfStream))
    }
}
