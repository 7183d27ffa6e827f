//! Who may have issued a token.

use std::borrow::Cow;

use super::{
    Buffer, CLAIMS_BYTES, Compact, VerifyErrorKind,
    json::{Texts, member},
};

/// One issuer, or all that a template stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IssuerName {
    Exact(String),
    /// `before{claim}after`: where the braces are, the token's own claim of that name stands.
    Bound {
        before: String,
        claim: String,
        after: String,
    },
}

impl IssuerName {
    /// A text with a name in braces is a template.
    pub(crate) fn template(text: &str) -> Self {
        let parts = text.split_once('{').and_then(|(before, rest)| {
            let (claim, after) = rest.split_once('}')?;
            (!claim.is_empty()).then_some((before, claim, after))
        });
        match parts {
            None => Self::Exact(text.to_owned()),
            Some((before, claim, after)) => Self::Bound {
                before: before.to_owned(),
                claim: claim.to_owned(),
                after: after.to_owned(),
            },
        }
    }

    /// What the member `issuer` of a JWK says: `{tenantid}` there is the claim `tid` of a token.
    pub(crate) fn of_key(text: &str) -> Self {
        match text.split_once("{tenantid}") {
            None => Self::Exact(text.to_owned()),
            Some((before, after)) => Self::Bound {
                before: before.to_owned(),
                claim: "tid".to_owned(),
                after: after.to_owned(),
            },
        }
    }

    /// Whether it may be this one; of a template, the claim is still to be compared.
    pub(crate) fn may_be(&self, iss: &str) -> bool {
        match self {
            Self::Exact(name) => name == iss,
            Self::Bound { .. } => self.bound_part(iss).is_some(),
        }
    }

    /// Whether it is this one in a token with these claims.
    pub(super) fn is(&self, iss: &str, payload: &[u8]) -> Result<bool, VerifyErrorKind> {
        let Self::Bound { claim, .. } = self else {
            return Ok(self.may_be(iss));
        };
        let Some(part) = self.bound_part(iss) else {
            return Ok(false);
        };
        match member(payload, claim)? {
            None => Err(VerifyErrorKind::MissingClaim),
            Some(Texts::One(value)) => Ok(value == part),
            Some(_) => Err(VerifyErrorKind::Malformed),
        }
    }

    fn bound_part<'i>(&self, iss: &'i str) -> Option<&'i str> {
        let Self::Bound { before, after, .. } = self else {
            return None;
        };
        let part = iss.strip_prefix(&**before)?.strip_suffix(&**after)?;
        (!part.is_empty() && !part.contains('/')).then_some(part)
    }
}

/// What a token says of its issuer. It is not to be believed: it chooses whose keys are asked.
pub(crate) fn claimed_issuer(token: &[u8], max_bytes: usize) -> Result<String, VerifyErrorKind> {
    if token.len() > max_bytes {
        return Err(VerifyErrorKind::TooLong);
    }
    let compact = Compact::split(token)?;
    let mut buffer = Buffer::<CLAIMS_BYTES>::new();
    match member(compact.payload(&mut buffer)?, "iss")? {
        None => Err(VerifyErrorKind::MissingClaim),
        Some(Texts::One(iss)) => Ok(Cow::into_owned(iss)),
        Some(_) => Err(VerifyErrorKind::Malformed),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_template_is_bound_to_the_tokens_own_claim() {
        let name = IssuerName::template("https://login.example/{tid}/v2.0");
        let is = |iss: &str, payload: &str| name.is(iss, payload.as_bytes());
        let ours = r#"{"tid":"a"}"#;
        assert_eq!(is("https://login.example/a/v2.0", ours), Ok(true));
        assert_eq!(is("https://login.example/b/v2.0", ours), Ok(false));
        assert_eq!(
            is("https://login.example//v2.0", r#"{"tid":""}"#),
            Ok(false)
        );
        assert_eq!(
            is("https://login.example/a/b/v2.0", r#"{"tid":"a/b"}"#),
            Ok(false)
        );
        assert_eq!(is("https://evil.example/a/v2.0", ours), Ok(false));
        assert_eq!(is("https://login.example/v2.0", ours), Ok(false));
        let missing = is("https://login.example/a/v2.0", "{}");
        assert_eq!(missing, Err(VerifyErrorKind::MissingClaim));
        let number = is("https://login.example/1/v2.0", r#"{"tid":1}"#);
        assert_eq!(number, Err(VerifyErrorKind::Malformed));
    }

    #[test]
    fn without_a_name_in_braces_it_is_taken_as_it_stands() {
        for text in ["https://a.example", "https://a.example/{}", "a{", "}a{b"] {
            assert_eq!(
                IssuerName::template(text),
                IssuerName::Exact(text.to_owned())
            );
        }
    }
}
