//! The claims type that layers and extractors use unless told otherwise.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The registered claims of [RFC 7519, section 4.1], with `scope` and `client_id` as OAuth access
/// tokens carry them ([RFC 9068]). Other claims of a token are ignored; for them, give the layer a
/// type of your own.
///
/// Times are whole seconds since the epoch. A token may write them with a fraction, which is cut
/// off; times before the epoch read as 0.
///
/// To mint a token, start from a subject. A token expires at `exp` = 0, in 1970, until it is given
/// an end:
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_secrets::keyring::RegisteredClaims;
///
/// let now = SystemTime::now();
/// let claims = RegisteredClaims::new("alice")
///     .audience("https://mcp.example")
///     .issued_at(now)
///     .expires_at(now + Duration::from_secs(300))
///     .scope("tools:read tools:call");
/// assert!(claims.scopes().any(|scope| scope == "tools:read"));
/// ```
///
/// [RFC 7519, section 4.1]: https://www.rfc-editor.org/rfc/rfc7519#section-4.1
/// [RFC 9068]: https://www.rfc-editor.org/rfc/rfc9068#section-2.2
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RegisteredClaims {
    /// Who issued the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// Whom the token is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// Whom the token is for.
    #[serde(default, skip_serializing_if = "Audience::is_empty")]
    pub aud: Audience,
    /// When it ends, in seconds since the epoch; from that second on it is expired.
    #[serde(deserialize_with = "seconds")]
    pub exp: u64,
    /// When it begins, in seconds since the epoch.
    #[serde(
        default,
        deserialize_with = "some_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub nbf: Option<u64>,
    /// When it was issued, in seconds since the epoch.
    #[serde(
        default,
        deserialize_with = "some_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub iat: Option<u64>,
    /// The token's own id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// What it allows: names with spaces between them ([RFC 8693, section 4.2]).
    ///
    /// [RFC 8693, section 4.2]: https://www.rfc-editor.org/rfc/rfc8693#section-4.2
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The OAuth client that asked for the token ([RFC 8693, section 4.3]).
    ///
    /// [RFC 8693, section 4.3]: https://www.rfc-editor.org/rfc/rfc8693#section-4.3
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

impl RegisteredClaims {
    /// Claims about a subject, with `exp` = 0 and nothing else.
    #[must_use]
    pub fn new(subject: impl Into<String>) -> Self {
        Self {
            iss: None,
            sub: Some(subject.into()),
            aud: Audience::default(),
            exp: 0,
            nbf: None,
            iat: None,
            jti: None,
            scope: None,
            client_id: None,
        }
    }

    /// Sets `iss`.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.iss = Some(issuer.into());
        self
    }

    /// Adds an audience to `aud`.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.aud.push(audience.into());
        self
    }

    /// Sets `exp`, cut to the whole second.
    #[must_use]
    pub fn expires_at(mut self, at: SystemTime) -> Self {
        self.exp = since_epoch(at);
        self
    }

    /// Sets `iat`, cut to the whole second.
    #[must_use]
    pub fn issued_at(mut self, at: SystemTime) -> Self {
        self.iat = Some(since_epoch(at));
        self
    }

    /// Sets `scope`: names with spaces between them.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// The names in `scope`, in their order.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope
            .as_deref()
            .unwrap_or_default()
            .split(' ')
            .filter(|name| !name.is_empty())
    }
}

fn since_epoch(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .as_ref()
        .map_or(0, Duration::as_secs)
}

/// The `aud` claim: any number of names. A single one is written as a string, several as an array;
/// both are read ([RFC 7519, section 4.1.3]).
///
/// [RFC 7519, section 4.1.3]: https://www.rfc-editor.org/rfc/rfc7519#section-4.1.3
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audience(Names);

/// Nearly every token has one audience, which then costs one allocation and not two.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Names {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    /// The names, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.names().iter().map(String::as_str)
    }

    /// Whether it has this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.iter().any(|own| own == name)
    }

    /// Whether there is no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names().is_empty()
    }

    fn names(&self) -> &[String] {
        match &self.0 {
            Names::One(name) => std::slice::from_ref(name),
            Names::Several(names) => names,
        }
    }

    fn push(&mut self, name: String) {
        *self = self.iter().map(str::to_owned).chain([name]).collect();
    }
}

impl Default for Names {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl From<String> for Audience {
    fn from(name: String) -> Self {
        Self(Names::One(name))
    }
}

impl<S: Into<String>> FromIterator<S> for Audience {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        let mut names: Vec<String> = names.into_iter().map(Into::into).collect();
        if names.len() == 1
            && let Some(only) = names.pop()
        {
            return only.into();
        }
        Self(Names::Several(names))
    }
}

impl Serialize for Audience {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.names() {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a string or an array of strings")]
        enum Form {
            One(String),
            Several(Vec<String>),
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::One(name) => name.into(),
            Form::Several(names) => names.into_iter().collect(),
        })
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn one_audience_is_a_string_and_several_are_an_array() {
        let one = RegisteredClaims::new("s").audience("a");
        let two = one.clone().audience("b");
        assert_eq!(serde_json::to_value(&one).unwrap()["aud"], json!("a"));
        assert_eq!(
            serde_json::to_value(&two).unwrap()["aud"],
            json!(["a", "b"])
        );
        for claims in [one, two] {
            let text = serde_json::to_string(&claims).unwrap();
            assert_eq!(
                serde_json::from_str::<RegisteredClaims>(&text).unwrap(),
                claims
            );
        }
    }

    #[test]
    fn what_is_not_set_is_not_written() {
        assert_eq!(
            serde_json::to_value(RegisteredClaims::new("s")).unwrap(),
            json!({ "sub": "s", "exp": 0 })
        );
    }

    #[test]
    fn times_are_read_from_every_kind_of_number() {
        for (written, read) in [
            (json!(5), 5),
            (json!(5.9), 5),
            (json!(-5), 0),
            (json!(-5.9), 0),
            (json!(1e300), u64::MAX),
            (json!(u64::MAX), u64::MAX),
        ] {
            let claims: RegisteredClaims =
                serde_json::from_value(json!({ "exp": written, "iat": written, "nbf": written }))
                    .unwrap();
            assert_eq!(
                (claims.exp, claims.iat, claims.nbf),
                (read, Some(read), Some(read))
            );
        }
    }

    #[test]
    fn setters_cut_to_seconds_and_survive_early_times() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(7_900);
        let early = SystemTime::UNIX_EPOCH - Duration::from_secs(7);
        let claims = RegisteredClaims::new("s").expires_at(at).issued_at(early);
        assert_eq!((claims.exp, claims.iat), (7, Some(0)));
    }
}
