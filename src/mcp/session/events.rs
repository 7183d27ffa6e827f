//! The body of a response, in which the ids of events are bound to the user as they leave.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{Bindings, BytesOr, Kind, Principal};

pin_project! {
    /// The response body of [`BindSessions`](super::BindSessions): the inner service's, whose events
    /// have their ids bound, or a short one of the layer itself.
    pub struct SessionBody<B> {
        #[pin]
        body: BytesOr<B>,
        events: Option<EventIds>,
    }
}

impl<B> SessionBody<B> {
    pub(super) fn plain(body: BytesOr<B>) -> Self {
        Self { body, events: None }
    }

    pub(super) fn events(body: BytesOr<B>, bindings: Bindings, principal: Principal) -> Self {
        let events = Some(EventIds {
            bindings,
            principal,
            line: Line::Start(Vec::new()),
        });
        Self { body, events }
    }
}

impl<B> Default for SessionBody<B> {
    fn default() -> Self {
        Self::plain(BytesOr::default())
    }
}

impl<B> From<Bytes> for SessionBody<B> {
    fn from(bytes: Bytes) -> Self {
        Self::plain(bytes.into())
    }
}

impl<B: Body<Data = Bytes>> Body for SessionBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        let Some(events) = this.events else {
            return Poll::Ready(frame);
        };
        Poll::Ready(frame.map(|frame| Ok(frame?.map_data(|data| events.bind_in(data)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.events {
            None => self.body.size_hint(),
            Some(_) => SizeHint::default(),
        }
    }
}

impl<B> fmt::Debug for SessionBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionBody")
            .field("has_events", &self.events.is_some())
            .finish_non_exhaustive()
    }
}

/// What becomes of a stream that comes in these pieces.
#[cfg(any(fuzzing, test))]
pub(super) fn bind_pieces<'a>(
    keys: &crate::keyring::SessionKeys,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut events = EventIds {
        bindings: Bindings::new(keys.clone()),
        principal: Principal::anonymous(),
        line: Line::Start(Vec::new()),
    };
    let pieces = pieces.into_iter().map(Bytes::copy_from_slice);
    pieces.flat_map(|piece| events.bind_in(piece)).collect()
}

/// Finds the `id` lines of an event stream (WHATWG HTML, section 9.2.5) in whatever pieces it comes.
struct EventIds {
    bindings: Bindings,
    principal: Principal,
    line: Line,
}

/// Where in a line the last piece has ended.
enum Line {
    /// At its start, or after as much of it as may become, or is, an id.
    Start(Vec<u8>),
    /// In one that is no id.
    Other,
    /// In an id that nobody could send back.
    TooLong,
}

const ID: &[u8] = b"id:";

/// A client sends an id back in a header, which is shorter.
pub(super) const MAX_ID_LINE: usize = 16 * 1024;

impl EventIds {
    fn bind_in(&mut self, data: Bytes) -> Bytes {
        if !self.concerns(&data) {
            return data;
        }
        let mut out = Vec::with_capacity(data.len() + 64);
        for piece in data.split_inclusive(|byte| is_line_end(*byte)) {
            let ends = piece.last().is_some_and(|byte| is_line_end(*byte));
            match &mut self.line {
                Line::Other => out.extend(piece),
                Line::TooLong => out.extend(piece.last().filter(|_| ends)),
                Line::Start(line) => {
                    line.extend(piece);
                    if !may_be_id(line) {
                        out.append(line);
                        self.line = Line::Other;
                    } else if line.len() > MAX_ID_LINE {
                        // A comment in its place, for an empty line would end the event.
                        out.push(b':');
                        out.extend(piece.last().filter(|_| ends));
                        self.line = Line::TooLong;
                    } else if ends {
                        let line = std::mem::take(line);
                        self.bind_line(&line, &mut out);
                    }
                }
            }
            if ends {
                self.line = Line::Start(Vec::new());
            }
        }
        out.into()
    }

