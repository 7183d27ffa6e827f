//! The page in headless Chromium, by `tests/admin_browser`: what an operator sees, and how soon.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use axum::Router;
use http::{Request, Response};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::TcpListener,
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};
use tower::{Layer, ServiceExt, service_fn};
use tower_secrets::{
    JwtRotationLayer, Keyring, Probe, RegisteredClaims,
    admin::Admin,
    source::{Combined, Memory},
};

use crate::{
    left_out::needed,
    world::{App, MARK, bundle, keyring},
};

/// What an operator is promised.
const SOON: Duration = Duration::from_secs(2);

/// For a browser to start, or to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder that `tests/beds/browser` makes.
fn folder() -> Option<PathBuf> {
    let folder = needed(
        "TOWER_SECRETS_BROWSER",
        "a test of the operator's page in Chromium",
    );
    folder.map(PathBuf::from)
}

struct Browser {
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Browser {
    async fn start(folder: &Path) -> Self {
        let mut process = Command::new("node")
            .arg(folder.join("look.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node is needed");
        let mut browser = Self {
            orders: process.stdin.take().unwrap(),
            answers: BufReader::new(process.stdout.take().unwrap()).lines(),
            _process: process,
        };
        assert_eq!(browser.answer().await, "ready");
        browser
    }

    async fn answer(&mut self) -> Value {
        let line = timeout(PATIENCE, self.answers.next_line()).await;
        let line = line.expect("the browser answers").unwrap();
        let mut answer: Value = serde_json::from_str(&line.expect("the browser runs")).unwrap();
        let failed = &answer["failed"];
        assert!(
            failed.is_null(),
            "{failed}, on the page:\n{}",
            answer["text"]
        );
        answer["done"].take()
    }

    async fn order(&mut self, order: Value) -> Value {
        let line = format!("{order}\n");
        self.orders.write_all(line.as_bytes()).await.unwrap();
        self.answer().await
    }

    async fn sees(&mut self, text: &str, within: Duration) {
        let within = u64::try_from(within.as_millis()).unwrap();
        self.order(json!({"order": "wait", "text": text, "within": within}))
            .await;
    }

    /// All of these are to be seen no later than two seconds after `begin`.
    async fn sees_soon(&mut self, begin: Instant, texts: &[&str]) {
        for text in texts {
            self.sees(text, SOON).await;
        }
        let took = begin.elapsed();
        assert!(took <= SOON, "{texts:?} took {took:?}");
    }

    /// Light and dark, wide and narrow: nothing to object to in any. The pictures are in `target/tmp`; with
    /// `WRITE_SCREENSHOTS=1` those of the README are made anew.
    async fn judged(&mut self, name: &str) {
        for (width, scheme) in [(800, "light"), (800, "dark"), (360, "light"), (360, "dark")] {
            self.order(json!({"order": "look", "width": width, "height": 480, "scheme": scheme}))
                .await;
            let violations = self.order(json!({"order": "axe"})).await;
            assert_eq!(violations, json!([]), "{name}, {width}, {scheme}");
            let overhang = self.order(json!({"order": "overhang"})).await;
            assert_eq!(overhang, 0, "{name}, {width}");
            let path = format!("{name}-{width}-{scheme}.png");
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(path);
            self.order(json!({"order": "shot", "path": path})).await;
        }
        let is_shown = ["rotation", "refused", "breach"].contains(&name);
        if is_shown && std::env::var_os("WRITE_SCREENSHOTS").is_some() {
            let path =
                Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/admin/{name}.png"));
            self.order(json!({"order": "look", "width": 620, "height": 900, "scheme": "light"}))
                .await;
            self.order(json!({"order": "portrait", "path": path})).await;
        }
        let text = self.order(json!({"order": "text"})).await;
        assert!(!text.as_str().unwrap().contains(MARK), "{text}");
        assert_eq!(self.order(json!({"order": "faults"})).await, json!([]));
    }
}

async fn served(page: Admin) -> String {
    let page = page.bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let url = format!("http://{}/", page.local_addr().unwrap());
    tokio::spawn(page.serve());
    url
}

#[tokio::test]
async fn a_rotation_a_refused_bundle_and_a_breach_are_seen_in_two_seconds() {
    let Some(folder) = folder() else { return };
    let mut browser = Browser::start(&folder).await;
    let (source, app) = keyring().await;
    let other = Memory::new(bundle("partner"));
    let partner = Keyring::<App>::builder(other.clone())
        .build()
        .await
        .unwrap();
    let page = Admin::new()
        .keyring("app", &app)
        .keyring("partner", &partner)
        .allow_revoke();
    let url = served(page).await;
    browser.order(json!({"order": "open", "url": url})).await;
    browser.sees("Nothing to revoke", PATIENCE).await;
    browser.judged("at-rest").await;

    let requests = [app.current(), app.current()];
    source.rotate(bundle("two"));
    app.refresh().await.unwrap();
    let rotated = Instant::now();
    let held = "held 2× by requests";
    browser
        .sees_soon(
            rotated,
            &[
                "Not safe to revoke",
                "version 2 is in use",
                "trusted for 15:",
                held,
            ],
        )
        .await;
    browser.judged("rotation").await;
    drop(requests);

    source.rotate(bundle("bad"));
    app.refresh().await.unwrap_err();
    let refused = Instant::now();
    let why = "version `3` was refused at step probe `api_key`";
    browser
        .sees_soon(refused, &["Version 2 stays in use", why])
        .await;
    browser.judged("refused").await;

    source.rotate(bundle("four"));
    app.refresh().await.unwrap();
    app.revoke(app.current().version());
    let revoked = Instant::now();
    let what_now = "write a new version to the store";
    browser
        .sees_soon(revoked, &["Current is revoked", what_now])
        .await;
    browser.judged("breach").await;

    // The way out, by keyboard: rotate, then cut off what is left of the old one.
    source.rotate(bundle("five"));
    browser
        .order(json!({"order": "press", "label": "Reload app"}))
        .await;
    browser.sees("reload: swapped", PATIENCE).await;
    let focused = browser.order(json!({"order": "focused"})).await;
    assert_eq!(focused, "Reload app");
    browser.sees("Safe to revoke", PATIENCE).await;
    source.rotate(bundle("six"));
    app.refresh().await.unwrap();
    browser.sees("Not safe to revoke", PATIENCE).await;
    browser
        .order(json!({"order": "press", "label": "Revoke previous of app"}))
        .await;
    browser.sees("revoked: ", PATIENCE).await;
    browser.sees("Safe to revoke", PATIENCE).await;
    assert!(app.current().previous().is_none());
    browser.judged("safe").await;
}

#[tokio::test]
async fn tokens_that_outlive_the_window_of_their_key_are_warned_of() {
    let Some(folder) = folder() else { return };
    let mut browser = Browser::start(&folder).await;
    let (source, app) = keyring().await;
    let accept = async |seconds| {
        let later = SystemTime::now() + Duration::from_secs(seconds);
        let claims = RegisteredClaims::new("alice").expires_at(later);
        let token = app.signer().sign(&claims).unwrap();
        let layer = JwtRotationLayer::new(app.clone());
        let service = layer.layer(service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Response::new(()))
        }));
        let request = Request::builder().header("authorization", format!("Bearer {token}"));
        let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
    };
    let url = served(Admin::new().keyring("app", &app)).await;
    accept(600).await;
    source.rotate(bundle("two"));
    app.refresh().await.unwrap();
    browser.order(json!({"order": "open", "url": url})).await;
    browser.sees("; tokens until ", PATIENCE).await;

    // It signs with the old key until all replicas know the new one.
    accept(3_600).await;
    browser.sees(" are cut off", PATIENCE).await;
    app.refresh().await.unwrap();
    browser.sees("version 1: its window ends ", PATIENCE).await;
    browser.judged("cut-off").await;
}

