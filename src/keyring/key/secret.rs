//! HMAC secrets, and what is never taken for one: a key whose public half everybody knows, given
//! where a secret is wanted.

use base64_simd::forgiving_decode_inplace;
use zeroize::Zeroizing;

use super::{KeyError, KeyErrorKind, algorithm::Hash, der, material::Material, pem};

/// Larger than anybody's secret.
const MAX_BYTES: usize = 64 * 1024;

/// How public keys of SSH begin (RFC 4253, section 6.6; RFC 5656; RFC 4716).
const SSH: [&[u8]; 3] = [b"ssh-", b"ecdsa-sha2-", b"---- BEGIN"];

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

/// Whether it is a key or a certificate, whose public half everybody may know.
pub(in crate::keyring) fn may_be_known(secret: &[u8]) -> bool {
    refuse_key(secret).is_err()
}

fn refuse_key(secret: &[u8]) -> Result<(), KeyError> {
    let unwrapped = [
        decoded_base64(secret),
        decoded_hex(secret),
        json_string(secret),
    ];
    let texts = unwrapped.iter().flatten().map(|text| &***text);
    let reason = [secret].into_iter().chain(texts).find_map(what_key);
    match reason {
        Some(reason) => Err(KeyError::new(KeyErrorKind::Malformed, reason)),
        None => Ok(()),
    }
}

fn what_key(text: &[u8]) -> Option<&'static str> {
    if pem::is_pem(text) {
        Some("a PEM was given as an HMAC secret; give it as a PEM")
    } else if der::is_key(text) {
        Some("the HMAC secret is a key or a certificate in DER; give it as a PEM")
    } else if looks_like_jwk(text) {
        Some("the HMAC secret looks like a JWK or a JWKS; give it as one")
    } else if SSH
        .iter()
        .any(|begin| text.trim_ascii_start().starts_with(begin))
    {
        Some("the HMAC secret is a public key of SSH; give a key as a PEM or a JWK")
    } else {
        None
    }
}

/// As some consoles show public keys (a PEM without its first and last line), and as Kubernetes
/// shows all values.
fn decoded_base64(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let mut symbols = Zeroizing::new(text.to_vec());
    for symbol in &mut *symbols {
        *symbol = match *symbol {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        };
    }
    // Forgiving, because consoles and copies differ in padding and line breaks.
    let len = forgiving_decode_inplace(&mut symbols).ok()?.len();
    symbols.truncate(len);
    Some(symbols)
}

fn decoded_hex(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    for pair in text.trim_ascii().chunks(2) {
        let [high, low] = pair else { return None };
        bytes.push(digit(high)? * 16 + digit(low)?);
    }
    Some(bytes)
}

/// A document that was written into a document.
fn json_string(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text: String = serde_json::from_slice(text).ok()?;
    Some(Zeroizing::new(text.into_bytes()))
}

/// A JWK that lost a brace, too.
fn looks_like_jwk(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    let text = text.trim_start_matches('\u{feff}').trim_start();
    text.starts_with(['{', '[']) && text.contains("\"kty\"")
}
