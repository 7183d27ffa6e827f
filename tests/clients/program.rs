//! A client's process: the name of a tool on its stdin, what the tool gave on its stdout.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::{sync::mpsc, time::timeout};

use crate::left_out::needed;

/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Commands for the Python client, in a venv that has `tests/python_client/requirements.txt`.
pub(crate) fn python() -> Option<impl Fn() -> Command> {
    let python = needed("TOWER_SECRETS_PYTHON", "a test with the Python client");
    python.map(|python| {
        move || {
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            let mut command = Command::new(&python);
            command.arg(root.join("tests/python_client/find_way.py"));
            command
        }
    })
}

pub(crate) struct Program {
    process: Child,
    stdin: Option<ChildStdin>,
    answers: mpsc::UnboundedReceiver<String>,
}

impl Program {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (told, answers) = mpsc::unbounded_channel();
        // Ends with the process.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = told.send(line);
            }
        });
        Self {
            stdin: process.stdin.take(),
            answers,
            process,
        }
    }

    /// What the tool gave, as structured content.
    pub(crate) async fn call(&mut self, tool: &str) -> Value {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{tool}").unwrap();
        let answer = timeout(PATIENCE, self.answers.recv()).await;
        let answer = answer
            .expect("no answer in time")
            .expect("the client ended");
        let result: Value = serde_json::from_str(&answer).unwrap();
        assert_ne!(result["isError"], true, "{result}");
        result["structuredContent"].clone()
    }

    pub(crate) fn end(&mut self) {
        drop(self.stdin.take());
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
