//! Which RSA keys are good enough. The crypto library checks some of it at load and some at the
//! first signature; here all of it is checked at load.

use std::ops::RangeInclusive;

use aws_lc_rs::error::KeyRejected;

use super::{KeyError, KeyErrorKind};

const BITS: RangeInclusive<usize> = 2048..=8192;
pub(super) const MAX_BYTES: usize = *BITS.end() / 8;

/// FIPS 186-5, section 5.4 wants more than 2^16.
const MIN_EXPONENT: u64 = 65_537;
/// The crypto library verifies with no longer one.
const MAX_EXPONENT_BITS: u32 = 33;

/// `n` and `e` are big-endian, without leading zeros.
pub(super) fn check_public(n: &[u8], e: &[u8]) -> Result<(), KeyError> {
    check_size(n)?;
    check_exponent(e)?;
    if has_roca_fingerprint(n) {
        let reason = "the RSA key can be factored: it is of a chip with the ROCA flaw";
        return Err(KeyError::new(KeyErrorKind::Weak, reason));
    }
    Ok(())
}

/// Why the crypto library refused a private key: it is too small, or what the caller says.
pub(super) fn rejected(rejected: &KeyRejected, otherwise: KeyError) -> KeyError {
    // The library tells its reasons apart by their text only.
    match rejected.to_string().as_str() {
        "TooSmall" => too_small(),
        _ => otherwise,
    }
}

pub(super) fn too_large() -> KeyError {
    let reason = "the RSA key is longer than 8192 bits";
    KeyError::new(KeyErrorKind::Unsupported, reason)
}

fn too_small() -> KeyError {
    KeyError::new(KeyErrorKind::Weak, "the RSA key is shorter than 2048 bits")
}

fn check_size(n: &[u8]) -> Result<(), KeyError> {
    let unused = n.first().map_or(0, |byte| byte.leading_zeros()) as usize;
    let bits = (n.len() * 8).saturating_sub(unused);
    if bits < *BITS.start() {
        return Err(too_small());
    }
    if bits > *BITS.end() {
        return Err(too_large());
    }
    Ok(())
}

fn check_exponent(e: &[u8]) -> Result<(), KeyError> {
    let (kind, reason) = match value(e) {
        Some(e) if e % 2 == 0 => (KeyErrorKind::Malformed, "the RSA exponent is even"),
        Some(e) if e < MIN_EXPONENT => (KeyErrorKind::Weak, "the RSA exponent is below 65537"),
        Some(e) if e >> MAX_EXPONENT_BITS == 0 => return Ok(()),
        _ => (
            KeyErrorKind::Unsupported,
            "the RSA exponent is longer than 33 bits",
        ),
    };
    Err(KeyError::new(kind, reason))
}

fn value(number: &[u8]) -> Option<u64> {
    (number.len() <= size_of::<u64>()).then(|| {
        number
            .iter()
            .fold(0, |value, byte| value * 256 + u64::from(*byte))
    })
}

/// CVE-2017-15361: the primes of such a chip are of a form that makes the modulus, modulo each of
/// these, a power of 65537. Of other keys about one in 2^27 looks so.
fn has_roca_fingerprint(n: &[u8]) -> bool {
    const PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89,
        97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    PRIMES.into_iter().all(|prime| {
        let remainder = n
            .iter()
            .fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        is_power_of_65537(remainder, prime)
    })
}

fn is_power_of_65537(number: u32, prime: u32) -> bool {
    std::iter::successors(Some(1), |power| Some(power * 65_537 % prime))
        .take(prime as usize)
        .any(|power| power == number)
}
