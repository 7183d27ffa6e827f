//! Request states that belong to their user, and survive rotations.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use aws_lc_rs::{
    aead::{Aad, NONCE_LEN, Nonce},
    rand,
};
use base64_simd::URL_SAFE_NO_PAD;
use rmcp::ErrorData;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    context::{SecretsContext, principal},
    principal::{Principal, push_field},
    session::NoSessionKey,
};
use crate::keyring::{Keyring, SessionKeys};

/// Of a key's identity, what says which key a state is sealed with.
const KEY_ID_BYTES: usize = 8;
const EXPIRY_BYTES: usize = 8;
const HEAD_BYTES: usize = KEY_ID_BYTES + NONCE_LEN;

/// Longer than any client should be made to carry.
const MAX_SEALED_BYTES: usize = 1024 * 1024;

const TIME_TO_LIVE: Duration = Duration::from_secs(3600);

/// Seals the `requestState` of MCP's multi round-trip requests (2026-07-28, SEP-2322).
///
/// A server that needs more input answers with a state that the client hands back when it tries again,
/// perhaps to another replica. To the server it is then what an attacker may have written: MCP asks to
/// protect its integrity, and to bind it to the user, to the request and in time. A state sealed here
///
/// * opens for the same user only: `iss`, `sub` and client id, as for
///   [`BindSessionsLayer`](super::BindSessionsLayer). It is taken from the request's context, so it cannot be
///   forgotten;
/// * opens for the same `call`: what the state is about, such as the tool's name and those of its arguments
///   that the next round must not change;
/// * opens within its [time to live](Self::time_to_live), one hour by default;
/// * cannot be read by the client: it is encrypted (AES-256-GCM, a random nonce, a key of its own by HKDF);
/// * opens after rotations, within the session key's
///   [window](crate::Builder::session_key_window), and on every replica.
///
/// It can be handed in more than once within its time; what must happen once needs a record of its own.
///
/// rmcp's `RequestStateCodec` is one type with fixed keys and no notion of the caller, so this is not one of
/// it but stands in its place.
///
/// ```
/// use rmcp::{ErrorData, RoleServer, model::InputRequiredResult, service::RequestContext};
/// use tower_secrets::mcp::RequestStates;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Progress { step: u32 }
///
/// fn next_round(
///     states: &RequestStates,
///     context: &RequestContext<RoleServer>,
///     handed_back: Option<&str>,
/// ) -> Result<InputRequiredResult, ErrorData> {
///     let progress = match handed_back {
///         Some(state) => states.open(context, "transfer", state)?,
///         None => Progress { step: 0 },
///     };
///     let next = Progress { step: progress.step + 1 };
///     Ok(InputRequiredResult::from_request_state(states.seal(context, "transfer", &next)?))
/// }
/// ```
#[derive(Clone)]
#[must_use]
pub struct RequestStates {
    keys: SessionKeys,
    time_to_live: Duration,
}

