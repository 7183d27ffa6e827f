//! The course of the run: server, clients, rotations, table.

use std::{
    error::Error,
    path::Path,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use clap::Parser;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tower_secrets::{
    Keyring,
    event::{Event, Events},
    source::File,
};

use crate::{
    app::{self, App, Settings},
    client::Client,
    operator::{self, Bundle, Truth},
    tally::Tally,
    upstream::Upstream,
    wallet::{Renewal, Token, Wallet},
};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// MCP clients keep calling a server while its secrets rotate
#[derive(Debug, Parser)]
struct Arguments {
    /// How long the rotations take in all
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// How often the secrets rotate in this time, at least 10
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(10..=99))]
    rotations: u32,
    /// How many clients call at the same time
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,
}

/// What a rotation is to show. All others change every field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    /// The signing key stays: nobody needs a new token.
    SameKey,
    /// The upstream refuses the old API key at once, before this server has the new one.
    Withdrawn,
    /// The upstream does not accept the new API key: the bundle must be refused.
    Bad,
    /// The old key is revoked right after.
    Breach,
}

impl Kind {
    fn of(number: u32, rotations: u32) -> Self {
        match number {
            n if n == rotations / 5 => Self::SameKey,
            n if n == rotations * 2 / 5 => Self::Bad,
            n if n == rotations * 3 / 5 => Self::Withdrawn,
            n if n == rotations * 4 / 5 => Self::Breach,
            _ => Self::Plain,
        }
    }

    fn remark(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::SameKey => ", the signing key stays",
            Self::Withdrawn => ", the upstream withdrew the old API key at once",
            Self::Bad => ", a bad API key",
            Self::Breach => ", and the old key was revoked",
        }
    }
}

