//! The service: its bundle of secrets, its keyring, its routes.

use std::{sync::Arc, time::Duration};

use axum::{Json, Router, routing::get};
use rmcp::{
    schemars,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_secrets::{
    BuildError, Claims, JwtKey, JwtRotationLayer, Keyring, RegisteredClaims, Secrets,
    layer::TextBody,
    source::{Source, Stage},
};

use crate::{tools::Tools, upstream::Upstream};

/// How long open requests may go on after the server was told to end.
const GRACE: Duration = Duration::from_secs(3);

/// What `current.json` and its siblings hold.
#[derive(Deserialize)]
pub(crate) struct App {
    pub(crate) jwt_secret: JwtKey,
    pub(crate) api_key: String,
    pub(crate) db_password: String,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Settings {
    /// Who must have issued a token; not checked unless given
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: Option<String>,
    /// Take the keys from the issuer, which is asked for them, and none from the secrets
    #[cfg(feature = "jwks")]
    #[arg(long, requires_all = ["issuer", "audience"])]
    pub(crate) jwks: bool,
    /// For whom a token must be; not checked unless given
    #[arg(long, value_name = "URL")]
    pub(crate) audience: Option<String>,
    /// How often the secrets are read, whatever else asks for it
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) refresh_every: Duration,
    /// How long a replaced key stays trusted
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    pub(crate) overlap: Duration,
    /// How long the printed tokens are good
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    pub(crate) token_ttl: Duration,
    /// For one of several servers over the same secrets: how long a new key waits before it signs, so that
    /// all of them know it; as long as --refresh-every. By default it signs at once
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) activation_delay: Option<Duration>,
    /// How far the clocks of issuer and server may be apart
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) leeway: Duration,
}

pub(crate) async fn keyring(
    source: impl Source,
    settings: &Settings,
    upstream: Upstream,
) -> Result<Keyring<App>, BuildError> {
    let mut builder = Keyring::<App>::builder(source);
    builder = match settings.activation_delay {
        Some(delay) => builder
            .activation_delay(delay)
            .token_lifetime(settings.token_ttl),
        None => builder.activation_delay(Duration::ZERO),
    };
    builder
        .refresh_every(settings.refresh_every)
        .overlap(settings.overlap)
        .jwt_key(|app| &app.jwt_secret)
        .probe("api_key", move |app: Arc<App>| {
            let upstream = upstream.clone();
            async move { upstream.check(&app.api_key).await }
        })
        .reload_on_sighup()
        .build()
        .await
}

/// The issuer's keys, where they are not ours.
#[cfg(feature = "jwks")]
pub(crate) async fn identity_provider(
    settings: &Settings,
) -> Result<Option<tower_secrets::layer::Issuer>, BuildError> {
    use tower_secrets::{layer::Issuer, source::Jwks};

    let Some(issuer) = settings.issuer.as_ref().filter(|_| settings.jwks) else {
        return Ok(None);
    };
    let keyring = Keyring::<JwtKey>::builder(Jwks::discover(issuer))
        .refresh_every(settings.refresh_every)
        .overlap(settings.overlap)
        .jwt_key(|keys| keys)
        .reload_on_sighup()
        .build()
        .await?;
    let trusted = Issuer::new(issuer, keyring).leeway(settings.leeway);
    Ok(Some(match &settings.audience {
        Some(audience) => trusted.audience(audience),
        None => trusted,
    }))
}

type TokenLayer = JwtRotationLayer<App, RegisteredClaims, TextBody>;

/// The layer that verifies tokens.
pub(crate) async fn layer(
    keyring: Keyring<App>,
    settings: &Settings,
) -> Result<TokenLayer, BuildError> {
    let mut layer = JwtRotationLayer::new(keyring)
        .leeway(settings.leeway)
        .respond_with(TextBody);
    #[cfg(feature = "jwks")]
    if let Some(provider) = identity_provider(settings).await? {
        return Ok(layer.trust(provider));
    }
    if let Some(issuer) = &settings.issuer {
        layer = layer.issuer(issuer);
    }
    if let Some(audience) = &settings.audience {
        layer = layer.audience(audience);
    }
    Ok(layer)
}

/// What the printed tokens claim.
pub(crate) fn claims(settings: &Settings, subject: &str) -> RegisteredClaims {
    let now = std::time::SystemTime::now();
    let mut claims = RegisteredClaims::new(subject)
        .issued_at(now)
        .expires_at(now + settings.token_ttl);
    if let Some(issuer) = &settings.issuer {
        claims = claims.issuer(issuer);
    }
    if let Some(audience) = &settings.audience {
        claims = claims.audience(audience);
    }
    claims
}

/// Serves until `stop` is cancelled; then open streams are ended and the keyring with them.
pub(crate) async fn serve(
    listener: TcpListener,
    keyring: Keyring<App>,
    layer: TokenLayer,
    upstream: Upstream,
    stop: CancellationToken,
) -> std::io::Result<()> {
    use axum::serve::ListenerExt;

    let routes = routes(layer, upstream, &stop);
    // Without it, an event stream's small writes wait for the peer's delayed acknowledgement.
    let listener = listener.tap_io(|socket| {
        let _ = socket.set_nodelay(true);
    });
    let server =
        axum::serve(listener, routes).with_graceful_shutdown(stop.clone().cancelled_owned());
    let out_of_grace = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    let result = tokio::select! {
        result = async { server.await } => result,
        () = out_of_grace => Ok(()),
    };
    keyring.shutdown().await;
    result
}

fn routes(layer: TokenLayer, upstream: Upstream, stop: &CancellationToken) -> Router {
    let tools = Tools::new(upstream);
    // Its defaults: sessions for clients up to 2025-11-25, none on the wire of 2026-07-28.
    let config = StreamableHttpServerConfig::default().with_cancellation_token(stop.child_token());
    let mcp = StreamableHttpService::new(
        move || Ok(tools.clone()),
        Arc::new(LocalSessionManager::default()),
        config,
    );
    Router::new()
        .nest_service("/mcp", mcp)
        .route("/whoami", get(whoami))
        // Below the layer; what is added after it needs no token.
        .layer(layer)
        .route("/healthz", get(async || "ok\n"))
}

async fn whoami(secrets: Secrets<App>, claims: Claims) -> Json<WhoAmI> {
    Json(WhoAmI::new(&secrets, &claims))
}

#[derive(Debug, Deserialize, Serialize, schemars::JsonSchema)]
pub(crate) struct WhoAmI {
    /// Whom the token is about
    pub(crate) sub: Option<String>,
    /// The version of the secrets that this call uses
    pub(crate) version: String,
    /// Which key verified the token: current, previous or pending
    pub(crate) stage: String,
    /// The version of the secrets that this key is from
    pub(crate) key_version: String,
    /// Counts the snapshots of this process
    pub(crate) generation: u64,
}

impl WhoAmI {
    pub(crate) fn new(secrets: &Secrets<App>, claims: &Claims) -> Self {
        let stage: Stage = claims.stage();
        Self {
            sub: claims.sub().map(str::to_owned),
            version: secrets.version().to_string(),
            stage: stage.to_string(),
            key_version: claims.version().to_string(),
            generation: secrets.generation(),
        }
    }
}
