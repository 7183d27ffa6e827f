//! Keys of each algorithm, in the forms that contenders want. Every key is made anew for each run.

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    rsa,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, ParsedPublicKey},
};
use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::tokens::Token;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Hs256,
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    pub const ALL: [Self; 4] = [Self::Hs256, Self::Rs256, Self::Es256, Self::EdDsa];

    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// A signing key and the `kid` that its tokens carry.
pub struct Key {
    pub algorithm: Algorithm,
    kid: String,
    material: Material,
}

enum Material {
    Secret(String),
    Rsa(rsa::KeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// Checks one signature with a key that was prepared before.
pub type Verifier = Box<dyn Fn(&[u8], &[u8]) -> bool + Send + Sync>;

impl Key {
    pub fn generate(algorithm: Algorithm) -> Self {
        let made = "a key is made";
        let material = match algorithm {
            Algorithm::Hs256 => Material::Secret(random_text()),
            Algorithm::Rs256 => {
                Material::Rsa(rsa::KeyPair::generate(rsa::KeySize::Rsa2048).expect(made))
            }
            Algorithm::Es256 => {
                let signing = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
                Material::Ec(EcdsaKeyPair::generate(signing).expect(made))
            }
            Algorithm::EdDsa => Material::Ed(Ed25519KeyPair::generate().expect(made)),
        };
        Self {
            algorithm,
            kid: random_text(),
            material,
        }
    }

    /// The secret of an HMAC key.
    pub fn secret(&self) -> &str {
        match &self.material {
            Material::Secret(secret) => secret,
            _ => panic!("{} has no secret", self.algorithm.name()),
        }
    }

    /// What verifies this key's tokens, as a JWK.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.material {
            Material::Secret(secret) => json!({ "kty": "oct", "k": base64url(secret) }),
            Material::Rsa(pair) => json!({
                "kty": "RSA",
                "n": base64url(pair.public_key().modulus().big_endian_without_leading_zero()),
                "e": base64url(pair.public_key().exponent().big_endian_without_leading_zero()),
            }),
            Material::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y) })
            }
            Material::Ed(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key()) })
            }
        };
        jwk["kid"] = self.kid.clone().into();
        jwk["alg"] = self.algorithm.name().into();
        jwk["use"] = "sig".into();
        jwk
    }

    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.jwk()] })
    }

    /// The public key as a PEM.
    pub fn pem(&self) -> String {
        let der = match &self.material {
            Material::Secret(_) => panic!("a secret has no PEM"),
            Material::Rsa(pair) => pair.public_key().as_der(),
            Material::Ec(pair) => pair.public_key().as_der(),
            Material::Ed(pair) => pair.public_key().as_der(),
        };
        let der: PublicKeyX509Der<'_> = der.expect("a public key has a DER form");
        let text = BASE64_STANDARD.encode(der.as_ref());
        let lines: Vec<&str> = (0..text.len())
            .step_by(64)
            .map(|at| &text[at..text.len().min(at + 64)])
            .collect();
        let lines = lines.join("\n");
        format!("-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n")
    }

    /// A token with this key's `kid`.
    pub fn sign(&self, claims: &Value) -> Token {
        let header = json!({ "alg": self.algorithm.name(), "typ": "JWT", "kid": self.kid });
        self.sign_under(&header, claims)
    }

    pub fn sign_without_kid(&self, claims: &Value) -> Token {
        self.sign_under(
            &json!({ "alg": self.algorithm.name(), "typ": "JWT" }),
            claims,
        )
    }

    fn sign_under(&self, header: &Value, claims: &Value) -> Token {
        let message = [header, claims]
            .map(|part| base64url(part.to_string()))
            .join(".");
        let signature = self.signature(message.as_bytes());
        Token::new(message, signature)
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.material {
            Material::Secret(secret) => hmac::sign(&hmac_key(secret), message).as_ref().to_vec(),
            Material::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(
                    &signature::RSA_PKCS1_SHA256,
                    &random,
                    message,
                    &mut signature,
                )
                .expect("an RSA key signs");
                signature
            }
            Material::Ec(pair) => {
                let signature = pair.sign(&random, message);
                signature.expect("an EC key signs").as_ref().to_vec()
            }
            Material::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    pub fn verifier(&self) -> Verifier {
        match &self.material {
            Material::Secret(secret) => {
                let key = hmac_key(secret);
                Box::new(move |message, tag| hmac::verify(&key, message, tag).is_ok())
            }
            Material::Rsa(pair) => {
                parsed(&signature::RSA_PKCS1_2048_8192_SHA256, pair.public_key())
            }
            Material::Ec(pair) => parsed(&signature::ECDSA_P256_SHA256_FIXED, pair.public_key()),
            Material::Ed(pair) => parsed(&signature::ED25519, pair.public_key()),
        }
    }
}

fn hmac_key(secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())
}

fn parsed(
    algorithm: &'static dyn signature::VerificationAlgorithm,
    key: impl AsRef<[u8]>,
) -> Verifier {
    let key = ParsedPublicKey::new(algorithm, key).expect("the key is valid");
    Box::new(move |message, signature| key.verify_sig(message, signature).is_ok())
}

pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// As long and as random as an HMAC secret or a thumbprint.
fn random_text() -> String {
    let bytes: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..))
        .take(32)
        .collect();
    base64url(bytes)
}
