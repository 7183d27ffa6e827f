//! The response, now or later.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::Response;
use pin_project_lite::pin_project;

pin_project! {
    /// The response future of [`JwtRotation`](super::JwtRotation) and
    /// [`PinSecrets`](super::PinSecrets): the inner service's own, or a refusal that is ready.
    #[derive(Debug)]
    pub struct ResponseFuture<F, R> {
        #[pin]
        kind: Kind<F, R>,
    }
}

pin_project! {
    #[project = KindProj]
    #[derive(Debug)]
    enum Kind<F, R> {
        Call { #[pin] future: F },
        Reject { response: Option<Response<R>> },
    }
}

impl<F, R> ResponseFuture<F, R> {
    pub(super) fn call(future: F) -> Self {
        Self {
            kind: Kind::Call { future },
        }
    }

    pub(super) fn reject(response: Response<R>) -> Self {
        Self {
            kind: Kind::Reject {
                response: Some(response),
            },
        }
    }
}

impl<F, R, E> Future for ResponseFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Call { future } => future.poll(cx),
            KindProj::Reject { response } => {
                let response = response.take();
                Poll::Ready(Ok(response.expect("polled after it was ready")))
            }
        }
    }
}
