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
use crate::keyring::registered::{Read, RegisteredClaims, scope_of};

mod plain;

/// A claims set (RFC 7519, section 4). It borrows from the JSON that it was read from.
#[derive(Default)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(crate) struct ClaimsSet<'a> {
    pub(super) iss: Option<Text<'a>>,
    pub(super) sub: Option<Text<'a>>,
    pub(super) aud: Option<Texts<'a>>,
    pub(super) exp: Option<NumericDate>,
    pub(super) nbf: Option<NumericDate>,
    pub(super) iat: Option<NumericDate>,
    jti: Option<Text<'a>>,
    scope: Option<Texts<'a>>,
    scp: Option<Texts<'a>>,
    client_id: Option<Text<'a>>,
    azp: Option<Text<'a>>,
    appid: Option<Text<'a>>,
    cid: Option<Text<'a>>,
    pub(super) nonce: Option<Skipped>,
    pub(super) at_hash: Option<Skipped>,
    pub(super) c_hash: Option<Skipped>,
    /// What makes it a security event (RFC 8417, section 2.2), as a logout token is.
    pub(super) events: Option<Skipped>,
    /// Not the header's: Keycloak says here what a token is.
    pub(super) typ: Option<ClaimedType>,
}

/// The claim `typ` of Keycloak's tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(super) enum ClaimedType {
    Access,
    /// An ID, refresh or logout token.
    Other,
    /// Some other text, or none; for others than Keycloak the claim may mean anything.
    Unknown,
}

impl ClaimedType {
    fn of(typ: &str) -> Self {
        match typ {
            "Bearer" => Self::Access,
            "ID" | "Refresh" | "Offline" | "Logout" => Self::Other,
            _ => Self::Unknown,
        }
    }
}

impl<'de> Deserialize<'de> for ClaimedType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Text::deserialize(deserializer)? {
            Text::Is(typ) => Self::of(&typ),
            Text::Null | Text::Other => Self::Unknown,
        })
    }
}

impl<'a> ClaimsSet<'a> {
    pub(crate) fn read(json: &'a [u8]) -> Result<Self, VerifyErrorKind> {
        let json = str::from_utf8(json).map_err(|_| VerifyErrorKind::Malformed)?;
        let mut claims = Self::default();
        if plain::fill(&mut claims, json).is_none() {
            claims = Self::default();
            claims
                .fill(&mut serde_json::Deserializer::from_str(json))
                .map_err(|_| VerifyErrorKind::Malformed)?;
        }
        Ok(claims)
    }

    /// In place: handed up from function to function it would be copied by each.
    fn fill(&mut self, json: &mut serde_json::Deserializer<StrRead<'a>>) -> serde_json::Result<()> {
        json.deserialize_map(Filler(self))?;
        json.end()
    }

    /// They are copied: what else the payload holds is not kept in memory.
    pub(crate) fn registered(&self) -> Result<RegisteredClaims, VerifyErrorKind> {
        let scope = match scope(&self.scope)? {
            None => scope(&self.scp)?,
            scope => scope,
        };
        let read = Read {
            iss: text(&self.iss)?,
            sub: text(&self.sub)?,
            aud: names(&self.aud)?,
            exp: self.exp.map_or(0, NumericDate::seconds),
            nbf: self.nbf.map(NumericDate::seconds),
            iat: self.iat.map(NumericDate::seconds),
            jti: text(&self.jti)?,
            scope: scope.as_deref(),
            client_id: self.client()?,
        };
        Ok(read.into())
    }

    /// What OAuth calls `client_id` has other names with those who issued tokens before it had one.
    /// With anybody else these may mean anything, so what is no text is passed over.
    fn client(&self) -> Result<Option<&str>, VerifyErrorKind> {
        if let Some(id) = text(&self.client_id)? {
            return Ok(Some(id));
        }
        let others = [&self.azp, &self.appid, &self.cid];
        Ok(others.into_iter().find_map(|name| match name {
            Some(Text::Is(id)) => Some(&**id),
            _ => None,
        }))
    }
}

/// A text of names, or an array of them.
fn scope<'t>(texts: &'t Option<Texts<'_>>) -> Result<Option<Cow<'t, str>>, VerifyErrorKind> {
    match texts {
        None | Some(Texts::Null) => Ok(None),
        Some(Texts::One(text)) => Ok(Some(Cow::Borrowed(text))),
        Some(Texts::Several(names)) => Ok(Some(Cow::Owned(scope_of(names)))),
        Some(Texts::Other) => Err(VerifyErrorKind::WrongClaims),
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
    Scp,
    ClientId,
    Azp,
    Appid,
    Cid,
    Nonce,
    AtHash,
    CHash,
    Events,
    Typ,
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
                Name::Scp => once(&mut claims.scp, &mut map),
                Name::ClientId => once(&mut claims.client_id, &mut map),
                Name::Azp => once(&mut claims.azp, &mut map),
                Name::Appid => once(&mut claims.appid, &mut map),
                Name::Cid => once(&mut claims.cid, &mut map),
                Name::Nonce => once(&mut claims.nonce, &mut map),
                Name::AtHash => once(&mut claims.at_hash, &mut map),
                Name::CHash => once(&mut claims.c_hash, &mut map),
                Name::Events => once(&mut claims.events, &mut map),
                Name::Typ => once(&mut claims.typ, &mut map),
                Name::Other => map.next_value::<Skipped>().map(drop),
            }?;
        }
        Ok(())
    }
}
