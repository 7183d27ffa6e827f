//! The signature algorithms, shaped so that a key can only be given one that fits its type.

use aws_lc_rs::{
    digest, hmac,
    signature::{
        self, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, RsaParameters,
        RsaSignatureEncoding,
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::keyring) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::keyring) enum Curve {
    P256,
    P384,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::keyring) enum RsaPadding {
    Pkcs1,
    Pss,
}

/// One of the names of RFC 7518, section 3.1, or RFC 8037's `EdDSA` with Ed25519.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::keyring) enum Algorithm {
    Hmac(Hash),
    Rsa(RsaPadding, Hash),
    Ecdsa(Curve),
    EdDsa,
}

const ALL: [Algorithm; 12] = {
    use {Algorithm::*, Curve::*, Hash::*, RsaPadding::*};
    [
        Hmac(Sha256),
        Hmac(Sha384),
        Hmac(Sha512),
        Rsa(Pkcs1, Sha256),
        Rsa(Pkcs1, Sha384),
        Rsa(Pkcs1, Sha512),
        Rsa(Pss, Sha256),
        Rsa(Pss, Sha384),
        Rsa(Pss, Sha512),
        Ecdsa(P256),
        Ecdsa(P384),
        EdDsa,
    ]
};

impl Algorithm {
    pub(in crate::keyring) fn from_name(name: &str) -> Option<Self> {
        ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    pub(in crate::keyring) const fn name(self) -> &'static str {
        match self {
            Self::Hmac(Hash::Sha256) => "HS256",
            Self::Hmac(Hash::Sha384) => "HS384",
            Self::Hmac(Hash::Sha512) => "HS512",
            Self::Rsa(RsaPadding::Pkcs1, Hash::Sha256) => "RS256",
            Self::Rsa(RsaPadding::Pkcs1, Hash::Sha384) => "RS384",
            Self::Rsa(RsaPadding::Pkcs1, Hash::Sha512) => "RS512",
            Self::Rsa(RsaPadding::Pss, Hash::Sha256) => "PS256",
            Self::Rsa(RsaPadding::Pss, Hash::Sha384) => "PS384",
            Self::Rsa(RsaPadding::Pss, Hash::Sha512) => "PS512",
            Self::Ecdsa(Curve::P256) => "ES256",
            Self::Ecdsa(Curve::P384) => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl Hash {
    /// The length of its output in bytes.
    pub(super) const fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    pub(super) fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

impl Curve {
    /// The length of one coordinate in bytes.
    pub(super) const fn field_len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    /// Its name in a JWK (RFC 7518, section 6.2.1.1).
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
        }
    }

    /// Of signatures in ASN.1: see [`DerSignature`](super::ecdsa::DerSignature).
    pub(super) fn verification(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &signature::ECDSA_P256_SHA256_ASN1,
            Self::P384 => &signature::ECDSA_P384_SHA384_ASN1,
        }
    }

    pub(super) fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        }
    }
}

impl RsaPadding {
    pub(super) fn verification(self, hash: Hash) -> &'static RsaParameters {
        match (self, hash) {
            (Self::Pkcs1, Hash::Sha256) => &signature::RSA_PKCS1_2048_8192_SHA256,
            (Self::Pkcs1, Hash::Sha384) => &signature::RSA_PKCS1_2048_8192_SHA384,
            (Self::Pkcs1, Hash::Sha512) => &signature::RSA_PKCS1_2048_8192_SHA512,
            (Self::Pss, Hash::Sha256) => &signature::RSA_PSS_2048_8192_SHA256,
            (Self::Pss, Hash::Sha384) => &signature::RSA_PSS_2048_8192_SHA384,
            (Self::Pss, Hash::Sha512) => &signature::RSA_PSS_2048_8192_SHA512,
        }
    }

    pub(super) fn signing(self, hash: Hash) -> &'static RsaSignatureEncoding {
        match (self, hash) {
            (Self::Pkcs1, Hash::Sha256) => &signature::RSA_PKCS1_SHA256,
            (Self::Pkcs1, Hash::Sha384) => &signature::RSA_PKCS1_SHA384,
            (Self::Pkcs1, Hash::Sha512) => &signature::RSA_PKCS1_SHA512,
            (Self::Pss, Hash::Sha256) => &signature::RSA_PSS_SHA256,
            (Self::Pss, Hash::Sha384) => &signature::RSA_PSS_SHA384,
            (Self::Pss, Hash::Sha512) => &signature::RSA_PSS_SHA512,
        }
    }
}

pub(super) fn sha256(data: &[u8]) -> [u8; 32] {
    first_32(digest::digest(&digest::SHA256, data).as_ref())
}

/// The first 32 bytes of a digest or a tag, which is never shorter.
pub(super) fn first_32(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}
