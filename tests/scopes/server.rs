//! An rmcp server that writes down what it was made to do, behind the layers.

use std::{
    sync::{Arc, LazyLock, Mutex},
    time::{Duration, SystemTime},
};

use axum::{Router, body::Body};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CompleteRequestParams, CompleteResult, CustomNotification, CustomRequest, CustomResult,
        GetPromptRequestParams, GetPromptResponse, GetPromptResult, GetSkillRequestParams,
        GetSkillResult, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult,
        Reference, ServerCapabilities, ServerConfig, SubscribeRequestParams, SubscriptionFilter,
        UnsubscribeRequestParams,
    },
    service::{NotificationContext, RequestContext, SubscriptionContext},
    tool, tool_handler, tool_router,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService,
        session::{local::LocalSessionManager, never::NeverSessionManager},
    },
};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_secrets::{
    JwtKey, JwtRotationLayer, Keyring, RegisteredClaims,
    mcp::{ScopePolicy, ScopesLayer},
    source::Memory,
};

/// What was done, such as `tool delete_file`.
pub(crate) type Done = Arc<Mutex<Vec<String>>>;

/// A keyring that is never refreshed; it needs no runtime.
pub(crate) fn keyring() -> Keyring<JwtKey> {
    static KEYRING: LazyLock<Keyring<JwtKey>> = LazyLock::new(|| {
        let source = Memory::new("\"a secret of at least thirty-two bytes\"");
        let build = Keyring::builder(source).jwt_key(|key: &JwtKey| key).build();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        // A test may have a runtime of its own.
        std::thread::spawn(|| runtime.unwrap().block_on(build).unwrap())
            .join()
            .unwrap()
    });
    KEYRING.clone()
}

/// The policy of all tests here. The tokens of [`Bench::reader`] grant `files:read` alone.
pub(crate) fn policy() -> ScopePolicy {
    ScopePolicy::new()
        .tool("read_file", ["files:read"])
        .tool("delete_file", ["files:read", "files:write"])
        .prompt("secret_prompt", ["prompts:secret"])
        .resource("file:///secret", ["files:secret"])
        .resource_prefix("file:///private/", ["files:private"])
        .method("logging/setLevel", ["ops"])
}

#[derive(Clone)]
struct Server {
    done: Done,
}

#[tool_router]
impl Server {
    #[tool(description = "needs no scope")]
    async fn time(&self) -> String {
        self.write("tool time")
    }

    #[tool(description = "needs files:read")]
    async fn read_file(&self) -> String {
        self.write("tool read_file")
    }

    #[tool(description = "needs files:write")]
    async fn delete_file(&self) -> String {
        self.write("tool delete_file")
    }

    fn write(&self, what: impl Into<String>) -> String {
        self.done.lock().unwrap().push(what.into());
        "done".to_owned()
    }
}

#[tool_handler]
impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(
            ServerCapabilities::builder()
                .enable_tools()
                .enable_prompts()
                .enable_resources()
                .enable_resources_subscribe()
                .enable_completions()
                .enable_skills()
                .build(),
        )
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        self.write(format!("prompt {}", request.name));
        Ok(GetPromptResult::new(Vec::new()).into())
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        self.write(format!("read {}", request.uri));
        Ok(ReadResourceResult::new(Vec::new()).into())
    }

    async fn get_skill(
        &self,
        request: GetSkillRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetSkillResult, ErrorData> {
        self.write(format!("skill {}", request.uri));
        Err(ErrorData::invalid_params("no such skill", None))
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.write(format!("subscribe {}", request.uri));
        Ok(())
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.write(format!("unsubscribe {}", request.uri));
        Ok(())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        self.write(match request.r#ref {
            Reference::Prompt(prompt) => format!("complete {}", prompt.name),
            Reference::Resource(template) => format!("complete {}", template.uri),
            _ => "complete".to_owned(),
        });
        Ok(CompleteResult::default())
    }

    fn accepted_subscription_filter(
        &self,
        asked: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(asked.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        for uri in context.accepted().resource_subscriptions.iter().flatten() {
            self.write(format!("listen {uri}"));
        }
        Ok(())
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        self.write(format!("custom {}", request.method));
        Ok(CustomResult(json!({})))
    }

    async fn on_custom_notification(
        &self,
        notification: CustomNotification,
        _: NotificationContext<RoleServer>,
    ) {
        self.write(format!("notification {}", notification.method));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Sessions,
    Stateless,
    StatelessJson,
}

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::Sessions, Self::Stateless, Self::StatelessJson];
}

/// A server in one mode, behind the token layer and what else is given.
pub(crate) struct Bench {
    pub(crate) done: Done,
    keyring: Keyring<JwtKey>,
    app: Router,
    session: Option<String>,
}

