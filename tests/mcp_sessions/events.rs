//! An event store as rmcp wants one: it knows no users.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
};

use futures::stream;
use rmcp::transport::streamable_http_server::session::{
    EventStore, EventStoreError, EventStream, ServerSseMessage,
};

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, EventStoreError>> + Send + 'a>>;

/// Ids count up over all streams, as those of a log do.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<(String, ServerSseMessage)>>>);

impl EventStore for Events {
    fn store_event<'a, 'b, 'c, 'd>(
        &'a self,
        stream: &'b str,
        event: &'c ServerSseMessage,
    ) -> Answer<'d, String>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        let mut events = self.0.lock().unwrap();
        let id = events.len().to_string();
        let mut event = event.clone();
        event.event_id = Some(id.clone());
        events.push((stream.to_owned(), event));
        Box::pin(async { Ok(id) })
    }

    fn replay_events_after<'a, 'b, 'd>(&'a self, last: &'b str) -> Answer<'d, EventStream>
    where
        'a: 'd,
        'b: 'd,
        Self: 'd,
    {
        let events = self.0.lock().unwrap();
        let replayed = last.parse().ok().and_then(|last: usize| {
            let (stream, _) = events.get(last)?;
            let later = events[last + 1..].iter();
            let later = later.filter(|(other, _)| other == stream);
            Some(later.map(|(_, event)| event.clone()).collect::<Vec<_>>())
        });
        Box::pin(async {
            let replayed = replayed.ok_or("no such event")?;
            Ok(Box::pin(stream::iter(replayed)) as EventStream)
        })
    }
}
