//! Keys in PEM form (RFC 7468). The DER inside is parsed by the crypto library; only its outermost
//! bytes are looked at here, to know which parser to ask.

use aws_lc_rs::{
    error::KeyRejected,
    rsa::PublicKey as RsaPublicKey,
    signature::{EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair},
};
use base64_simd::STANDARD;
use zeroize::Zeroizing;

use super::{
    KeyError, KeyErrorKind, PreparedKey,
    algorithm::{Curve, Hash, RsaPadding},
    der,
    material::Material,
    rsa,
};

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

// DER of the algorithm's object identifiers, with tag and length.
const RSA_OID: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
const RSA_PSS_OID: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a";
const EC_OID: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01";
const ED25519_OID: &[u8] = b"\x06\x03\x2b\x65\x70";

// What stands before the key in a SubjectPublicKeyInfo (RFC 5480 and RFC 8410): DER leaves no
// choice, so a key of that curve in uncompressed form begins with exactly these bytes.
const P256_SPKI: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
const P384_SPKI: &[u8] =
    b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00";
const ED25519_SPKI: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// How far into a SubjectPublicKeyInfo or a PrivateKeyInfo the algorithm's identifier ends.
const OID_WITHIN: usize = 32;

/// A private RSA key of 8192 bits takes less than 5 KiB.
const MAX_DER_BYTES: usize = 8 * 1024;

const DEFAULT_RSA: (RsaPadding, Hash) = (RsaPadding::Pkcs1, Hash::Sha256);

/// Whether there is a PEM anywhere in it: tools put text before the key, and a public key must never
/// be taken for a secret.
pub(super) fn is_pem(text: &[u8]) -> bool {
    text.windows(BEGIN.len())
        .any(|window| window == BEGIN.as_bytes())
}

pub(super) fn prepare(text: &str) -> Result<PreparedKey, KeyError> {
    let Block { label, der } = Block::read(text)?;
    let parse: fn(&[u8]) -> Result<Material, KeyError> = match label {
        "PUBLIC KEY" => public,
        "PRIVATE KEY" => private,
        "RSA PUBLIC KEY" => rsa_public,
        "RSA PRIVATE KEY" => |der| rsa_pair(RsaKeyPair::from_der(der)),
        _ => return Err(unsupported("the PEM holds no key of a supported kind")),
    };
    check(&der)?;
    PreparedKey::new(parse(&der)?, None)
}

fn check(der: &[u8]) -> Result<(), KeyError> {
    if der.len() > MAX_DER_BYTES {
        return Err(unsupported("the PEM is longer than any supported key"));
    }
    if !der::is_key(der) {
        return Err(malformed("the PEM's content is not the DER of a key"));
    }
    if names(der, RSA_PSS_OID) {
        return Err(unsupported(
            "the PEM is a key for RSASSA-PSS only; give it as a JWK with `alg` PS256",
        ));
    }
    Ok(())
}

struct Block<'a> {
    label: &'a str,
    der: Zeroizing<Vec<u8>>,
}

impl<'a> Block<'a> {
    fn read(text: &'a str) -> Result<Self, KeyError> {
        refuse_by_label(text)?;
        let (_, rest) = text.split_once(BEGIN).ok_or(malformed("there is no PEM"))?;
        if rest.contains(BEGIN) {
            return Err(malformed("there is more than one PEM block"));
        }
        let (label, rest) = rest
            .split_once(DASHES)
            .filter(|(label, _)| !label.contains(['\r', '\n']))
            .ok_or(malformed("the PEM's first line is broken"))?;
        let (body, rest) = rest
            .split_once(END)
            .ok_or(malformed("the PEM has no end; it was cut off"))?;
        if !rest
            .strip_prefix(label)
            .is_some_and(|rest| rest.starts_with(DASHES))
        {
            return Err(malformed("the PEM's last line does not fit its first"));
        }
        let der = decode(body)?;
        Ok(Self { label, der })
    }
}

