//! A pipe in front of a server that writes down each call, and can be shut.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    sync::{
        Mutex,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
    task::JoinHandle,
};

pub(crate) struct Tap {
    pub(crate) address: String,
    calls: Mutex<UnboundedReceiver<String>>,
    task: JoinHandle<()>,
}

impl Tap {
    pub(crate) async fn open(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (told, calls) = unbounded_channel();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pipe(client, port, told.clone()));
            }
        });
        Self {
            address,
            calls: Mutex::new(calls),
            task,
        }
    }

    /// The calls since this was asked last: method and path.
    pub(crate) fn calls(&self) -> Vec<String> {
        let mut calls = self.calls.try_lock().unwrap();
        std::iter::from_fn(|| calls.try_recv().ok()).collect()
    }

    /// The next call, as soon as it is made.
    pub(crate) async fn next_call(&self) -> String {
        self.calls.lock().await.recv().await.unwrap()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pipe(client: TcpStream, port: u16, calls: UnboundedSender<String>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
        // The client sends the head of a request in one piece, and no second one before the answer.
        let text = String::from_utf8_lossy(&buffer[..read]);
        let line = text.lines().next().unwrap_or_default();
        if let Some(call) = line.strip_suffix(" HTTP/1.1") {
            let _ = calls.send(call.replace(" /v1/", " "));
        }
        if to_server.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
