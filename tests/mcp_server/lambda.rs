//! A rotation Lambda, as a process of its own, with boto3.

use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::{left_out::needed, process::Replies};

pub(crate) struct Aws {
    pub(crate) endpoint: String,
    /// A Python with boto3.
    python: String,
}

impl Aws {
    pub(crate) fn find() -> Option<Self> {
        let test = "a test with moto and boto3";
        let [endpoint, python] =
            ["TOWER_SECRETS_MOTO", "TOWER_SECRETS_BOTO3"].map(|name| needed(name, test));
        let (endpoint, python) = endpoint.zip(python)?;
        Some(Self {
            endpoint: endpoint.into_string().unwrap(),
            python: python.into_string().unwrap(),
        })
    }
}

pub(crate) fn with_environment<'a>(command: &'a mut Command, endpoint: &str) -> &'a mut Command {
    command
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_DEFAULT_REGION", "eu-central-1")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
}

/// The script that rotates.
pub(crate) struct Lambda {
    process: Child,
    replies: Replies,
    pub(crate) secret: String,
}

impl Lambda {
    pub(crate) fn start(aws: &Aws) -> Self {
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python_client/rotate_secret.py");
        let secret = format!("tests/{:016x}", fastrand::u64(..));
        let mut process = with_environment(&mut Command::new(&aws.python), &aws.endpoint)
            .arg(script)
            .arg(&secret)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("TOWER_SECRETS_BOTO3={}: {error}", aws.python));
        let replies = Replies::of(process.stdout.take().unwrap());
        Self {
            process,
            replies,
            secret,
        }
    }

    pub(crate) fn step(&mut self, step: Value) -> Value {
        let mut stdin = self.process.stdin.as_ref().unwrap();
        writeln!(stdin, "{step}").unwrap();
        serde_json::from_str(&self.replies.next()).unwrap()
    }

    pub(crate) fn end(mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