impl RequestStates {
    /// With the session keys of the keyring: states cross replicas and restarts.
    ///
    /// # Errors
    /// When the keyring has none.
    pub fn shared<T: Send + Sync + 'static>(keyring: &Keyring<T>) -> Result<Self, NoSessionKey> {
        keyring
            .session_keys()
            .map(Self::new)
            .ok_or(NoSessionKey(()))
    }

    /// With a random key: no other process opens the states, nor does this one after a restart.
    pub fn of_process() -> Self {
        Self::new(SessionKeys::of_process())
    }

    /// With these keys.
    pub fn new(keys: SessionKeys) -> Self {
        Self {
            keys,
            time_to_live: TIME_TO_LIVE,
        }
    }

    /// How long a state can be handed in. Default: one hour; never longer than the window of the key it
    /// was sealed with.
    pub fn time_to_live(mut self, limit: Duration) -> Self {
        self.time_to_live = limit;
        self
    }

    /// Seals a state, as JSON, for whoever made this request.
    ///
    /// # Errors
    /// An internal error: it cannot be written as JSON, is longer than 1 MiB when sealed, no layer says who
    /// calls, or there is no key. An
    /// invalid request where the caller's token names neither a subject nor a client.
    pub fn seal<S: Serialize>(
        &self,
        context: &impl SecretsContext,
        call: impl AsRef<[u8]>,
        state: &S,
    ) -> Result<String, ErrorData> {
        let principal = principal(context)?;
        let sealed = self.sealed(&principal, call.as_ref(), state);
        presentable(sealed).map_err(|text| ErrorData::internal_error(text, None))
    }

    /// Opens what was sealed for this user and this `call`.
    ///
    /// # Errors
    /// An invalid-params error that is the same for every state that is not good: of another user, forged,
    /// too old, sealed with a key that is not trusted any more, or of another form than `S`. As for
    /// [`seal`](Self::seal) where there is no user.
    pub fn open<S: DeserializeOwned>(
        &self,
        context: &impl SecretsContext,
        call: impl AsRef<[u8]>,
        sealed: &str,
    ) -> Result<S, ErrorData> {
        let principal = principal(context)?;
        self.opened(&principal, call.as_ref(), sealed)
            .map_err(|reason| {
                tracing::debug!(?reason, "secrets_request_state_refused");
                let text =
                    "the request state is not valid here, or no longer; start anew without it";
                ErrorData::invalid_params(text, None)
            })
    }

    fn sealed<S: Serialize>(
        &self,
        principal: &Principal,
        call: &[u8],
        state: &S,
    ) -> Option<String> {
        let key = self.keys.sealing()?;
        let ends = self.keys.clock().wall().checked_add(self.time_to_live);
        let mut body = ends.map_or(u64::MAX, millis).to_be_bytes().to_vec();
        serde_json::to_writer(&mut body, state).ok()?;

        let mut head = [0; HEAD_BYTES];
        let (id, nonce) = head.split_at_mut(KEY_ID_BYTES);
        id.copy_from_slice(&key.identity()[..KEY_ID_BYTES]);
        rand::fill(nonce).ok()?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let about = Aad::from(about(call, principal));
        key.state()
            .seal_in_place_append_tag(nonce, about, &mut body)
            .ok()?;
        Some(URL_SAFE_NO_PAD.encode_to_string([&head[..], &body].concat()))
    }

    fn opened<S: DeserializeOwned>(
        &self,
        principal: &Principal,
        call: &[u8],
        sealed: &str,
    ) -> Result<S, Refused> {
        if sealed.len() > MAX_SEALED_BYTES {
            return Err(Refused::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD
            .decode_to_vec(sealed)
            .map_err(|_| Refused::Malformed)?;
        let (head, sealed) = bytes
            .split_at_checked(HEAD_BYTES)
            .ok_or(Refused::Malformed)?;
        let (id, nonce) = head.split_at(KEY_ID_BYTES);
        let about = about(call, principal);
        let opened = self.keys.find(|key| {
            if key.identity()[..KEY_ID_BYTES] != *id {
                return None;
            }
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut body = sealed.to_vec();
            let plain = key
                .state()
                .open_in_place(nonce, Aad::from(&about), &mut body)
                .ok()?;
            let len = plain.len();
            body.truncate(len);
            Some(body)
        });
        let (_, body) = opened.ok_or(Refused::NotOpened)?;
        let (ends, state) = body
            .split_first_chunk::<EXPIRY_BYTES>()
            .ok_or(Refused::Malformed)?;
        if millis(self.keys.clock().wall()) >= u64::from_be_bytes(*ends) {
            return Err(Refused::Expired);
        }
        serde_json::from_slice(state).map_err(|_| Refused::OtherForm)
    }
}

#[cfg(any(fuzzing, test))]
impl RequestStates {
    pub(super) fn seals(&self, who: &Principal, call: &[u8], state: &str) -> Option<String> {
        self.sealed(who, call, &state)
    }

    pub(super) fn opens(&self, who: &Principal, call: &[u8], sealed: &str) -> bool {
        self.opened::<serde_json::Value>(who, call, sealed).is_ok()
    }
}

/// For the log alone: a client is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Malformed,
    /// No key that is trusted has sealed it for this user and this call.
    NotOpened,
    Expired,
    OtherForm,
}

