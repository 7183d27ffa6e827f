//! The claims type that layers and extractors use unless told otherwise.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

mod texts;
pub use texts::Audience;
use texts::{Slot, Texts};

mod wire;

/// The registered claims of [RFC 7519, section 4.1], with `scope` and `client_id` as OAuth access
/// tokens carry them ([RFC 9068]). Other claims of a token are ignored; for them, give the layer a
/// type of your own.
///
/// A claim is read by the method of its name. Times are whole seconds since the epoch. A token may
/// write them with a fraction, which is cut off; times before the epoch read as 0.
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
///     .granting("tools:read tools:call");
/// assert_eq!(claims.sub(), Some("alice"));
/// assert!(claims.aud().contains("https://mcp.example"));
/// assert!(claims.scopes().any(|scope| scope == "tools:read"));
/// ```
///
/// [RFC 7519, section 4.1]: https://www.rfc-editor.org/rfc/rfc7519#section-4.1
/// [RFC 9068]: https://www.rfc-editor.org/rfc/rfc9068#section-2.2
#[derive(Clone, PartialEq, Eq)]
pub struct RegisteredClaims {
    exp: u64,
    nbf: Option<u64>,
    iat: Option<u64>,
    texts: Texts,
}

impl RegisteredClaims {
    /// Who issued the token.
    #[must_use]
    pub fn iss(&self) -> Option<&str> {
        self.texts.get(Slot::Iss)
    }

    /// Whom the token is about.
    #[must_use]
    pub fn sub(&self) -> Option<&str> {
        self.texts.get(Slot::Sub)
    }

    /// Whom the token is for.
    #[must_use]
    pub fn aud(&self) -> Audience<'_> {
        self.texts.audience()
    }

    /// When it ends, in seconds since the epoch; from that second on it is expired.
    #[must_use]
    pub fn exp(&self) -> u64 {
        self.exp
    }

    /// When it begins, in seconds since the epoch.
    #[must_use]
    pub fn nbf(&self) -> Option<u64> {
        self.nbf
    }

    /// When it was issued, in seconds since the epoch.
    #[must_use]
    pub fn iat(&self) -> Option<u64> {
        self.iat
    }

    /// The token's own id.
    #[must_use]
    pub fn jti(&self) -> Option<&str> {
        self.texts.get(Slot::Jti)
    }

    /// What it allows: names with spaces between them ([RFC 8693, section 4.2]). A token without
    /// `scope` may have `scp` instead, as those of Entra (a text) and Okta (an array) do; it is read
    /// as `scope` then. Either may be an array of names, as `scope` is in those of UAA.
    ///
    /// [RFC 8693, section 4.2]: https://www.rfc-editor.org/rfc/rfc8693#section-4.2
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.texts.get(Slot::Scope)
    }

    /// The names in `scope`, in their order.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope()
            .unwrap_or_default()
            .split(' ')
            .filter(|name| !name.is_empty())
    }

    /// The OAuth client that asked for the token ([RFC 8693, section 4.3]). A token without
    /// `client_id` may name it in `azp` (OpenID Connect, Keycloak, Auth0), `appid` (Entra) or `cid` (Okta).
    ///
    /// [RFC 8693, section 4.3]: https://www.rfc-editor.org/rfc/rfc8693#section-4.3
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.texts.get(Slot::ClientId)
    }
}

/// To mint a token.
impl RegisteredClaims {
    /// Claims about a subject, with `exp` = 0 and nothing else.
    #[must_use]
    pub fn new(subject: impl AsRef<str>) -> Self {
        Self {
            exp: 0,
            nbf: None,
            iat: None,
            texts: Texts::default().with(Slot::Sub, subject.as_ref()),
        }
    }

    /// Sets `iss`.
    #[must_use]
    pub fn issuer(self, issuer: impl AsRef<str>) -> Self {
        self.with(Slot::Iss, issuer.as_ref())
    }

    /// Adds an audience to `aud`.
    #[must_use]
    pub fn audience(mut self, audience: impl AsRef<str>) -> Self {
        self.texts = self.texts.with_audience(audience.as_ref());
        self
    }

    /// Sets `exp`, cut to the whole second.
    #[must_use]
    pub fn expires_at(mut self, at: SystemTime) -> Self {
        self.exp = since_epoch(at);
        self
    }

    /// Sets `nbf`, cut to the whole second.
    #[must_use]
    pub fn not_before(mut self, at: SystemTime) -> Self {
        self.nbf = Some(since_epoch(at));
        self
    }

    /// Sets `iat`, cut to the whole second.
    #[must_use]
    pub fn issued_at(mut self, at: SystemTime) -> Self {
        self.iat = Some(since_epoch(at));
        self
    }

    /// Sets `jti`.
    #[must_use]
    pub fn token_id(self, id: impl AsRef<str>) -> Self {
        self.with(Slot::Jti, id.as_ref())
    }

    /// Sets `scope`: names with spaces between them.
    #[must_use]
    pub fn granting(self, scope: impl AsRef<str>) -> Self {
        self.with(Slot::Scope, scope.as_ref())
    }

    /// Sets `client_id`.
    #[must_use]
    pub fn client(self, id: impl AsRef<str>) -> Self {
        self.with(Slot::ClientId, id.as_ref())
    }

