//! In what our verifier is stricter than the oracle, said once more over plain JSON values.
//!
//! A token that keeps every rule and that the oracle accepts must pass; one that breaks a rule that
//! is [`Weight::Must`] must not.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::world::{AUDIENCE, ISSUER};

const MAX_TOKEN_BYTES: usize = 16 * 1024;
const MAX_KID_BYTES: usize = 256;
/// Whole numbers from here on have no `u64`.
const BEYOND_U64: f64 = 18_446_744_073_709_551_616.0;
/// The end of the year 9999, where calendars end.
const LAST_DATE: f64 = 253_402_300_799.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Must be refused.
    Must,
    /// May be refused: the rules leave it open.
    May,
}

/// A token, read by nobody's rules but JSON's.
pub(crate) struct Facts {
    token_bytes: usize,
    /// The header begins with white space.
    indented: bool,
    pub(crate) header: Object,
    pub(crate) claims: Object,
    now: f64,
}

impl Facts {
    /// `None` where it is not three parts of base64url that hold two JSON objects.
    pub(crate) fn of(token: &str, now: u64) -> Option<Self> {
        let parts: Vec<_> = token.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else {
            return None;
        };
        URL_SAFE_NO_PAD.decode(signature).ok()?;
        let header = URL_SAFE_NO_PAD.decode(header).ok()?;
        let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
        Some(Self {
            token_bytes: token.len(),
            indented: header.first() != Some(&b'{'),
            header: serde_json::from_slice(&header).ok()?,
            claims: serde_json::from_slice(&claims).ok()?,
            now: now as f64,
        })
    }

    pub(crate) fn kid(&self) -> Option<&str> {
        self.header.get("kid").and_then(Value::as_str)
    }

    pub(crate) fn broken(&self) -> Vec<(&'static str, Weight)> {
        RULES
            .iter()
            .filter(|(_, _, is_broken)| is_broken(self))
            .map(|(name, weight, _)| (*name, *weight))
            .collect()
    }
}

type Rule = (&'static str, Weight, fn(&Facts) -> bool);

#[rustfmt::skip]
const RULES: &[Rule] = &[
    ("the token is over its limit", Weight::Must, |token| token.token_bytes > MAX_TOKEN_BYTES),
    ("alg is no string", Weight::Must, |token| !token.header.is_string("alg")),
    ("a header member twice", Weight::Must, |token| token.header.repeats(&HEADER_NAMES)),
    ("kid is over its limit", Weight::Must, |token| token.kid().is_some_and(|kid| kid.len() > MAX_KID_BYTES)),
    ("typ of something else", Weight::Must, |token| token.header.get("typ").is_some_and(is_other_type)),
    ("a header that changes the meaning", Weight::Must, |token| MEANING.iter().any(|name| token.header.has(name))),
    ("cty of a nested token", Weight::Must, |token| token.header.get("cty").is_some_and(is_nested)),
    ("a null in the header", Weight::May, |token| NULLABLE.iter().any(|name| token.header.is_null(name))),
    ("cty of something else", Weight::May, |token| token.header.has("cty")),
    ("space before the header", Weight::May, |token| token.indented),
    ("a claim twice", Weight::Must, |token| token.claims.repeats(&CLAIM_NAMES)),
    ("a claim that is not checked twice", Weight::May, |token| token.claims.repeats(&[])),
    ("exp is no date", Weight::Must, |token| !token.claims.get("exp").is_some_and(is_date)),
    ("exp before the epoch", Weight::Must, |token| token.claims.number("exp").is_some_and(|exp| exp < 0.0)),
    ("exp has come", Weight::Must, |token| token.claims.number("exp").is_some_and(|exp| exp <= token.now)),
    ("nbf is no date", Weight::Must, |token| !token.claims.get("nbf").is_none_or(is_date)),
    ("nbf has not come", Weight::Must, |token| token.claims.number("nbf").is_some_and(|nbf| nbf > token.now)),
    ("iat is no date", Weight::Must, |token| !token.claims.get("iat").is_none_or(is_date)),
    ("a date no calendar has", Weight::May, |token| DATES.iter().any(|name| token.claims.number(name).is_some_and(is_far))),
    ("iss is not ours", Weight::Must, |token| token.claims.get("iss").and_then(Value::as_str) != Some(ISSUER)),
    ("aud is not ours", Weight::Must, |token| !token.claims.get("aud").is_some_and(is_our_audience)),
];

const HEADER_NAMES: [&str; 8] = ["alg", "kid", "typ", "crit", "b64", "zip", "enc", "cty"];
const MEANING: [&str; 4] = ["crit", "b64", "zip", "enc"];
const NULLABLE: [&str; 7] = ["kid", "typ", "crit", "b64", "zip", "enc", "cty"];
const CLAIM_NAMES: [&str; 5] = ["exp", "nbf", "iat", "iss", "aud"];
const DATES: [&str; 3] = ["exp", "nbf", "iat"];

fn is_other_type(typ: &Value) -> bool {
    match typ {
        Value::Null => false,
        Value::String(typ) => !["jwt", "at+jwt"].contains(&&*media_type(typ)),
        _ => true,
    }
}

fn is_nested(cty: &Value) -> bool {
    cty.as_str().is_some_and(|cty| media_type(cty) == "jwt")
}

/// RFC 7515, section 4.1.9: `application/` may be left out.
fn media_type(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    text.strip_prefix("application/")
        .unwrap_or(&text)
        .to_owned()
}

fn is_date(value: &Value) -> bool {
    value.is_u64() || value.as_f64().is_some_and(|date| date.abs() < BEYOND_U64)
}

fn is_far(date: f64) -> bool {
    !(0.0..=LAST_DATE).contains(&date)
}

fn is_our_audience(aud: &Value) -> bool {
    match aud {
        Value::Array(names) => {
            names.iter().all(Value::is_string) && names.iter().any(|name| name == AUDIENCE)
        }
        one => one == AUDIENCE,
    }
}

/// A JSON object with its members as they stand, repeated ones too.
pub(crate) struct Object(Vec<(String, Value)>);

impl Object {
    /// Of repeated members, the last.
    pub(crate) fn members(&self) -> Map<String, Value> {
        self.0.iter().cloned().collect()
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value)
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !value.is_null())
    }

    fn is_null(&self, name: &str) -> bool {
        self.get(name).is_some_and(Value::is_null)
    }

    fn is_string(&self, name: &str) -> bool {
        self.get(name).is_some_and(Value::is_string)
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.get(name).and_then(Value::as_f64)
    }

    /// Whether one of these names is there more than once; of no names, any name.
    fn repeats(&self, names: &[&str]) -> bool {
        self.0.iter().enumerate().any(|(at, (name, _))| {
            (names.is_empty() || names.contains(&&**name))
                && self.0[..at].iter().any(|(earlier, _)| earlier == name)
        })
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Object(members))
    }
}
