//! One JWK (RFC 7517, RFC 7518 section 6, RFC 8037).

use std::collections::HashSet;

use aws_lc_rs::{
    rsa::KeyPairComponents,
    signature::{EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair, RsaPublicKeyComponents},
};
use base64_simd::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{
    KeyError, KeyErrorKind, MAX_KID_BYTES, PreparedKey,
    algorithm::{Algorithm, Curve, Hash, RsaPadding},
    material::Material,
    rsa, secret,
};

/// Operations of RFC 7517, section 4.3, that are not for signatures.
const OTHER_OPERATIONS: [&str; 6] = [
    "encrypt",
    "decrypt",
    "wrapKey",
    "unwrapKey",
    "deriveKey",
    "deriveBits",
];

pub(super) struct Jwk<'a>(&'a Map<String, Value>);

impl<'a> Jwk<'a> {
    pub(super) fn new(value: &'a Value) -> Result<Self, KeyError> {
        match value {
            Value::Object(members) => Ok(Self(members)),
            _ => Err(not_an_object()),
        }
    }

    pub(super) fn prepare(&self, allow_weak: bool) -> Result<PreparedKey, KeyError> {
        let ops = self.operations()?;
        let material = match self.required("kty")? {
            "oct" => self.oct(allow_weak),
            "RSA" => self.rsa(),
            "EC" => self.ec(),
            "OKP" => self.okp(),
            _ => Err(unsupported("the JWK's `kty` is not oct, RSA, EC or OKP")),
        }?;
        // A private key with `sign` alone has a public half that verifies, and a secret has none.
        let has_public_half = !matches!(material.algorithm, Algorithm::Hmac(_));
        let may_verify = ops.verify || (ops.sign && has_public_half && material.signing.is_some());
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
        let key = PreparedKey::new(material, self.kid()?)?;
        Ok(match self.text("issuer")? {
            Some(issuer) => key.bound_to(issuer),
            None => key,
        })
    }

    fn oct(&self, allow_weak: bool) -> Result<Material, KeyError> {
        let hash = match self.algorithm()? {
            None => Hash::Sha256,
            Some(Algorithm::Hmac(hash)) => hash,
            Some(_) => return Err(alg_does_not_fit()),
        };
        secret::prepare(&self.bytes("k")?, hash, allow_weak)
    }

    fn rsa(&self) -> Result<Material, KeyError> {
        let (padding, hash) = match self.algorithm()? {
            None => (RsaPadding::Pkcs1, Hash::Sha256),
            Some(Algorithm::Rsa(padding, hash)) => (padding, hash),
            Some(_) => return Err(alg_does_not_fit()),
        };
        let n = self.unsigned("n")?;
        let e = self.unsigned("e")?;
        rsa::check_public(&n, &e)?;
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
            rsa::rejected(&rejected, misfit)
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
        let usage = self.text("use")?;
        if usage.is_some_and(|usage| usage != "sig") {
            return Err(wrong_use("the JWK's `use` is not sig"));
        }
        let Some(ops) = self.key_ops()? else {
            return Ok(Operations {
                sign: true,
                verify: true,
            });
        };
        if usage.is_some() && OTHER_OPERATIONS.iter().any(|other| ops.contains(other)) {
            return Err(wrong_use(
                "the JWK's `use` and `key_ops` contradict each other",
            ));
        }
        Ok(Operations {
            sign: ops.contains("sign"),
            verify: ops.contains("verify"),
        })
    }

    fn key_ops(&self) -> Result<Option<HashSet<&'a str>>, KeyError> {
        let Some(ops) = self.0.get("key_ops") else {
            return Ok(None);
        };
        let ops = ops
            .as_array()
            .ok_or(malformed("the JWK's `key_ops` is no array"))?;
        let names: HashSet<&str> = ops.iter().filter_map(Value::as_str).collect();
        if names.len() < ops.len() {
            return Err(malformed(
                "the JWK's `key_ops` holds something twice, or no string",
            ));
        }
        Ok(Some(names))
    }

    fn kid(&self) -> Result<Option<&'a str>, KeyError> {
        match self.text("kid")? {
            Some(kid) if kid.len() > MAX_KID_BYTES => {
                Err(member("is longer than 256 bytes", "kid"))
            }
            kid => Ok(kid.filter(|kid| !kid.is_empty())),
        }
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
        let mut bytes = Zeroizing::new(self.required(name)?.as_bytes().to_vec());
        let len = URL_SAFE_NO_PAD
            .decode_inplace(&mut bytes)
            .map_err(|_| member("is not unpadded base64url", name))?
            .len();
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
        if bytes.len() > rsa::MAX_BYTES {
            return Err(rsa::too_large());
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

pub(super) fn not_an_object() -> KeyError {
    malformed("a JWK or JWKS is an object that names each member once")
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
