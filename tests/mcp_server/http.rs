//! As much of HTTP/1.1 as these tests need, over a plain socket.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use crate::process::PATIENCE;

pub(crate) struct Request(String, String);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn get(path: &str) -> Self {
        Self(format!("GET {path} HTTP/1.1\r\n"), String::new())
    }

    pub(crate) fn post(path: &str, body: &str) -> Self {
        Self::posting(path, "application/json", body)
    }

    pub(crate) fn form(path: &str, body: &str) -> Self {
        Self::posting(path, "application/x-www-form-urlencoded", body)
    }

    fn posting(path: &str, media_type: &str, body: &str) -> Self {
        Self(format!("POST {path} HTTP/1.1\r\n"), body.to_owned())
            .header("content-type", media_type)
            .header("content-length", &body.len().to_string())
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.0 += &format!("{name}: {value}\r\n");
        self
    }

    pub(crate) fn token(self, token: Option<&str>) -> Self {
        match token {
            Some(token) => self.header("authorization", &format!("Bearer {token}")),
            None => self,
        }
    }

    /// The whole answer.
    pub(crate) fn send(self, address: &str) -> Answer {
        let (mut answer, mut rest) = self.header("connection", "close").open(address);
        rest.read_to_string(&mut answer.body).unwrap();
        answer
    }

    /// The head of the answer, and the connection that goes on.
    pub(crate) fn open(self, address: &str) -> (Answer, BufReader<TcpStream>) {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let Self(head, body) = self;
        write!(socket, "{head}host: {address}\r\n\r\n{body}").unwrap();
        let mut lines = BufReader::new(socket);
        let mut next = || {
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let status = next();
        let status = status.split(' ').nth(1).and_then(|it| it.parse().ok());
        let mut headers = Vec::new();
        while let Some((name, value)) = next().split_once(": ") {
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let answer = Answer {
            status: status.unwrap(),
            headers,
            body: String::new(),
        };
        (answer, lines)
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(it, _)| it == name);
        found.map(|(_, value)| value.as_str())
    }
}