    /// Whether a line of this piece may be an id; most are none, and pass as they are.
    fn concerns(&mut self, data: &[u8]) -> bool {
        let held = match &self.line {
            Line::Start(line) => !line.is_empty(),
            Line::TooLong => true,
            Line::Other => false,
        };
        let in_line = matches!(self.line, Line::Other);
        let mut starts = memchr::memchr2_iter(b'\n', b'\r', data)
            .map(|at| at + 1)
            .chain((!in_line).then_some(0));
        if held || starts.any(|at| at < data.len() && may_be_id(&data[at..])) {
            return true;
        }
        match data.last() {
            Some(byte) if is_line_end(*byte) => self.line = Line::Start(Vec::new()),
            Some(_) => self.line = Line::Other,
            None => {}
        }
        false
    }

    fn bind_line(&self, line: &[u8], out: &mut Vec<u8>) {
        let end = line.len() - 1;
        let value = line.get(ID.len()..end).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if value.is_empty() {
            // It forgets the last id.
            out.extend(line);
            return;
        }
        // Without a key the event has no id: it can be read, and not resumed from.
        if let Some((bound, _)) = self.bindings.bind(Kind::Event, value, &self.principal) {
            out.extend(b"id: ");
            out.extend(bound);
            out.extend(&line[end..]);
        }
    }
}

/// Whether it begins as an id does, as far as it goes.
fn may_be_id(line: &[u8]) -> bool {
    let len = line.len().min(ID.len());
    line[..len] == ID[..len]
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::keyring::SessionKeys;

    fn events() -> EventIds {
        EventIds {
            bindings: Bindings::new(SessionKeys::of_process()),
            principal: Principal::anonymous(),
            line: Line::Start(Vec::new()),
        }
    }

    /// The stream with each id opened again, which fails for one that was not bound.
    fn opened(events: &EventIds, stream: &[u8]) -> String {
        let text = String::from_utf8(stream.to_vec()).unwrap();
        let lines = text.split_inclusive(['\n', '\r']).map(|line| {
            let Some(bound) = line.trim_end().strip_prefix("id: ") else {
                return line.to_owned();
            };
            let id = events
                .bindings
                .open(Kind::Event, bound.as_bytes(), &events.principal);
            let id = std::str::from_utf8(id.unwrap().id).unwrap().to_owned();
            line.replace(bound, &id)
        });
        lines.collect()
    }

    #[test]
    fn ids_are_bound_in_whatever_pieces_a_stream_comes() {
        let stream = "id: 1\ndata: one\n\n:id: no\r\nid: 2/7\r\nevent: id: 3\rid: 4\rdata:id: 5\nidea\n\
                      id:\nid: six.seven\n\n";
        for size in 1..=stream.len() {
            let mut events = events();
            let pieces = stream.as_bytes().chunks(size).map(Bytes::copy_from_slice);
            let out: Vec<u8> = pieces.flat_map(|piece| events.bind_in(piece)).collect();
            assert_eq!(opened(&events, &out), stream, "{size}");
            assert!(!out.windows(6).any(|it| it == b"id: 1\n"), "{size}");
        }
    }

    #[test]
    fn an_id_that_fits_no_header_is_not_held() {
        let mut events = events();
        let mut out = events.bind_in(Bytes::from_static(b"id:")).to_vec();
        for _ in 0..1024 {
            out.extend(events.bind_in(Bytes::from(vec![b'x'; 1024])));
            let held = match &events.line {
                Line::Start(line) => line.capacity(),
                Line::Other | Line::TooLong => 0,
            };
            assert!(held <= 2 * MAX_ID_LINE, "{held}");
        }
        out.extend(events.bind_in(Bytes::from_static(b"\ndata: one\n\nid: 2\ndata: two\n\n")));
        assert_eq!(
            opened(&events, &out),
            ":\ndata: one\n\nid: 2\ndata: two\n\n"
        );
        // In one piece too.
        let long = format!("id: {}\ndata: three\n\n", "x".repeat(1024 * 1024));
        assert_eq!(events.bind_in(long.into()), ":\ndata: three\n\n");
    }

    #[test]
    fn what_has_no_id_is_not_copied() {
        let mut events = events();
        for piece in ["data: {}\n\n", "data: part", " of a line\n", ": ping\n\n"] {
            let piece = Bytes::from_static(piece.as_bytes());
            assert_eq!(events.bind_in(piece.clone()).as_ptr(), piece.as_ptr());
        }
    }
}