// These deserve an answer that says what to do, in files with several blocks too.
fn refuse_by_label(text: &str) -> Result<(), KeyError> {
    let has = |label: &str| {
        text.split(BEGIN)
            .skip(1)
            .filter_map(|rest| rest.strip_prefix(label))
            .any(|rest| rest.starts_with(DASHES))
    };
    let reason = if has("EC PRIVATE KEY") {
        "the PEM is a SEC1 \"EC PRIVATE KEY\"; convert it to PKCS#8 with `openssl pkcs8 -topk8 -nocrypt`"
    } else if has("ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        "the PEM's private key is encrypted; decrypt it first"
    } else if has("CERTIFICATE") {
        "the PEM is a certificate; take its public key with `openssl x509 -pubkey -noout`"
    } else {
        return Ok(());
    };
    Err(unsupported(reason))
}

fn decode(body: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    if body.contains('\\') {
        return Err(malformed(
            "the PEM holds a backslash; write its line breaks as line breaks",
        ));
    }
    // Sized beforehand: a buffer that grows leaves copies behind.
    let mut der = Zeroizing::new(Vec::with_capacity(body.len()));
    der.extend(body.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    let len = STANDARD
        .decode_inplace(&mut der)
        .map_err(|_| malformed("the PEM's content is not base64"))?
        .len();
    der.truncate(len);
    Ok(der)
}

fn public(der: &[u8]) -> Result<Material, KeyError> {
    if let Some(point) = der.strip_prefix(P256_SPKI) {
        return Material::ec_public(point, Curve::P256);
    }
    if let Some(point) = der.strip_prefix(P384_SPKI) {
        return Material::ec_public(point, Curve::P384);
    }
    if let Some(x) = der.strip_prefix(ED25519_SPKI) {
        return Material::ed_public(x);
    }
    if names(der, EC_OID) {
        return Err(unsupported(
            "the EC public key is not an uncompressed point of P-256 or P-384",
        ));
    }
    if names(der, RSA_OID) {
        return rsa_public(der);
    }
    Err(unsupported(
        "the public key is not of type RSA, EC or Ed25519",
    ))
}

fn private(der: &[u8]) -> Result<Material, KeyError> {
    if names(der, RSA_OID) {
        return rsa_pair(RsaKeyPair::from_pkcs8(der));
    }
    if names(der, EC_OID) {
        return ec_pair(der);
    }
    if names(der, ED25519_OID) {
        return Ed25519KeyPair::from_pkcs8(der)
            .map_err(|_| malformed("the Ed25519 private key is not valid PKCS#8"))
            .and_then(Material::ed_pair);
    }
    Err(unsupported(
        "the private key is not of type RSA, EC or Ed25519",
    ))
}

fn rsa_public(der: &[u8]) -> Result<Material, KeyError> {
    let key =
        RsaPublicKey::from_der(der).map_err(|_| malformed("the RSA public key is not valid"))?;
    let (padding, hash) = DEFAULT_RSA;
    Material::rsa_public(
        key.modulus().big_endian_without_leading_zero(),
        key.exponent().big_endian_without_leading_zero(),
        padding,
        hash,
    )
}

fn rsa_pair(parsed: Result<RsaKeyPair, KeyRejected>) -> Result<Material, KeyError> {
    let pair = parsed.map_err(|rejected| {
        rsa::rejected(&rejected, malformed("the RSA private key is not valid"))
    })?;
    let (padding, hash) = DEFAULT_RSA;
    Material::rsa_pair(pair, padding, hash)
}

fn ec_pair(der: &[u8]) -> Result<Material, KeyError> {
    [Curve::P256, Curve::P384]
        .into_iter()
        .find_map(|curve| {
            let pair = EcdsaKeyPair::from_pkcs8(curve.signing(), der).ok()?;
            Some(Material::ec_pair(pair, curve))
        })
        .unwrap_or_else(|| {
            Err(unsupported(
                "the EC private key is not a valid PKCS#8 key of P-256 or P-384",
            ))
        })
}

fn names(der: &[u8], oid: &[u8]) -> bool {
    der[..der.len().min(OID_WITHIN)]
        .windows(oid.len())
        .any(|window| window == oid)
}

fn malformed(reason: &'static str) -> KeyError {
    KeyError::new(KeyErrorKind::Malformed, reason)
}

fn unsupported(reason: &'static str) -> KeyError {
    KeyError::new(KeyErrorKind::Unsupported, reason)
}
