//! Keys of each kind, keyrings over them, and requests with their tokens: for the benches, and for
//! the tests that count resources.

#![allow(dead_code, reason = "each binary uses a part of it")]

use std::time::{Duration, SystemTime};

use aws_lc_rs::{
    encoding::AsDer,
    hmac,
    rsa::KeySize,
    signature::{
        self, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair,
    },
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::Request;
use serde::Deserialize;
use serde_json::json;
use tower_secrets::{JwtKey, Keyring, RegisteredClaims, source::Memory};

/// What these keys sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Hs256,
    Rs256,
    Es256,
    EdDsa,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Hs256, Self::Rs256, Self::Es256, Self::EdDsa];
    pub(crate) const ASYMMETRIC: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// A key as a bundle holds it, and prepared as aws-lc-rs verifies with it.
pub(crate) struct Key {
    pub(crate) text: String,
    prepared: Prepared,
}

enum Prepared {
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl Key {
    pub(crate) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Hs256 => Self::secret("0123456789abcdef0123456789abcdef"),
            Kind::Rs256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
                let pkcs8 = pair.as_der().unwrap();
                Self::pair(&RSA_PKCS1_2048_8192_SHA256, &pair, pkcs8.as_ref())
            }
            Kind::Es256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
                let pkcs8 = pair.to_pkcs8v1().unwrap();
                Self::pair(&ECDSA_P256_SHA256_FIXED, &pair, pkcs8.as_ref())
            }
            // Always the same, so that counts of instructions are the same in each run.
            Kind::EdDsa => {
                let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
                let pkcs8 = pair.to_pkcs8v1().unwrap();
                Self::pair(&ED25519, &pair, pkcs8.as_ref())
            }
        }
    }

    pub(crate) fn secret(secret: &str) -> Self {
        Self {
            text: secret.to_owned(),
            prepared: Prepared::Secret(Box::new(hmac::Key::new(
                hmac::HMAC_SHA256,
                secret.as_bytes(),
            ))),
        }
    }

    fn pair(
        algorithm: &'static dyn signature::VerificationAlgorithm,
        pair: &impl KeyPair,
        pkcs8: &[u8],
    ) -> Self {
        let public = ParsedPublicKey::new(algorithm, pair.public_key().as_ref()).unwrap();
        Self {
            text: pem(pkcs8),
            prepared: Prepared::Public(public),
        }
    }

    /// The least that a verifier of this token must do.
    pub(crate) fn verify(&self, signed: &Signed) -> bool {
        let Signed { message, signature } = signed;
        match &self.prepared {
            Prepared::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            Prepared::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

/// The parts of a token that a signature check reads, already decoded.
pub(crate) struct Signed {
    pub(crate) message: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

impl Signed {
    pub(crate) fn of(token: &str) -> Self {
        let (message, signature) = token.rsplit_once('.').unwrap();
        Self {
            message: message.into(),
            signature: URL_SAFE_NO_PAD.decode(signature).unwrap(),
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct App {
    jwt: JwtKey,
    /// What makes a bundle as big as the bundle of a real service.
    #[allow(dead_code, reason = "it only takes up room")]
    api_keys: Vec<String>,
}

/// A bundle of this key and at least `size` bytes.
pub(crate) fn document(key: &str, size: usize) -> String {
    const API_KEY: usize = 256;
    let api_keys = vec!["k".repeat(API_KEY); size.div_ceil(API_KEY)];
    json!({ "jwt": key, "api_keys": api_keys }).to_string()
}

pub(crate) async fn keyring(source: Memory, token_cache: usize) -> Keyring<App> {
    Keyring::<App>::builder(source)
        .activation_delay(std::time::Duration::ZERO)
        .jwt_key(|app| &app.jwt)
        .token_cache(token_cache)
        .build()
        .await
        .unwrap()
}

/// A keyring that stays as it is. The loop that would refresh it ends with this function.
pub(crate) fn still_keyring(key: &Key, bundle_size: usize, token_cache: usize) -> Keyring<App> {
    let source = Memory::new(document(&key.text, bundle_size));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(keyring(source, token_cache))
}

/// The token of this caller: for each caller another, all of one length while their names are.
pub(crate) fn token(keyring: &Keyring<App>, caller: usize) -> String {
    const YEAR_2096: Duration = Duration::from_secs(4_000_000_000);
    sign(keyring, caller, SystemTime::UNIX_EPOCH + YEAR_2096)
}

pub(crate) fn expired_token(keyring: &Keyring<App>, caller: usize) -> String {
    const YEAR_2001: Duration = Duration::from_secs(1_000_000_000);
    sign(keyring, caller, SystemTime::UNIX_EPOCH + YEAR_2001)
}

fn sign(keyring: &Keyring<App>, caller: usize, expires: SystemTime) -> String {
    let claims = RegisteredClaims::new(format!("user-{caller:08}"))
        .granting("tools:read tools:call")
        .issuer("https://issuer.example")
        .audience("https://api.example")
        .issued_at(SystemTime::UNIX_EPOCH)
        .expires_at(expires)
        .token_id(format!("token-{caller:08}"));
    keyring.signer().sign(&claims).unwrap()
}

pub(crate) fn request<B: Default>(token: &str) -> Request<B> {
    Request::builder()
        .header("authorization", format!("Bearer {token}"))
        .body(B::default())
        .unwrap()
}

fn pem(pkcs8: &[u8]) -> String {
    let body = STANDARD.encode(pkcs8);
    format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
}
