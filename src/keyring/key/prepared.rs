//! A key that has proved itself: ready to verify and, where it may, to sign.

use std::fmt;

use base64_simd::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    KeyError, KeyErrorKind, KeyId, SignError, SignErrorKind,
    algorithm::{Algorithm, sha256},
    material::Material,
    usual_headers::UsualHeaders,
};
use crate::keyring::verify::IssuerName;

/// What a key signs at load, to prove that its two halves belong together.
const PROOF: &[u8] = b"tower-secrets proof of a signing key";

/// One usable key. Made once for each version of a bundle; verifying with it parses nothing anew.
pub(crate) struct PreparedKey {
    id: KeyId,
    declared: bool,
    identity: [u8; 32],
    /// Whose tokens it is for, where its JWK says so.
    issuer: Option<IssuerName>,
    material: Material,
    usual_headers: UsualHeaders,
}

impl PreparedKey {
    pub(super) fn new(material: Material, kid: Option<&str>) -> Result<Self, KeyError> {
        prove(&material)?;
        let id = kid.map_or_else(|| material.computed_id.clone(), KeyId::new);
        Ok(Self {
            usual_headers: UsualHeaders::new(material.algorithm.name(), id.as_str()),
            id,
            declared: kid.is_some(),
            identity: material.identity,
            issuer: None,
            material,
        })
    }

    /// The same key for this issuer's tokens alone: the member `issuer` of the JWKs in key sets that
    /// issuers share, as those of Microsoft Entra are.
    pub(super) fn bound_to(self, issuer: &str) -> Self {
        Self {
            identity: sha256(&[&self.material.identity, issuer.as_bytes()].concat()),
            issuer: Some(IssuerName::of_key(issuer)),
            ..self
        }
    }

    /// Whose tokens it is for; `None`: anybody's that the policy allows.
    pub(in crate::keyring) fn issuer(&self) -> Option<&IssuerName> {
        self.issuer.as_ref()
    }

    /// Whether the two differ in their issuers alone, so that a signature of one is of both.
    pub(in crate::keyring) fn is_twin_of(&self, other: &Self) -> bool {
        self.material.identity == other.material.identity && self.id == other.id
    }

    /// An Ed25519 key that nobody else knows.
    pub(in crate::keyring) fn ephemeral() -> Result<Self, KeyError> {
        Material::ephemeral().and_then(|material| Self::new(material, None))
    }

    /// The name that tokens of this key carry. Not unique: see [`identity`](Self::identity).
    pub(crate) fn id(&self) -> &KeyId {
        &self.id
    }

    /// Whether its JWK has a `kid`.
    pub(crate) fn declares_kid(&self) -> bool {
        self.declared
    }

    /// Whether a token's `kid` names this key: by its declared id or by the computed one.
    pub(crate) fn answers_to(&self, kid: &str) -> bool {
        self.id.as_str() == kid || self.material.computed_id.as_str() == kid
    }

    /// Whether a token's header, as it stands in the token, says no more than this key's algorithm
    /// and id, and that it is a JWT. `false` may mean that it has another form.
    pub(in crate::keyring) fn is_usual_header(&self, encoded: &[u8]) -> bool {
        self.usual_headers.contains(encoded)
    }

    /// Equal for two keys exactly when their material, algorithm and issuer are equal, whatever they
    /// are called: a `kid` is chosen by people and may be used again for another key. A private key
    /// and its public half are the same key here. Not secret, and still not for logs: show
    /// [`id`](Self::id).
    pub(crate) fn identity(&self) -> &[u8; 32] {
        &self.identity
    }

    /// What others need to verify its tokens: a JWK (RFC 7517, section 4). `None` for a secret.
    pub(in crate::keyring) fn public_jwk(&self) -> Option<Map<String, Value>> {
        let mut jwk: Map<String, Value> =
            serde_json::from_str(self.material.public_jwk.as_deref()?).ok()?;
        jwk.insert("kid".to_owned(), self.id.as_str().into());
        jwk.insert("alg".to_owned(), self.algorithm().into());
        jwk.insert("use".to_owned(), "sig".into());
        Some(jwk)
    }

    /// The algorithm's name, as in `alg`.
    pub(crate) fn algorithm(&self) -> &'static str {
        self.material.algorithm.name()
    }

    pub(crate) fn can_sign(&self) -> bool {
        self.material.signing.is_some()
    }

    /// Signs a JWS signing input (RFC 7515, section 5.1). CPU-bound: about a millisecond for RSA.
    pub(crate) fn sign(&self, signing_input: &[u8]) -> Result<Vec<u8>, SignError> {
        let signing = self
            .material
            .signing
            .as_ref()
            .ok_or_else(|| SignError::new(SignErrorKind::CannotSign))?;
        signing
            .sign(signing_input)
            .map_err(|_| SignError::new(SignErrorKind::Crypto))
    }

    /// Makes a token whose header names the algorithm and this key.
    pub(crate) fn mint<C: Serialize>(&self, claims: &C) -> Result<String, SignError> {
        let header = MintedHeader {
            alg: self.algorithm(),
            typ: "JWT",
            kid: self.id.as_str(),
        };
        let header = serde_json::to_vec(&header).map_err(SignError::claims)?;
        let claims = serde_json::to_vec(claims).map_err(SignError::claims)?;
        if claims.first() != Some(&b'{') {
            return Err(SignError::new(SignErrorKind::Claims));
        }
        let mut token = URL_SAFE_NO_PAD.encode_to_string(header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_append(claims, &mut token);
        let signature = self.sign(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_append(signature, &mut token);
        Ok(token)
    }

    pub(in crate::keyring) fn alg(&self) -> Algorithm {
        self.material.algorithm
    }

    /// Whether others hold the half that verifies; false for HMAC.
    pub(in crate::keyring) fn is_asymmetric(&self) -> bool {
        !matches!(self.material.algorithm, Algorithm::Hmac(_))
    }

    /// Whether it is this key's signature of a JWS signing input; an HMAC is compared in constant
    /// time.
    pub(in crate::keyring) fn verifies(&self, signing_input: &[u8], signature: &[u8]) -> bool {
        self.material.verifying.verifies(signing_input, signature)
    }
}

impl fmt::Debug for PreparedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            declared,
            identity: _,
            issuer,
            usual_headers: _,
            material:
                Material {
                    algorithm,
                    computed_id,
                    identity: _,
                    public_jwk: _,
                    verifying: _,
                    signing,
                },
        } = self;
        f.debug_struct("PreparedKey")
            .field("id", id)
            .field("declared", declared)
            .field("issuer", issuer)
            .field("computed_id", computed_id)
            .field("algorithm", &algorithm.name())
            .field("can_sign", &signing.is_some())
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct MintedHeader<'a> {
    alg: &'static str,
    typ: &'static str,
    kid: &'a str,
}

fn prove(material: &Material) -> Result<(), KeyError> {
    let Some(signing) = &material.signing else {
        return Ok(());
    };
    let proved = signing
        .sign(PROOF)
        .is_ok_and(|signature| material.verifying.verifies(PROOF, &signature));
    if proved {
        return Ok(());
    }
    Err(KeyError::new(
        KeyErrorKind::Inconsistent,
        "the key does not verify what it signs",
    ))
}
