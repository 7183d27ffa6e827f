//! An MCP server whose secrets rotate while it runs. They are in a directory, with the feature
//! `aws` and `--aws-secret NAME` in AWS Secrets Manager, or with the feature `vault` and
//! `--vault-secret PATH` in Vault or OpenBao.
//!
//! ```sh
//! cargo run --example mcp_server --features file,axum,rmcp
//! ```
//!
//! It prints what to type next. The way of a secret: [`store`] (where it is), [`directory`] (the
//! files), [`app`] (the keyring, the layers, the routes), [`tools`] (arguments of MCP tools),
//! [`upstream`] (who is called with the API key). With `--toy-authorization-server`, [`authorization_server`]
//! gives out tokens. With the feature `admin`, `mcp_server reload --socket PATH` asks a server that was started with
//! that `--socket` to reload.

use std::{
    error::Error,
    fmt::Display,
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
};

use clap::Parser;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_secrets::{
    Keyring,
    event::{Event, Events},
};

mod app;
mod authorization_server;
mod directory;
#[cfg(all(unix, feature = "admin"))]
mod reload;
mod store;
mod tools;
mod upstream;

use app::{App, Settings};
use authorization_server::AuthorizationServer;
use store::{Place, Store};
use upstream::Upstream;

/// An MCP server whose secrets rotate while it runs
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[cfg(all(unix, feature = "admin"))]
    #[command(subcommand)]
    order: Option<reload::Order>,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the operator's page is, such as 127.0.0.1:9090; none unless given
    #[cfg(feature = "admin")]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// A Unix socket for this user alone, over which `mcp_server reload` asks for a reload; none unless given
    #[cfg(all(unix, feature = "admin"))]
    #[arg(long, value_name = "PATH")]
    socket: Option<std::path::PathBuf>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    settings: Settings,
}

#[tokio::main]
async fn main() -> ExitCode {
    log_to_stderr();
    let arguments = Arguments::parse();
    #[cfg(all(unix, feature = "admin"))]
    if let Some(order) = arguments.order {
        return order.follow().await;
    }
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mcp_server: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let settings = arguments.settings;
    let store = Store::open(arguments.place)?;
    let upstream = Upstream::new(store.upstream());
    let ended = end_of_service()?;
    let keyring = app::keyring(store.source().await, &settings, upstream.clone()).await?;
    let provider = app::identity_provider(&settings).await?;
    let events = keyring.subscribe();
    let listener = TcpListener::bind(arguments.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", arguments.listen))?;

    let origin = format!("http://{}", listener.local_addr()?);
    say(format_args!("listening on {origin}"));
    if let Some(path) = store.made_for_this_run() {
        say(format_args!(
            "secrets in {}: made for this run, removed at its end",
            path.display()
        ));
    }
    #[cfg(feature = "admin")]
    {
        let mut page = tower_secrets::admin::Admin::new().keyring("app", &keyring);
        if let Some(provider) = &provider {
            page = page.keyring("issuer", &provider.keyring);
        }
        #[cfg(unix)]
        if let Some(path) = arguments.socket {
            let socket = page.clone().bind_unix(path).await?;
            say(format_args!("reloads over {}", socket.path().display()));
            tokio::spawn(socket.serve());
        }
        if let Some(address) = arguments.admin {
            let page = page.bind(address).await?;
            say(format_args!(
                "operator's page on http://{}",
                page.local_addr()?
            ));
            tokio::spawn(page.serve());
        }
    }
    let stop = CancellationToken::new();
    let mut routes = app::routes(
        keyring.clone(),
        provider,
        &settings,
        &origin,
        upstream,
        &stop,
    )?;
    let printer = Printer {
        keyring: keyring.clone(),
        settings: settings.clone(),
        origin: origin.clone(),
    };
    say(printer.welcome(&store));
    if settings.toy_authorization_server {
        let resource = settings.resource(&origin);
        let issuer = settings.public_origin(&origin);
        let server = AuthorizationServer::new(issuer, resource, keyring.signer(), settings)?;
        say(server.how_to_use());
        // This way round: of two routers the fallback of the second stays, and the layer answers for the
        // metadata document there.
        routes = server.routes().merge(routes);
    }
    tokio::spawn(printer.follow(events));
    tokio::spawn({
        let stop = stop.clone();
        async move {
            ended.await;
            stop.cancel();
        }
    });
    app::serve(listener, routes, keyring, stop).await?;
    say("ended");
    Ok(())
}

/// Resolves at Ctrl-C or SIGTERM. The handlers stand when this returns.
fn end_of_service() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

/// What the keyring tells, and warnings of everything else.
fn log_to_stderr() {
    use tracing_subscriber::{
        Layer, filter::Targets, fmt::layer, layer::SubscriberExt, registry, util::SubscriberInitExt,
    };

    let targets = Targets::new()
        .with_default(tracing::Level::WARN)
        .with_target("tower_secrets", tracing::Level::INFO);
    let to_stderr = layer().with_writer(io::stderr).with_filter(targets);
    registry().with(to_stderr).init();
}

/// Prints what can be typed next.
struct Printer {
    keyring: Keyring<App>,
    settings: Settings,
    origin: String,
}

impl Printer {
    /// Tells of each reload, with a token of the new key: scripts can follow.
    async fn follow(self, mut events: Events) {
        while let Some(event) = events.next().await {
            match event {
                Event::Reloaded {
                    generation,
                    version,
                    ..
                } => {
                    say(format_args!(
                        "reloaded: generation {generation}, version {version}"
                    ));
                    say(self.token_line());
                }
                Event::ReloadFailed(error) | Event::ReloadError(error) => {
                    say(format_args!("not reloaded: {error}"));
                }
                _ => {}
            }
        }
    }

    fn token(&self) -> Result<String, String> {
        #[cfg(feature = "jwks")]
        if self.settings.jwks {
            return Err("the keys are the issuer's".to_owned());
        }
        let claims = app::claims(&self.settings, &self.origin, "alice");
        let token = self.keyring.signer().sign(&claims);
        token.map_err(|error| error.to_string())
    }

    fn token_line(&self) -> String {
        match self.token() {
            Ok(token) => format!("token: {token}"),
            Err(error) => format!("no token: {error}; bring one that your issuer has signed"),
        }
    }

    fn welcome(&self, store: &Store) -> impl Display {
        let token_line = self.token_line();
        let token = self.token().unwrap_or_else(|_| "TOKEN".to_owned());
        let origin = &self.origin;
        let rotate = store.how_to_rotate();
        let id = std::process::id();
        format!(
            r#"{token_line}

Call it, in another terminal:
  curl -H 'Authorization: Bearer {token}' {origin}/whoami

Call a tool (Node 22 or newer):
  npx @modelcontextprotocol/inspector --cli {origin}/mcp --transport http \
    --header 'Authorization: Bearer {token}' --method tools/call --tool-name quote

{rotate}
Ask for a reload:
  kill -HUP {id}
A new api_key that begins with "bad" is refused by the upstream, so the old bundle stays.
"#
        )
    }
}

/// A reader that has gone away, such as `head`, is no reason to end.
fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}
