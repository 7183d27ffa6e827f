//! What the claims must be. What a policy checks it also requires.

use std::time::SystemTime;

use super::{
    Policy, VerifyErrorKind,
    claims::ClaimsSet,
    json::{Text, Texts},
    numeric_date::NumericDate,
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
}

impl Policy {
    pub(super) fn check(
        &self,
        claims: &ClaimsSet<'_>,
        now: Now,
    ) -> Result<Validity, VerifyErrorKind> {
        let validity = self.check_time(claims, NumericDate::from(now.wall))?;
        check_text(
            &self.issuers,
            claims.iss.as_ref(),
            VerifyErrorKind::WrongIssuer,
        )?;
        check_text(
            &self.subjects,
            claims.sub.as_ref(),
            VerifyErrorKind::WrongSubject,
        )?;
        check_audience(&self.audiences, claims.aud.as_ref())?;
        Ok(validity)
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

fn check_text(
    accepted: &[String],
    text: Option<&Text<'_>>,
    otherwise: VerifyErrorKind,
) -> Result<(), VerifyErrorKind> {
    if accepted.is_empty() {
        return Ok(());
    }
    match text {
        None => Err(VerifyErrorKind::MissingClaim),
        Some(Text::Is(text)) if accepted.iter().any(|name| name == text) => Ok(()),
        Some(Text::Is(_)) => Err(otherwise),
        Some(Text::Null | Text::Other) => Err(VerifyErrorKind::Malformed),
    }
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
