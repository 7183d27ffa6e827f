//! Clients that never pause: each fetches a token from one replica after the other, and uses it through
//! the balancer for as long as it is valid.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::Client;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::MissedTickBehavior};

use crate::{
    balancer::SERVED_BY,
    board::Board,
    fleet::{Contact, Contacts},
};

/// How often each of them calls.
const PACE: Duration = Duration::from_millis(100);

/// `exp` is in whole seconds.
const ROUNDED_OFF: Duration = Duration::from_secs(1);

pub(crate) struct Callers {
    tasks: JoinSet<()>,
}

impl Callers {
    pub(crate) fn start(
        number: usize,
        balancer: String,
        contacts: Arc<Contacts>,
        board: Arc<Board>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        for number in 0..number {
            let caller = Caller {
                number,
                http: http(),
                balancer: balancer.clone(),
                contacts: contacts.clone(),
                board: board.clone(),
                token: None,
            };
            tasks.spawn(caller.run());
        }
        Self { tasks }
    }

    /// A caller that panicked is told of here.
    pub(crate) async fn stop(mut self) {
        self.tasks.abort_all();
        while let Some(ended) = self.tasks.join_next().await {
            assert!(ended.unwrap_err().is_cancelled());
        }
    }
}

/// One that keeps no connection, so that the balancer decides about each request.
pub(crate) fn http() -> Client {
    let client = Client::builder().no_proxy().pool_max_idle_per_host(0);
    client.timeout(Duration::from_secs(20)).build().unwrap()
}

struct Caller {
    number: usize,
    http: Client,
    balancer: String,
    contacts: Arc<Contacts>,
    board: Arc<Board>,
    token: Option<Token>,
}

struct Token {
    text: String,
    minted_by: usize,
    until: Instant,
}

impl Caller {
    async fn run(mut self) {
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for call in self.number.. {
            pace.tick().await;
            if self
                .token
                .as_ref()
                .is_none_or(|it| it.until <= Instant::now())
            {
                self.token = self.mint(call).await;
            }
            if let Some(token) = &self.token {
                self.call(call, token).await;
            }
        }
    }

    /// By a replica chosen by `turn`, or the next that is there.
    async fn mint(&self, turn: usize) -> Option<Token> {
        let contacts = self.contacts.all();
        for attempt in 0..contacts.len() {
            let minted_by = (turn + attempt) % contacts.len();
            // One that is being restarted.
            let Some(contact) = &contacts[minted_by] else {
                continue;
            };
            let asked = Instant::now();
            match self.ask_for_token(contact).await {
                Ok(Value::Object(answer)) if answer.contains_key("access_token") => {
                    let life = Duration::from_secs(answer["expires_in"].as_u64().unwrap());
                    return Some(Token {
                        text: answer["access_token"].as_str().unwrap().to_owned(),
                        minted_by,
                        until: asked + life.saturating_sub(ROUNDED_OFF),
                    });
                }
                Ok(other) => self
                    .board
                    .bad(Some(minted_by), format!("no token: {other}")),
                // It began to end in this moment.
                Err(_) if self.contacts.all()[minted_by].as_ref() != Some(contact) => {}
                Err(error) => self
                    .board
                    .bad(Some(minted_by), format!("no token: {error}")),
            }
        }
        self.board.bad(None, "no replica gives a token".to_owned());
        None
    }

    async fn ask_for_token(&self, contact: &Contact) -> reqwest::Result<Value> {
        let Contact {
            address,
            client_secret,
            ..
        } = contact;
        let form = format!(
            "grant_type=client_credentials&client_id=toy-client&client_secret={client_secret}\
             &scope=tools%20quotes"
        );
        let asked = self.http.post(format!("http://{address}/token"));
        let asked = asked.header("content-type", "application/x-www-form-urlencoded");
        let answer = asked.body(form).send().await?;
        let text = answer.text().await?;
        Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// By turns a plain request, and a call of an MCP tool.
    async fn call(&self, call: usize, token: &Token) {
        let (request, expected) = if call.is_multiple_of(2) {
            let whoami = self.http.get(format!("{}/whoami", self.balancer));
            (whoami, "\"generation\"")
        } else {
            let quote = tool_call(&self.http, &self.balancer);
            (quote, "the only constant is change")
        };
        let request = request.header("authorization", format!("Bearer {}", token.text));
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return self.board.bad(None, error.to_string()),
        };
        let header = |name| Some(answer.headers().get(name)?.to_str().ok()?.to_owned());
        let replica = header(SERVED_BY).and_then(|it| it.parse().ok());
        let (status, challenge) = (answer.status(), header("www-authenticate"));
        let body = answer
            .text()
            .await
            .unwrap_or_else(|error| error.to_string());
        match replica {
            Some(replica) if status == 200 && body.contains(expected) => self.board.good(replica),
            _ => self.board.bad(
                replica,
                format!(
                    "minted by {}: {status} {challenge:?} {body}",
                    token.minted_by
                ),
            ),
        }
    }
}

/// On the wire of 2026-07-28, which has no sessions, so that any replica may answer.
fn tool_call(http: &Client, balancer: &str) -> reqwest::RequestBuilder {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({ "name": "quote", "arguments": {}, "_meta": meta });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    http.post(format!("{balancer}/mcp"))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", "quote")
        .body(body.to_string())
}
