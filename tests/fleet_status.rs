//! The command `fleet_status` over real operator's pages: what it prints, and its exit status. (How it decides is
//! tested with the module `admin::fleet`.)

#![allow(clippy::unwrap_used)]

use std::{
    path::PathBuf,
    process::{Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, middleware::map_response, response::Response};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::TcpListener,
    process::Command,
};
use tower_secrets::{
    JwtKey, Keyring,
    admin::Admin,
    source::{Memory, SourceError, SourceErrorKind},
};

#[allow(dead_code, reason = "the command asks more of it")]
#[path = "../examples/fleet_status/ask.rs"]
mod ask;

#[derive(Deserialize)]
struct App {
    jwt: JwtKey,
}

fn doc(key: u32) -> String {
    format!(r#"{{"jwt":"key number {key:03} of thirty-two bytes"}}"#)
}

/// One replica: a keyring of its own, and its page.
struct Replica {
    keyring: Keyring<App>,
    url: String,
}

impl Replica {
    async fn start(store: &Memory, instance: &str) -> Self {
        let keyring = keyring(store).await;
        let page = Admin::new().keyring("app", &keyring);
        let url = served(instances(page.router(), &[instance]), "127.0.0.1:0").await;
        Self { keyring, url }
    }
}

async fn keyring(store: &Memory) -> Keyring<App> {
    let builder = Keyring::<App>::builder(store.clone());
    builder.jwt_key(|app| &app.jwt).build().await.unwrap()
}

/// What tells processes apart is of the real one, and here all are in one: so this is put in its place,
/// another at each answer until the last.
fn instances(page: Router, names: &[&str]) -> Router {
    let names: Arc<[String]> = names.iter().map(|name| (*name).to_owned()).collect();
    let answers = Arc::new(AtomicUsize::new(0));
    page.layer(map_response(move |response: Response| {
        let (names, answers) = (names.clone(), answers.clone());
        async move {
            let (mut parts, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let Ok(mut status) = serde_json::from_slice::<Value>(&body) else {
                return Response::from_parts(parts, Body::from(body));
            };
            if status.get("instance").is_some() {
                let answer = answers.fetch_add(1, Ordering::Relaxed);
                status["instance"] = names[answer.min(names.len() - 1)].as_str().into();
            }
            parts.headers.remove("content-length");
            Response::from_parts(parts, Body::from(status.to_string()))
        }
    }))
}

async fn served(page: Router, address: &str) -> String {
    let listener = TcpListener::bind(address).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, page).await });
    url
}

async fn three() -> (Memory, [Replica; 3]) {
    let store = Memory::new(doc(1));
    let a = Replica::start(&store, "a").await;
    let b = Replica::start(&store, "b").await;
    let c = Replica::start(&store, "c").await;
    (store, [a, b, c])
}

/// All have seen the second version, and none trusts the first.
async fn rotated() -> (Memory, [Replica; 3]) {
    let (store, all) = three().await;
    store.rotate(doc(2));
    for replica in &all {
        replica.keyring.refresh().await.unwrap();
        replica.keyring.revoke_previous();
    }
    (store, all)
}

