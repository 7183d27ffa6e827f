//! The future of a call.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::{Call, SessionBody};

pin_project! {
    /// The future of [`BindSessions`](super::BindSessions).
    pub struct SessionFuture<F, R> {
        #[pin]
        state: State<F, R>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, R> {
        Call { #[pin] inner: F, call: Option<Call> },
        Answer { response: Option<Box<Response<SessionBody<R>>>> },
    }
}

impl<F, R> SessionFuture<F, R> {
    pub(super) fn call(inner: F, call: Call) -> Self {
        let call = Some(call);
        Self {
            state: State::Call { inner, call },
        }
    }

    pub(super) fn answer(response: Response<SessionBody<R>>) -> Self {
        let response = Some(Box::new(response));
        Self {
            state: State::Answer { response },
        }
    }
}

impl<F, R, E> Future for SessionFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body<Data = Bytes>,
{
    type Output = Result<Response<SessionBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Call { inner, call } => {
                let response = ready!(inner.poll(cx))?;
                match call.take() {
                    Some(call) => Poll::Ready(Ok(call.bind(response))),
                    // Polled after its end, which the inner future has let pass.
                    None => Poll::Pending,
                }
            }
            StateProjection::Answer { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(*response)),
                None => Poll::Pending,
            },
        }
    }
}

impl<F, R> fmt::Debug for SessionFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionFuture").finish_non_exhaustive()
    }
}
