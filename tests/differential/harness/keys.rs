//! Keys that never change, so that a finding can be played again. They protect nothing.

use std::{ops::Deref, sync::LazyLock};

use aws_lc_rs::{
    encoding::AsDer,
    error::Unspecified,
    hmac,
    rand::SystemRandom,
    rsa::KeyPairComponents,
    signature::{
        self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding,
        RsaKeyPair, RsaPublicKeyComponents,
    },
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, DecodingKey, jwk::Jwk};
use serde_json::{Value, json};

/// Long enough for every hash, and of letters that no error text is made of.
pub(crate) const SECRET: &str = "Xq7#Zk9%Wv3&Jy5@Qx8!Zj4$Kq6^Vz2*Xq7#Zk9%Wv3&Jy5@Qx8!Zj4$Kq6^Vz2*";

const NAMES: [&str; 12] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
    "ES384", "EdDSA",
];

/// The private JWKs, without `alg`.
pub(crate) static PRIVATE: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("keys.json")).unwrap());

/// One for each algorithm, then those of [`confused`].
pub(crate) static SIGNERS: LazyLock<Vec<Signer>> = LazyLock::new(|| {
    let honest: Vec<_> = NAMES.into_iter().map(Signer::new).collect();
    let confused: Vec<_> = honest.iter().flat_map(confused).collect();
    honest.into_iter().chain(confused).collect()
});

pub(crate) struct Signer {
    pub(crate) algorithm: Algorithm,
    /// The public half, or the secret, with its `alg`.
    pub(crate) jwk: Value,
    /// The oracle's key.
    pub(crate) decoding: DecodingKey,
    pair: Pair,
}

enum Pair {
    Hmac(Box<hmac::Key>),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ecdsa(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Signer {
    fn new(name: &str) -> Self {
        let pair = Pair::new(name);
        let mut jwk = private_jwk(name);
        if !matches!(pair, Pair::Hmac(_)) {
            jwk = public_half(jwk);
        }
        jwk["alg"] = json!(name);
        let parsed: Jwk = serde_json::from_value(jwk.clone()).unwrap();
        Self {
            algorithm: name.parse().unwrap(),
            jwk,
            decoding: DecodingKey::from_jwk(&parsed).unwrap(),
            pair,
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.jwk["alg"].as_str().unwrap()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Hmac(key) => hmac::sign(key, message).as_ref().to_vec(),
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature)
                    .unwrap();
                signature
            }
            Pair::Ecdsa(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token of this header and these claims, signed whatever they say.
    pub(crate) fn token(&self, header: &[u8], claims: &[u8]) -> String {
        let input = format!("{}.{}", b64(header), b64(claims));
        format!("{input}.{}", b64(self.sign(input.as_bytes())))
    }
}

impl Pair {
    fn new(name: &str) -> Self {
        match name {
            "HS256" => hmac_pair(hmac::HMAC_SHA256),
            "HS384" => hmac_pair(hmac::HMAC_SHA384),
            "HS512" => hmac_pair(hmac::HMAC_SHA512),
            "RS256" => Self::Rsa(rsa_pair(), &signature::RSA_PKCS1_SHA256),
            "RS384" => Self::Rsa(rsa_pair(), &signature::RSA_PKCS1_SHA384),
            "RS512" => Self::Rsa(rsa_pair(), &signature::RSA_PKCS1_SHA512),
            "PS256" => Self::Rsa(rsa_pair(), &signature::RSA_PSS_SHA256),
            "PS384" => Self::Rsa(rsa_pair(), &signature::RSA_PSS_SHA384),
            "PS512" => Self::Rsa(rsa_pair(), &signature::RSA_PSS_SHA512),
            "ES256" => Self::Ecdsa(ec_pair("p256", P256)),
            "ES384" => Self::Ecdsa(ec_pair("p384", P384)),
            _ => Self::EdDsa(ed_pair()),
        }
    }
}

/// What an attacker makes of a public key: an HMAC secret.
fn confused(signer: &Signer) -> Vec<Signer> {
    let der = match &signer.pair {
        Pair::Hmac(_) => return Vec::new(),
        Pair::Rsa(pair, _) => bytes(pair.public_key().as_der()),
        Pair::Ecdsa(pair) => bytes(pair.public_key().as_der()),
        Pair::EdDsa(pair) => bytes(pair.public_key().as_der()),
    };
    let jwk_text = signer.jwk.to_string().into_bytes();
    [der, jwk_text]
        .into_iter()
        .map(|secret| Signer {
            algorithm: Algorithm::HS256,
            jwk: json!({ "kty": "oct", "alg": "HS256", "k": b64(&secret) }),
            decoding: DecodingKey::from_secret(&secret),
            pair: Pair::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &secret))),
        })
        .collect()
}