impl Bench {
    /// With [`policy`].
    pub(crate) async fn new(mode: Mode) -> Self {
        Self::with(mode, Some(ScopesLayer::new(policy()).unwrap())).await
    }

    /// The server as it is without the layer of this test.
    pub(crate) async fn bare(mode: Mode) -> Self {
        Self::with(mode, None).await
    }

    pub(crate) async fn with(mode: Mode, scopes: Option<ScopesLayer>) -> Self {
        let keyring = keyring();
        let done = Done::default();
        let mcp = mcp(mode, done.clone());
        let app = match scopes {
            Some(scopes) => mcp.layer(scopes),
            None => mcp,
        };
        let app = app.layer(JwtRotationLayer::new(keyring.clone()).allow_anonymous());
        let mut bench = Self {
            done,
            keyring,
            app,
            session: None,
        };
        if mode == Mode::Sessions {
            bench.initialize().await;
        }
        bench
    }

    /// Opens the session that later requests of the 2025 wire are part of.
    async fn initialize(&mut self) {
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "test", "version": "0" },
        });
        let answer = self.reader(Message::v2025("initialize", params)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let session = answer.headers["mcp-session-id"].to_str().unwrap();
        self.session = Some(session.to_owned());
        let mut initialized = Message::v2025("notifications/initialized", json!({}));
        initialized.body = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })
            .to_string()
            .into();
        assert_eq!(self.reader(initialized).await.status, 202);
    }

    /// Sends it with a token that grants `files:read`.
    pub(crate) async fn reader(&self, message: Message) -> Answer {
        self.send("files:read", message).await
    }

    /// Sends it with a token that grants these scopes, and reads the answer to its end.
    pub(crate) async fn send(&self, scopes: &str, message: Message) -> Answer {
        let later = SystemTime::now() + Duration::from_secs(1_000);
        let claims = RegisteredClaims::new("alice")
            .expires_at(later)
            .granting(scopes);
        let token = self.keyring.signer().sign(&claims).unwrap();
        let mut request = self.request(message);
        let value = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", value);
        self.ask(request).await
    }

    pub(crate) fn request(&self, message: Message) -> Request<Body> {
        let Message { headers, body } = message;
        let mut request = Request::post("/mcp").body(Body::from(body)).unwrap();
        let fixed = [
            ("host", "localhost"),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        let session = self
            .session
            .iter()
            .map(|id| ("mcp-session-id", id.as_str()));
        let own = headers.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in fixed.into_iter().chain(session).chain(own) {
            let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
            request.headers_mut().append(name, value);
        }
        request
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.into()).unwrap(),
        }
    }

    pub(crate) fn take_done(&self) -> Vec<String> {
        std::mem::take(&mut self.done.lock().unwrap())
    }
}

fn mcp(mode: Mode, done: Done) -> Router {
    let factory = move || Ok(Server { done: done.clone() });
    let config = StreamableHttpServerConfig::default();
    let config = match mode {
        Mode::Sessions => config,
        Mode::Stateless => config.with_legacy_session_mode(false),
        Mode::StatelessJson => config
            .with_legacy_session_mode(false)
            .with_json_response(true),
    };
    match mode {
        Mode::Sessions => {
            let sessions = Arc::new(LocalSessionManager::default());
            Router::new().nest_service(
                "/mcp",
                StreamableHttpService::new(factory, sessions, config),
            )
        }
        Mode::Stateless | Mode::StatelessJson => {
            let sessions = Arc::new(NeverSessionManager::default());
            Router::new().nest_service(
                "/mcp",
                StreamableHttpService::new(factory, sessions, config),
            )
        }
    }
}

/// A message with the headers that it is sent with.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// As a client of 2025-11-25 sends it.
    pub(crate) fn v2025(method: &str, params: Value) -> Self {
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        Self::raw(&[("mcp-protocol-version", "2025-11-25")], body.to_string())
    }

    /// As a client of 2026-07-28 sends it.
    pub(crate) fn v2026(method: &str, name: Option<&str>, params: Value) -> Self {
        let mut headers = vec![
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", method),
        ];
        headers.extend(name.map(|name| ("mcp-name", name)));
        Self::raw(&headers, body_2026(method, params))
    }

    pub(crate) fn raw(headers: &[(&'static str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let own = |(name, value): &(&'static str, &str)| (*name, (*value).to_owned());
        Self {
            headers: headers.iter().map(own).collect(),
            body: body.into(),
        }
    }
}

/// A body with the `_meta` that 2026-07-28 asks for.
pub(crate) fn body_2026(method: &str, mut params: Value) -> String {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }).to_string()
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn challenge(&self) -> &str {
        self.headers["www-authenticate"].to_str().unwrap()
    }
}
