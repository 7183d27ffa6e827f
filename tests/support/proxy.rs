//! A proxy between a client and an HTTP/1.1 server, both on 127.0.0.1, that does to their calls
//! what networks and stores do. It counts the calls, and its faults are set while it runs.
//!
//! It knows the operation of a call to AWS (`X-Amz-Target`, or `Action` in a form).

use std::{
    collections::{BTreeMap, HashMap},
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::{AbortHandle, JoinSet},
};

const MAX_CONNECTIONS: usize = 64;
const MAX_HEAD: u64 = 64 * 1024;
const MAX_BODY: usize = 4 * 1024 * 1024;

/// What happens to a call.
#[derive(Clone)]
pub(crate) enum Fault {
    /// It reaches the server only after this time.
    Delay(Duration),
    /// It is read and never answered.
    Hang,
    /// The connection ends instead of an answer.
    CutBeforeHead,
    /// The connection ends within the answer's head.
    CutInHead,
    /// The connection ends within the answer's body.
    CutInBody,
    /// The answer has half of its body, and a `Content-Length` that fits.
    Truncate,
    /// The server is not asked; this is the answer.
    Answer(Answer),
    /// The server is asked, and its body changed.
    Rewrite(Arc<dyn Fn(String) -> String + Send + Sync>),
}

impl Fault {
    /// Changes the server's JSON.
    pub(crate) fn rewrite(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::rewrite_text(move |body| {
            let mut body = serde_json::from_str(&body).unwrap();
            change(&mut body);
            body.to_string()
        })
    }

    pub(crate) fn rewrite_text(change: impl Fn(String) -> String + Send + Sync + 'static) -> Self {
        Self::Rewrite(Arc::new(change))
    }

    /// An error as AWS's JSON protocol has it.
    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        let body = json!({"__type": code, "message": message}).to_string();
        Self::Answer(Answer::new(status, "application/x-amz-json-1.1", body))
    }

    /// As AWS throttles: with 400.
    pub(crate) fn throttle() -> Self {
        Self::error(400, "ThrottlingException", "Rate exceeded")
    }

    /// A status without a word, as load balancers give it.
    pub(crate) fn status(status: u16) -> Self {
        Self::Answer(Answer::new(status, "text/plain", ""))
    }

    /// What stands between may answer for the server.
    pub(crate) fn page() -> Self {
        let page = "<!doctype html><title>Sign in</title><p>Sign in to go on";
        Self::Answer(Answer::new(200, "text/html", page))
    }

    pub(crate) fn garbage() -> Self {
        let bytes = b"\x00\xff{\"ARN\": 7, \xc3\x28";
        Self::Answer(Answer::new(200, "application/x-amz-json-1.1", bytes))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delay(time) => write!(f, "Delay({time:?})"),
            Self::Hang => f.write_str("Hang"),
            Self::CutBeforeHead => f.write_str("CutBeforeHead"),
            Self::CutInHead => f.write_str("CutInHead"),
            Self::CutInBody => f.write_str("CutInBody"),
            Self::Truncate => f.write_str("Truncate"),
            Self::Answer(answer) => write!(f, "Answer({})", answer.status),
            Self::Rewrite(_) => f.write_str("Rewrite"),
        }
    }
}

/// A whole answer; one that was recorded can be given again.
#[derive(Clone)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: body.into(),
        }
    }

    /// The same with other JSON.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Value)) -> Self {
        let mut body = serde_json::from_slice(&self.body).unwrap();
        change(&mut body);
        self.body = body.to_string().into_bytes();
        self
    }

    /// What the client gets of it, and whether that is a whole answer.
    fn spoiled(mut self, fault: Option<&Fault>) -> (Vec<u8>, bool) {
        match fault {
            Some(Fault::CutInHead) => (self.bytes()[..20].to_vec(), false),
            Some(Fault::CutInBody) => {
                let bytes = self.bytes();
                let cut = bytes.len() - self.body.len() / 2;
                (bytes[..cut].to_vec(), false)
            }
            Some(Fault::Truncate) => {
                self.body.truncate(self.body.len() / 2);
                (self.bytes(), true)
            }
            Some(Fault::Rewrite(change)) => {
                let body = String::from_utf8_lossy(&self.body).into_owned();
                self.body = change(body).into_bytes();
                (self.bytes(), true)
            }
            _ => (self.bytes(), true),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("HTTP/1.1 {} Said\r\n", self.status);
        for (name, value) in &self.headers {
            bytes += &format!("{name}: {value}\r\n");
        }
        bytes += &format!("content-length: {}\r\n\r\n", self.body.len());
        [bytes.as_bytes(), &self.body].concat()
    }
}

type Ready = Pin<Box<dyn Future<Output = ()> + Send>>;
type Hook = Arc<dyn Fn(usize) -> Ready + Send + Sync>;

