//! The service: its bundle of secrets, its keyring, its routes.

use std::{error::Error, sync::Arc, time::Duration};

use axum::{Json, Router, http::Uri, routing::get};
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
    layer::{Issuer, McpBody, ResourceMetadata},
    mcp::{McpLayer, ScopePolicy, ScopesLayer},
    source::{Source, Stage},
};

use crate::{tools::Tools, upstream::Upstream};

/// What a token may be granted here, the least first: to call at all, and to call the tool `quote`, which costs
/// money upstream.
pub(crate) const SCOPES: [&str; 2] = ["tools", "quotes"];

/// How long open requests may go on after the server was told to end.
const GRACE: Duration = Duration::from_secs(3);

/// How long after that event streams, which end no sooner, are ended; and with them the calls under way.
const STREAMS_END_AFTER: Duration = Duration::from_secs(2);

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
    /// The URL by which clients call this server, if it is not the address it listens on
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// Give out tokens too, to a client with a secret that is printed: to try out how clients find their way.
    /// Not for use
    #[arg(long, conflicts_with = "issuer")]
    pub(crate) toy_authorization_server: bool,
    /// Take the keys from the issuer, which is asked for them, and none from the secrets
    #[cfg(feature = "jwks")]
    #[arg(long, requires_all = ["issuer", "audience"])]
    pub(crate) jwks: bool,
    /// For whom a token must be, if not for the URL of this server; without an issuer it is not checked
    /// unless given
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
    /// all of them know it: --refresh-every and 40 s. By default it signs at once
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) activation_delay: Option<Duration>,
    /// How far the clocks of issuer and server may be apart
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) leeway: Duration,
}

impl Settings {
    /// The URL of the MCP server, as its clients write it.
    pub(crate) fn resource(&self, origin: &str) -> String {
        let own = || format!("{origin}/mcp");
        self.public_url.clone().unwrap_or_else(own)
    }

    /// The origin of that URL. Several servers behind one URL are one to their clients, and the tokens
    /// that each gives out are good at all of them.
    pub(crate) fn public_origin(&self, origin: &str) -> String {
        let public = self.public_url.as_ref().and_then(|url| {
            let url = url.parse::<Uri>().ok()?;
            Some(format!("{}://{}", url.scheme_str()?, url.authority()?))
        });
        public.unwrap_or_else(|| origin.to_owned())
    }