const P256: &EcdsaSigningAlgorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
const P384: &EcdsaSigningAlgorithm = &signature::ECDSA_P384_SHA384_FIXED_SIGNING;

fn hmac_pair(algorithm: hmac::Algorithm) -> Pair {
    Pair::Hmac(Box::new(hmac::Key::new(algorithm, SECRET.as_bytes())))
}

fn rsa_pair() -> RsaKeyPair {
    let jwk = &PRIVATE["rsa"];
    RsaKeyPair::from_components(&KeyPairComponents {
        public_key: RsaPublicKeyComponents {
            n: member(jwk, "n"),
            e: member(jwk, "e"),
        },
        d: member(jwk, "d"),
        p: member(jwk, "p"),
        q: member(jwk, "q"),
        dP: member(jwk, "dp"),
        dQ: member(jwk, "dq"),
        qInv: member(jwk, "qi"),
    })
    .unwrap()
}

fn ec_pair(name: &str, algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    let jwk = &PRIVATE[name];
    let point = [vec![4], member(jwk, "x"), member(jwk, "y")].concat();
    EcdsaKeyPair::from_private_key_and_public_key(algorithm, &member(jwk, "d"), &point).unwrap()
}

fn ed_pair() -> Ed25519KeyPair {
    let jwk = &PRIVATE["ed25519"];
    Ed25519KeyPair::from_seed_and_public_key(&member(jwk, "d"), &member(jwk, "x")).unwrap()
}

fn member(jwk: &Value, name: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap()
}

fn private_jwk(name: &str) -> Value {
    match name {
        "HS256" | "HS384" | "HS512" => json!({ "kty": "oct", "k": b64(SECRET) }),
        "ES256" => PRIVATE["p256"].clone(),
        "ES384" => PRIVATE["p384"].clone(),
        "EdDSA" => PRIVATE["ed25519"].clone(),
        _ => PRIVATE["rsa"].clone(),
    }
}

fn public_half(mut jwk: Value) -> Value {
    let members = jwk.as_object_mut().unwrap();
    members.retain(|name, _| ["kty", "crv", "n", "e", "x", "y"].contains(&name.as_str()));
    jwk
}

/// One half of a key pair as PEM (RFC 7468), by the names of `keys.json`.
pub(crate) fn pem(name: &str, private: bool) -> String {
    let (pkcs8, spki) = match name {
        "rsa" => {
            let pair = rsa_pair();
            (bytes(pair.as_der()), bytes(pair.public_key().as_der()))
        }
        "p256" => ec_halves(&ec_pair("p256", P256)),
        "p384" => ec_halves(&ec_pair("p384", P384)),
        _ => {
            let pair = ed_pair();
            (
                pair.to_pkcs8v1().unwrap().as_ref().to_vec(),
                bytes(pair.public_key().as_der()),
            )
        }
    };
    if private {
        armour("PRIVATE KEY", &pkcs8)
    } else {
        armour("PUBLIC KEY", &spki)
    }
}

fn ec_halves(pair: &EcdsaKeyPair) -> (Vec<u8>, Vec<u8>) {
    (
        pair.to_pkcs8v1().unwrap().as_ref().to_vec(),
        bytes(pair.public_key().as_der()),
    )
}

fn bytes<T>(der: Result<T, Unspecified>) -> Vec<u8>
where
    T: Deref<Target: AsRef<[u8]>>,
{
    (*der.unwrap()).as_ref().to_vec()
}

fn armour(label: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        STANDARD.encode(der)
    )
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
