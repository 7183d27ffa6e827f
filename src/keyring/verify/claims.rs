//! The claims that have rules, read in one pass; nothing is judged here.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

use super::{
    VerifyErrorKind,
    json::{Skipped, Text, Texts, once},
    numeric_date::NumericDate,
};
use crate::keyring::registered::{Audience, RegisteredClaims};

/// A claims set (RFC 7519, section 4). It borrows from the JSON that it was read from.
#[derive(Default)]
pub(crate) struct ClaimsSet<'a> {
    pub(super) iss: Option<Text<'a>>,
    pub(super) sub: Option<Text<'a>>,
    pub(super) aud: Option<Texts<'a>>,
    pub(super) exp: Option<NumericDate>,
    pub(super) nbf: Option<NumericDate>,
    pub(super) iat: Option<NumericDate>,
    jti: Option<Text<'a>>,
    scope: Option<Text<'a>>,
    client_id: Option<Text<'a>>,
    pub(super) nonce: Option<Skipped>,
    pub(super) at_hash: Option<Skipped>,
    pub(super) c_hash: Option<Skipped>,
    /// Not the header's: Keycloak says here what a token is.
    pub(super) typ: Option<Text<'a>>,
}

impl<'a> ClaimsSet<'a> {
    pub(super) fn read(json: &'a [u8]) -> Result<Self, VerifyErrorKind> {
        let json = str::from_utf8(json).map_err(|_| VerifyErrorKind::Malformed)?;
        serde_json::from_str(json).map_err(|_| VerifyErrorKind::Malformed)
    }

    pub(super) fn into_registered(self) -> Result<RegisteredClaims, VerifyErrorKind> {
        Ok(RegisteredClaims {
            iss: owned(self.iss)?,
            sub: owned(self.sub)?,
            aud: audience(self.aud)?,
            exp: self.exp.map_or(0, NumericDate::seconds),
            nbf: self.nbf.map(NumericDate::seconds),
            iat: self.iat.map(NumericDate::seconds),
            jti: owned(self.jti)?,
            scope: owned(self.scope)?,
            client_id: owned(self.client_id)?,
        })
    }
}

fn owned(text: Option<Text<'_>>) -> Result<Option<String>, VerifyErrorKind> {
    match text {
        None | Some(Text::Null) => Ok(None),
        Some(Text::Is(text)) => Ok(Some(text.into_owned())),
        Some(Text::Other) => Err(VerifyErrorKind::WrongClaims),
    }
}

fn audience(texts: Option<Texts<'_>>) -> Result<Audience, VerifyErrorKind> {
    match texts {
        None => Ok(Audience::default()),
        Some(Texts::One(name)) => Ok(name.into_owned().into()),
        Some(Texts::Several(names)) => Ok(names.into_iter().map(Cow::into_owned).collect()),
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
    Nonce,
    AtHash,
    CHash,
    Typ,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for ClaimsSet<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimsVisitor)
    }
}

struct ClaimsVisitor;

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = ClaimsSet<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ClaimsSet<'de>, A::Error> {
        let mut claims = ClaimsSet::default();
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
                Name::Nonce => once(&mut claims.nonce, &mut map),
                Name::AtHash => once(&mut claims.at_hash, &mut map),
                Name::CHash => once(&mut claims.c_hash, &mut map),
                Name::Typ => once(&mut claims.typ, &mut map),
                Name::Other => map.next_value::<Skipped>().map(drop),
            }?;
        }
        Ok(claims)
    }
}
