//! JWK and JWKS (RFC 7517, RFC 7518 section 6, RFC 8037).

use std::sync::Arc;

use aws_lc_rs::{
    rsa::KeyPairComponents,
    signature::{EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair, RsaPublicKeyComponents},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{
    KeyError, KeyErrorKind, PreparedKey, PreparedKeys,
    algorithm::{Algorithm, Curve, Hash, RsaPadding},
    json::SecretJson,
    material::{Material, rsa_rejected},
};

/// More keys than anybody's set holds; each one costs time at load.
const MAX_KEYS: usize = 100;

pub(super) fn is_key_or_set(document: &SecretJson) -> bool {
    let value = document.value();
    value.get("kty").is_some() || value.get("keys").is_some()
}

pub(super) fn prepare(document: &SecretJson, allow_weak: bool) -> Result<PreparedKeys, KeyError> {
    let value = document.value();
    if value.get("kty").is_some() {
        return Jwk::new(value)?.prepare(allow_weak).map(Into::into);
    }
    match value.get("keys") {
        Some(Value::Array(keys)) => prepare_set(keys, allow_weak),
        Some(_) => Err(malformed("the member `keys` of the JWKS is no array")),
        None => Err(malformed("the key is an object without `kty` or `keys`")),
    }
}

fn prepare_set(members: &[Value], allow_weak: bool) -> Result<PreparedKeys, KeyError> {
    if members.is_empty() {
        return Err(KeyError::new(KeyErrorKind::Empty, "the JWKS is empty"));
    }
    let mut set = PreparedKeys {
        keys: Vec::new(),
        skipped: Vec::new(),
    };
    for (index, member) in members.iter().enumerate().take(MAX_KEYS) {
        match Jwk::new(member).and_then(|jwk| jwk.prepare(allow_weak)) {
            Ok(key) if is_repeated(&set, &key) => {}
            Ok(key) => set.keys.push(Arc::new(key)),
            Err(error) => {
                let kid = member.get("kid").and_then(Value::as_str);
                set.skipped.push(error.in_set(index, kid));
            }
        }
    }
    if members.len() > MAX_KEYS {
        let error =
            unsupported("a set is read up to 100 keys; this key and those after it are not");
        set.skipped.push(error.in_set(MAX_KEYS, None));
    }
    if set.keys.is_empty() {
        return Err(none_usable(&set.skipped));
    }
    Ok(set)
}

fn is_repeated(set: &PreparedKeys, key: &PreparedKey) -> bool {
    set.keys.iter().any(|other| {
        other.identity() == key.identity()
            && other.id() == key.id()
            && other.can_sign() == key.can_sign()
    })
}

fn none_usable(skipped: &[KeyError]) -> KeyError {
    let first = skipped.first().map(ToString::to_string);
    KeyError::new(
        KeyErrorKind::Empty,
        format!(
            "no key of the JWKS can be used; {}",
            first.unwrap_or_default()
        ),
    )
}

struct Jwk<'a>(&'a Map<String, Value>);

impl<'a> Jwk<'a> {
    fn new(value: &'a Value) -> Result<Self, KeyError> {
        match value {
            Value::Object(members) => Ok(Self(members)),
            _ => Err(malformed("a JWK is an object")),
        }
    }

    fn prepare(&self, allow_weak: bool) -> Result<PreparedKey, KeyError> {
        let ops = self.operations()?;
        let material = match self.required("kty")? {
            "oct" => self.oct(allow_weak),
            "RSA" => self.rsa(),
            "EC" => self.ec(),
            "OKP" => self.okp(),
            _ => Err(unsupported("the JWK's `kty` is not oct, RSA, EC or OKP")),
        }?;
        let may_verify = ops.verify || (ops.sign && material.signing.is_some());
        if !may_verify {
            return Err(wrong_use(
                "the JWK's `key_ops` do not include verify, nor sign for a private key",
            ));
        }
        let material = if ops.sign {
            material
        } else {
            material.verify_only()
        };
        let kid = self.text("kid")?.filter(|kid| !kid.is_empty());
        PreparedKey::new(material, kid)
    }

    fn oct(&self, allow_weak: bool) -> Result<Material, KeyError> {
        let hash = match self.algorithm()? {
            None => Hash::Sha256,
            Some(Algorithm::Hmac(hash)) => hash,
            Some(_) => return Err(alg_does_not_fit()),
        };
        Material::hmac(&self.bytes("k")?, hash, allow_weak)
    }

    fn rsa(&self) -> Result<Material, KeyError> {
        let (padding, hash) = match self.algorithm()? {
            None => (RsaPadding::Pkcs1, Hash::Sha256),
            Some(Algorithm::Rsa(padding, hash)) => (padding, hash),
            Some(_) => return Err(alg_does_not_fit()),
        };
        let n = self.unsigned("n")?;
        let e = self.unsigned("e")?;
        if !self.has("d") {
            return Material::rsa_public(&n, &e, padding, hash);
        }
        if self.has("oth") {
            return Err(unsupported("the RSA key has more than two primes"));
        }
        let components = KeyPairComponents {
            public_key: RsaPublicKeyComponents { n: &*n, e: &*e },
            d: &*self.unsigned("d")?,
            p: &*self.unsigned("p")?,
            q: &*self.unsigned("q")?,
            dP: &*self.unsigned("dp")?,
            dQ: &*self.unsigned("dq")?,
            qInv: &*self.unsigned("qi")?,
        };
        let pair = RsaKeyPair::from_components(&components).map_err(|rejected| {
            let misfit = inconsistent("the members of the RSA private key do not fit each other");
            rsa_rejected(&rejected, misfit)
        })?;
        Material::rsa_pair(pair, padding, hash)
    }

