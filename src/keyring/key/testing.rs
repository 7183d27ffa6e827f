//! Keys made at run time, in every form, for tests.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::Write,
    path::Path,
    sync::{Arc, OnceLock},
};

use aws_lc_rs::{
    encoding::{AsBigEndian, AsDer, PublicKeyX509Der},
    rsa::KeySize,
    signature::{EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

use super::{Curve, JwtKey, PreparedKey, prepare};

pub(crate) const SECRET: &str = "a secret of more than thirty-two bytes, for tests";

/// A file of vectors of Project Wycheproof, which is not part of this repository.
pub(crate) fn wycheproof(file: &str) -> Option<Value> {
    let Some(folder) = std::env::var_os("WYCHEPROOF_DIR") else {
        // Around the capture of test output, so that it is seen when the test passes.
        let _ = writeln!(
            std::io::stderr(),
            "LEFT OUT: {file} of Wycheproof. WYCHEPROOF_DIR names the folder that it is in."
        );
        return None;
    };
    let path = Path::new(&folder).join(file);
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Some(serde_json::from_slice(&text).unwrap())
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let body: Vec<String> = STANDARD
        .encode(der)
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        body.join("\n")
    )
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn one(key: &JwtKey) -> Arc<PreparedKey> {
    let mut prepared = prepare(key, false).unwrap();
    assert_eq!((prepared.keys.len(), prepared.skipped.len()), (1, 0));
    prepared.keys.remove(0)
}

pub(crate) fn from_json(value: &Value) -> JwtKey {
    serde_json::from_value(value.clone()).unwrap()
}

/// One key pair in all the forms that a document may hold.
pub(crate) struct Forms {
    pub(crate) private_pem: String,
    pub(crate) public_pem: String,
    pub(crate) private_jwk: Value,
    pub(crate) public_jwk: Value,
    /// PKCS#1, for RSA.
    pub(crate) pkcs1: Option<(String, String)>,
}

impl Forms {
    fn new(pkcs8: &[u8], spki: &PublicKeyX509Der<'_>, private_jwk: Value) -> Self {
        let mut public_jwk = private_jwk.clone();
        for name in ["d", "p", "q", "dp", "dq", "qi"] {
            public_jwk.as_object_mut().unwrap().remove(name);
        }
        Self {
            private_pem: pem("PRIVATE KEY", pkcs8),
            public_pem: pem("PUBLIC KEY", spki.as_ref()),
            private_jwk,
            public_jwk,
            pkcs1: None,
        }
    }

    pub(crate) fn private(&self) -> Vec<JwtKey> {
        let mut keys = vec![
            JwtKey::from_pem(&self.private_pem),
            from_json(&json!(self.private_pem)),
            from_json(&self.private_jwk),
            from_json(&json!(self.private_jwk.to_string())),
        ];
        keys.extend(self.pkcs1.iter().map(|(pem, _)| JwtKey::from_pem(pem)));
        keys
    }

    pub(crate) fn public(&self) -> Vec<JwtKey> {
        let mut keys = vec![
            JwtKey::from_pem(&self.public_pem),
            from_json(&json!(self.public_pem)),
            from_json(&json!(format!(
                "Key Attributes: none\r\n{}",
                self.public_pem
            ))),
            from_json(&self.public_jwk),
            from_json(&json!({ "keys": [self.public_jwk] })),
            JwtKey::from_jwk(&self.public_jwk.to_string()),
        ];
        keys.extend(self.pkcs1.iter().map(|(_, pem)| JwtKey::from_pem(pem)));
        keys
    }
}

/// The same for the whole test binary: making one takes a while.
pub(crate) fn rsa() -> &'static Forms {
    static RSA: OnceLock<Forms> = OnceLock::new();
    RSA.get_or_init(|| {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let pkcs8 = pair.as_der().unwrap();
        let pkcs1 = rsa_private_der(pkcs8.as_ref());
        let names = ["n", "e", "d", "p", "q", "dp", "dq", "qi"];
        let mut jwk = json!({ "kty": "RSA" });
        for (name, number) in names.iter().zip(integers(&pkcs1).into_iter().skip(1)) {
            jwk[name] = json!(b64(number));
        }
        let mut forms = Forms::new(pkcs8.as_ref(), &pair.public_key().as_der().unwrap(), jwk);
        forms.pkcs1 = Some((
            pem("RSA PRIVATE KEY", &pkcs1),
            pem("RSA PUBLIC KEY", pair.public_key().as_ref()),
        ));
        forms
    })
}

pub(in crate::keyring) fn ec(curve: Curve) -> Forms {
    let pair = ec_pair(curve.signing());
    let (x, y) = pair.public_key().as_ref()[1..].split_at(curve.field_len());
    let jwk = json!({
        "kty": "EC", "crv": curve.name(), "x": b64(x), "y": b64(y),
        "d": b64(pair.private_key().as_be_bytes().unwrap().as_ref()),
    });
    Forms::new(
        pair.to_pkcs8v1().unwrap().as_ref(),
        &pair.public_key().as_der().unwrap(),
        jwk,
    )
}

pub(crate) fn ec_pair(algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    EcdsaKeyPair::generate(algorithm).unwrap()
}

pub(crate) fn ed() -> Forms {
    let pair = Ed25519KeyPair::generate().unwrap();
    let jwk = json!({
        "kty": "OKP", "crv": "Ed25519",
        "x": b64(pair.public_key()),
        "d": b64(pair.seed().unwrap().as_be_bytes().unwrap().as_ref()),
    });
    Forms::new(
        pair.to_pkcs8v1().unwrap().as_ref(),
        &pair.public_key().as_der().unwrap(),
        jwk,
    )
}

/// One DER element.
pub(super) fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    let head = match content.len() {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&head, content].concat()
}

pub(super) fn decode(jwk: &Value, name: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap()
}

/// The content of the last element of a PrivateKeyInfo (RFC 5208).
fn rsa_private_der(pkcs8: &[u8]) -> Vec<u8> {
    let (content, _) = element(pkcs8);
    let (_version, rest) = element(content);
    let (_algorithm, rest) = element(rest);
    element(rest).0.to_vec()
}

fn integers(sequence: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, _) = element(sequence);
    let mut numbers = Vec::new();
    while !rest.is_empty() {
        let (number, after) = element(rest);
        numbers.push(
            number
                .iter()
                .copied()
                .skip_while(|byte| *byte == 0)
                .collect(),
        );
        rest = after;
    }
    numbers
}

/// The content of the first DER element, and what follows it.
fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let long = if der[1] < 0x80 {
        0
    } else {
        usize::from(der[1] & 0x7f)
    };
    let len = match long {
        0 => usize::from(der[1]),
        _ => der[2..2 + long]
            .iter()
            .fold(0, |len, byte| len << 8 | usize::from(*byte)),
    };
    der[2 + long..].split_at(len)
}
