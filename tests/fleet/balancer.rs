//! A round robin before the replicas, as a load balancer is one: each request goes to the next, and to
//! the one after it where that gives no answer at all.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// Who served it: a header that the balancer adds to each answer.
pub(crate) const SERVED_BY: &str = "x-replica";

const MAX_HEAD: u64 = 16 * 1024;
const MAX_BODY: usize = 64 * 1024;

/// Dropping it ends it.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    replicas: Arc<Replicas>,
    accepting: AbortHandle,
}

#[derive(Default)]
struct Replicas {
    addresses: Mutex<Vec<String>>,
    turn: AtomicUsize,
    /// Requests that went on to another replica.
    passed_on: AtomicUsize,
}

impl Balancer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let replicas = Arc::<Replicas>::default();
        let (address, shared) = (listener.local_addr().unwrap(), replicas.clone());
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else {
                    continue;
                };
                let shared = shared.clone();
                tokio::spawn(async move { shared.serve(client).await });
            }
        });
        Self {
            address,
            replicas,
            accepting: accepting.abort_handle(),
        }
    }

    /// The addresses of the replicas, in their order.
    pub(crate) fn set(&self, addresses: Vec<String>) {
        *self.replicas.addresses.lock().unwrap() = addresses;
    }

    pub(crate) fn passed_on(&self) -> usize {
        self.replicas.passed_on.load(Ordering::Relaxed)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Replicas {
    async fn serve(&self, client: TcpStream) -> io::Result<()> {
        let mut client = BufReader::new(client);
        let request = read_request(&mut client).await?;
        let addresses = self.addresses.lock().unwrap().clone();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        for attempt in 0..addresses.len() {
            let replica = (turn + attempt) % addresses.len();
            let Ok((status, mut rest)) = send(&addresses[replica], &request).await else {
                self.passed_on.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let head = format!("{status}{SERVED_BY}: {replica}\r\n");
            client.write_all(head.as_bytes()).await?;
            tokio::io::copy(&mut rest, &mut client).await?;
            return client.shutdown().await;
        }
        let nobody = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n";
        client.write_all(nobody).await
    }
}

/// The first line of the answer, and what comes after it.
async fn send(address: &str, request: &[u8]) -> io::Result<(String, BufReader<TcpStream>)> {
    let mut server = TcpStream::connect(address).await?;
    server.write_all(request).await?;
    let mut server = BufReader::new(server);
    let mut status = String::new();
    match server.read_line(&mut status).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok((status, server)),
    }
}

/// The whole request, as one that ends its connection.
async fn read_request(client: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut lines = client.take(MAX_HEAD).lines();
    let (mut request, mut length) = (String::new(), 0);
    while let Some(line) = lines.next_line().await?.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "connection" => continue,
            "content-length" => length = value.trim().parse().unwrap_or(MAX_BODY + 1),
            _ => {}
        }
        request += &format!("{line}\r\n");
    }
    if length > MAX_BODY {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut request = (request + "connection: close\r\n\r\n").into_bytes();
    let head = request.len();
    request.resize(head + length, 0);
    client.read_exact(&mut request[head..]).await?;
    Ok(request)
}
