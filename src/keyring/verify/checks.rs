//! What the claims must be. What a policy checks it also requires.

use std::time::SystemTime;

use super::{
    Policy, VerifyErrorKind,
    claims::{ClaimedType, ClaimsSet},
    json::{Text, Texts, member},
    numeric_date::NumericDate,
    policy::AcceptedUse,
};
use crate::clock::Now;

/// From when and until when a token's times are in order, leeway included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Validity {
    from: NumericDate,
    until: NumericDate,
}

impl Validity {
    pub(crate) fn holds(self, wall: SystemTime) -> bool {
        let now = NumericDate::from(wall);
        self.from <= now && now < self.until
    }

    /// The first moment at which the token is refused for its times.
    pub(crate) fn until(self) -> NumericDate {
        self.until
    }
}

impl Policy {
    pub(super) fn check(
        &self,
        claims: &ClaimsSet<'_>,
        payload: &[u8],
        now: Now,
    ) -> Result<Validity, VerifyErrorKind> {
        let validity = self.check_time(claims, NumericDate::from(now.wall))?;
        if !self.issuers.is_empty() {
            let iss = required(claims.iss.as_ref())?;
            if !any(&self.issuers, |issuer| issuer.is(iss, payload))? {
                return Err(VerifyErrorKind::WrongIssuer);
            }
        }
        if !self.subjects.is_empty() {
            let sub = required(claims.sub.as_ref())?;
            if !self.subjects.iter().any(|name| name == sub) {
                return Err(VerifyErrorKind::WrongSubject);
            }
        }
        let audiences = self.accepted_audiences();
        match &self.audience_claim {
            Some(name) => check_audience(audiences, member(payload, name)?.as_ref())?,
            None => check_audience(audiences, claims.aud.as_ref())?,
        }
        self.check_use(claims, payload)?;
        Ok(validity)
    }

    fn check_use(&self, claims: &ClaimsSet<'_>, payload: &[u8]) -> Result<(), VerifyErrorKind> {
        let has_hash = claims.at_hash.is_some() || claims.c_hash.is_some();
        let is_id = has_hash || claims.typ == Some(ClaimedType::Other);
        let is_refused = match self.accepted_use {
            AcceptedUse::Any => false,
            AcceptedUse::NotId => is_id,
            // What says of itself that it is one may have a nonce: older Keycloaks wrote it there.
            AcceptedUse::Access => {
                let has_nonce = claims.nonce.is_some() && claims.typ != Some(ClaimedType::Access);
                is_id || has_nonce || claims.events.is_some()
            }
        };
        if is_refused {
            return Err(VerifyErrorKind::WrongUse);
        }
        for (name, text) in &self.required_claims {
            match member(payload, name)? {
                Some(Texts::One(value)) if value == *text => {}
                _ => return Err(VerifyErrorKind::WrongUse),
            }
        }
        Ok(())
    }

    /// RFC 7519, sections 4.1.4 and 4.1.5: the current time must be before `exp`, and not before
    /// `nbf`.
    fn check_time(
        &self,
        claims: &ClaimsSet<'_>,
        now: NumericDate,
    ) -> Result<Validity, VerifyErrorKind> {
        let exp = claims.exp.ok_or(VerifyErrorKind::MissingClaim)?;
        if exp.is_negative() {
            return Err(VerifyErrorKind::Malformed);
        }
        let mut validity = Validity {
            from: claims
                .nbf
                .map_or(NumericDate::MIN, |nbf| nbf.minus(self.leeway)),
            until: exp.plus(self.leeway),
        };
        if now >= validity.until {
            return Err(VerifyErrorKind::Expired);
        }
        if let Some(max_age) = self.max_token_age {
            let iat = claims.iat.ok_or(VerifyErrorKind::MissingClaim)?;
            let oldest = iat.plus(max_age).plus(self.leeway);
            if now >= oldest {
                return Err(VerifyErrorKind::TooOld);
            }
            validity.from = validity.from.max(iat.minus(self.leeway));
            validity.until = validity.until.min(oldest);
        }
        if now < validity.from {
            return Err(VerifyErrorKind::NotYetValid);
        }
        Ok(validity)
    }
}

fn required<'t>(text: Option<&'t Text<'_>>) -> Result<&'t str, VerifyErrorKind> {
    match text {
        None => Err(VerifyErrorKind::MissingClaim),
        Some(Text::Is(text)) => Ok(text),
        Some(Text::Null | Text::Other) => Err(VerifyErrorKind::Malformed),
    }
}

fn any<T, E>(items: &[T], is: impl Fn(&T) -> Result<bool, E>) -> Result<bool, E> {
    for item in items {
        if is(item)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// RFC 7519, section 4.1.3: one string, or an array of strings.
fn check_audience(accepted: &[String], texts: Option<&Texts<'_>>) -> Result<(), VerifyErrorKind> {
    if accepted.is_empty() {
        return Ok(());
    }
    let named = match texts {
        None => return Err(VerifyErrorKind::MissingClaim),
        Some(Texts::Null | Texts::Other) => return Err(VerifyErrorKind::Malformed),
        Some(Texts::One(name)) => std::slice::from_ref(name),
        Some(Texts::Several(names)) => names,
    };
    if named
        .iter()
        .any(|name| accepted.iter().any(|ours| ours == name))
    {
        Ok(())
    } else {
        Err(VerifyErrorKind::WrongAudience)
    }
}
