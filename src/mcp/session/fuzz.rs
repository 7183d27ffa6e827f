//! A client that hands in any session id, event id or request state, and a server whose stream says
//! anything.
//!
//! One letter, and what is handed in; an edit of a good one is a place, a byte, and what is sealed.

use std::sync::LazyLock;

use super::{
    binding::{Bindings, Kind, id_of},
    events::{MAX_ID_LINE, bind_pieces},
};
use crate::{
    keyring::SessionKeys,
    mcp::{principal::Principal, request_state::RequestStates},
};

static KEYS: LazyLock<SessionKeys> = LazyLock::new(SessionKeys::of_process);

/// Under which nothing was ever sealed: a fuzzer sees what is compared, and hands in again what another
/// key has sealed.
static UNUSED: LazyLock<SessionKeys> = LazyLock::new(SessionKeys::of_process);

/// Judges what was handed in.
pub fn session(bytes: &[u8]) {
    match bytes.split_first() {
        Some((b'i', id)) => forged_id(id),
        Some((b'e', [at, byte, id @ ..])) => edited_id(*at, *byte, id),
        Some((b'r', state)) => forged_state(state),
        Some((b't', [at, byte, state @ ..])) => edited_state(*at, *byte, state),
        Some((b's', [size, stream @ ..])) => events(usize::from(*size), stream),
        _ => {}
    }
}

/// Nobody knows the key, so nothing that is made up opens.
fn forged_id(id: &[u8]) {
    let (bindings, anyone) = (Bindings::new(UNUSED.clone()), Principal::anonymous());
    for kind in [Kind::Session, Kind::Event] {
        assert!(bindings.open(kind, id, &anyone).is_none(), "{id:?} opens");
    }
    assert!(id_of(id).is_none_or(|own| id.starts_with(own) && !own.is_empty()));
}

fn edited_id(at: u8, byte: u8, id: &[u8]) {
    let (bindings, anyone) = (Bindings::new(KEYS.clone()), Principal::anonymous());
    let Some((bound, _)) = bindings.bind(Kind::Session, id, &anyone) else {
        panic!("there is a key");
    };
    let opened = bindings.open(Kind::Session, &bound, &anyone);
    // An empty id is none.
    assert_eq!(opened.map(|it| it.id), (!id.is_empty()).then_some(id));
    assert!(bindings.open(Kind::Event, &bound, &anyone).is_none());
    // From its end, where the HMAC is.
    let mut edited = bound.clone();
    let place = edited.len() - 1 - usize::from(at) % edited.len();
    edited[place] = byte;
    if edited != bound {
        let opened = bindings.open(Kind::Session, &edited, &anyone);
        assert!(opened.is_none(), "{edited:?} opens");
    }
}

fn forged_state(state: &[u8]) {
    let Ok(state) = std::str::from_utf8(state) else {
        return;
    };
    let states = RequestStates::new(UNUSED.clone());
    assert!(!states.opens(&Principal::anonymous(), b"call", state));
}

fn edited_state(at: u8, byte: u8, state: &[u8]) {
    let (states, anyone) = (RequestStates::new(KEYS.clone()), Principal::anonymous());
    let state = String::from_utf8_lossy(state);
    let Some(sealed) = states.seals(&anyone, b"call", &state) else {
        panic!("there is a key");
    };
    assert!(states.opens(&anyone, b"call", &sealed));
    assert!(!states.opens(&anyone, b"other", &sealed));
    let mut edited = sealed.clone().into_bytes();
    let place = usize::from(at) % edited.len();
    edited[place] = byte;
    if let Ok(edited) = String::from_utf8(edited)
        && edited != sealed
    {
        assert!(!states.opens(&anyone, b"call", &edited), "{edited} opens");
    }
}

/// In whatever pieces a stream comes, its ids are bound and all else is as it was.
fn events(size: usize, stream: &[u8]) {
    let whole = bind_pieces(&KEYS, [stream]);
    let in_pieces = bind_pieces(&KEYS, stream.chunks(size.max(1)));
    assert_eq!(whole, in_pieces, "it depends on the pieces");

    let lines = |stream| <[u8]>::split(stream, |byte| matches!(byte, b'\n' | b'\r'));
    let (said, told): (Vec<_>, Vec<_>) = (lines(stream).collect(), lines(&whole).collect());
    assert_eq!(said.len(), told.len());
    let bindings = Bindings::new(KEYS.clone());
    let last = told.len() - 1;
    for (at, (said, told)) in said.iter().zip(&told).enumerate() {
        let is_last = at == last;
        let may_be_id = said.starts_with(b"id:") || b"id:".starts_with(said);
        if is_last && may_be_id {
            // The end of the line has not come, so it is held.
            assert!(told.is_empty() || said.len() > MAX_ID_LINE);
            continue;
        }
        if said.starts_with(b"id:") && said.len() >= MAX_ID_LINE {
            assert_eq!(*told, b":", "an id that is too long is passed on");
            continue;
        }
        let value = said.strip_prefix(b"id:");
        let value = value.map(|id| id.strip_prefix(b" ").unwrap_or(id));
        match value.filter(|id| !id.is_empty()) {
            None => assert_eq!(said, told, "a line was changed"),
            Some(id) => {
                let own = told.strip_prefix(b"id: ").unwrap_or_default();
                let opened = bindings.open(Kind::Event, own, &Principal::anonymous());
                assert_eq!(opened.map(|it| it.id), Some(id), "an id is not bound");
            }
        }
    }
}
