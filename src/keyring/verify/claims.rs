//! The claims that have rules, read in one pass; nothing is judged here.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::de::StrRead;

use super::{
    VerifyErrorKind,
    json::{Skipped, Text, Texts, once},
    numeric_date::NumericDate,
};
use crate::keyring::registered::{Read, RegisteredClaims};

/// A claims set (RFC 7519, section 4). It borrows from the JSON that it was read from.
#[derive(Default)]
pub(super) struct ClaimsSet<'a> {
    pub(super) iss: Option<Text<'a>>,
    pub(super) sub: Option<Text<'a>>,
    pub(super) aud: Option<Texts<'a>>,
    pub(super) exp: Option<NumericDate>,
    pub(super) nbf: Option<NumericDate>,
    pub(super) iat: Option<NumericDate>,
    jti: Option<Text<'a>>,
    scope: Option<Text<'a>>,
    client_id: Option<Text<'a>>,
}

impl<'a> ClaimsSet<'a> {
    pub(super) fn read(json: &'a [u8]) -> Result<Self, VerifyErrorKind> {
        let json = str::from_utf8(json).map_err(|_| VerifyErrorKind::Malformed)?;
        let mut claims = Self::default();
        claims
            .fill(&mut serde_json::Deserializer::from_str(json))
            .map_err(|_| VerifyErrorKind::Malformed)?;
        Ok(claims)
    }

    /// In place: handed up from function to function it would be copied by each.
    fn fill(&mut self, json: &mut serde_json::Deserializer<StrRead<'a>>) -> serde_json::Result<()> {
        json.deserialize_map(Filler(self))?;
        json.end()
    }

    /// They are copied: what else the payload holds is not kept in memory.
    pub(super) fn registered(&self) -> Result<RegisteredClaims, VerifyErrorKind> {
        let read = Read {
            iss: text(&self.iss)?,
            sub: text(&self.sub)?,
            aud: names(&self.aud)?,
            exp: self.exp.map_or(0, NumericDate::seconds),
            nbf: self.nbf.map(NumericDate::seconds),
            iat: self.iat.map(NumericDate::seconds),
            jti: text(&self.jti)?,
            scope: text(&self.scope)?,
            client_id: text(&self.client_id)?,
        };
        Ok(read.into())
    }
}

fn text<'t>(text: &'t Option<Text<'_>>) -> Result<Option<&'t str>, VerifyErrorKind> {
    match text {
        None | Some(Text::Null) => Ok(None),
        Some(Text::Is(text)) => Ok(Some(text)),
        Some(Text::Other) => Err(VerifyErrorKind::WrongClaims),
    }
}

fn names<'t, 'a>(texts: &'t Option<Texts<'a>>) -> Result<&'t [Cow<'a, str>], VerifyErrorKind> {
    match texts {
        None => Ok(&[]),
        Some(Texts::One(name)) => Ok(std::slice::from_ref(name)),
        Some(Texts::Several(names)) => Ok(names),
        Some(Texts::Null | Texts::Other) => Err(VerifyErrorKind::WrongClaims),
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Name {
    Iss,
    Sub,
    Aud,
    Exp,
    Nbf,
    Iat,
    Jti,
    Scope,
    ClientId,
    #[serde(other)]
    Other,
}

struct Filler<'s, 'de>(&'s mut ClaimsSet<'de>);

impl<'de> Visitor<'de> for Filler<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(claims) = self;
        while let Some(name) = map.next_key()? {
            match name {
                Name::Iss => once(&mut claims.iss, &mut map),
                Name::Sub => once(&mut claims.sub, &mut map),
                Name::Aud => once(&mut claims.aud, &mut map),
                Name::Exp => once(&mut claims.exp, &mut map),
                Name::Nbf => once(&mut claims.nbf, &mut map),
                Name::Iat => once(&mut claims.iat, &mut map),
                Name::Jti => once(&mut claims.jti, &mut map),
                Name::Scope => once(&mut claims.scope, &mut map),
                Name::ClientId => once(&mut claims.client_id, &mut map),
                Name::Other => map.next_value::<Skipped>().map(drop),
            }?;
        }
        Ok(())
    }
}
