//! Where IAM denies `DescribeSecret`.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use tracing::Dispatch;
use tracing_subscriber::fmt::MakeWriter;

use super::{
    fake::{Call, Fake, NAME, Reply},
    *,
};
use crate::source::aws::labels::{CURRENT, PENDING, PREVIOUS};

const ONE_READING: [&str; 4] = [CURRENT, PREVIOUS, PENDING, CURRENT];

fn denied(call: &Call) -> Option<Reply> {
    call.is_describe()
        .then(|| Reply::error(400, "AccessDeniedException", "User: x is not authorized"))
}

async fn start() -> Fake {
    let fake = Fake::start().await;
    fake.order(|_, call| denied(call));
    fake
}

#[tokio::test]
async fn labels_are_read_one_by_one() {
    let fake = start().await;
    let source = source(&fake);
    assert_eq!(ids(&source.fetch().await.unwrap()), ("v1", None, None));
    fake.rotate("v2");
    fake.stage("v3");
    fake.calls();
    let versions = source.fetch().await.unwrap();
    assert_eq!(ids(&versions), ("v2", Some("v1"), Some("v3")));
    assert_eq!(versions.previous().unwrap().replaced_at(), None);
    assert_eq!(fake.asked(), ONE_READING);
    // AWS leaves AWSPENDING in place.
    fake.change(|secret| secret.flip("v3"));
    let versions = source.fetch().await.unwrap();
    assert_eq!(ids(&versions), ("v3", Some("v2"), None));
}

/// Flips after the `n`th call for a value, so that each gap between two calls is tried.
#[tokio::test]
async fn labels_that_move_in_between_are_read_again() {
    for gap in 1..=4 {
        let fake = start().await;
        fake.rotate("v2");
        let mut gets = 0;
        fake.order(move |secret, call| {
            if !call.is_describe() {
                gets += 1;
                if gets == gap {
                    secret.put("v3", "{}", 2_000.0);
                    secret.flip("v3");
                }
            }
            denied(call)
        });
        let versions = source(&fake).fetch().await.unwrap();
        assert_eq!(ids(&versions), ("v3", Some("v2"), None), "{gap}");
        let readings = if gap == 1 { 1 } else { 2 };
        assert_eq!(fake.calls().len(), 1 + 4 * readings, "{gap}");
    }
}

/// Current moves away and back between the two looks at it.
#[tokio::test]
async fn a_previous_that_is_current_is_torn() {
    let fake = start().await;
    fake.rotate("v2");
    let mut gets = 0;
    fake.order(move |secret, call| {
        if !call.is_describe() {
            gets += 1;
            if gets == 2 {
                secret.flip("v1");
            }
            if gets == 3 {
                secret.flip("v2");
            }
        }
        denied(call)
    });
    let versions = source(&fake).fetch().await.unwrap();
    assert_eq!(ids(&versions), ("v2", Some("v1"), None));
    assert_eq!(fake.calls().len(), 9);
}

/// An operator may move AWSPREVIOUS onto current. `DescribeSecret` shows that as no previous, too.
#[tokio::test]
async fn a_previous_that_stays_on_current_is_none() {
    let fake = start().await;
    fake.rotate("v2");
    fake.stage("v3");
    fake.change(|secret| secret.label(PREVIOUS, "v2"));
    let versions = source(&fake).fetch().await.unwrap();
    assert_eq!(ids(&versions), ("v2", None, Some("v3")));
    assert!(matches!(versions.previous, Side::Absent));
    assert_eq!(fake.calls().len(), 1 + 2 * 4);
}

#[tokio::test]
async fn a_writer_that_never_rests_is_an_error_after_five_readings() {
    let fake = start().await;
    let mut turn = 0;
    fake.order(move |secret, call| {
        turn += 1;
        let id = format!("w{turn}");
        secret.put(&id, "{}", 2_000.0);
        secret.flip(&id);
        denied(call)
    });
    let error = source(&fake).fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Unavailable, "{error}");
    assert_eq!(fake.calls().len(), 1 + 5 * 4);
}

#[tokio::test]
async fn a_label_that_cannot_be_read_is_not_withdrawn() {
    let fake = start().await;
    fake.rotate("v2");
    fake.order(|_, call| {
        let is_previous = call.label.as_deref() == Some(PREVIOUS);
        let failed = is_previous.then(|| Reply::error(400, "DecryptionFailure", ""));
        failed.or_else(|| denied(call))
    });
    let versions = source(&fake).fetch().await.unwrap();
    assert!(matches!(versions.previous, Side::Unreadable(_)));
}

#[tokio::test]
async fn describing_is_tried_again_after_an_hour_and_warned_of_once() {
    let log = Log::default();
    // Of a lone subscriber, tracing asks the thread that meets an event first, which may be
    // another test's, without one. Of two it asks both.
    let _other = log.listen();
    let listener = log.listen();
    let _guard = tracing::dispatcher::set_default(&listener);

    let fake = start().await;
    let source = source(&fake);
    source.fetch().await.unwrap();
    for minutes in [0, 59] {
        advance(minutes).await;
        fake.calls();
        source.fetch().await.unwrap();
        assert_eq!(fake.asked(), ONE_READING);
    }
    advance(1).await;
    source.fetch().await.unwrap();
    assert_eq!(fake.asked()[0], "DescribeSecret");
    fake.obey_no_more();
    advance(60).await;
    source.fetch().await.unwrap();
    fake.calls();
    source.fetch().await.unwrap();
    assert_eq!(fake.asked(), ["DescribeSecret"]);

    let text = log.text();
    let warnings: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("secrets_describe_denied"))
        .collect();
    assert_eq!(warnings.len(), 1, "{text}");
    for part in [NAME, "secretsmanager:DescribeSecret"] {
        assert!(warnings[0].contains(part), "{text}");
    }
}

#[tokio::test]
async fn where_nothing_may_be_read_describing_is_tried_each_time() {
    let fake = Fake::start().await;
    fake.order(|_, _| Some(Reply::error(400, "AccessDeniedException", "")));
    let source = source(&fake);
    for _ in 0..2 {
        let error = source.fetch().await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::PermissionDenied);
        assert!(error.to_string().contains("GetSecretValue"), "{error}");
        assert_eq!(fake.asked(), ["DescribeSecret", CURRENT]);
    }
}

async fn advance(minutes: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(minutes * 60)).await;
    tokio::time::resume();
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn listen(&self) -> Dispatch {
        tracing_subscriber::fmt()
            .with_writer(self.clone())
            .with_max_level(tracing::Level::WARN)
            .finish()
            .into()
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
