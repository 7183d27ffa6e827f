//! Who the server is to AWS: the identities that pods have, their renewal, and their end. Each
//! server is a process of its own, because the SDK reads the environment of the process.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use serde_json::json;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tower_secrets::{event::Event, source::SecretsManager};

use crate::{
    bed::{REGION, moto, need},
    proxy::{Answer, Fault, Proxy},
    secret::{Secret, builder, document},
    support::{ask, token},
};

const SECRET: &str = "TOWER_SECRETS_TEST_SECRET";

/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server. It serves requests without pause, tells what each refresh came to, and refreshes
/// when a line comes in, or by itself after a failure.
#[test]
fn pod() {
    let Ok(secret) = std::env::var(SECRET) else {
        return;
    };
    // libtest has begun the line.
    println!();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(serve(&secret));
}

async fn serve(secret: &str) {
    let source = SecretsManager::from_env(secret).await;
    let keyring = builder(source).build().await.unwrap();
    println!("in service");
    let mut events = keyring.subscribe();
    let (asked, mut asks) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut lines = std::io::stdin().lines().map_while(Result::ok);
        lines.try_for_each(|line| asked.send(line))
    });
    let first = token(&keyring.signer());
    let mut served = 0_u64;
    loop {
        tokio::select! {
            biased;
            event = events.next() => match event.unwrap() {
                Event::Reloaded { .. } => println!("reloaded to {}", keyring.current().api_key),
                Event::Unchanged { .. } => println!("unchanged"),
                Event::ReloadError(error) => {
                    println!("refused as {:?}: {error}", error.source_error().unwrap().kind());
                }
                _ => {}
            },
            asked = asks.recv() => match asked {
                Some(_) => {
                    let keyring = keyring.clone();
                    tokio::spawn(async move { keyring.refresh().await });
                }
                None => break,
            },
            () = tokio::task::yield_now() => {
                ask(&keyring, &first).await.unwrap();
                served += 1;
            }
        }
    }
    println!("served {served}");
}

struct Pod {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: UnboundedReceiver<String>,
}

impl Pod {
    /// A pod whose identity these variables make.
    async fn start(secret: &Secret, aws: &Proxy, home: &Path, identity: &[(&str, &str)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "identity::pod", "--nocapture"])
            .env_clear()
            .env(SECRET, &secret.name)
            .env("HOME", home)
            .env("AWS_ENDPOINT_URL", aws.url())
            .env("AWS_REGION", REGION)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(identity.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, lines) = mpsc::unbounded_channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            let mut lines = stdout.lines().map_while(Result::ok);
            lines.try_for_each(|line| send.send(line))
        });
        let stdin = child.stdin.take();
        let mut pod = Self {
            child,
            stdin,
            lines,
        };
        pod.says("in service").await;
        pod
    }

    /// The next line of this beginning.
    async fn says(&mut self, beginning: &str) -> String {
        let mut others = Vec::new();
        let find = async {
            while let Some(line) = self.lines.recv().await {
                if line.starts_with(beginning) {
                    return Some(line);
                }
                others.push(line);
            }
            None
        };
        let found = tokio::time::timeout(PATIENCE, find).await;
        found
            .ok()
            .flatten()
            .unwrap_or_else(|| panic!("no `{beginning}`, but {others:#?}"))
    }

    async fn refreshes(&mut self, beginning: &str) {
        writeln!(self.stdin.as_ref().unwrap(), "refresh").unwrap();
        self.says(beginning).await;
    }

    /// Ends it; it must not have failed a request.
    async fn ends(mut self) {
        drop(self.stdin.take());
        let served = self.says("served ").await;
        println!("{served}");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Written beside its place and moved there, as the kubelet renews tokens.
fn put(path: &Path, text: &str) {
    let next = path.with_extension("next");
    fs::write(&next, text).unwrap();
    fs::rename(next, path).unwrap();
}

/// The SDK renews what ends within ten seconds before each call.
fn soon() -> String {
    let soon = std::time::SystemTime::now() + Duration::from_secs(5);
    humantime::format_rfc3339_seconds(soon).to_string()
}

/// Credentials of STS that end soon.
fn short_lived() -> Fault {
    Fault::rewrite_text(|answer| {
        let (before, rest) = answer.split_once("<Expiration>").unwrap();
        let (_, after) = rest.split_once("</Expiration>").unwrap();
        format!("{before}<Expiration>{}</Expiration>{after}", soon())
    })
}

const ASSUME: &str = "AssumeRoleWithWebIdentity";

struct WebIdentity {
    secret: Secret,
    aws: Proxy,
    home: tempfile::TempDir,
    token: PathBuf,
}

impl WebIdentity {
    async fn new(server: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let token = home.path().join("token");
        put(&token, "the-first-token");
        Self {
            secret: Secret::create(server).await,
            aws: Proxy::start(server).await,
            home,
            token,
        }
    }

    async fn start(&self) -> Pod {
        let token = self.token.to_str().unwrap();
        let role = "arn:aws:iam::123456789012:role/pod";
        let identity = [
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token),
            ("AWS_ROLE_ARN", role),
        ];
        Pod::start(&self.secret, &self.aws, self.home.path(), &identity).await
    }
}

#[tokio::test]
async fn a_web_identity_whose_token_file_is_replaced() {
    let server = need!(moto());
    let it = WebIdentity::new(&server).await;
    it.aws.set_for(ASSUME, short_lived());
    let mut pod = it.start().await;
    let asked = it.aws.last_request(ASSUME);
    assert!(asked.contains("WebIdentityToken=the-first-token"));
    let signed = it.aws.last_request("DescribeSecret");
    assert!(signed.contains("x-amz-security-token: "));

    put(&it.token, "the-second-token");
    pod.refreshes("unchanged").await;
    let asked = it.aws.last_request(ASSUME);
    assert!(asked.contains("WebIdentityToken=the-second-token"));
    it.secret.rotate(&document(1)).await;
    pod.refreshes("reloaded to api-key-1").await;
    pod.ends().await;
}

