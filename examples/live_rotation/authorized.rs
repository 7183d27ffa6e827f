//! An HTTP client for rmcp that leaves the token of every request to its owner.

use std::{collections::HashMap, sync::Arc};

use futures::stream::BoxStream;
use reqwest::header::{HeaderName, HeaderValue};
use rmcp::{
    model::ClientJsonRpcMessage,
    transport::streamable_http_client::{
        SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
    },
};
use sse_stream::Sse;

pub(crate) type Refusable<R> = Result<R, StreamableHttpError<reqwest::Error>>;

/// Who has tokens.
pub(crate) trait Owner: Clone + Send + Sync + 'static {
    fn http(&self) -> &reqwest::Client;

    /// Sends a request with a token and, where that is refused, with another one.
    fn send_with_token<R, Fut>(
        &self,
        request: impl Fn(Option<String>) -> Fut + Send + Sync,
    ) -> impl Future<Output = Refusable<R>> + Send
    where
        R: Send,
        Fut: Future<Output = Refusable<R>> + Send;
}

#[derive(Clone)]
pub(crate) struct Authorized<O>(pub(crate) O);

impl<O: Owner> StreamableHttpClient for Authorized<O> {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Refusable<StreamableHttpPostResponse> {
        let Self(owner) = self;
        let post = |token| {
            let (uri, message, session) = (uri.clone(), message.clone(), session.clone());
            let http = owner.http();
            http.post_message(uri, message, session, token, headers.clone())
        };
        owner.send_with_token(post).await
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session: Arc<str>,
        _: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Refusable<()> {
        let Self(owner) = self;
        let delete = |token| {
            let (uri, session) = (uri.clone(), session.clone());
            let http = owner.http();
            http.delete_session(uri, session, token, headers.clone())
        };
        owner.send_with_token(delete).await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        _: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Refusable<BoxStream<'static, Result<Sse, SseError>>> {
        let Self(owner) = self;
        let open = |token| {
            let (uri, session, last) = (uri.clone(), session.clone(), last_event.clone());
            let http = owner.http();
            http.get_stream(uri, session, last, token, headers.clone())
        };
        owner.send_with_token(open).await
    }
}
