//! The JOSE header (RFC 7515, section 4). It selects among the keys held here and nothing more:
//! `jku`, `jwk`, `x5u` and `x5c` are not even looked at.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

use super::{
    Policy, VerifyErrorKind,
    json::{Skipped, Text, once},
};
use crate::keyring::key::{Algorithm, MAX_KID_BYTES};

/// Decoded, most headers fit into this many bytes; longer ones cost an allocation.
pub(super) const BYTES: usize = 256;

/// What is read of a header.
#[derive(Default)]
pub(super) struct Header<'a> {
    alg: Option<Text<'a>>,
    kid: Option<Text<'a>>,
    typ: Option<Text<'a>>,
    cty: Option<Text<'a>>,
    crit: Option<Skipped>,
    b64: Option<Skipped>,
    zip: Option<Skipped>,
    enc: Option<Skipped>,
}

impl<'a> Header<'a> {
    pub(super) fn read(json: &'a [u8]) -> Result<Self, VerifyErrorKind> {
        let json = str::from_utf8(json).map_err(|_| VerifyErrorKind::Malformed)?;
        serde_json::from_str(json).map_err(|_| VerifyErrorKind::Malformed)
    }

    /// The algorithm, where the rest of the header is in order.
    pub(super) fn check(&self, policy: &Policy) -> Result<Algorithm, VerifyErrorKind> {
        let alg = text(self.alg.as_ref())?.ok_or(VerifyErrorKind::Malformed)?;
        let typ = text(self.typ.as_ref())?;
        let cty = text(self.cty.as_ref())?;
        if text(self.kid.as_ref())?.is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
            return Err(VerifyErrorKind::Malformed);
        }
        // No extension is understood here, so their presence decides (RFC 7515, section 4.1.11).
        let extended =
            self.crit.is_some() || self.b64.is_some() || self.zip.is_some() || self.enc.is_some();
        let nested = cty.is_some_and(|cty| is_type(cty, "JWT"));
        if extended || nested || !accepts_type(&policy.token_types, typ) {
            return Err(VerifyErrorKind::Unsupported);
        }
        Algorithm::from_name(alg).ok_or(VerifyErrorKind::Unsupported)
    }

    /// The key that it names, after [`check`](Self::check).
    pub(super) fn kid(&self) -> Option<&str> {
        match &self.kid {
            Some(Text::Is(kid)) => Some(kid),
            _ => None,
        }
    }
}

fn text<'t>(member: Option<&'t Text<'_>>) -> Result<Option<&'t Cow<'t, str>>, VerifyErrorKind> {
    match member {
        None => Ok(None),
        Some(Text::Is(text)) => Ok(Some(text)),
        Some(Text::Null | Text::Other) => Err(VerifyErrorKind::Malformed),
    }
}

/// RFC 7519, section 5.1, and RFC 9068, section 2.1.
fn accepts_type(asked_for: &[String], typ: Option<&Cow<'_, str>>) -> bool {
    match typ {
        None => asked_for.is_empty(),
        Some(typ) if asked_for.is_empty() => is_type(typ, "JWT") || is_type(typ, "at+jwt"),
        Some(typ) => asked_for.iter().any(|name| is_type(typ, name)),
    }
}

/// Whether two media types are one. `application/` may be left out (RFC 7515, section 4.1.9).
fn is_type(one: &str, other: &str) -> bool {
    subtype(one).eq_ignore_ascii_case(subtype(other))
}

fn subtype(media_type: &str) -> &str {
    const PREFIX: &str = "application/";
    match media_type.split_at_checked(PREFIX.len()) {
        Some((prefix, subtype)) if prefix.eq_ignore_ascii_case(PREFIX) => subtype,
        _ => media_type,
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Name {
    Alg,
    Kid,
    Typ,
    Cty,
    Crit,
    B64,
    Zip,
    Enc,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Header<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header<'de>, A::Error> {
        let mut header = Header::default();
        while let Some(name) = map.next_key()? {
            match name {
                Name::Alg => once(&mut header.alg, &mut map),
                Name::Kid => once(&mut header.kid, &mut map),
                Name::Typ => once(&mut header.typ, &mut map),
                Name::Cty => once(&mut header.cty, &mut map),
                Name::Crit => once(&mut header.crit, &mut map),
                Name::B64 => once(&mut header.b64, &mut map),
                Name::Zip => once(&mut header.zip, &mut map),
                Name::Enc => once(&mut header.enc, &mut map),
                Name::Other => map.next_value::<Skipped>().map(drop),
            }?;
        }
        Ok(header)
    }
}