    /// Who gives out the tokens, where that is known.
    fn token_issuer(&self, origin: &str) -> Option<String> {
        let toy = self.toy_authorization_server;
        let toy = toy.then(|| self.public_origin(origin));
        toy.or_else(|| self.issuer.clone())
    }
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

/// The issuer's keys, where they are not ours, and what its tokens must be.
pub(crate) struct IdentityProvider {
    #[allow(dead_code, reason = "the operator's page alone shows it")]
    pub(crate) keyring: Keyring<JwtKey>,
    trusted: Issuer,
}

#[cfg(not(feature = "jwks"))]
pub(crate) async fn identity_provider(
    _: &Settings,
) -> Result<Option<IdentityProvider>, BuildError> {
    Ok(None)
}

#[cfg(feature = "jwks")]
pub(crate) async fn identity_provider(
    settings: &Settings,
) -> Result<Option<IdentityProvider>, BuildError> {
    use tower_secrets::source::Jwks;

    let Some(issuer) = settings.issuer.as_ref().filter(|_| settings.jwks) else {
        return Ok(None);
    };
    let keyring = Keyring::<JwtKey>::builder(Jwks::discover(issuer))
        .refresh_every(settings.refresh_every)
        .overlap(settings.overlap)
        // Nobody here signs with them.
        .activation_delay(Duration::ZERO)
        .jwt_key(|keys| keys)
        .reload_on_sighup()
        .build()
        .await?;
    let mut trusted = Issuer::new(issuer, keyring.clone()).leeway(settings.leeway);
    if let Some(audience) = &settings.audience {
        trusted = trusted.audience(audience);
    }
    Ok(Some(IdentityProvider { keyring, trusted }))
}

/// What the printed tokens claim.
pub(crate) fn claims(settings: &Settings, origin: &str, subject: &str) -> RegisteredClaims {
    let now = std::time::SystemTime::now();
    let mut claims = RegisteredClaims::new(subject)
        .issued_at(now)
        .expires_at(now + settings.token_ttl)
        .granting(SCOPES.join(" "));
    if let Some(issuer) = settings.token_issuer(origin) {
        let audience = settings.audience.clone();
        claims = claims
            .issuer(issuer)
            .audience(audience.unwrap_or_else(|| settings.resource(origin)));
    } else if let Some(audience) = &settings.audience {
        claims = claims.audience(audience);
    }
    claims
}

/// All routes: those below the layer, and those that need no token.
pub(crate) fn routes(
    keyring: Keyring<App>,
    provider: Option<IdentityProvider>,
    settings: &Settings,
    origin: &str,
    upstream: Upstream,
    stop: &CancellationToken,
) -> Result<Router, Box<dyn Error>> {
    let mut tokens = JwtRotationLayer::new(keyring)
        .leeway(settings.leeway)
        .respond_with(McpBody);
    let mut scopes = ScopePolicy::new();
    if let Some(audience) = &settings.audience {
        tokens = tokens.audience(audience);
    }
    if settings.toy_authorization_server {
        let issuer = settings.public_origin(origin);
        tokens = tokens.issuer(issuer).required_scopes([SCOPES[0]])?;
        scopes = scopes.tool("quote", SCOPES);
    }
    tokens = match provider {
        Some(provider) => tokens.trust(provider.trusted),
        None => match &settings.issuer {
            Some(issuer) => tokens.issuer(issuer),
            None => tokens,
        },
    };
    let protected = Router::new()
        .nest_service("/mcp", mcp_service(settings, upstream, stop))
        .layer(McpLayer::new().scopes(ScopesLayer::new(scopes)?))
        .route("/whoami", get(whoami));
    let protected = match settings.token_issuer(origin) {
        Some(issuer) => {
            let metadata = ResourceMetadata::new(settings.resource(origin))
                .authorization_server(issuer)
                .scopes(settings.toy_authorization_server.then_some(SCOPES[0]));
            protected.layer(tokens.resource_metadata(metadata)?)
        }
        None => protected.layer(tokens),
    };
    // Outside of the layer: it needs no token.
    Ok(protected.route("/healthz", get(async || "ok\n")))
}

fn mcp_service(
    settings: &Settings,
    upstream: Upstream,
    stop: &CancellationToken,
) -> StreamableHttpService<Tools, LocalSessionManager> {
    let tools = Tools::new(upstream);
    // By default there are sessions for clients up to 2025-11-25, none on the wire of 2026-07-28, and only
    // `Host`s of this machine are let in. No web page is.
    let mut config = StreamableHttpServerConfig::default()
        .enforce_origin_validation()
        .with_cancellation_token(later(stop));
    let public = settings.public_url.as_deref();
    let host = public.and_then(|url| url.parse::<Uri>().ok()?.host().map(str::to_owned));
    config.allowed_hosts.extend(host);
    StreamableHttpService::new(
        move || Ok(tools.clone()),
        Arc::new(LocalSessionManager::default()),
        config,
    )
}

/// Cancelled some time after `stop`: rmcp answers a call that it cancels with 500.
fn later(stop: &CancellationToken) -> CancellationToken {
    let (stop, later) = (stop.clone(), CancellationToken::new());
    tokio::spawn({
        let later = later.clone();
        async move {
            stop.cancelled().await;
            tokio::time::sleep(STREAMS_END_AFTER).await;
            later.cancel();
        }
    });
    later
}

/// Serves until `stop` is cancelled; then open streams are ended and the keyring with them.
pub(crate) async fn serve(
    listener: TcpListener,
    routes: Router,
    keyring: Keyring<App>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    use axum::serve::ListenerExt;

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
