//! A real OpenBao server for one test.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower_secrets::source::{VaultAuth, VaultClient};

use crate::left_out::needed;

/// Far more than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const ROOT: &str = "root-token-of-the-test";

/// The `bao` program, which `tests/run` installs.
pub(crate) fn program() -> Option<PathBuf> {
    needed("TOWER_SECRETS_BAO", "a test with OpenBao").map(PathBuf::from)
}

/// A server. Dropping it ends it.
pub(crate) struct Bao {
    program: PathBuf,
    child: Option<Child>,
    port: u16,
    home: TempDir,
    http: Client,
    pub(crate) root: String,
    unseal: Option<String>,
    tls: bool,
}

impl Bao {
    /// A server in memory, unsealed, with a KV engine at `secret`.
    pub(crate) fn dev() -> Option<Self> {
        let mut bao = Self::new(program()?);
        bao.root = ROOT.to_owned();
        bao.start();
        bao.wait_for_kv();
        Some(bao)
    }

    /// The same behind TLS, with an authority of its own.
    pub(crate) fn dev_tls() -> Option<Self> {
        let mut bao = Self::new(program()?);
        bao.root = ROOT.to_owned();
        bao.tls = true;
        bao.start();
        bao.wait_for_kv();
        Some(bao)
    }

    /// A server whose data outlive it, unsealed, with a KV engine at `secret`.
    pub(crate) async fn durable() -> Option<Self> {
        let mut bao = Self::new(program()?);
        let data = bao.home.path().join("data");
        fs::create_dir(&data).unwrap();
        let config = json!({
            "storage": { "raft": { "path": data, "node_id": "one" } },
            "cluster_addr": format!("http://127.0.0.1:{}", bao.port + 1),
            "listener": [{ "tcp": {
                "address": format!("127.0.0.1:{}", bao.port),
                "tls_disable": true,
            }}],
            "api_addr": bao.address(),
        });
        fs::write(bao.home.path().join("config.json"), config.to_string()).unwrap();
        bao.start();
        let shares = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let keys = bao.write("sys/init", shares).await;
        bao.unseal = Some(keys["keys"][0].as_str().unwrap().to_owned());
        bao.root = keys["root_token"].as_str().unwrap().to_owned();
        bao.unseal().await;
        bao.write("sys/mounts/secret", json!({ "type": "kv-v2" }))
            .await;
        bao.wait_for_kv();
        Some(bao)
    }

    fn new(program: PathBuf) -> Self {
        Self {
            program,
            child: None,
            port: two_free_ports(),
            home: tempfile::tempdir().unwrap(),
            http: Client::builder().tls_certs_only([]).build().unwrap(),
            root: String::new(),
            unseal: None,
            tls: false,
        }
    }

    /// Starts it, again where it was stopped, at the same address.
    pub(crate) fn start(&mut self) {
        let mut command = self.command();
        command.arg("server");
        let config = self.home.path().join("config.json");
        if config.exists() {
            command.arg("-config").arg(config);
        } else {
            command.args(["-dev", "-dev-no-store-token"]);
            command.arg(format!("-dev-root-token-id={}", self.root));
            if self.tls {
                command.arg("-dev-tls");
                command.arg(format!("-dev-tls-cert-dir={}", self.home.path().display()));
            }
            command.arg(format!("-dev-listen-address=127.0.0.1:{}", self.port));
        }
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while !said.contains("server started!") {
            let more = stdout.read_line(&mut said).unwrap();
            assert!(more > 0, "the server did not start: {said}");
        }
        // It blocks where nobody reads what it says.
        std::thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
        self.child = Some(child);
    }

    /// A new engine answers 400 until it has made itself ready for versions.
    fn wait_for_kv(&self) {
        let deadline = Instant::now() + PATIENCE;
        let is_ready = || {
            let output = self.command().args(["read", "secret/config"]).output();
            output.unwrap().status.success()
        };
        while !is_ready() {
            assert!(Instant::now() < deadline, "the KV engine is not ready");
        }
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) async fn seal(&self) {
        self.write("sys/seal", json!({})).await;
    }

    pub(crate) async fn unseal(&self) {
        let key = self.unseal.as_ref().unwrap();
        self.write("sys/unseal", json!({ "key": key })).await;
        // It has to elect itself before it serves, and tells nobody when it has.
        let active = async {
            while !self.is_active().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, active).await.unwrap();
    }

    async fn is_active(&self) -> bool {
        let health = self.http.get(format!("{}/v1/sys/health", self.address()));
        health.send().await.unwrap().status() == StatusCode::OK
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// The authority that it made for itself.
    pub(crate) fn authority(&self) -> Vec<u8> {
        let mut files = fs::read_dir(self.home.path()).unwrap();
        let file = files.find_map(|file| {
            let path = file.unwrap().path();
            path.to_str().unwrap().ends_with("-ca.pem").then_some(path)
        });
        fs::read(file.unwrap()).unwrap()
    }

    /// A client of the crate with the root token.
    pub(crate) fn client(&self) -> VaultClient {
        self.client_with(VaultAuth::token(&self.root))
    }

    pub(crate) fn client_with(&self, auth: VaultAuth) -> VaultClient {
        let client = VaultClient::builder(self.address()).auth(auth);
        client.build().unwrap()
    }

    /// The command line client as root.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("HOME", self.home.path())
            .env("BAO_ADDR", self.address())
            .env("BAO_TOKEN", &self.root)
            .env("BAO_SKIP_VERIFY", self.tls.to_string());
        command
    }

    /// Runs `bao` and gives what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "bao {arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) async fn write(&self, path: &str, body: Value) -> Value {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn read(&self, path: &str) -> Value {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Value {
        self.call(Method::DELETE, path, None).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut call = self
            .http
            .request(method, format!("{}/v1/{path}", self.address()))
            .header("x-vault-token", &self.root)
            .timeout(PATIENCE);
        if let Some(body) = body {
            call = call.body(body.to_string());
        }
        let response = call.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status}: {text}");
        if status == StatusCode::NO_CONTENT || text.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&text).unwrap()
    }

    /// Puts a new version of a secret and gives its number.
    pub(crate) async fn put(&self, path: &str, data: Value) -> u64 {
        let answer = self
            .write(&format!("secret/data/{path}"), json!({ "data": data }))
            .await;
        answer["data"]["version"].as_u64().unwrap()
    }

    /// A token with these policies, as `auth/token/create` makes it.
    pub(crate) async fn token(&self, settings: Value) -> String {
        let answer = self.write("auth/token/create", settings).await;
        answer["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn policy(&self, name: &str, text: &str) {
        let body = json!({ "policy": text });
        self.write(&format!("sys/policies/acl/{name}"), body).await;
    }
}

impl Drop for Bao {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The server takes the port after its own, too.
fn two_free_ports() -> u16 {
    for _ in 0..100 {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
    panic!("no two free ports side by side");
}
