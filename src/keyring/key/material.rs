//! A key's material in the form that the crypto library works with, and the names that follow from
//! it.

use aws_lc_rs::{
    encoding::AsDer,
    hmac,
    rand::SystemRandom,
    signature::{
        self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, ParsedPublicKey, RsaKeyPair,
        RsaPublicKeyComponents,
    },
};
use base64_simd::URL_SAFE_NO_PAD;

use super::{
    KeyError, KeyErrorKind, KeyId,
    algorithm::{Algorithm, Curve, Hash, RsaPadding, first_32, sha256},
    ecdsa::DerSignature,
    ed25519, rsa,
};

// No signing input of a JWT holds a space, so neither can be made to be a token's signature.
const ID_LABEL: &[u8] = b"tower-secrets key id v1";
const IDENTITY_LABEL: &[u8] = b"tower-secrets key identity v1";
const ID_BYTES: usize = 16;

pub(super) struct Material {
    pub(super) algorithm: Algorithm,
    /// The key id where the JWK declares none.
    pub(super) computed_id: KeyId,
    pub(super) identity: [u8; 32],
    /// The members of a JWK that are the public key (RFC 7638, section 3.2), in canonical form. `None`
    /// for a secret.
    pub(super) public_jwk: Option<Box<str>>,
    pub(super) verifying: Verifying,
    pub(super) signing: Option<Signing>,
}

pub(super) enum Verifying {
    // A kilobyte.
    Hmac(Box<hmac::Key>),
    Ecdsa(ParsedPublicKey, Curve),
    /// RSA and EdDSA.
    Public(ParsedPublicKey),
}