#[derive(Default)]
struct State {
    calls: BTreeMap<String, usize>,
    faults: HashMap<Option<&'static str>, Fault>,
    requests: HashMap<String, String>,
    answers: HashMap<String, Answer>,
    hook: Option<Hook>,
}

struct Shared {
    upstream: String,
    state: Mutex<State>,
    /// Calls on their way. Those that a fault holds back are not among them.
    busy: watch::Sender<usize>,
}

impl Shared {
    /// Counts the call from 0 on, and tells what to run before it.
    fn note(&self, call: &Call) -> (usize, Option<Hook>) {
        let mut state = self.state.lock().unwrap();
        let number = state.calls.values().sum();
        *state.calls.entry(call.operation.clone()).or_default() += 1;
        let text = String::from_utf8_lossy(&call.bytes).into_owned();
        state.requests.insert(call.operation.clone(), text);
        (number, state.hook.clone())
    }

    fn fault_for(&self, call: &Call) -> Option<Fault> {
        let state = self.state.lock().unwrap();
        let own = state.faults.get(&Some(call.operation.as_str()));
        own.or_else(|| state.faults.get(&None)).cloned()
    }

    fn record(&self, call: &Call, answer: &Answer) {
        let mut state = self.state.lock().unwrap();
        let operation = call.operation.clone();
        state.answers.insert(operation, answer.clone());
    }
}

/// A running proxy. Dropping it ends it and its connections.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: AbortHandle,
    held: Option<TcpSocket>,
}

