//! The HMAC that says whose an id is: `id.tag`.

use aws_lc_rs::hmac;
use base64_simd::{Out, URL_SAFE_NO_PAD};

use crate::{
    keyring::SessionKeys,
    mcp::principal::{Principal, push_field},
};

const SEPARATOR: u8 = b'.';
const TAG_BYTES: usize = 32;
/// In base64url.
const TAG_CHARS: usize = 43;

/// What is bound. One kind never passes for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Session = 1,
    Event = 2,
}

/// Binds ids to principals.
#[derive(Clone, Debug)]
pub(super) struct Bindings(SessionKeys);

/// An id that was bound to this principal.
pub(super) struct Opened<'a> {
    pub(super) id: &'a [u8],
    /// The identity of the key.
    pub(super) key: [u8; 32],
}

impl Bindings {
    pub(super) fn new(keys: SessionKeys) -> Self {
        Self(keys)
    }

    pub(super) fn keys(&self) -> &SessionKeys {
        &self.0
    }

    /// The bound id, and the identity of the key; `None` without a key.
    pub(super) fn bind(
        &self,
        kind: Kind,
        id: &[u8],
        principal: &Principal,
    ) -> Option<(Vec<u8>, [u8; 32])> {
        let key = self.0.sealing()?;
        let tag = hmac::sign(key.binding(), &message(kind, id, principal));
        let mut bound = Vec::with_capacity(id.len() + 1 + TAG_CHARS);
        bound.extend(id);
        bound.push(SEPARATOR);
        URL_SAFE_NO_PAD.encode_append(tag.as_ref(), &mut bound);
        Some((bound, *key.identity()))
    }

    /// The id, where one of the keys says that it is this principal's. Compares in constant time.
    pub(super) fn open<'a>(
        &self,
        kind: Kind,
        bound: &'a [u8],
        principal: &Principal,
    ) -> Option<Opened<'a>> {
        let (id, tag) = split(bound)?;
        let message = message(kind, id, principal);
        let (key, ()) = self
            .0
            .find(|key| hmac::verify(key.binding(), &message, &tag).ok())?;
        let key = *key.identity();
        Some(Opened { id, key })
    }
}

/// What was bound, whoever it is of.
pub(super) fn id_of(bound: &[u8]) -> Option<&[u8]> {
    split(bound).map(|(id, _)| id)
}

fn split(bound: &[u8]) -> Option<(&[u8], [u8; TAG_BYTES])> {
    let (rest, tag) = bound.split_at_checked(bound.len().checked_sub(TAG_CHARS)?)?;
    let id = rest.strip_suffix(&[SEPARATOR])?;
    let mut bytes = [0; TAG_BYTES];
    let decoded = URL_SAFE_NO_PAD
        .decode(tag, Out::from_slice(&mut bytes))
        .ok()?;
    (decoded.len() == TAG_BYTES && !id.is_empty()).then_some((id, bytes))
}

fn message(kind: Kind, id: &[u8], principal: &Principal) -> Vec<u8> {
    let mut message = vec![kind as u8];
    push_field(&mut message, id);
    message.extend(principal.as_bytes());
    message
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn bindings() -> Bindings {
        Bindings::new(SessionKeys::of_process())
    }

    #[test]
    fn an_id_opens_as_what_it_was_bound_as_and_by_its_key_alone() {
        let (bindings, anyone) = (bindings(), Principal::anonymous());
        let (bound, key) = bindings.bind(Kind::Session, b"a.b", &anyone).unwrap();
        let opened = bindings.open(Kind::Session, &bound, &anyone).unwrap();
        assert_eq!((opened.id, opened.key), (&b"a.b"[..], key));
        assert!(bindings.open(Kind::Event, &bound, &anyone).is_none());
        assert!(
            super::tests::bindings()
                .open(Kind::Session, &bound, &anyone)
                .is_none()
        );
    }

    #[test]
    fn no_byte_of_it_can_be_changed_taken_or_added() {
        let (bindings, anyone) = (bindings(), Principal::anonymous());
        let (bound, _) = bindings.bind(Kind::Session, b"session", &anyone).unwrap();
        let opens = |bytes: &[u8]| bindings.open(Kind::Session, bytes, &anyone).is_some();
        assert!(opens(&bound));
        for at in 0..bound.len() {
            for other in [b'A', b'-', b'.', b'=', bound[at] ^ 1] {
                let mut changed = bound.clone();
                changed[at] = other;
                assert_eq!(opens(&changed), changed == bound, "{at} {other}");
            }
            assert!(!opens(&bound[..at]), "{at}");
            assert!(!opens(&bound[at + 1..]), "{at}");
            let mut longer = bound.clone();
            longer.insert(at, b'A');
            assert!(!opens(&longer), "{at}");
        }
        for bytes in [&b""[..], b".", b"session", b"session."] {
            assert!(!opens(bytes));
        }
    }
}
