//! A key as a document holds it: it loads or not, and where it loads, what it is worth.
//!
//! For the fuzzer a document is a byte string: `S` makes the rest a JSON string, anything else
//! leaves it as it is, with the placeholders of [`fill_keys`].

use std::{collections::HashSet, error::Error, sync::LazyLock, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;
use jsonwebtoken::{Algorithm, DecodingKey, jwk::Jwk};
use serde_json::{Value, json};
use tower_secrets::{
    BuildError, JwtRotationLayer, Keyring, keyring::SignErrorKind, source::Memory,
};

use super::{
    case::fill,
    judge::Finding,
    keys::{PRIVATE, SECRET, SIGNERS, b64, pem},
    oracle,
    world::{AUDIENCE, Answer, App, CaseClock, ISSUER, WORLD, ask, runtime},
};

/// What a key that loaded can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loaded {
    Signs,
    Verifies,
}

/// The JSON text in the place of the key.
pub(crate) fn field(bytes: &[u8]) -> Vec<u8> {
    match bytes.split_first() {
        Some((b'S', text)) => {
            let text = fill_keys(text);
            json!(String::from_utf8_lossy(&text))
                .to_string()
                .into_bytes()
        }
        _ => fill_keys(bytes),
    }
}

/// `@rsa.n` and so on are the members in `keys.json`; `@rsa.public` and `@rsa.private` are PEMs.
fn fill_keys(text: &[u8]) -> Vec<u8> {
    if !text.contains(&b'@') {
        return text.to_vec();
    }
    PLACEHOLDERS
        .iter()
        .fold(text.to_vec(), |text, (name, value)| {
            fill(&text, name, value)
        })
}

static PLACEHOLDERS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let mut all = vec![
        ("@secret".to_owned(), SECRET.to_owned()),
        ("@oct.k".to_owned(), b64(SECRET)),
    ];
    for (key, jwk) in PRIVATE.as_object().unwrap() {
        all.push((format!("@{key}.private"), pem(key, true)));
        all.push((format!("@{key}.public"), pem(key, false)));
        for (member, value) in jwk.as_object().unwrap() {
            all.push((
                format!("@{key}.{member}"),
                value.as_str().unwrap().to_owned(),
            ));
        }
    }
    // `@rsa.dp` before `@rsa.d`.
    all.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    all
});

/// Loads it. What is loaded must do what the oracle does with the same keys, and nothing that is
/// said of it may show a secret.
pub(crate) fn judge(field: &[u8]) -> Result<Option<Loaded>, Finding> {
    LazyLock::force(&WORLD);
    let document = [b"{\"jwt\":", field, b"}"].concat();
    let runtime = runtime();
    let built: Result<Keyring<App>, BuildError> = runtime.block_on(
        Keyring::builder(Memory::new(document.clone()))
            .activation_delay(std::time::Duration::ZERO)
            .jwt_key(|app: &App| &app.jwt)
            .clock(CaseClock)
            .build(),
    );
    // Members beside the key may hold what a bundle passes over and the oracle's `Value` does not take, as
    // text that is not UTF-8.
    let value = serde_json::from_slice::<Value>(&document);
    let is_whole = value.is_ok();
    let keys = Keys::of(&value.unwrap_or_default()["jwt"]);
    let keyring = match built {
        Ok(keyring) => keyring,
        Err(error) => {
            keys.check_text(&format!("{error}\n{error:?}\n{:?}", error.source()))?;
            return Ok(None);
        }
    };
    keys.check_text(&format!("{keyring:?}\n{:?}", keyring.status()))?;
    if !is_whole {
        return Ok(None);
    }
    let layer = JwtRotationLayer::new(keyring.clone())
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .leeway(Duration::ZERO);
    for (algorithm, token) in &*TOKENS {
        keys.compare(&layer, *algorithm, token)?;
    }
    match keyring.signer().sign(&claims()) {
        Ok(token) => keys.check_minted(&layer, &token),
        Err(error) if error.kind() == SignErrorKind::CannotSign => Ok(Some(Loaded::Verifies)),
        Err(error) => Err(format!("a key that loaded does not sign: {error}")),
    }
}

/// A good token of each key of the world.
static TOKENS: LazyLock<Vec<(Algorithm, String)>> = LazyLock::new(|| {
    let claims = claims().to_string();
    SIGNERS
        .iter()
        .map(|signer| {
            let header = json!({ "alg": format!("{:?}", signer.algorithm) }).to_string();
            let token = signer.token(header.as_bytes(), claims.as_bytes());
            (signer.algorithm, token)
        })
        .collect()
});

fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": 4_102_444_800_u64 })
}

/// The keys of a document as the oracle reads them.
#[derive(Default)]
struct Keys {
    found: Vec<(Algorithm, DecodingKey)>,
    /// Not of a set, in which a bad key is skipped.
    is_single: bool,
    /// A `kid` is public, and shown.
    shows_kid: bool,
}

impl Keys {
    fn of(field: &Value) -> Self {
        let mut keys = Self {
            is_single: true,
            ..Self::default()
        };
        keys.read(field);
        keys
    }