#[tokio::test]
async fn a_web_identity_that_sts_refuses_for_a_while() {
    let server = need!(moto());
    let it = WebIdentity::new(&server).await;
    it.aws.set_for(ASSUME, short_lived());
    let mut pod = it.start().await;

    let expired = "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>\
                   <Type>Sender</Type><Code>ExpiredTokenException</Code>\
                   <Message>Token expired</Message></Error></ErrorResponse>";
    let expired = Answer::new(400, "text/xml", expired);
    it.aws.set_for(ASSUME, Fault::Answer(expired));
    it.secret.rotate(&document(1)).await;
    pod.refreshes("refused as Unauthenticated").await;
    // The token is renewed, and nobody says so: the loop finds out.
    put(&it.token, "the-second-token");
    it.aws.set_for(ASSUME, short_lived());
    pod.says("reloaded to api-key-1").await;
    pod.ends().await;
}

/// The credentials at hand look good for another hour, and are not.
#[tokio::test]
async fn a_revoked_role_recovers_without_a_restart() {
    let server = need!(moto());
    let it = WebIdentity::new(&server).await;
    let mut pod = it.start().await;
    assert_eq!(it.aws.calls_of(ASSUME), 1);
    pod.refreshes("unchanged").await;
    assert_eq!(it.aws.calls_of(ASSUME), 1);

    let message = "The security token included in the request is expired";
    let expired = Fault::error(400, "ExpiredTokenException", message);
    it.aws.set_for("DescribeSecret", expired);
    pod.refreshes("refused as Unauthenticated").await;
    it.secret.rotate(&document(1)).await;
    it.aws.heal();
    pod.says("reloaded to api-key-1").await;
    assert!(it.aws.calls_of(ASSUME) >= 2);
    pod.ends().await;
}

/// What the agent of ECS or EKS beside the container answers.
fn credentials(key_id: &str) -> Fault {
    let credentials = json!({
        "AccessKeyId": key_id,
        "SecretAccessKey": "a secret access key",
        "Token": format!("a session token for {key_id}"),
        "Expiration": soon(),
    });
    Fault::Answer(Answer::new(
        200,
        "application/json",
        credentials.to_string(),
    ))
}

const ASK_AGENT: &str = "GET /credentials HTTP/1.1";

fn is_signed_with(aws: &Proxy, key_id: &str) -> bool {
    let signed = aws.last_request("DescribeSecret");
    signed.contains(&format!("Credential={key_id}/"))
        && signed.contains(&format!("a session token for {key_id}"))
}

#[tokio::test]
async fn eks_pod_identity_whose_token_file_is_replaced() {
    let server = need!(moto());
    let secret = Secret::create(&server).await;
    let (aws, agent) = (Proxy::start(&server).await, Proxy::start(&server).await);
    agent.set(credentials("ASIAFIRST"));
    let home = tempfile::tempdir().unwrap();
    let token = home.path().join("eks-pod-identity-token");
    put(&token, "the-first-token");
    let url = format!("{}/credentials", agent.url());
    let identity = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
        (
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            token.to_str().unwrap(),
        ),
    ];
    let mut pod = Pod::start(&secret, &aws, home.path(), &identity).await;
    let asked = agent.last_request(ASK_AGENT);
    assert!(asked.contains("authorization: the-first-token"), "{asked}");
    assert!(is_signed_with(&aws, "ASIAFIRST"));

    put(&token, "the-second-token");
    agent.set(credentials("ASIASECOND"));
    pod.refreshes("unchanged").await;
    let asked = agent.last_request(ASK_AGENT);
    assert!(asked.contains("authorization: the-second-token"), "{asked}");
    assert!(is_signed_with(&aws, "ASIASECOND"));
    secret.rotate(&document(1)).await;
    pod.refreshes("reloaded to api-key-1").await;
    pod.ends().await;
}

#[tokio::test]
async fn an_ecs_task_role_whose_agent_fails_for_a_while() {
    let server = need!(moto());
    let secret = Secret::create(&server).await;
    let (aws, agent) = (Proxy::start(&server).await, Proxy::start(&server).await);
    agent.set(credentials("ASIAFIRST"));
    let home = tempfile::tempdir().unwrap();
    let url = format!("{}/credentials", agent.url());
    let identity = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic abc"),
    ];
    let mut pod = Pod::start(&secret, &aws, home.path(), &identity).await;
    let asked = agent.last_request(ASK_AGENT);
    assert!(asked.contains("authorization: Basic abc"), "{asked}");
    assert!(is_signed_with(&aws, "ASIAFIRST"));

    agent.set(Fault::status(403));
    secret.rotate(&document(1)).await;
    pod.refreshes("refused as Unauthenticated").await;
    agent.set(credentials("ASIASECOND"));
    pod.says("reloaded to api-key-1").await;
    assert!(is_signed_with(&aws, "ASIASECOND"));
    pod.ends().await;
}

#[tokio::test]
async fn no_identity_at_all_is_told_as_such() {
    let server = need!(moto());
    let secret = Secret::create(&server).await;
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "identity::pod", "--nocapture"])
        .env_clear()
        .env(SECRET, &secret.name)
        .env("HOME", home.path())
        .env("AWS_ENDPOINT_URL", &server)
        .env("AWS_REGION", REGION)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("credential"), "{text}");
}
