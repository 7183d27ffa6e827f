//! Which keys judge a token, and whether others may judge it better.

use http::HeaderMap;
use serde::de::DeserializeOwned;

use super::{
    Issuer, Refusal,
    bearer::{Credentials, credentials, is_b64token},
    layer::Settings,
};
use crate::{
    Secrets,
    keyring::{
        Authority, Judged, Waiter,
        verify::{Policy, Verified, VerifyError, VerifyErrorKind, claimed_issuer, read_as},
    },
};

/// Whose token passed.
pub(super) enum Caller {
    /// That of a key in the request's own snapshot.
    Own(Verified),
    /// Another issuer's.
    Other(Judged),
}

/// Which keys a request gets.
#[derive(Clone, Copy)]
pub(super) enum View {
    /// Those that an outer layer pinned, else the newest.
    Pinned,
    Newest,
}

/// A refusal, and the generation of the keys that judged the token.
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    generation: u64,
}

impl Refused {
    fn is_for_the_key(&self) -> bool {
        matches!(
            self.refusal.verify_error(),
            Some(
                VerifyErrorKind::UnknownKey
                    | VerifyErrorKind::BadSignature
                    | VerifyErrorKind::Unsupported
            )
        )
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            generation: 0,
        }
    }
}

/// Other keys than those that judged a token: newer ones that are there already, or those that a
/// refresh may bring.
pub(super) struct Hope {
    /// `None`: they are there.
    pub(super) waiter: Option<Waiter>,
    /// Where the keys are the layer's own, the request lives on the newest; another issuer's change
    /// nothing of what it has pinned.
    pub(super) view: View,
}

enum Judge<'s> {
    /// The layer's keyring, by the layer's rules.
    Own,
    Other(&'s Issuer),
}

impl<T: Send + Sync + 'static> Settings<T> {
    pub(super) fn judge<C>(&self, token: &[u8], secrets: &Secrets<T>) -> Result<Caller, Refused>
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        if self.trusted.is_empty() {
            return self.judge_own::<C>(token, secrets);
        }
        let issuer = match self.judge_of(token) {
            Ok(Judge::Other(issuer)) => issuer,
            Ok(Judge::Own) if self.keyring.has_jwt_key() => {
                return self.judge_own::<C>(token, secrets);
            }
            Ok(Judge::Own) => return Err(Refusal::no_jwt_key().into()),
            Err(kind) => {
                // No keyring has judged it.
                self.keyring.shared().events.meter.refused(kind);
                return Err(self.refused(token, kind.into(), 0));
            }
        };
        let Issuer { authority, policy } = issuer;
        if !authority.has_jwt_key() {
            return Err(Refusal::no_jwt_key().into());
        }
        if authority.refuses() {
            return Err(Refusal::stale().into());
        }
        match authority.judge(token, policy, read_as::<C>) {
            Ok(judged) => Ok(Caller::Other(judged)),
            Err((error, generation)) => Err(self.refused(token, error, generation)),
        }
    }

    fn judge_own<C>(&self, token: &[u8], secrets: &Secrets<T>) -> Result<Caller, Refused>
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        let snapshot = secrets.snapshot();
        match snapshot.verify::<C>(token, &self.policy) {
            Ok(verified) => Ok(Caller::Own(verified)),
            Err(error) => Err(self.refused(token, error, snapshot.generation)),
        }
    }

    fn refused(&self, token: &[u8], error: VerifyError, generation: u64) -> Refused {
        let refusal = if is_b64token(token) {
            Refusal::invalid_token(&error, &self.edge)
        } else {
            Refusal::malformed(&self.edge)
        };
        Refused {
            refusal,
            generation,
        }
    }

    /// Chosen by what the token says of its issuer, where there is a choice.
    fn judge_of(&self, token: &[u8]) -> Result<Judge<'_>, VerifyErrorKind> {
        if self.trusted.is_empty() {
            return Ok(Judge::Own);
        }
        let iss = claimed_issuer(token, self.policy.max_token_bytes)?;
        let mut trusted = self.trusted.iter();
        match trusted.find(|issuer| issuer.policy.names_issuer(&iss)) {
            Some(issuer) => Ok(Judge::Other(issuer)),
            None if self.policy.names_issuer(&iss) => Ok(Judge::Own),
            None => Err(VerifyErrorKind::WrongIssuer),
        }
    }

    /// What may still make a token good that was refused for its key.
    pub(super) fn hope(&self, headers: &HeaderMap, refused: &Refused) -> Option<Hope> {
        if !refused.is_for_the_key() {
            return None;
        }
        if self.trusted.is_empty() && !self.keyring.waits_for_keys() {
            return None;
        }
        let (token, authority, policy, view) = self.authority_over(headers)?;
        let is_behind = || authority.generation() != refused.generation;
        let waiter = if is_behind() {
            None
        } else {
            authority.wait_for_key(token, policy, None)
        };
        // The refresh that others waited for may have ended this very moment.
        (waiter.is_some() || is_behind()).then_some(Hope { waiter, view })
    }

    /// The same for a token that has waited for a refresh, which did not bring its key.
    pub(super) fn hope_again(
        &self,
        headers: &HeaderMap,
        refused: &Refused,
        waiter: Waiter,
    ) -> Option<Waiter> {
        if !refused.is_for_the_key() {
            return None;
        }
        let (token, authority, policy, _) = self.authority_over(headers)?;
        authority.wait_for_key(token, policy, Some(waiter))
    }

    fn authority_over<'a>(
        &'a self,
        headers: &'a HeaderMap,
    ) -> Option<(&'a [u8], &'a dyn Authority, &'a Policy, View)> {
        let Credentials::Token(token) = credentials(headers) else {
            return None;
        };
        Some(match self.judge_of(token).ok()? {
            Judge::Own => (token, &self.keyring, &self.policy, View::Newest),
            Judge::Other(issuer) => (token, &*issuer.authority, &issuer.policy, View::Pinned),
        })
    }
}
