//! One owner's tokens: when a newer one is taken, and whether what became of each is right.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rmcp::transport::streamable_http_client::StreamableHttpError;
use tokio::sync::watch;

use crate::{
    authorized::{Owner, Refusable},
    operator::Truth,
    tally::Tally,
};

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
}

impl Owner for Wallet {
    fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// With the token at hand and, like any OAuth client, once more with a new one after a 401. Every
    /// refusal and every acceptance is judged.
    async fn send_with_token<R, Fut>(
        &self,
        request: impl Fn(Option<String>) -> Fut + Send + Sync,
    ) -> Refusable<R>
    where
        R: Send,
        Fut: Future<Output = Refusable<R>> + Send,
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