impl Proxy {
    /// A proxy before the server at this base URL.
    pub(crate) async fn start(upstream: &str) -> Self {
        let upstream = upstream.strip_prefix("http://").unwrap();
        let shared = Arc::new(Shared {
            upstream: upstream.trim_end_matches('/').to_owned(),
            state: Mutex::default(),
            busy: watch::Sender::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            accepting: tokio::spawn(accept(listener, shared.clone())).abort_handle(),
            shared,
            held: None,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this happens to every call that has no fault of its own.
    pub(crate) fn set(&self, fault: Fault) {
        self.state(|state| state.faults.insert(None, fault));
    }

    /// From now on this happens to the calls of this operation.
    pub(crate) fn set_for(&self, operation: &'static str, fault: Fault) {
        self.state(|state| state.faults.insert(Some(operation), fault));
    }

    /// No faults any more. A call that hangs goes on hanging.
    pub(crate) fn heal(&self) {
        self.state(|state| state.faults.clear());
    }

    /// No connection is accepted any more, and those that are open end.
    pub(crate) async fn close(&mut self) {
        self.accepting.abort();
        while !self.accepting.is_finished() {
            tokio::task::yield_now().await;
        }
        // Bound, so that nobody takes the port, and refusing, because it does not listen.
        let held = TcpSocket::new_v4().unwrap();
        held.set_reuseaddr(true).unwrap();
        held.bind(self.address).unwrap();
        self.held = Some(held);
    }

    /// Accepts connections again, at the same address.
    pub(crate) fn open(&mut self) {
        let listener = self.held.take().unwrap().listen(1024).unwrap();
        self.accepting = tokio::spawn(accept(listener, self.shared.clone())).abort_handle();
    }

    /// Runs this before each call is looked at; its argument counts the calls from 0 on.
    pub(crate) fn before_each<F, Fut>(&self, hook: F)
    where
        F: Fn(usize) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let hook: Hook = Arc::new(move |number| Box::pin(hook(number)));
        self.state(|state| state.hook = Some(hook));
    }

    pub(crate) fn calls(&self) -> usize {
        self.state(|state| state.calls.values().sum())
    }

    pub(crate) fn calls_of(&self, operation: &str) -> usize {
        self.state(|state| state.calls.get(operation).copied().unwrap_or_default())
    }

    /// The calls of each operation so far.
    pub(crate) fn tally(&self) -> BTreeMap<String, usize> {
        self.state(|state| state.calls.clone())
    }

    /// What was asked last with this operation: the head and the body.
    pub(crate) fn last_request(&self, operation: &str) -> String {
        self.state(|state| state.requests[operation].clone())
    }

    /// What the server answered last to this operation.
    pub(crate) fn last(&self, operation: &str) -> Answer {
        self.state(|state| state.answers[operation].clone())
    }

    /// Waits until the server has answered every call that reached it.
    pub(crate) async fn idle(&self) {
        let mut busy = self.shared.busy.subscribe();
        busy.wait_for(|busy| *busy == 0).await.unwrap();
    }

    pub(crate) fn is_idle(&self) -> bool {
        *self.shared.busy.borrow() == 0
    }

    fn state<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.shared.state.lock().unwrap())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                if connections.len() < MAX_CONNECTIONS {
                    let _ = socket.set_nodelay(true);
                    connections.spawn(serve(socket, shared.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection. An error ends it, which is what the peer shall see.
async fn serve(socket: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let mut socket = BufReader::new(socket);
    while let Some(call) = Call::read(&mut socket).await? {
        let busy = Busy::new(&shared);
        let (number, hook) = shared.note(&call);
        if let Some(hook) = hook {
            hook(number).await;
        }
        let fault = shared.fault_for(&call);
        let _busy = match &fault {
            Some(Fault::CutBeforeHead) => return Ok(()),
            Some(Fault::Hang) => {
                drop(busy);
                return until_closed(&mut socket).await;
            }
            Some(Fault::Answer(answer)) => {
                socket.write_all(&answer.bytes()).await?;
                continue;
            }
            Some(Fault::Delay(time)) => {
                drop(busy);
                tokio::time::sleep(*time).await;
                Busy::new(&shared)
            }
            _ => busy,
        };
        let answer = call.forward(&shared.upstream).await?;
        shared.record(&call, &answer);
        let (bytes, is_whole) = answer.spoiled(fault.as_ref());
        socket.write_all(&bytes).await?;
        if !is_whole {
            return Ok(());
        }
    }
    Ok(())
}

async fn until_closed(socket: &mut BufReader<TcpStream>) -> io::Result<()> {
    let mut rest = [0; 64];
    while socket.read(&mut rest).await? > 0 {}
    Ok(())
}

/// Counts a call that is on its way.
struct Busy<'a>(&'a Shared);

impl<'a> Busy<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.busy.send_modify(|busy| *busy += 1);
        Self(shared)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.send_modify(|busy| *busy -= 1);
    }
}

struct Call {
    operation: String,
    bytes: Vec<u8>,
}

impl Call {
    /// `None` when the client has closed the connection.
    async fn read(socket: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let Some((first, headers)) = head(socket).await? else {
            return Ok(None);
        };
        let mut body = vec![0; length(&headers)?.unwrap_or(0)];
        socket.read_exact(&mut body).await?;
        let target = header(&headers, "x-amz-target").and_then(|it| it.rsplit('.').next());
        let form = String::from_utf8_lossy(&body);
        let action = form.split('&').find_map(|it| it.strip_prefix("Action="));
        let operation = target.or(action).unwrap_or(&first).to_owned();

        // As HTTP/1.0, so that the answer has no chunks and ends with its connection.
        let mut bytes = first.replace("HTTP/1.1", "HTTP/1.0") + "\r\n";
        for (name, value) in headers.iter().filter(|(name, _)| name != "connection") {
            bytes += &format!("{name}: {value}\r\n");
        }
        bytes += "\r\n";
        let bytes = [bytes.as_bytes(), &body].concat();
        Ok(Some(Self { operation, bytes }))
    }

    async fn forward(&self, upstream: &str) -> io::Result<Answer> {
        let mut server = TcpStream::connect(upstream).await?;
        server.write_all(&self.bytes).await?;
        let mut server = BufReader::new(server);
        let Some((first, mut headers)) = head(&mut server).await? else {
            return Err(bad("the server closed the connection"));
        };
        let status = first.split(' ').nth(1).and_then(|it| it.parse().ok());
        let mut body = Vec::new();
        match length(&headers)? {
            Some(length) => {
                body.resize(length, 0);
                server.read_exact(&mut body).await?;
            }
            None => {
                let limit = MAX_BODY as u64;
                server.take(limit).read_to_end(&mut body).await?;
            }
        }
        headers.retain(|(name, _)| {
            !["connection", "content-length", "transfer-encoding"].contains(&name.as_str())
        });
        Ok(Answer {
            status: status.ok_or_else(|| bad("the server sent no status"))?,
            headers,
            body,
        })
    }
}

type Headers = Vec<(String, String)>;

/// The first line and the headers, their names in lower case; `None` at the end of the stream.
async fn head(stream: &mut BufReader<TcpStream>) -> io::Result<Option<(String, Headers)>> {
    let mut lines = stream.take(MAX_HEAD).lines();
    let Some(first) = lines.next_line().await? else {
        return Ok(None);
    };
    let mut headers = Vec::new();
    while let Some(line) = lines.next_line().await? {
        let Some((name, value)) = line.split_once(':') else {
            return Ok(Some((first, headers)));
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Err(bad("the head is too long, or ends early"))
}

fn header<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(it, _)| it == name);
    found.map(|(_, value)| value.as_str())
}

fn length(headers: &Headers) -> io::Result<Option<usize>> {
    let Some(length) = header(headers, "content-length") else {
        return Ok(None);
    };
    let length = length.parse().ok().filter(|length| *length <= MAX_BODY);
    length
        .map(Some)
        .ok_or_else(|| bad("the body's length makes no sense"))
}

fn bad(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