/// The built example: beside the directory that this test's own executable is in.
fn command() -> Command {
    let own = std::env::current_exe().unwrap();
    let examples = own.parent().unwrap().parent().unwrap().join("examples");
    let program: PathBuf = examples.join("fleet_status");
    assert!(
        program
            .with_extension(std::env::consts::EXE_EXTENSION)
            .is_file(),
        "{} is missing: run `cargo build --examples --features full` first",
        program.display()
    );
    let mut command = Command::new(program);
    command
        .env_remove("TOWER_SECRETS_ADMIN_TOKEN")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

struct Told {
    status: Option<i32>,
    text: String,
}

impl From<Output> for Told {
    fn from(output: Output) -> Self {
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        Self {
            status: output.status.code(),
            text: stdout + &stderr,
        }
    }
}

impl Told {
    fn is(self, status: i32, texts: &[&str]) {
        assert_eq!(self.status, Some(status), "{}", self.text);
        for text in texts {
            assert!(self.text.contains(text), "{text}: {}", self.text);
        }
    }
}

async fn run(arguments: &[&str]) -> Told {
    let mut command = command();
    command.args(["--every", "0s"]).args(arguments);
    command.output().await.unwrap().into()
}

#[tokio::test]
async fn yes_or_no_through_a_rotation() {
    let (store, all) = three().await;
    let [a, b, c] = &all;
    let ask = async |more: &[&str]| {
        let fleet = ["--expect", "3", &a.url, &b.url, &c.url];
        run(&[&fleet[..], more].concat()).await
    };
    ask(&[])
        .await
        .is(1, &["no replica knows of a version to revoke"]);
    ask(&["--version", "1"])
        .await
        .is(1, &["it is the version in use"]);

    store.rotate(doc(2));
    a.keyring.refresh().await.unwrap();
    ask(&[]).await.is(1, &["not all are at the same version"]);
    b.keyring.refresh().await.unwrap();
    c.keyring.refresh().await.unwrap();
    let trusted = format!("{}: app: version 1: it is trusted for", c.url);
    ask(&[]).await.is(1, &[&trusted, "safe to revoke: no"]);
    for replica in &all {
        replica.keyring.revoke_previous();
    }
    let line = format!("{} (b) app: version 2\n", b.url);
    let yes = "safe to revoke: yes, version 1 of app\n";
    ask(&[]).await.is(0, &[&line, yes]);
    ask(&["--version", "1", "--keyring", "app"])
        .await
        .is(0, &[yes]);
    ask(&["--version", "2"])
        .await
        .is(1, &["it is the version in use"]);
    ask(&["--keyring", "idp"])
        .await
        .is(1, &["has no keyring idp"]);
}

#[tokio::test]
async fn one_down_one_that_hangs_one_stale_and_one_that_is_something_else() {
    let (store, all) = rotated().await;
    let [a, b, c] = &all;
    let ask =
        async |third: &str| run(&["--expect", "3", "--timeout", "3s", &a.url, &b.url, third]).await;
    ask(&c.url).await.is(0, &[]);

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let text = format!("not safe: {url}: no answer: it did not answer in time\n");
    ask(&url)
        .await
        .is(1, &[&text, "3 replicas, and 2 answered"]);
    drop(silent);
    let down = ask(&url).await;
    assert!(down.text.contains(&format!("not safe: {url}: no answer: ")));
    down.is(1, &["refused"]);

    let other = Router::new().route("/status", axum::routing::get(async || "{}"));
    let other = served(other, "127.0.0.1:0").await;
    ask(&other)
        .await
        .is(1, &["the answer is no status of schema 1"]);
    ask(&format!("{other}/deeper"))
        .await
        .is(1, &["it answered 404"]);

    let error = SourceError::new(SourceErrorKind::Unavailable, "cut off");
    store.fail_next(1, error);
    c.keyring.refresh().await.unwrap_err();
    let text = format!("{}: app: the last refresh failed", c.url);
    ask(&c.url).await.is(1, &[&text]);
}

#[tokio::test]
async fn one_started_anew_meanwhile_and_one_that_answers_twice() {
    let (_, all) = rotated().await;
    let [a, b, c] = &all;
    let page = Admin::new().keyring("app", &c.keyring).router();
    let restarted = served(instances(page, &["c", "d"]), "127.0.0.1:0").await;
    let joined = format!("{restarted}: joined meanwhile");
    let left = format!("{restarted}: left meanwhile");
    let fleet = ["--expect", "3", &a.url, &b.url, &restarted];
    run(&fleet).await.is(1, &[&joined, &left]);
    run(&fleet).await.is(0, &[]);

    // Two addresses of one process, as behind a load balancer.
    let page = Admin::new().keyring("app", &b.keyring).router();
    let twice = served(instances(page, &["b"]), "127.0.0.1:0").await;
    let both = format!("{} = {twice} (b)", b.url);
    run(&["--expect", "3", &a.url, &b.url, &twice])
        .await
        .is(1, &[&both, "there must be 3 replicas, and 2 answered"]);
    run(&["--expect", "2", &a.url, &b.url, &c.url])
        .await
        .is(1, &["there must be 2 replicas, and 3 answered"]);
}

#[tokio::test]
async fn it_waits_until_the_last_one_is_done() {
    let (store, all) = three().await;
    store.rotate(doc(2));
    for replica in &all {
        replica.keyring.refresh().await.unwrap();
    }
    let urls = all.each_ref().map(|replica| replica.url.as_str());
    let mut waiting = command();
    waiting
        .args(["--expect", "3", "--every", "50ms", "--wait", "60s"])
        .args(urls)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut waiting = waiting.spawn().unwrap();
    let mut progress = BufReader::new(waiting.stderr.take().unwrap()).lines();
    for (done, replica) in all.iter().enumerate() {
        let line = progress.next_line().await.unwrap().unwrap();
        let start = format!("not yet, for {} reasons", 3 - done);
        assert!(line.starts_with(&start), "{line}");
        replica.keyring.revoke_previous();
    }
    let mut text = String::new();
    let stdout = waiting.stdout.as_mut().unwrap();
    stdout.read_to_string(&mut text).await.unwrap();
    assert!(
        text.ends_with("safe to revoke: yes, version 1 of app\n"),
        "{text}"
    );
    assert_eq!(waiting.wait().await.unwrap().code(), Some(0));

    store.rotate(doc(3));
    let short = ["--expect", "3", "--wait", "100ms", "--version", "2"];
    run(&[&short[..], &urls].concat())
        .await
        .is(1, &["it is the version in use"]);
}

#[tokio::test]
async fn a_guarded_page_wants_the_token_and_nobody_sees_it() {
    const TOKEN: &str = "0123456789abcdef-operator";
    let store = Memory::new(doc(1));
    let keyring = keyring(&store).await;
    store.rotate(doc(2));
    keyring.refresh().await.unwrap();
    keyring.revoke_previous();
    let page = Admin::new().keyring("app", &keyring);
    let page = page.bearer_token(TOKEN).unwrap().router();
    let url = served(page, "127.0.0.1:0").await;
    let ask = async |token: &str| {
        let mut command = command();
        command.env("TOWER_SECRETS_ADMIN_TOKEN", token);
        command.args(["--every", "0s", "--expect", "1", &url]);
        let told = Told::from(command.output().await.unwrap());
        assert!(!told.text.contains(TOKEN), "{}", told.text);
        told
    };
    ask("").await.is(1, &["it wants another token"]);
    ask("another-token-0123456789")
        .await
        .is(1, &["it wants another token"]);
    ask(TOKEN).await.is(0, &[]);
    ask(&format!("{TOKEN}\n"))
        .await
        .is(2, &["no header can carry"]);
}

#[tokio::test]
async fn mistakes_in_the_arguments() {
    let url = "http://127.0.0.1:1";
    for arguments in [
        &["--expect", "1"][..],
        &[url],
        &["--expect", "0", url],
        &["--expect", "one", url],
        &["--expect", "1", "127.0.0.1:1"],
        &["--expect", "1", "ftp://127.0.0.1"],
        &["--expect", "1", "http://user:word@127.0.0.1:1"],
        &["--expect", "1", "http://127.0.0.1:1/?token=word"],
        &["--expect", "1", "--wait", "long", url],
    ] {
        run(arguments).await.is(2, &["error: "]);
    }
}

/// As of a headless Service in Kubernetes. Linux answers at all of 127.0.0.0/8.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_name_of_several_addresses_is_a_replica_at_each() {
    let store = Memory::new(doc(1));
    let keyring = keyring(&store).await;
    let page = Admin::new().keyring("app", &keyring).host("replicas.test");
    let router = |name| instances(page.router(), &[name]);
    let first = served(router("a"), "127.0.0.1:0").await;
    let port = first.rsplit_once(':').unwrap().1;
    served(router("b"), &format!("127.0.0.2:{port}")).await;

    let page: ask::Page = format!("http://replicas.test:{port}/").parse().unwrap();
    let asker = ask::Asker::new(None, Duration::from_secs(30)).unwrap();
    let addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
    let addresses = addresses.iter().map(|it| it.parse().unwrap()).collect();
    let answers = asker.ask_each(&page, addresses).await;
    let told: Vec<_> = answers
        .iter()
        .map(|answer| {
            let instance = answer.replica.as_ref().ok().map(|it| it.instance());
            (answer.from.rsplit_once(' ').unwrap().1, instance)
        })
        .collect();
    let expected = [
        ("127.0.0.1", Some("a")),
        ("127.0.0.2", Some("b")),
        ("127.0.0.3", None),
    ];
    assert_eq!(told, expected, "{answers:?}");
    assert!(
        answers[0]
            .from
            .starts_with(&format!("http://replicas.test:{port} at "))
    );
}