    fn ec(&self) -> Result<Material, KeyError> {
        let curve = match self.required("crv")? {
            "P-256" => Curve::P256,
            "P-384" => Curve::P384,
            _ => return Err(unsupported("the JWK's `crv` is not P-256 or P-384")),
        };
        match self.algorithm()? {
            None => {}
            Some(algorithm) if algorithm == Algorithm::Ecdsa(curve) => {}
            Some(_) => return Err(alg_does_not_fit()),
        }
        let mut point = vec![4];
        point.extend_from_slice(&self.sized("x", curve.field_len())?);
        point.extend_from_slice(&self.sized("y", curve.field_len())?);
        if !self.has("d") {
            return Material::ec_public(&point, curve);
        }
        let d = self.sized("d", curve.field_len())?;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(curve.signing(), &d, &point)
            .map_err(|_| inconsistent("the EC private key does not fit its public key"))?;
        Material::ec_pair(pair, curve)
    }

    fn okp(&self) -> Result<Material, KeyError> {
        if self.required("crv")? != "Ed25519" {
            return Err(unsupported("the JWK's `crv` is not Ed25519"));
        }
        match self.algorithm()? {
            None | Some(Algorithm::EdDsa) => {}
            Some(_) => return Err(alg_does_not_fit()),
        }
        let x = self.sized("x", 32)?;
        if !self.has("d") {
            return Material::ed_public(&x);
        }
        let d = self.sized("d", 32)?;
        let pair = Ed25519KeyPair::from_seed_and_public_key(&d, &x)
            .map_err(|_| inconsistent("the Ed25519 private key does not fit its public key"))?;
        Material::ed_pair(pair)
    }

    fn algorithm(&self) -> Result<Option<Algorithm>, KeyError> {
        let Some(name) = self.text("alg")? else {
            return Ok(None);
        };
        Algorithm::from_name(name)
            .map(Some)
            .ok_or(unsupported("the JWK's `alg` is not supported"))
    }

    /// `use` and `key_ops` (RFC 7517, sections 4.2 and 4.3).
    fn operations(&self) -> Result<Operations, KeyError> {
        if self.text("use")?.is_some_and(|usage| usage != "sig") {
            return Err(wrong_use("the JWK's `use` is not sig"));
        }
        let Some(ops) = self.0.get("key_ops") else {
            return Ok(Operations {
                sign: true,
                verify: true,
            });
        };
        let ops = ops
            .as_array()
            .ok_or(malformed("the JWK's `key_ops` is no array"))?;
        let has = |name: &str| ops.iter().any(|op| op.as_str() == Some(name));
        Ok(Operations {
            sign: has("sign"),
            verify: has("verify"),
        })
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, KeyError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(member("is no string", name)),
        }
    }

    fn required(&self, name: &str) -> Result<&'a str, KeyError> {
        self.text(name)?.ok_or_else(|| member("is missing", name))
    }

    fn bytes(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let text = self.required(name)?;
        // Sized beforehand: a buffer that grows leaves copies behind.
        let mut bytes = Zeroizing::new(vec![0; text.len() / 4 * 3 + 3]);
        let len = URL_SAFE_NO_PAD
            .decode_slice(text, &mut bytes)
            .map_err(|_| member("is not unpadded base64url", name))?;
        bytes.truncate(len);
        Ok(bytes)
    }

    /// A big-endian number. Some writers put a zero byte before it; the thumbprint must not see it.
    fn unsigned(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let mut bytes = self.bytes(name)?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        bytes.drain(..zeros);
        if bytes.is_empty() {
            return Err(member("is zero", name));
        }
        Ok(bytes)
    }

    fn sized(&self, name: &str, len: usize) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let bytes = self.bytes(name)?;
        if bytes.len() != len {
            return Err(member("has the wrong length", name));
        }
        Ok(bytes)
    }
}

struct Operations {
    sign: bool,
    verify: bool,
}

/// `name` is a name of the RFCs, never one from the document.
fn member(what: &str, name: &str) -> KeyError {
    KeyError::new(
        KeyErrorKind::Malformed,
        format!("the JWK's `{name}` {what}"),
    )
}

fn alg_does_not_fit() -> KeyError {
    inconsistent("the JWK's `alg` does not fit its `kty` or `crv`")
}

fn malformed(reason: &'static str) -> KeyError {
    KeyError::new(KeyErrorKind::Malformed, reason)
}

fn unsupported(reason: &'static str) -> KeyError {
    KeyError::new(KeyErrorKind::Unsupported, reason)
}

fn inconsistent(reason: &'static str) -> KeyError {
    KeyError::new(KeyErrorKind::Inconsistent, reason)
}

fn wrong_use(reason: &'static str) -> KeyError {
    KeyError::new(KeyErrorKind::WrongUse, reason)
}
