//! The response, now or later.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use pin_project_lite::pin_project;

/// Ends with the inner service's future, or with a refusal.
type Waiting<F, R> = Pin<Box<dyn Future<Output = Result<F, Response<R>>> + Send>>;

pin_project! {
    /// The response future of [`JwtRotation`](super::JwtRotation) and
    /// [`PinSecrets`](super::PinSecrets): the inner service's own, a refusal that is ready, or, for a
    /// token whose key is not known yet, first the waiting for a refresh.
    #[derive(Debug)]
    pub struct ResponseFuture<F, R> {
        #[pin]
        kind: Kind<F, R>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<F, R> {
        Call { #[pin] future: F },
        Reject { response: Option<Response<R>> },
        Wait { waiting: Waiting<F, R> },
    }
}

impl<F, R> ResponseFuture<F, R> {
    pub(crate) fn call(future: F) -> Self {
        Self {
            kind: Kind::Call { future },
        }
    }

    pub(crate) fn reject(response: Response<R>) -> Self {
        Self {
            kind: Kind::Reject {
                response: Some(response),
            },
        }
    }

    pub(super) fn wait(waiting: Waiting<F, R>) -> Self {
        Self {
            kind: Kind::Wait { waiting },
        }
    }
}

impl<F, R, E> Future for ResponseFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut kind = self.project().kind;
        loop {
            match kind.as_mut().project() {
                KindProj::Call { future } => return future.poll(cx),
                KindProj::Reject { response } => {
                    let response = response.take();
                    return Poll::Ready(Ok(response.expect("polled after it was ready")));
                }
                KindProj::Wait { waiting } => {
                    let next = match ready!(waiting.as_mut().poll(cx)) {
                        Ok(future) => Kind::Call { future },
                        Err(response) => Kind::Reject {
                            response: Some(response),
                        },
                    };
                    kind.set(next);
                }
            }
        }
    }
}

impl<F: fmt::Debug, R: fmt::Debug> fmt::Debug for Kind<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call { future } => f.debug_tuple("Call").field(future).finish(),
            Self::Reject { response } => f.debug_tuple("Reject").field(response).finish(),
            Self::Wait { waiting: _ } => f.write_str("Wait"),
        }
    }
}
