//! A real, certified OpenID provider whose keys rotate: npm's `oidc-provider`, in `tests/oidc_provider`.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tower_secrets::{
    JwtKey, JwtRotationLayer, Keyring,
    event::Event,
    refresh::Trigger,
    source::{Jwks, Stage},
};

use crate::{ask_layer, builder, left_out::needed};

const ALGORITHMS: [&str; 4] = ["RS256", "PS256", "ES256", "EdDSA"];

/// For a process to start, or to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder into which `tests/run` has put it, with its packages.
fn folder() -> Option<PathBuf> {
    let test = "a test against a real OpenID provider";
    needed("TOWER_SECRETS_OIDC_PROVIDER", test).map(PathBuf::from)
}

struct Provider {
    issuer: String,
    orders: ChildStdin,
    answers: mpsc::UnboundedReceiver<String>,
    client: reqwest::Client,
    process: Child,
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Provider {
    async fn start(folder: PathBuf) -> Self {
        let mut process = Command::new("node")
            .arg(folder.join("provider.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node is needed");
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (told, answers) = mpsc::unbounded_channel();
        // Ends with the process.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = told.send(line);
            }
        });
        let mut provider = Self {
            issuer: String::new(),
            orders: process.stdin.take().unwrap(),
            answers,
            client: reqwest::Client::new(),
            process,
        };
        provider.issuer = provider.answer("issuer ").await;
        provider
    }

    async fn answer(&mut self, prefix: &str) -> String {
        let answered = async {
            loop {
                let line = self.answers.recv().await.expect("the provider has ended");
                if let Some(rest) = line.strip_prefix(prefix) {
                    return rest.to_owned();
                }
            }
        };
        timeout(PATIENCE, answered)
            .await
            .expect("no answer in time")
    }

    /// Has its keys changed; tells which there are.
    async fn order(&mut self, order: &str) -> Vec<String> {
        writeln!(self.orders, "{order}").unwrap();
        let keys = self.answer("keys ").await;
        keys.split(' ').map(str::to_owned).collect()
    }

    /// An access token by the client credentials grant.
    async fn token(&self, algorithm: &str) -> String {
        token(&self.client, &self.issuer, algorithm).await
    }

    async fn tokens(&self) -> Vec<String> {
        let mut tokens = Vec::new();
        for algorithm in ALGORITHMS {
            tokens.push(self.token(algorithm).await);
        }
        tokens
    }
}

async fn token(client: &reqwest::Client, issuer: &str, algorithm: &str) -> String {
    let form = format!(
        "grant_type=client_credentials&client_id=client&client_secret=the+secret+of+a+test\
         &scope=tools%3Aread&resource=https%3A%2F%2Fmcp.example%2F{algorithm}"
    );
    let response = client
        .post(format!("{issuer}/token"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .unwrap();
    let answer: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    answer["access_token"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"))
        .to_owned()
}

fn layer(keyring: &Keyring<JwtKey>, issuer: &str) -> JwtRotationLayer<JwtKey> {
    JwtRotationLayer::new(keyring.clone())
        .issuer(issuer)
        .audience("https://mcp.example")
        .require_type("at+jwt")
        .access_tokens_only()
}

#[tokio::test]
async fn its_keys_rotate_in_all_algorithms() {
    let Some(folder) = folder() else { return };
    let mut provider = Provider::start(folder).await;
    let keyring = builder(Jwks::discover(&provider.issuer))
        .build()
        .await
        .unwrap();
    let mut events = keyring.subscribe();
    let layer = layer(&keyring, &provider.issuer);
    let first = provider.tokens().await;
    for token in &first {
        assert_eq!(ask_layer(&layer, token).await, Ok(Stage::Current));
    }

    assert_eq!(provider.order("add").await.len(), 8);
    let second = provider.tokens().await;
    for token in first.iter().chain(&second) {
        assert_eq!(
            ask_layer(&layer, token).await,
            Ok(Stage::Current),
            "fetched at its first token"
        );
    }

    assert_eq!(provider.order("withdraw").await.len(), 4);
    keyring.refresh().await.unwrap();
    for (old, new) in first.iter().zip(&second) {
        assert!(ask_layer(&layer, old).await.is_err());
        assert_eq!(ask_layer(&layer, new).await, Ok(Stage::Current));
    }

    keyring.shutdown().await;
    drop((layer, keyring));
    let mut by_trigger = Vec::new();
    while let Some(event) = events.next().await {
        if let Event::Reloaded { trigger, .. } = event {
            by_trigger.push(trigger);
        }
    }
    assert_eq!(
        by_trigger,
        [Trigger::UnknownKey, Trigger::Manual],
        "one refresh for four keys"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_they_rotate() {
    const ROTATIONS: usize = 5;
    const CALLS_BETWEEN: usize = 20;

    let Some(folder) = folder() else { return };
    let mut provider = Provider::start(folder).await;
    let policy = tower_secrets::UnknownKey::new().cool_down(Duration::ZERO);
    let keyring = builder(Jwks::discover(&provider.issuer))
        .refresh_on_unknown_key(policy)
        .build()
        .await
        .unwrap();
    let layer = layer(&keyring, &provider.issuer);
    let calls = watch::Sender::new(0);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = ALGORITHMS
        .map(|algorithm| {
            let (layer, issuer) = (layer.clone(), provider.issuer.clone());
            let client = provider.client.clone();
            let (calls, stop) = (calls.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Acquire) {
                    let token = token(&client, &issuer, algorithm).await;
                    let answer = ask_layer(&layer, &token).await;
                    assert_eq!(answer, Ok(Stage::Current), "{algorithm}");
                    calls.send_modify(|calls| *calls += 1);
                }
            })
        })
        .into();
    for _ in 0..ROTATIONS {
        let enough = *calls.borrow() + CALLS_BETWEEN;
        let mut counted = calls.subscribe();
        let reached = counted.wait_for(|calls| *calls >= enough);
        timeout(PATIENCE, reached)
            .await
            .expect("a client has failed")
            .unwrap();
        provider.order("add").await;
    }
    stop.store(true, Ordering::Release);
    for client in clients {
        client.await.unwrap();
    }
    println!("{} calls, none failed", *calls.borrow());
}