#[tokio::test]
async fn a_guarded_page_asks_for_the_token() {
    let Some(folder) = folder() else { return };
    let mut browser = Browser::start(&folder).await;
    let (_, app) = keyring().await;
    let page = Admin::new().keyring("app", &app);
    let page = page.bearer_token("0123456789abcdef-operator").unwrap();
    let url = served(page).await;
    browser.order(json!({"order": "open", "url": url})).await;
    browser.sees("A token is needed", PATIENCE).await;
    let violations = browser.order(json!({"order": "axe"})).await;
    assert_eq!(violations, json!([]));
    browser
        .order(json!({"order": "type", "text": "0123456789abcdef-operator"}))
        .await;
    browser.sees("Nothing to revoke", PATIENCE).await;
    // Chromium itself reports each 401.
    browser.order(json!({"order": "faults"})).await;
    browser.judged("token").await;
}

/// It is served at `/admin` as well as at `/admin/`, and what it asks for is below either.
#[tokio::test]
async fn nested_it_sends_the_token_to_no_other_route() {
    let Some(folder) = folder() else { return };
    let mut browser = Browser::start(&folder).await;
    let (_, app) = keyring().await;
    let page = Admin::new().keyring("app", &app);
    let page = page.bearer_token("0123456789abcdef-operator").unwrap();
    let strayed = Arc::new(Mutex::new(Vec::new()));
    let strays = strayed.clone();
    let router = Router::new().nest("/admin", page.router()).fallback(
        async move |request: Request<axum::body::Body>| {
            strays.lock().unwrap().push(request.uri().to_string());
        },
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/admin", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await });
    browser.order(json!({"order": "open", "url": url})).await;
    browser.sees("A token is needed", PATIENCE).await;
    browser
        .order(json!({"order": "type", "text": "0123456789abcdef-operator"}))
        .await;
    browser.sees("Nothing to revoke", PATIENCE).await;
    assert_eq!(*strayed.lock().unwrap(), [""; 0]);
}

#[derive(serde::Deserialize)]
struct Parts {
    #[expect(dead_code, reason = "it has to be read")]
    api: Value,
    db: Value,
}

#[tokio::test]
async fn a_part_that_its_probe_refuses_is_told_beside_what_was_swapped_in() {
    let Some(folder) = folder() else { return };
    let (api, db) = (Memory::new("1"), Memory::new("1"));
    let parts = Combined::new()
        .with("api", api.clone())
        .with("db", db.clone());
    let log_in = |parts: Arc<Parts>| async move {
        let good = parts.db == 1;
        good.then_some(()).ok_or("wrong password")
    };
    let app = Keyring::<Parts>::builder(parts)
        .part_probe("db", Probe::new("login", log_in))
        .build()
        .await
        .unwrap();
    api.rotate("2");
    db.rotate("2");
    assert!(app.refresh().await.unwrap().is_swapped());
    let url = served(Admin::new().keyring("app", &app)).await;
    let mut browser = Browser::start(&folder).await;
    browser.order(json!({"order": "open", "url": url})).await;
    let refused = "Version 2 of part db was refused, the one before stays in use. Next try in ";
    browser.sees(refused, PATIENCE).await;
    browser.sees("Not safe to revoke", PATIENCE).await;
    browser.judged("refused-part").await;
}
