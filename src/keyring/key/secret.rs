//! HMAC secrets, and what is never taken for one: a key whose public half everybody knows, given
//! where a secret is wanted.

use base64_simd::forgiving_decode_inplace;
use zeroize::Zeroizing;

use super::{KeyError, KeyErrorKind, algorithm::Hash, der, material::Material, pem};

/// Larger than anybody's secret.
const MAX_BYTES: usize = 64 * 1024;

pub(super) fn prepare(secret: &[u8], hash: Hash, allow_short: bool) -> Result<Material, KeyError> {
    check_size(secret.len(), hash, allow_short)?;
    refuse_key(secret)?;
    Ok(Material::hmac(secret, hash))
}

/// RFC 7518, section 3.2: as long as the hash's output, or longer.
fn check_size(len: usize, hash: Hash, allow_short: bool) -> Result<(), KeyError> {
    let (kind, reason) = match len {
        0 => (KeyErrorKind::Empty, "the HMAC secret is empty".to_owned()),
        len if len > MAX_BYTES => (
            KeyErrorKind::Unsupported,
            "the HMAC secret is longer than 64 KiB".to_owned(),
        ),
        len if len < hash.len() && !allow_short => (
            KeyErrorKind::Weak,
            format!("the HMAC secret is shorter than {} bytes", hash.len()),
        ),
        _ => return Ok(()),
    };
    Err(KeyError::new(kind, reason))
}

fn refuse_key(secret: &[u8]) -> Result<(), KeyError> {
    let reason = if pem::is_pem(secret) {
        "a PEM was given as an HMAC secret; give it as a PEM"
    } else if der::is_key(secret) || is_base64_of_der(secret) {
        "the HMAC secret is a key or a certificate in DER; give it as a PEM"
    } else if looks_like_jwk(secret) {
        "the HMAC secret looks like a JWK or a JWKS; give it as one"
    } else {
        return Ok(());
    };
    Err(KeyError::new(KeyErrorKind::Malformed, reason))
}

/// As some consoles show public keys: a PEM without its first and last line, or a member of `x5c`.
fn is_base64_of_der(text: &[u8]) -> bool {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    // A sequence's first byte, 0x30, is `M` in base64.
    if text.trim_ascii_start().first() != Some(&b'M') {
        return false;
    }
    let mut symbols = Zeroizing::new(text.to_vec());
    for symbol in &mut *symbols {
        *symbol = match *symbol {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        };
    }
    // Forgiving, because consoles and copies differ in padding and line breaks.
    forgiving_decode_inplace(&mut symbols).is_ok_and(|bytes| der::is_key(bytes))
}

/// A JWK that lost a brace, too.
fn looks_like_jwk(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    let text = text.trim_start_matches('\u{feff}').trim_start();
    text.starts_with(['{', '[']) && text.contains("\"kty\"")
}
