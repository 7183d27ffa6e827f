//! The server: a bundle, a keyring with probes, two routes and three MCP tools.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, routing::get, serve::ListenerExt};
use rmcp::{
    ErrorData, ServerHandler,
    handler::server::router::tool::ToolRouter,
    model::{ServerCapabilities, ServerConfig},
    schemars, tool, tool_handler, tool_router,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tower_secrets::{
    Attempt, Claims, JwtKey, JwtRotationLayer, Keyring, Secrets, layer::McpBody, mcp::McpLayer,
};

use crate::{
    Result,
    store::{Number, Store},
};

type IsValid = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// How long work in a call takes, in which a rotation may happen.
const WORK: Duration = Duration::from_millis(10);
/// A client that is gone leaves its session, which ends after this time.
const SESSION_IDLE: Duration = Duration::from_secs(20);

/// What the probe does at this moment.
pub(crate) static PROBE: AtomicU8 = AtomicU8::new(ProbeFault::None as u8);
pub(crate) const PROBE_PANIC: &str = "a probe that panics";

#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum ProbeFault {
    None,
    Refuses,
    Hangs,
    Panics,
}

#[derive(Deserialize)]
pub(crate) struct App {
    jwt_secret: JwtKey,
    pub(crate) number: Number,
    api_key: String,
    db_password: String,
}

impl App {
    /// Every field is of one version.
    fn is_whole(&self, version: &str) -> bool {
        let Self {
            jwt_secret: _,
            number,
            api_key,
            db_password,
        } = self;
        *api_key == number.api_key() && *db_password == number.password() && version == number.id()
    }
}

pub(crate) struct Server {
    pub(crate) keyring: Keyring<App>,
    pub(crate) url: String,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub(crate) async fn start(store: Store, upstream: IsValid) -> Result<Self> {
        let second = Duration::from_secs(1);
        let is_known = upstream.clone();
        let keyring = Keyring::<App>::builder(store)
            .refresh_every(second)
            .fetch_limit(second)
            .probe_limit(second / 4)
            .overlap(60 * second)
            .activation_delay(Duration::ZERO)
            .jwt_key(|app| &app.jwt_secret)
            .probe("upstream", move |app: Arc<App>| {
                let is_known = is_known(&app.api_key);
                async move {
                    if is_known {
                        Ok(())
                    } else {
                        Err("it does not know the key")
                    }
                }
            })
            .probe("faulty", |_: Arc<App>| faulty())
            .build()
            .await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let stop = CancellationToken::new();
        let routes = routes(keyring.clone(), upstream, &stop);
        let listener = listener.tap_io(|socket| {
            let _ = socket.set_nodelay(true);
        });
        let serving =
            axum::serve(listener, routes).with_graceful_shutdown(stop.clone().cancelled_owned());
        Ok(Self {
            keyring,
            url,
            stop,
            serving: tokio::spawn(async move { serving.await }),
        })
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        self.serving.await??;
        self.keyring.shutdown().await;
        Ok(())
    }
}

async fn faulty() -> Result<(), &'static str> {
    match PROBE.load(Ordering::Relaxed) {
        fault if fault == ProbeFault::Refuses as u8 => Err("it is told to"),
        fault if fault == ProbeFault::Hangs as u8 => std::future::pending().await,
        fault if fault == ProbeFault::Panics as u8 => std::panic::panic_any(PROBE_PANIC),
        _ => Ok(()),
    }
}

fn routes(keyring: Keyring<App>, upstream: IsValid, stop: &CancellationToken) -> Router {
    let tools = Tools {
        upstream,
        router: Tools::tool_router(),
    };
    let mut sessions = LocalSessionManager::default();
    sessions.session_config.keep_alive = Some(SESSION_IDLE);
    let config = StreamableHttpServerConfig::default().with_cancellation_token(stop.child_token());
    let mcp = StreamableHttpService::new(move || Ok(tools.clone()), Arc::new(sessions), config);
    let tokens = JwtRotationLayer::new(keyring).respond_with(McpBody);
    Router::new()
        .nest_service("/mcp", mcp)
        .layer(McpLayer::new())
        .route("/whoami", get(whoami))
        .route("/work", get(work))
        .layer(tokens)
}

/// What a call saw.
#[derive(Debug, Deserialize, Serialize, schemars::JsonSchema)]
pub(crate) struct Seen {
    pub(crate) version: String,
    pub(crate) generation: u64,
    /// The version whose key verified the token.
    pub(crate) key_version: String,
    /// Whether all fields were of one version, the whole time.
    pub(crate) is_whole: bool,
}

impl Seen {
    fn new(secrets: &Secrets<App>, claims: &Claims) -> Self {
        Self {
            version: secrets.version().to_string(),
            generation: secrets.generation(),
            key_version: claims.version().to_string(),
            is_whole: secrets.is_whole(secrets.version().as_str()),
        }
    }

    async fn at_work(secrets: &Secrets<App>, claims: &Claims) -> Self {
        let before = Self::new(secrets, claims);
        tokio::time::sleep(WORK).await;
        let after = Self::new(secrets, claims);
        let is_whole = before.is_whole && after.is_whole && before.version == after.version;
        Self { is_whole, ..after }
    }
}

async fn whoami(secrets: Secrets<App>, claims: Claims) -> Json<Seen> {
    Json(Seen::new(&secrets, &claims))
}

async fn work(secrets: Secrets<App>, claims: Claims) -> Json<Seen> {
    Json(Seen::at_work(&secrets, &claims).await)
}

#[derive(Clone)]
struct Tools {
    upstream: IsValid,
    router: ToolRouter<Self>,
}

#[tool_router]
impl Tools {
    #[tool(description = "What this call sees")]
    fn whoami(&self, secrets: Secrets<App>, claims: Claims) -> rmcp::Json<Seen> {
        rmcp::Json(Seen::new(&secrets, &claims))
    }

    #[tool(description = "The same, after a while")]
    async fn work(&self, secrets: Secrets<App>, claims: Claims) -> rmcp::Json<Seen> {
        rmcp::Json(Seen::at_work(&secrets, &claims).await)
    }

    #[tool(description = "Calls an upstream that accepts only its own valid API keys")]
    async fn quote(
        &self,
        secrets: Secrets<App>,
        claims: Claims,
    ) -> Result<rmcp::Json<Seen>, ErrorData> {
        let answer = secrets.try_each(|app| {
            let is_valid = (self.upstream)(&app.api_key);
            async move {
                match is_valid {
                    true => Ok(()),
                    false => Err(Attempt::Unauthenticated(std::io::Error::other("refused"))),
                }
            }
        });
        match answer.await {
            Ok(()) => Ok(rmcp::Json(Seen::new(&secrets, &claims))),
            Err(refusal) => Err(ErrorData::internal_error(refusal.to_string(), None)),
        }
    }
}

#[tool_handler(router = self.router)]
impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}