pub(super) enum Signing {
    Hmac(Box<hmac::Key>),
    Rsa(RsaKeyPair, &'static signature::RsaSignatureEncoding),
    Ecdsa(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Material {
    pub(super) fn hmac(secret: &[u8], hash: Hash) -> Self {
        let key = Box::new(hmac::Key::new(hash.hmac(), secret));
        // Truncated, so that the id is no tag of use to anybody; with the key's own hash, because
        // long secrets that collide under another are different keys.
        let id = first_32(hmac::sign(&key, ID_LABEL).as_ref());
        Self {
            algorithm: Algorithm::Hmac(hash),
            computed_id: KeyId::new(URL_SAFE_NO_PAD.encode_to_string(&id[..ID_BYTES])),
            identity: secret_identity(&key, Algorithm::Hmac(hash)),
            public_jwk: None,
            verifying: Verifying::Hmac(key.clone()),
            signing: Some(Signing::Hmac(key)),
        }
    }

    /// `n` and `e` are big-endian, without leading zeros.
    pub(super) fn rsa_public(
        n: &[u8],
        e: &[u8],
        padding: RsaPadding,
        hash: Hash,
    ) -> Result<Self, KeyError> {
        rsa::check_public(n, e)?;
        // By way of DER, because its parser checks the numbers.
        let parsed = RsaPublicKeyComponents { n, e }
            .as_der()
            .ok()
            .and_then(|der| ParsedPublicKey::new(padding.verification(hash), der.as_ref()).ok())
            .ok_or_else(|| malformed("the RSA public key is not valid"))?;
        let thumbprint_input = format!(
            r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#,
            URL_SAFE_NO_PAD.encode_to_string(e),
            URL_SAFE_NO_PAD.encode_to_string(n)
        );
        Ok(Self::public(
            Algorithm::Rsa(padding, hash),
            thumbprint_input,
            Verifying::Public(parsed),
        ))
    }

    pub(super) fn rsa_pair(
        pair: RsaKeyPair,
        padding: RsaPadding,
        hash: Hash,
    ) -> Result<Self, KeyError> {
        let public = pair.public_key();
        let public = Self::rsa_public(
            public.modulus().big_endian_without_leading_zero(),
            public.exponent().big_endian_without_leading_zero(),
            padding,
            hash,
        )?;
        Ok(public.signed_by(Signing::Rsa(pair, padding.signing(hash))))
    }

    /// `point` is uncompressed (SEC 1, section 2.3.3).
    pub(super) fn ec_public(point: &[u8], curve: Curve) -> Result<Self, KeyError> {
        let not_on_curve = || malformed("the EC public key is not a point of its curve");
        let (x, y) = point
            .strip_prefix(&[4])
            .filter(|xy| xy.len() == 2 * curve.field_len())
            .and_then(|xy| xy.split_at_checked(curve.field_len()))
            .ok_or_else(not_on_curve)?;
        let parsed =
            ParsedPublicKey::new(curve.verification(), point).map_err(|_| not_on_curve())?;
        let thumbprint_input = format!(
            r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#,
            curve.name(),
            URL_SAFE_NO_PAD.encode_to_string(x),
            URL_SAFE_NO_PAD.encode_to_string(y)
        );
        Ok(Self::public(
            Algorithm::Ecdsa(curve),
            thumbprint_input,
            Verifying::Ecdsa(parsed, curve),
        ))
    }

    pub(super) fn ec_pair(pair: EcdsaKeyPair, curve: Curve) -> Result<Self, KeyError> {
        let public = Self::ec_public(pair.public_key().as_ref(), curve)?;
        Ok(public.signed_by(Signing::Ecdsa(pair)))
    }

    pub(super) fn ed_public(x: &[u8]) -> Result<Self, KeyError> {
        let not_valid = || malformed("the Ed25519 public key is not 32 bytes");
        let x: &[u8; 32] = x.try_into().map_err(|_| not_valid())?;
        ed25519::check_point(x)?;
        let parsed = ParsedPublicKey::new(&signature::ED25519, x).map_err(|_| not_valid())?;
        let thumbprint_input = format!(
            r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#,
            URL_SAFE_NO_PAD.encode_to_string(x)
        );
        let verifying = Verifying::Public(parsed);
        Ok(Self::public(Algorithm::EdDsa, thumbprint_input, verifying))
    }

    pub(super) fn ed_pair(pair: Ed25519KeyPair) -> Result<Self, KeyError> {
        let public = Self::ed_public(pair.public_key().as_ref())?;
        Ok(public.signed_by(Signing::EdDsa(pair)))
    }

    pub(super) fn ephemeral() -> Result<Self, KeyError> {
        Ed25519KeyPair::generate()
            .map_err(|_| malformed("the crypto library made no key"))
            .and_then(Self::ed_pair)
    }

    /// Without the right to sign, as `key_ops` may say.
    pub(super) fn verify_only(mut self) -> Self {
        self.signing = None;
        self
    }

    /// `thumbprint_input` is the canonical JSON of RFC 7638, section 3.
    fn public(algorithm: Algorithm, thumbprint_input: String, verifying: Verifying) -> Self {
        let thumbprint = sha256(thumbprint_input.as_bytes());
        Self {
            algorithm,
            computed_id: KeyId::new(URL_SAFE_NO_PAD.encode_to_string(thumbprint)),
            identity: public_identity(&thumbprint, algorithm),
            public_jwk: Some(thumbprint_input.into()),
            verifying,
            signing: None,
        }
    }

    fn signed_by(mut self, signing: Signing) -> Self {
        self.signing = Some(signing);
        self
    }
}

impl Verifying {
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
            Self::Ecdsa(key, curve) => DerSignature::from_fixed(signature, curve.field_len())
                .is_some_and(|der| key.verify_sig(message, der.as_bytes()).is_ok()),
            Self::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

impl Signing {
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, aws_lc_rs::error::Unspecified> {
        let random = SystemRandom::new();
        match self {
            Self::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Self::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature)?;
                Ok(signature)
            }
            Self::Ecdsa(pair) => Ok(pair.sign(&random, message)?.as_ref().to_vec()),
            Self::EdDsa(pair) => Ok(pair.try_sign(message)?.as_ref().to_vec()),
        }
    }
}

fn secret_identity(key: &hmac::Key, algorithm: Algorithm) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    context.update(IDENTITY_LABEL);
    context.update(algorithm.name().as_bytes());
    first_32(context.sign().as_ref())
}

fn public_identity(thumbprint: &[u8; 32], algorithm: Algorithm) -> [u8; 32] {
    sha256(&[IDENTITY_LABEL, thumbprint, algorithm.name().as_bytes()].concat())
}

fn malformed(reason: &'static str) -> KeyError {
    KeyError::new(KeyErrorKind::Malformed, reason)
}