    fn read(&mut self, field: &Value) {
        match field {
            Value::String(text) if text.contains("-----BEGIN ") => self.read_pem(),
            Value::String(text) => {
                let secret = DecodingKey::from_secret(text.as_bytes());
                self.found.push((Algorithm::HS256, secret));
                let text = text.trim_start_matches('\u{feff}').trim();
                if let Ok(inner) = serde_json::from_str::<Value>(text)
                    && (inner.get("kty").is_some() || inner.get("keys").is_some())
                {
                    self.found.clear();
                    self.read(&inner);
                }
            }
            Value::Object(set) if set.contains_key("keys") && !set.contains_key("kty") => {
                self.is_single = false;
                let keys = set["keys"].as_array().map_or(&[][..], Vec::as_slice);
                keys.iter().for_each(|jwk| self.read_jwk(jwk));
            }
            jwk => self.read_jwk(jwk),
        }
    }

    /// Which of our own it is, nobody asks here.
    fn read_pem(&mut self) {
        use Algorithm::{ES256, ES384, EdDSA, RS256};
        self.is_single = false;
        let ours = SIGNERS
            .iter()
            .filter(|signer| [RS256, ES256, ES384, EdDSA].contains(&signer.algorithm));
        self.found
            .extend(ours.map(|signer| (signer.algorithm, signer.decoding.clone())));
    }

    fn read_jwk(&mut self, jwk: &Value) {
        self.shows_kid |= jwk["kid"].as_str().is_some_and(leaks);
        let for_signatures = jwk["use"].as_str().is_none_or(|usage| usage == "sig");
        if let (Some(algorithm), Some(key), true) = (algorithm(jwk), decoding(jwk), for_signatures)
        {
            self.found.push((algorithm, key));
        }
    }

    fn accepts(&self, algorithm: Algorithm, token: &str) -> bool {
        self.found
            .iter()
            .filter(|(own, _)| *own == algorithm)
            .any(|(_, key)| oracle::claims_by(key, algorithm, token).is_some())
    }

    fn compare(
        &self,
        layer: &JwtRotationLayer<App>,
        algorithm: Algorithm,
        token: &str,
    ) -> Result<(), Finding> {
        match (passes(layer, token), self.accepts(algorithm, token)) {
            (true, false) => Err(format!("the oracle refuses {algorithm:?} under this key")),
            (false, true) if self.is_single => {
                Err(format!("{algorithm:?} is refused under a key that loaded"))
            }
            _ => Ok(()),
        }
    }

    fn check_minted(
        &self,
        layer: &JwtRotationLayer<App>,
        token: &str,
    ) -> Result<Option<Loaded>, Finding> {
        let header = jsonwebtoken::decode_header(token).map_err(|error| error.to_string())?;
        if !passes(layer, token) {
            return Err(format!(
                "a token of the keyring's own signer is refused: {header:?}"
            ));
        }
        if !self.accepts(header.alg, token) {
            return Err(format!(
                "the oracle refuses a token that was signed here: {header:?}"
            ));
        }
        Ok(Some(Loaded::Signs))
    }

    fn check_text(&self, text: &str) -> Result<(), Finding> {
        if !self.shows_kid && leaks(text) {
            return Err(format!("a text shows a secret: {text}"));
        }
        Ok(())
    }
}

fn passes(layer: &JwtRotationLayer<App>, token: &str) -> bool {
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    matches!(ask(layer, &[value]), Answer::Passed(Some(_)))
}

/// Its `alg`, else what its type says.
fn algorithm(jwk: &Value) -> Option<Algorithm> {
    if let Some(name) = jwk["alg"].as_str() {
        return name.parse().ok();
    }
    match (jwk["kty"].as_str()?, jwk["crv"].as_str()) {
        ("oct", _) => Some(Algorithm::HS256),
        ("RSA", _) => Some(Algorithm::RS256),
        ("EC", Some("P-256")) => Some(Algorithm::ES256),
        ("EC", _) => Some(Algorithm::ES384),
        _ => Some(Algorithm::EdDSA),
    }
}

fn decoding(jwk: &Value) -> Option<DecodingKey> {
    if jwk["kty"] == "RSA" {
        // A zero before a number is allowed here; aws-lc refuses every token under it.
        let (n, e) = (unsigned(&jwk["n"])?, unsigned(&jwk["e"])?);
        return Some(DecodingKey::from_rsa_raw_components(&n, &e));
    }
    // Without the members that it need not agree with us about.
    let mut jwk = jwk.clone();
    jwk.as_object_mut()?
        .retain(|name, _| ["kty", "crv", "x", "y", "k"].contains(&name.as_str()));
    let jwk: Jwk = serde_json::from_value(jwk).ok()?;
    DecodingKey::from_jwk(&jwk).ok()
}

fn unsigned(member: &Value) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(member.as_str()?).ok()?;
    Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
}

/// Long enough that the id of a key, which is a digest, has none by chance in all the runs of a fuzzer.
const RUN: usize = 9;

/// Every run of some bytes of every secret.
static RUNS: LazyLock<HashSet<Vec<u8>>> = LazyLock::new(|| {
    let public = ["n", "e", "x", "y", "kty", "crv"];
    let mut secrets = vec![SECRET.to_owned(), b64(SECRET)];
    for (key, jwk) in PRIVATE.as_object().unwrap() {
        let members = jwk.as_object().unwrap().iter();
        let private = members.filter(|(name, _)| !public.contains(&name.as_str()));
        secrets.extend(private.map(|(_, value)| value.as_str().unwrap().to_owned()));
        secrets.push(pem(key, true).lines().nth(1).unwrap().to_owned());
    }
    let runs = secrets
        .iter()
        .flat_map(|secret| secret.as_bytes().windows(RUN));
    runs.map(<[u8]>::to_vec).collect()
});

fn leaks(text: &str) -> bool {
    text.as_bytes().windows(RUN).any(|run| RUNS.contains(run))
}
