//! How registered claims stand in a token.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Read, RegisteredClaims, scope_of};

#[derive(Serialize, Deserialize)]
#[serde(expecting = "an object with the registered claims")]
struct Wire<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iss: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Names::is_empty")]
    aud: Names<'a>,
    #[serde(deserialize_with = "seconds")]
    exp: u64,
    #[serde(
        default,
        deserialize_with = "some_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    nbf: Option<u64>,
    #[serde(
        default,
        deserialize_with = "some_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    iat: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jti: Option<Cow<'a, str>>,
    #[serde(
        default,
        deserialize_with = "scope",
        skip_serializing_if = "Option::is_none"
    )]
    scope: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing, deserialize_with = "scope")]
    scp: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing, deserialize_with = "text_or_nothing")]
    azp: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing, deserialize_with = "text_or_nothing")]
    appid: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing, deserialize_with = "text_or_nothing")]
    cid: Option<Cow<'a, str>>,
}

impl Serialize for RegisteredClaims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let wire = Wire {
            iss: self.iss().map(Cow::Borrowed),
            sub: self.sub().map(Cow::Borrowed),
            aud: Names(self.aud().iter().map(Cow::Borrowed).collect()),
            exp: self.exp(),
            nbf: self.nbf(),
            iat: self.iat(),
            jti: self.jti().map(Cow::Borrowed),
            scope: self.scope().map(Cow::Borrowed),
            scp: None,
            client_id: self.client_id().map(Cow::Borrowed),
            azp: None,
            appid: None,
            cid: None,
        };
        wire.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RegisteredClaims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Wire {
            iss,
            sub,
            aud,
            exp,
            nbf,
            iat,
            jti,
            scope,
            scp,
            client_id,
            azp,
            appid,
            cid,
        } = Wire::deserialize(deserializer)?;
        let client_id = client_id.or(azp).or(appid).or(cid);
        let read = Read {
            iss: iss.as_deref(),
            sub: sub.as_deref(),
            aud: &aud.0,
            exp,
            nbf,
            iat,
            jti: jti.as_deref(),
            scope: scope.as_deref().or(scp.as_deref()),
            client_id: client_id.as_deref(),
        };
        Ok(read.into())
    }
}

/// Names that mean a client with some issuers, and with others something that may be no text.
fn text_or_nothing<'de, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'a, str>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(String),
        Other(de::IgnoredAny),
    }
    Ok(match Form::deserialize(deserializer)? {
        Form::Text(text) => Some(Cow::Owned(text)),
        Form::Other(_) => None,
    })
}

/// `aud`: a single name is a string, several are an array.
#[derive(Default)]
struct Names<'a>(Vec<Cow<'a, str>>);

impl Names<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &*self.0 {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Names<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a string or an array of strings")]
        enum Form {
            One(String),
            Several(Vec<String>),
        }
        let names = match Form::deserialize(deserializer)? {
            Form::One(name) => vec![name],
            Form::Several(names) => names,
        };
        Ok(Self(names.into_iter().map(Cow::Owned).collect()))
    }
}

fn scope<'de, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a string or an array of strings")]
    enum Form {
        Absent(()),
        One(String),
        Several(Vec<String>),
    }
    Ok(match Form::deserialize(deserializer)? {
        Form::Absent(()) => None,
        Form::One(scope) => Some(scope.into()),
        Form::Several(names) => Some(scope_of(&names).into()),
    })
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_f64(Seconds)
}

fn some_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    seconds(deserializer).map(Some)
}

struct Seconds;

impl de::Visitor<'_> for Seconds {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds since the epoch")
    }

    fn visit_u64<E>(self, seconds: u64) -> Result<u64, E> {
        Ok(seconds)
    }

    fn visit_i64<E>(self, seconds: i64) -> Result<u64, E> {
        Ok(u64::try_from(seconds).unwrap_or(0))
    }

    fn visit_f64<E>(self, seconds: f64) -> Result<u64, E> {
        // The cast saturates at both ends.
        Ok(seconds as u64)
    }
}
