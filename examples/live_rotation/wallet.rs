//! An HTTP client for rmcp whose every request carries the newest token that its owner has.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::stream::BoxStream;
use reqwest::header::{HeaderName, HeaderValue};
use rmcp::{
    model::ClientJsonRpcMessage,
    transport::streamable_http_client::{
        SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
    },
};
use sse_stream::Sse;
use tokio::sync::watch;

use crate::{operator::Truth, tally::Tally};

/// A token, and the number of the key that signed it.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) jwt: String,
    pub(crate) key: usize,
    pub(crate) minted: Instant,
}

/// When an owner fetches a new token.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Renewal {
    /// So long after it was minted.
    After(Duration),
    /// When the one it has is refused.
    WhenRefused,
}

#[derive(Clone)]
pub(crate) struct Wallet {
    http: reqwest::Client,
    newest: watch::Receiver<Token>,
    held: Arc<Mutex<Token>>,
    renewal: Renewal,
    truth: Truth,
    tally: Tally,
}

type Refusable<R> = Result<R, StreamableHttpError<reqwest::Error>>;

impl Wallet {
    pub(crate) fn new(
        newest: watch::Receiver<Token>,
        renewal: Renewal,
        truth: Truth,
        tally: Tally,
    ) -> reqwest::Result<Self> {
        let held = Arc::new(Mutex::new(newest.borrow().clone()));
        Ok(Self {
            http: reqwest::Client::builder().no_proxy().build()?,
            newest,
            held,
            renewal,
            truth,
            tally,
        })
    }

    fn token(&self, refused: bool) -> Token {
        let newest = self.newest.borrow();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = match self.renewal {
            Renewal::After(pause) => newest.minted.elapsed() >= pause,
            Renewal::WhenRefused => false,
        };
        if refused || is_due {
            *held = newest.clone();
        }
        held.clone()
    }

    /// Sends with the token at hand and, like any OAuth client, once more with a new one after a
    /// 401. Every refusal and every acceptance is judged.
    async fn send<R, Fut>(&self, request: impl Fn(Option<String>) -> Fut) -> Refusable<R>
    where
        Fut: Future<Output = Refusable<R>>,
    {
        let token = self.token(false);
        let is_over = self.truth.must_refuse(token.key);
        match request(Some(token.jwt)).await {
            Err(StreamableHttpError::AuthRequired(_)) => {
                self.tally.refusal(self.truth.may_refuse(token.key));
                request(Some(self.token(true).jwt)).await
            }
            Ok(_) if is_over => {
                self.tally.failure("token of an ended key accepted");
                Err(StreamableHttpError::UnexpectedEndOfStream)
            }
            result => result,
        }
    }
}

impl StreamableHttpClient for Wallet {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Refusable<StreamableHttpPostResponse> {
        let post = |token| {
            let (uri, message, session, headers) = (
                uri.clone(),
                message.clone(),
                session.clone(),
                headers.clone(),
            );
            self.http
                .post_message(uri, message, session, token, headers)
        };
        self.send(post).await
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session: Arc<str>,
        _: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Refusable<()> {
        let delete = |token| {
            self.http
                .delete_session(uri.clone(), session.clone(), token, headers.clone())
        };
        self.send(delete).await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        _: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Refusable<BoxStream<'static, Result<Sse, SseError>>> {
        let open = |token| {
            let (uri, session, last, headers) = (
                uri.clone(),
                session.clone(),
                last_event.clone(),
                headers.clone(),
            );
            self.http.get_stream(uri, session, last, token, headers)
        };
        self.send(open).await
    }
}