/// A state that a client can hand back, or why there is none.
fn presentable(sealed: Option<String>) -> Result<String, String> {
    let sealed = sealed.ok_or("the request state could not be sealed")?;
    match sealed.len() {
        ..=MAX_SEALED_BYTES => Ok(sealed),
        len => Err(format!(
            "the request state has {len} bytes when sealed, and may have {MAX_SEALED_BYTES}"
        )),
    }
}

/// What is authenticated beside the state.
fn about(call: &[u8], principal: &Principal) -> Vec<u8> {
    let mut about = Vec::new();
    push_field(&mut about, call);
    about.extend(principal.as_bytes());
    about
}

fn millis(at: SystemTime) -> u64 {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Debug for RequestStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keys, time_to_live } = self;
        f.debug_struct("RequestStates")
            .field("keys", keys)
            .field("time_to_live", time_to_live)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn no_byte_of_a_state_can_be_changed() {
        let states = RequestStates::of_process();
        let anyone = Principal::anonymous();
        let sealed = states.sealed(&anyone, b"tool", &7).unwrap();
        let opens = |sealed: &str| states.opened::<u32>(&anyone, b"tool", sealed);
        assert_eq!(opens(&sealed), Ok(7));
        for at in 0..sealed.len() {
            let other = if sealed.as_bytes()[at] == b'A' {
                "B"
            } else {
                "A"
            };
            let mut changed = sealed.clone();
            changed.replace_range(at..=at, other);
            assert!(opens(&changed).is_err(), "{at}");
            assert!(opens(&sealed[..at]).is_err(), "{at}");
        }
        assert_eq!(
            opens(&"A".repeat(MAX_SEALED_BYTES + 1)),
            Err(Refused::Malformed)
        );
    }

    /// What nobody could hand in is not handed out.
    #[test]
    fn a_state_that_is_too_long_is_not_sealed() {
        let states = RequestStates::of_process();
        let anyone = Principal::anonymous();
        let seal = |len: usize| presentable(states.sealed(&anyone, b"tool", &"x".repeat(len)));
        // Two quotes, and the tag.
        let most = MAX_SEALED_BYTES / 4 * 3 - HEAD_BYTES - EXPIRY_BYTES - 2 - 16;
        let sealed = seal(most).unwrap();
        assert_eq!(sealed.len(), MAX_SEALED_BYTES);
        let opened = states.opened::<String>(&anyone, b"tool", &sealed);
        assert_eq!(opened.unwrap().len(), most);
        let error = seal(most + 1).unwrap_err();
        assert!(error.contains("1048578"), "{error}");
    }

    #[test]
    fn a_state_is_of_one_call_one_process_and_one_form_and_ends() {
        let states = RequestStates::of_process();
        let anyone = Principal::anonymous();
        let sealed = states.sealed(&anyone, b"tool", &7).unwrap();
        assert_eq!(
            states.opened::<u32>(&anyone, b"other", &sealed),
            Err(Refused::NotOpened)
        );
        assert_eq!(
            states.opened::<String>(&anyone, b"tool", &sealed),
            Err(Refused::OtherForm)
        );
        let elsewhere = RequestStates::of_process();
        assert_eq!(
            elsewhere.opened::<u32>(&anyone, b"tool", &sealed),
            Err(Refused::NotOpened)
        );
        let over = states.clone().time_to_live(Duration::ZERO);
        let sealed = over.sealed(&anyone, b"tool", &7).unwrap();
        assert_eq!(
            states.opened::<u32>(&anyone, b"tool", &sealed),
            Err(Refused::Expired)
        );
    }

    #[test]
    fn a_state_shows_nothing_of_what_is_in_it() {
        let states = RequestStates::of_process();
        let secret = "a text that nobody is to see";
        let sealed = states
            .sealed(&Principal::anonymous(), b"tool", &secret)
            .unwrap();
        let bytes = URL_SAFE_NO_PAD.decode_to_vec(&sealed).unwrap();
        assert!(
            !bytes
                .windows(8)
                .any(|it| secret.as_bytes().windows(8).any(|part| part == it))
        );
    }
}
