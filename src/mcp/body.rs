//! The body of a message that a layer may have read.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// A body that was left as it is, or bytes that a layer holds: a request's, read to decide about it
    /// and passed on, or an answer of the layer's own. Data comes as [`Bytes`] either way.
    #[derive(Debug)]
    pub struct BytesOr<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = KindProj]
    enum Kind<B> {
        Body { #[pin] body: B },
        Bytes { bytes: Bytes },
    }
}

impl<B> BytesOr<B> {
    pub(super) fn body(body: B) -> Self {
        Self {
            kind: Kind::Body { body },
        }
    }

    pub(super) fn bytes(bytes: Bytes) -> Self {
        Self {
            kind: Kind::Bytes { bytes },
        }
    }
}

// So that `EmptyBody` and `TextBody` can refuse outside of a layer that answers with it.
impl<B> Default for BytesOr<B> {
    fn default() -> Self {
        Self::bytes(Bytes::new())
    }
}

impl<B> From<Bytes> for BytesOr<B> {
    fn from(bytes: Bytes) -> Self {
        Self::bytes(bytes)
    }
}

impl<B: Body> Body for BytesOr<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Body { body } => {
                let frame = body.poll_frame(cx);
                frame
                    .map_ok(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
            }
            KindProj::Bytes { bytes } if bytes.is_empty() => Poll::Ready(None),
            KindProj::Bytes { bytes } => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Body { body } => body.is_end_stream(),
            Kind::Bytes { bytes } => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Body { body } => body.size_hint(),
            Kind::Bytes { bytes } => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}