#[tokio::main]
pub(crate) async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("live_rotation: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    let settings = Settings {
        issuer: Some("https://login.example".to_owned()),
        #[cfg(feature = "jwks")]
        jwks: false,
        audience: Some("https://mcp.example".to_owned()),
        public_url: None,
        toy_authorization_server: false,
        refresh_every: Duration::from_secs(1),
        overlap: Duration::from_secs(60),
        token_ttl: Duration::from_secs(600),
        activation_delay: None,
        leeway: Duration::from_secs(5),
    };
    let (truth, tally) = (Truth::default(), Tally::default());
    let directory = tempfile::tempdir()?;
    let first = Bundle::first()?;
    truth.will_write(&first);
    operator::write(directory.path(), &first, None)?;

    let upstream = Upstream::new({
        let truth = truth.clone();
        move |api_key| truth.accepts(api_key)
    });
    // A slow watch, so that the timer finds some of the changes first.
    let source = File::new(directory.path()).debounce(Duration::from_millis(400));
    let keyring = app::keyring(source, &settings, upstream.clone()).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    println!("server on {origin}");

    let stop_server = CancellationToken::new();
    let server = tokio::spawn({
        let (keyring, stop) = (keyring.clone(), stop_server.clone());
        let provider = app::identity_provider(&settings).await?;
        let routes = app::routes(
            keyring.clone(),
            provider,
            &settings,
            &origin,
            upstream,
            &stop,
        )?;
        async move { app::serve(listener, routes, keyring, stop).await }
    });

    let mut run = Run {
        events: keyring.subscribe(),
        keyring,
        settings,
        start: Instant::now(),
        interval: Duration::from_secs(arguments.seconds.into()) / arguments.rotations,
        tokens: watch::Sender::new(Token {
            jwt: String::new(),
            key: 0,
            minted: Instant::now(),
        }),
        http: reqwest::Client::builder().no_proxy().build()?,
        whoami: format!("{origin}/whoami"),
        origin: origin.clone(),
        truth,
        tally,
        current: first,
        previous: None,
    };
    run.mint()?;
    let stop_clients = CancellationToken::new();
    let mut clients = run
        .start_clients(&origin, arguments.clients, &stop_clients)
        .await?;
    for number in 1..=arguments.rotations {
        run.rotate(directory.path(), number, arguments.rotations)
            .await?;
    }
    stop_clients.cancel();
    while let Some(ended) = clients.join_next().await {
        ended?;
    }
    stop_server.cancel();
    server.await??;

    let seen = run.tally.seen();
    println!("\n{seen}");
    let least = 2_500 * arguments.seconds.min(30) as usize / 30;
    let faults = seen.faults(least, arguments.rotations as usize - 1);
    for fault in &faults {
        eprintln!("live_rotation: FAILED: {fault}");
    }
    Ok(if faults.is_empty() {
        println!("no call noticed");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Run {
    keyring: Keyring<App>,
    events: Events,
    settings: Settings,
    start: Instant,
    interval: Duration,
    tokens: watch::Sender<Token>,
    http: reqwest::Client,
    whoami: String,
    origin: String,
    truth: Truth,
    tally: Tally,
    current: Bundle,
    previous: Option<Bundle>,
}

impl Run {
    /// Every client of its own: half of them legacy, and each with its own way to renew tokens.
    async fn start_clients(
        &mut self,
        origin: &str,
        count: u32,
        stop: &CancellationToken,
    ) -> Result<JoinSet<()>> {
        let mut clients = JoinSet::new();
        for number in 0..count {
            let renewal = match number % 10 {
                9 => Renewal::WhenRefused,
                tenth => Renewal::After(self.interval / 10 * tenth),
            };
            let (truth, tally) = (self.truth.clone(), self.tally.clone());
            let tokens = self.tokens.subscribe();
            let wallet = Wallet::new(tokens, renewal, truth.clone(), tally.clone())?;
            let uri = format!("{origin}/mcp");
            let client = Client::connect(uri, wallet, number % 2 == 0, truth, tally).await?;
            clients.spawn(client.run(stop.clone()));
        }
        println!("{count} clients are connected, half of them with a session");
        self.start = Instant::now();
        Ok(clients)
    }

    fn mint(&self) -> Result<()> {
        let claims = app::claims(&self.settings, &self.origin, "live");
        self.tokens.send_replace(Token {
            jwt: self.keyring.signer().sign(&claims)?,
            key: self.current.key,
            minted: Instant::now(),
        });
        Ok(())
    }

    async fn rotate(&mut self, mount: &Path, number: u32, rotations: u32) -> Result<()> {
        let kind = Kind::of(number, rotations);
        let next = match kind {
            Kind::SameKey => self.current.next_with_same_key(number as usize)?,
            _ => self.current.next(number as usize)?,
        };
        if kind != Kind::Bad {
            self.truth.will_write(&next);
        }
        let written = Instant::now();
        operator::write(mount, &next, Some(&self.current))?;
        if kind == Kind::Withdrawn {
            self.truth.withdraw(&self.current.api_key);
        }
        if number % 3 == 1 {
            hang_up()?;
        }
        let outcome = if kind == Kind::Bad {
            self.expect_refusal(&next).await?
        } else {
            self.expect_swap(next, kind).await?
        };
        let (calls, failures) = (self.tally.calls(), self.tally.failures());
        println!(
            "{:5.1} s  r{number:02}{}: {outcome} after {:3} ms; {calls} calls, {failures} failures",
            self.start.elapsed().as_secs_f32(),
            kind.remark(),
            written.elapsed().as_millis(),
        );
        // Not in step with the timer, or it would never be the first to see a change.
        let uneven = self.interval.mul_f64(0.6 * fastrand::f64());
        let next = self.start + self.interval * number;
        tokio::time::sleep_until((next + uneven).into()).await;
        Ok(())
    }

    async fn expect_swap(&mut self, next: Bundle, kind: Kind) -> Result<String> {
        let trigger = loop {
            if let Event::Reloaded {
                version, trigger, ..
            } = self.event().await?
                && version.as_str() == next.version
            {
                break trigger;
            }
        };
        self.tally.swap(trigger.as_str());
        self.truth.is_in_use(&next);
        let replaced = std::mem::replace(&mut self.current, next);
        let older = self.previous.replace(replaced);
        if let Some(older) = older {
            self.truth.withdraw(&older.api_key);
        }
        let old_token = self.tokens.borrow().jwt.clone();
        self.mint()?;
        if kind == Kind::Breach {
            self.breach(&old_token).await?;
        }
        Ok(format!("in use, by {trigger},"))
    }

    async fn expect_refusal(&mut self, bad: &Bundle) -> Result<String> {
        let before = self.keyring.current();
        loop {
            match self.event().await? {
                Event::ReloadFailed(error) if error.probe_name() == Some("api_key") => {
                    let version = error.version().map(|version| version.as_str());
                    if version != Some(bad.version.as_str()) {
                        self.tally.failure("another bundle refused");
                    }
                    break;
                }
                Event::Reloaded { .. } => self.tally.failure("the bad bundle came into use"),
                _ => {}
            }
        }
        self.tally.refused_bundle();
        let after = self.keyring.current();
        if (after.generation(), after.version()) != (before.generation(), before.version()) {
            self.tally
                .failure("a refused bundle changed the generation");
        }
        Ok("refused by the probe".to_owned())
    }

    /// The old key leaked: from the moment of `revoke_previous` on, its tokens are refused.
    async fn breach(&self, old_token: &str) -> Result<()> {
        let Some(old) = &self.previous else {
            return Err("there is no previous key to revoke".into());
        };
        if self.status_with(old_token).await? != 200 {
            self.tally.failure("previous key refused before the breach");
        }
        self.truth.revoking(old.key);
        self.keyring.revoke_previous();
        self.truth.revoked(old.key);
        for _ in 0..20 {
            match self.status_with(old_token).await? {
                401 => self.tally.breach_refusal(),
                _ => self.tally.failure("revoked token accepted"),
            }
        }
        let new_token = self.tokens.borrow().jwt.clone();
        if self.status_with(&new_token).await? != 200 {
            self.tally.failure("current key refused after the breach");
        }
        Ok(())
    }

    async fn status_with(&self, token: &str) -> Result<u16> {
        let request = self.http.get(&self.whoami).bearer_auth(token);
        Ok(request.send().await?.status().as_u16())
    }

    async fn event(&mut self) -> Result<Event> {
        let next = tokio::time::timeout(Duration::from_secs(10), self.events.next());
        match next.await {
            Ok(Some(event)) => Ok(event),
            Ok(None) => Err("the keyring ended".into()),
            Err(_) => Err("nothing happened for 10 s after a rotation".into()),
        }
    }
}

/// A real `kill -HUP` to this process.
fn hang_up() -> Result<()> {
    let id = std::process::id().to_string();
    let status = Command::new("kill").args(["-HUP", &id]).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("kill: {status}").into())
    }
}
