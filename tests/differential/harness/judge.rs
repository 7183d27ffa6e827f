//! The comparison.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;
use serde::de::DeserializeOwned;
use tower_secrets::{JwtRotationLayer, VerifyErrorKind};

use super::{
    case::Case,
    keys::Signer,
    oracle,
    rules::{Facts, Weight},
    world::{Answer, App, Members, Set, ask, registered, within_one_second},
};

/// Something that must not be.
pub(crate) type Finding = String;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    Refused,
}

/// A reason for which we accept what the oracle refuses.
pub(crate) struct Difference {
    pub(crate) name: &'static str,
    pub(crate) why: &'static str,
    /// A header and claims that show it.
    pub(crate) example: (&'static str, &'static str),
    /// Takes it out of a header and claims; what is left, the oracle must accept.
    pub(crate) repair: fn(&mut Members, &mut Members),
}

pub(crate) const ALLOWED_DIFFERENCES: &[Difference] = &[
    Difference {
        name: "a header member that is not read",
        why: "it never influences the key, so its type is of no interest",
        example: (
            r#"{"alg":"HS256","jku":5,"jwk":{},"x5u":[],"x5c":"","x5t":1,"x5t#S256":1,"url":1,"nonce":1}"#,
            CLAIMS,
        ),
        repair: |header, _| {
            for name in [
                "jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "url", "nonce",
            ] {
                header.remove(name);
            }
        },
    },
    Difference {
        name: "sub of a type that nobody reads",
        why: "no rule on the subject is set, and the claims type takes it as it is",
        example: (
            r#"{"alg":"HS256"}"#,
            r#"{"iss":"https://issuer.test","sub":{},"aud":"https://api.test","exp":4102444800}"#,
        ),
        repair: |_, claims| {
            claims.remove("sub");
        },
    },
    Difference {
        name: "nbf before the epoch",
        why: "it is a number and it is past",
        example: (
            r#"{"alg":"HS256"}"#,
            r#"{"iss":"https://issuer.test","nbf":-1,"aud":"https://api.test","exp":4102444800}"#,
        ),
        repair: |_, claims| {
            if claims
                .get("nbf")
                .and_then(|nbf| nbf.as_f64())
                .is_some_and(|nbf| nbf < 0.0)
            {
                claims.remove("nbf");
            }
        },
    },
];

const CLAIMS: &str = r#"{"iss":"https://issuer.test","aud":"https://api.test","exp":4102444800}"#;

/// Judges a case by our layers, by the oracle and by the rules.
pub(crate) fn judge(case: &Case) -> Result<Verdict, Finding> {
    within_one_second(|now| judge_token(case.set(), &case.token(now), now))
}

pub(crate) fn judge_token(set: &Set, token: &[u8], now: u64) -> Result<Verdict, Finding> {
    let Some(token) = std::str::from_utf8(token)
        .ok()
        .filter(|token| token.trim() == *token)
    else {
        return Ok(Verdict::Refused);
    };
    let trial = Trial::new(set, token, now);
    trial.compare(&set.registered, registered)?;
    trial.compare(&set.plain, |claims| Some(claims.clone()))
}

struct Trial<'a> {
    set: &'a Set,
    token: &'a str,
    now: u64,
    facts: Option<Facts>,
    oracle: Option<Members>,
}

impl<'a> Trial<'a> {
    fn new(set: &'a Set, token: &'a str, now: u64) -> Self {
        let facts = Facts::of(token, now);
        let kid = facts.as_ref().and_then(Facts::kid);
        let oracle = oracle::claims(set, kid, token);
        Self {
            set,
            token,
            now,
            facts,
            oracle,
        }
    }

    /// `read` makes of the oracle's claims what the layer should hand out.
    fn compare<C>(
        &self,
        layer: &JwtRotationLayer<App, C>,
        read: impl Fn(&Members) -> Option<C>,
    ) -> Result<Verdict, Finding>
    where
        C: DeserializeOwned + Clone + PartialEq + fmt::Debug + Send + Sync + 'static,
    {
        let first = present(layer, self.token)?;
        // The second time it may come from a cache.
        let second = present(layer, self.token)?;
        if first != second {
            return Err(self.finding(format!("first {first:?}, then {second:?}")));
        }
        match (first, self.oracle.as_ref().map(read)) {
            (Ok(claims), Some(Some(expected))) if claims == expected => self.accepted(),
            (Ok(claims), Some(expected)) => {
                Err(self.finding(format!("claims {claims:?}, by the oracle {expected:?}")))
            }
            (Ok(_), None) => self.accepted_alone(),
            (Err(kind), Some(Some(_))) => self.refused_alone(kind),
            (Err(kind), _) => self.refused(kind),
        }
    }

