//! A server that says anything: what is taken of an answer, and what is told of it.
//!
//! `m200` and a line end, then the body: one letter for what was asked, and the status.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Read,
    database::of_static_role,
    http::Answer,
    lease::Lease,
    metadata::Metadata,
    session::{Life, Lookup, logged_in},
};
use crate::{
    fuzz::{assert_untold, texts},
    source::{SourceError, Version},
};

/// What a login was made with.
const SECRET: &str = "hunter2-hunter2";
/// Longer than any token or lease lives.
const FAR: Duration = Duration::from_secs(1 << 33);
/// The server's own words, with what is around them.
const LONGEST_TEXT: usize = 2_000;

/// Judges one answer.
pub fn vault(bytes: &[u8]) {
    let Some(([asked, status @ ..], [b'\n', body @ ..])) = bytes.split_first_chunk::<4>() else {
        return;
    };
    let Ok(status) = StatusCode::from_bytes(status) else {
        return;
    };
    let answer = Answer::of(status, body.to_vec());
    let refused = match asked {
        b'm' => answer.data().and_then(|metadata| stages(&metadata)).err(),
        b'd' => answer.data().map(|read| version(&read, body)).err(),
        b'l' => logged_in(&answer, SECRET)
            .map(|(_, life)| lives(life))
            .err(),
        b'k' => answer.data().map(|it: Lookup| lives(it.life())).err(),
        b'g' => lease(&answer, body).err(),
        b's' => of_static_role(&answer, "app")
            .map(|(version, _)| credentials(&version, body))
            .err(),
        _ => return,
    };
    let _ = (answer.has_data(), answer.refusal(None));
    if let Some(error) = refused {
        told(&error, status, body);
    }
    let text = answer.refusal(Some(SECRET)).to_string();
    assert!(text.len() < LONGEST_TEXT, "{text}");
    assert_untold(&text, [SECRET]);
}

fn stages(metadata: &Metadata) -> Result<(), SourceError> {
    let progress = metadata.progress();
    assert!(!progress.is_behind(&progress), "an answer is behind itself");
    let stages = metadata.stages(SystemTime::now())?;
    let current = &stages.current;
    assert!(stages.name(&current.id()));
    for beside in [&stages.previous, &stages.pending].into_iter().flatten() {
        assert_ne!(beside.number, current.number, "one version in two stages");
    }
    if let (Some(previous), Some(pending)) = (&stages.previous, &stages.pending) {
        assert_ne!(previous.number, pending.number, "one version in two stages");
    }
    let previous = stages.previous.as_ref();
    assert!(previous.is_none_or(|previous| previous.number < current.number));
    Ok(())
}

fn version(read: &Read<'_>, body: &[u8]) {
    let told: Option<Value> = serde_json::from_slice(body).ok();
    let own: Option<Value> = serde_json::from_str(read.data.get()).ok();
    // A `Value` has the last of members with the same name, and may have no such number.
    if let (Some(told), Some(own)) = (told, own) {
        assert_eq!(told["data"]["data"], own);
    }
    let text = format!("{:?}", Version::new(read.metadata.id(), read.data.get()));
    assert!(text.contains("[redacted]"), "{text}");
}

fn lives(life: Option<Life>) {
    let is_bounded = life.is_none_or(|life| life.ends < Instant::now() + FAR);
    assert!(is_bounded, "it never ends");
}

fn lease(answer: &Answer, body: &[u8]) -> Result<(), SourceError> {
    let lease = Lease::given(answer, 1)?;
    assert!(lease.due <= lease.ends && lease.ends < Instant::now() + FAR);
    credentials(&lease.version, body);
    if let Some(previous) = lease.as_previous() {
        assert_eq!(previous.id(), lease.id());
    }
    Ok(())
}

/// Two members and no more, whatever the server wrote in them.
fn credentials(version: &Version, body: &[u8]) {
    let told: Option<Value> = serde_json::from_slice(body).ok();
    let own: Option<Value> = serde_json::from_slice(version.document()).ok();
    if let (Some(told), Some(Value::Object(own))) = (told, own) {
        assert_eq!(own.len(), 2);
        for (name, value) in &own {
            assert_eq!(told["data"][name], *value);
        }
    }
}

/// A success that is none may hold the secret, so nothing of it is told. What a refusal says in
/// `errors` is the server's to tell.
fn told(error: &SourceError, status: StatusCode, body: &[u8]) {
    let text = error.to_string();
    assert!(text.len() < LONGEST_TEXT, "{text}");
    if let (true, Ok(body)) = (status.is_success(), serde_json::from_slice(body)) {
        assert_untold(&text, texts(&body));
    }
}