    fn with(mut self, slot: Slot, text: &str) -> Self {
        self.texts = self.texts.with(slot, text);
        self
    }
}

/// What was read of a token, to be copied into [`RegisteredClaims`].
pub(super) struct Read<'a, A> {
    pub(super) iss: Option<&'a str>,
    pub(super) sub: Option<&'a str>,
    pub(super) aud: &'a [A],
    pub(super) exp: u64,
    pub(super) nbf: Option<u64>,
    pub(super) iat: Option<u64>,
    pub(super) jti: Option<&'a str>,
    pub(super) scope: Option<&'a str>,
    pub(super) client_id: Option<&'a str>,
}

impl<A: AsRef<str>> From<Read<'_, A>> for RegisteredClaims {
    fn from(read: Read<'_, A>) -> Self {
        let slots = [read.iss, read.sub, read.jti, read.scope, read.client_id];
        Self {
            exp: read.exp,
            nbf: read.nbf,
            iat: read.iat,
            texts: Texts::new(slots, read.aud),
        }
    }
}

/// From an array of names to the form that `scope` has. What is no name there, because it has a space,
/// must not become two.
pub(super) fn scope_of<A: AsRef<str>>(names: &[A]) -> String {
    let names = names.iter().map(AsRef::as_ref);
    let names: Vec<&str> = names.filter(|name| !name.contains(' ')).collect();
    names.join(" ")
}

impl fmt::Debug for RegisteredClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisteredClaims")
            .field("iss", &self.iss())
            .field("sub", &self.sub())
            .field("aud", &self.aud())
            .field("exp", &self.exp)
            .field("nbf", &self.nbf)
            .field("iat", &self.iat)
            .field("jti", &self.jti())
            .field("scope", &self.scope())
            .field("client_id", &self.client_id())
            .finish()
    }
}

fn since_epoch(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .as_ref()
        .map_or(0, Duration::as_secs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde::{Deserialize, de::value::MapDeserializer};
    use serde_json::json;

    use super::*;
    use crate::keyring::verify::ClaimsSet;

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
    fn scopes_come_from_scope_else_from_scp() {
        for (claims, expected) in [
            (json!({ "exp": 1, "scope": "a b" }), Some("a b")),
            (json!({ "exp": 1, "scp": "a b" }), Some("a b")),
            (json!({ "exp": 1, "scp": ["a", "b"] }), Some("a b")),
            (json!({ "exp": 1, "scp": ["a", "b c", "d"] }), Some("a d")),
            (json!({ "exp": 1, "scope": "a", "scp": ["b"] }), Some("a")),
            (json!({ "exp": 1, "scope": ["a", "b c", "d"] }), Some("a d")),
            (json!({ "exp": 1, "scope": ["a"], "scp": "b" }), Some("a")),
            (json!({ "exp": 1, "scope": [] }), Some("")),
            (json!({ "exp": 1, "scope": "", "scp": "b" }), Some("")),
            (json!({ "exp": 1, "scp": [] }), Some("")),
            (json!({ "exp": 1, "scope": null, "scp": null }), None),
            (json!({ "exp": 1 }), None),
        ] {
            let read: RegisteredClaims = serde_json::from_value(claims.clone()).unwrap();
            assert_eq!(read.scope(), expected, "{claims}");
            let from_token = ClaimsSet::read(claims.to_string().as_bytes())
                .and_then(|claims| claims.registered());
            assert_eq!(from_token, Ok(read), "{claims}");
        }
        for bad in [
            json!({ "exp": 1, "scp": 1 }),
            json!({ "exp": 1, "scp": ["a", 1] }),
            json!({ "exp": 1, "scope": 1 }),
            json!({ "exp": 1, "scope": ["a", 1] }),
        ] {
            assert!(serde_json::from_value::<RegisteredClaims>(bad).is_err());
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
                (claims.exp(), claims.iat(), claims.nbf()),
                (read, Some(read), Some(read))
            );
        }
    }

    #[test]
    fn times_of_formats_with_signed_numbers_are_read_and_no_texts() {
        let signed = [("exp", 5_i64)].into_iter();
        let signed = MapDeserializer::<_, serde::de::value::Error>::new(signed);
        assert_eq!(RegisteredClaims::deserialize(signed).unwrap().exp(), 5);
        let text = serde_json::from_value::<RegisteredClaims>(json!({ "exp": "5" }));
        let error = text.unwrap_err().to_string();
        assert!(error.contains("a number of seconds"), "{error}");
    }

    #[test]
    fn setters_cut_to_seconds_and_survive_early_times() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(7_900);
        let early = SystemTime::UNIX_EPOCH - Duration::from_secs(7);
        let claims = RegisteredClaims::new("s").expires_at(at).issued_at(early);
        let claims = claims.not_before(at);
        assert_eq!((claims.exp(), claims.iat()), (7, Some(0)));
        assert_eq!(claims.nbf(), Some(7));
    }

    #[test]
    fn debug_shows_the_claims_by_their_names() {
        let claims = RegisteredClaims::new("s").audience("a").audience("b");
        assert_eq!(
            format!("{claims:?}"),
            "RegisteredClaims { iss: None, sub: Some(\"s\"), aud: [\"a\", \"b\"], exp: 0, nbf: None, \
             iat: None, jti: None, scope: None, client_id: None }"
        );
    }
}
