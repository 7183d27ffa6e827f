//! The server's process, its directory of secrets and what it prints.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Mutex,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{Answer, Request};

/// Far more than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The files of the three stages, written as an operator writes them.
pub(crate) struct Directory(TempDir);

impl Directory {
    pub(crate) fn new() -> Self {
        let directory = Self(tempfile::tempdir().unwrap());
        directory.put("current.json", &bundle(0).to_string());
        directory
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Written beside its place and moved there.
    pub(crate) fn put(&self, name: &str, text: &str) {
        let next = self.path().join("next");
        fs::write(&next, text).unwrap();
        fs::rename(next, self.path().join(name)).unwrap();
    }

    /// Previous first, then current.
    pub(crate) fn rotate(&self, number: usize) {
        let current = fs::read_to_string(self.path().join("current.json")).unwrap();
        self.put("previous.json", &current);
        self.put("current.json", &bundle(number).to_string());
    }
}

pub(crate) fn bundle(number: usize) -> Value {
    json!({
        "version": version(number),
        "jwt_secret": format!("the signing secret of bundle number {number:04}"),
        "api_key": format!("api-key-{number}"),
        "db_password": format!("db-password-{number}"),
    })
}

pub(crate) fn version(number: usize) -> String {
    format!("bundle-{number}")
}

/// A running server. Dropping it ends it.
pub(crate) struct Server {
    child: Child,
    stdout: Mutex<Receiver<String>>,
    stderr: Mutex<Receiver<String>>,
    pub(crate) address: String,
    /// Valid for the secrets at the start.
    pub(crate) token: String,
}

impl Server {
    /// The watch finds changes; the timer would take an hour.
    pub(crate) fn start(secrets: &Path) -> Self {
        let hour = ["--refresh-every", "1h", "--overlap", "4h"];
        Self::start_with(
            Command::new(example())
                .arg("--secrets")
                .arg(secrets)
                .args(hour),
        )
    }

    pub(crate) fn start_with(command: &mut Command) -> Self {
        let mut server = Self::start_tokenless(command);
        server.token = server.said("token: ");
        server
    }

    /// One that mints no tokens.
    pub(crate) fn start_tokenless(command: &mut Command) -> Self {
        let mut child = command
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = lines(child.stdout.take().unwrap());
        let stderr = lines(child.stderr.take().unwrap());
        let mut server = Self {
            child,
            stdout: Mutex::new(stdout),
            stderr: Mutex::new(stderr),
            address: String::new(),
            token: String::new(),
        };
        server.address = server.said("listening on http://");
        server
    }

    /// The rest of the next line that begins like this.
    pub(crate) fn said(&self, beginning: &str) -> String {
        let is_it = |line: &str| line.starts_with(beginning);
        find(&self.stdout, is_it, beginning)[beginning.len()..].to_owned()
    }

    pub(crate) fn logged(&self, words: &str) -> String {
        find(&self.stderr, |line| line.contains(words), words)
    }

    /// The token that comes with the reload to this bundle.
    pub(crate) fn reloaded_to(&self, number: usize) -> String {
        let end = format!(", version {}", version(number));
        while !self.said("reloaded: ").ends_with(&end) {}
        self.said("token: ")
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
    }

    pub(crate) fn get(&self, path: &str, token: Option<&str>) -> Answer {
        Request::get(path).token(token).send(&self.address)
    }

    /// What `/whoami` says to a good token.
    pub(crate) fn whoami(&self, token: &str) -> Value {
        let answer = self.get("/whoami", Some(token));
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }

    /// Waits for the end of the process, and gives its exit code and its last line.
    pub(crate) fn ended_within(mut self, limit: Duration) -> (Option<i32>, String) {
        let deadline = Instant::now() + limit;
        let mut last = String::new();
        let stdout = self.stdout.lock().unwrap();
        loop {
            match stdout.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => last = line,
                Err(RecvTimeoutError::Timeout) => panic!("the server did not end in {limit:?}"),
                // It closed its stdout, and does nothing after that.
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        drop(stdout);
        (self.child.wait().unwrap().code(), last)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The built example: beside the directory that this test's own executable is in.
pub(crate) fn example() -> PathBuf {
    example_named("mcp_server")
}

pub(crate) fn example_named(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let profile = own.parent().unwrap().parent().unwrap();
    let example = profile.join("examples").join(name);
    assert!(
        example.is_file(),
        "{} is missing: run `cargo build --examples --features full` first, or `cargo test \
         --features full` without choosing targets",
        example.display()
    );
    example
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(from)
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| send.send(line))
    });
    lines
}

fn find(lines: &Mutex<Receiver<String>>, is_it: impl Fn(&str) -> bool, what: &str) -> String {
    let lines = lines.lock().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut others = Vec::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if is_it(&line) => return line,
            Ok(line) => others.push(line),
            Err(error) => panic!("no line with `{what}` ({error}), but {others:#?}"),
        }
    }
}

/// For other processes that answer line by line.
pub(crate) struct Replies(Mutex<Receiver<String>>);

impl Replies {
    pub(crate) fn of(stdout: ChildStdout) -> Self {
        Self(Mutex::new(lines(stdout)))
    }

    pub(crate) fn next(&self) -> String {
        find(&self.0, |_| true, "an answer")
    }
}
