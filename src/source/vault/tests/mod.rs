//! What a real server cannot be made to do, from a small one in this process.

#![allow(clippy::unwrap_used)]

use std::{collections::HashMap, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::{Vault, VaultAuth, VaultClient};
use crate::source::{Source, SourceError, SourceErrorKind, Versions};

mod answers;

mod database;

mod settings;

mod stages;

const TOKEN: &str = "the-token-of-the-test";

/// Stands for an answer that never comes.
const HANG: &[u8] = b"hang";

/// Answers by path, each as it goes over the wire.
#[derive(Clone, Default)]
struct Fake(HashMap<String, Vec<u8>>);

impl Fake {
    /// A server with one secret, `app`, of one version, and a token that never ends.
    fn new() -> Self {
        Self::default()
            .with("auth/token/lookup-self", 200, r#"{"data":{"ttl":0}}"#)
            .with("secret/metadata/app", 200, &metadata("null", &[(1, LIVE)]))
            .with("secret/data/app?version=1", 200, &data(1))
    }

    fn with(self, path: &str, status: u16, body: &str) -> Self {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\n\r\n");
        self.raw(path, head + body)
    }

    fn raw(mut self, path: &str, answer: impl Into<Vec<u8>>) -> Self {
        self.0.insert(path.to_owned(), answer.into());
        self
    }

    /// This path never answers.
    fn hang(self, path: &str) -> Self {
        self.raw(path, HANG)
    }

    /// Serves from now on; gives its address.
    async fn serve(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, self.clone()));
            }
        });
        address
    }

    async fn source(self) -> Vault {
        Vault::new(&client(&self.serve().await), "app")
    }

    async fn fetch(self) -> Result<Versions, SourceError> {
        self.source().await.fetch().await
    }

    async fn error(self) -> (SourceErrorKind, String) {
        let error = self.fetch().await.unwrap_err();
        (error.kind(), error.to_string())
    }
}

fn client(address: &str) -> VaultClient {
    VaultClient::builder(address)
        .auth(VaultAuth::token(TOKEN))
        .request_timeout(Duration::from_secs(5))
        .build()
        .unwrap()
}

/// One answer for each connection, which ends it.
async fn answer(stream: TcpStream, fake: Fake) {
    let mut stream = BufReader::new(stream);
    let (mut first, mut line, mut length) = (String::new(), String::new(), 0);
    stream.read_line(&mut first).await.unwrap();
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    stream.read_exact(&mut vec![0; length]).await.unwrap();
    let path = first.split(' ').nth(1).unwrap();
    let path = path.strip_prefix("/v1/").unwrap();
    let unknown = b"HTTP/1.1 404 Not Found\r\ncontent-length: 13\r\n\r\n{\"errors\":[]}".to_vec();
    let answer = fake.0.get(path).unwrap_or(&unknown);
    if answer == HANG {
        return std::future::pending().await;
    }
    stream.write_all(answer).await.unwrap();
    stream.shutdown().await.unwrap();
}

const LIVE: (&str, bool) = ("", false);

fn created(number: u64) -> String {
    format!("2026-01-{number:02}T00:00:00.123456789Z")
}

/// Metadata as the server tells it: the text of `custom_metadata`, and of each version its number,
/// deletion time and whether it was destroyed.
fn metadata(custom: &str, versions: &[(u64, (&str, bool))]) -> String {
    let told = versions.iter().map(|(number, (deletion, destroyed))| {
        let created = created(*number);
        format!(
            r#""{number}":{{"created_time":"{created}","deletion_time":"{deletion}","destroyed":{destroyed}}}"#
        )
    });
    let told: Vec<String> = told.collect();
    let last = versions.last().map_or(0, |(number, _)| *number);
    format!(
        r#"{{"data":{{"created_time":"{}","updated_time":"{}","current_version":{last},
            "custom_metadata":{custom},"versions":{{{}}}}}}}"#,
        created(1),
        created(last.max(1)),
        told.join(",")
    )
}

fn data(number: u64) -> String {
    let created = created(number);
    format!(
        r#"{{"data":{{"data":{{"n":{number}}},"metadata":{{"created_time":"{created}","version":{number}}}}}}}"#
    )
}