    fn accepted(&self) -> Result<Verdict, Finding> {
        match self.broken(Weight::Must) {
            None => Ok(Verdict::Accepted),
            Some(rule) => Err(self.finding(format!("accepted against the rule: {rule}"))),
        }
    }

    /// We accept and the oracle refuses.
    fn accepted_alone(&self) -> Result<Verdict, Finding> {
        let repaired = self.repaired();
        let fixed = repaired
            .as_deref()
            .map(|token| Trial::new(self.set, token, self.now));
        match fixed {
            Some(trial) if trial.oracle.is_some() => trial.accepted(),
            _ => Err(self.finding("accepted what the oracle refuses".to_owned())),
        }
    }

    /// The token without what [`ALLOWED_DIFFERENCES`] lists.
    fn repaired(&self) -> Option<String> {
        let facts = self.facts.as_ref()?;
        let signer = oracle::signed_by(self.set, facts.kid(), self.token)?;
        let (header, claims) = (facts.header.members(), facts.claims.members());
        Some(repair(signer, header, claims, ALLOWED_DIFFERENCES))
    }

    /// We refuse and the oracle accepts.
    fn refused_alone(&self, kind: Option<VerifyErrorKind>) -> Result<Verdict, Finding> {
        let excused = self.broken(Weight::Must).or(self.broken(Weight::May));
        match excused {
            Some(_) => self.refused(kind),
            None => Err(self.finding(format!("refused without a rule: {kind:?}"))),
        }
    }

    /// What is said of claims is said of signed ones.
    fn refused(&self, kind: Option<VerifyErrorKind>) -> Result<Verdict, Finding> {
        let kid = self.facts.as_ref().and_then(Facts::kid);
        if kind.is_some_and(is_about_claims)
            && oracle::signed_by(self.set, kid, self.token).is_none()
        {
            return Err(self.finding(format!("{kind:?}, and nobody signed it")));
        }
        Ok(Verdict::Refused)
    }

    fn broken(&self, weight: Weight) -> Option<&'static str> {
        let Some(facts) = &self.facts else {
            return Some("three parts of base64url, two of them JSON objects");
        };
        let broken = facts.broken();
        broken
            .iter()
            .find(|(_, own)| *own == weight)
            .map(|(name, _)| *name)
    }

    fn finding(&self, what: String) -> Finding {
        let parts = self.token.split('.').take(2);
        let texts: Vec<_> = parts
            .filter_map(|part| URL_SAFE_NO_PAD.decode(part).ok())
            .map(|json| json.escape_ascii().to_string())
            .collect();
        let (keys, token) = (self.set.name, self.token);
        format!("{what}\nkeys: {keys}\n{}\ntoken: {token}", texts.join("\n"))
    }
}

/// Repairs and signs anew.
pub(crate) fn repair(
    signer: &Signer,
    mut header: Members,
    mut claims: Members,
    differences: &[Difference],
) -> String {
    for difference in differences {
        (difference.repair)(&mut header, &mut claims);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let claims = serde_json::to_vec(&claims).unwrap();
    signer.token(&header, &claims)
}

/// The claims, or the kind of the refusal: none where the header's grammar refused it.
fn present<C>(
    layer: &JwtRotationLayer<App, C>,
    token: &str,
) -> Result<Result<C, Option<VerifyErrorKind>>, Finding>
where
    C: DeserializeOwned + Clone + Send + Sync + 'static,
{
    let Ok(value) = HeaderValue::try_from(format!("Bearer {token}")) else {
        return Ok(Err(None));
    };
    match ask(layer, &[value]) {
        Answer::Refused(refusal) => Ok(Err(refusal.verify_error())),
        Answer::Passed(None) => Err("passed without authentication".to_owned()),
        Answer::Passed(Some(authentication)) => {
            let claims = authentication
                .claims::<C>()
                .map_err(|error| error.to_string())?;
            Ok(Ok((*claims).clone()))
        }
    }
}

fn is_about_claims(kind: VerifyErrorKind) -> bool {
    use VerifyErrorKind::*;
    matches!(
        kind,
        Expired | NotYetValid | MissingClaim | WrongIssuer | WrongAudience | WrongClaims
    )
}
