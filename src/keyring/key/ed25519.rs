//! Whether 32 bytes are an Ed25519 public key, which the crypto library does not look at before a
//! signature is there to verify: a key off the curve would load, and then verify nothing; one of
//! low order would verify signatures that anybody can make.
//!
//! Arithmetic modulo p = 2^255 - 19. Public keys are public: nothing here is in constant time.

use super::{KeyError, KeyErrorKind};

/// Little-endian, below 2^256; only [`canonical`] brings it below p.
type Element = [u64; 4];

const ZERO: Element = [0; 4];
const ONE: Element = [1, 0, 0, 0];
const P: Element = [0xffff_ffff_ffff_ffed, u64::MAX, u64::MAX, u64::MAX >> 1];
const MINUS_ONE: Element = [P[0] - 1, P[1], P[2], P[3]];
/// The curve's constant d (RFC 8032, section 5.1).
const D: Element = [
    0x75eb_4dca_1359_78a3,
    0x0070_0a4d_4141_d8ab,
    0x8cc7_4079_7779_e898,
    0x5203_6cee_2b6f_fe73,
];

/// The y of the eight points whose order divides 8, each with both signs of x; libsodium has the
/// same list in `ge25519_has_small_order`.
const LOW_ORDER: [Element; 5] = [
    ZERO,
    ONE,
    MINUS_ONE,
    [
        0xb027_b2c2_8f95_e826,
        0xf098_eff2_89f4_c345,
        0x3933_c6d3_05ac_dfd5,
        0x05fc_536d_8802_38b1,
    ],
    [
        0x4fd8_4d3d_706a_17c7,
        0x0f67_100d_760b_3cba,
        0xc6cc_392c_fa53_202a,
        0x7a03_ac92_77fd_c74e,
    ],
];

/// Refuses what RFC 8032, section 5.1.3, does not decode, and points of low order.
pub(super) fn check_point(encoded: &[u8; 32]) -> Result<(), KeyError> {
    let mut y = limbs(encoded);
    // The sign of x.
    y[3] &= u64::MAX >> 1;
    if LOW_ORDER.contains(&canonical(y)) {
        let reason = "the Ed25519 public key is a point of low order: anybody can sign for it";
        return Err(KeyError::new(KeyErrorKind::Weak, reason));
    }
    if y != canonical(y) || !is_on_curve(y) {
        let reason = "the Ed25519 public key is not a point of the curve";
        return Err(KeyError::new(KeyErrorKind::Malformed, reason));
    }
    Ok(())
}

/// Whether there is an x: x^2 = (y^2 - 1) / (d y^2 + 1). A quotient is a square where the product
/// is one, and the divisor is never zero.
fn is_on_curve(y: Element) -> bool {
    let yy = mul(y, y);
    is_square(mul(add(yy, MINUS_ONE), add(mul(D, yy), ONE)))
}

/// Euler's criterion: a^((p - 1) / 2) is 0 or 1.
fn is_square(a: Element) -> bool {
    // (p - 1) / 2 = 2^254 - 10: 254 ones but for the bits 0 and 3.
    let power = (0..254).rev().fold(ONE, |power, bit| {
        let squared = mul(power, power);
        match bit {
            0 | 3 => squared,
            _ => mul(squared, a),
        }
    });
    [ZERO, ONE].contains(&canonical(power))
}

fn limbs(bytes: &[u8; 32]) -> Element {
    let mut limbs = ZERO;
    for (index, byte) in bytes.iter().enumerate() {
        limbs[index / 8] |= u64::from(*byte) << (index % 8 * 8);
    }
    limbs
}

fn add(a: Element, b: Element) -> Element {
    let mut sum = a;
    let carry = accumulate(&mut sum, b, 1);
    fold_carry(sum, carry)
}

fn mul(a: Element, b: Element) -> Element {
    let mut wide = [0; 8];
    for (at, factor) in b.into_iter().enumerate() {
        let mut window = [wide[at], wide[at + 1], wide[at + 2], wide[at + 3]];
        wide[at + 4] = accumulate(&mut window, a, factor);
        wide[at..at + 4].copy_from_slice(&window);
    }
    let [mut low @ .., h0, h1, h2, h3] = wide;
    // 2^256 = 38 modulo p.
    let carry = accumulate(&mut low, [h0, h1, h2, h3], 38);
    fold_carry(low, carry)
}

/// `sum += a * factor`; returns what goes beyond 256 bits.
fn accumulate(sum: &mut Element, a: Element, factor: u64) -> u64 {
    let mut carry = 0;
    for (limb, a) in sum.iter_mut().zip(a) {
        let wide = u128::from(*limb) + u128::from(a) * u128::from(factor) + carry;
        *limb = wide as u64;
        carry = wide >> 64;
    }
    carry as u64
}

fn fold_carry(mut a: Element, mut carry: u64) -> Element {
    while carry > 0 {
        carry = accumulate(&mut a, [carry, 0, 0, 0], 38);
    }
    a
}

fn canonical(mut a: Element) -> Element {
    // Below 2^256 = 2 p + 38.
    for _ in 0..2 {
        a = minus_p(a).unwrap_or(a);
    }
    a
}

fn minus_p(a: Element) -> Option<Element> {
    let mut difference = a;
    let mut borrow = false;
    for (limb, p) in difference.iter_mut().zip(P) {
        let (partial, first) = limb.overflowing_sub(p);
        let (full, second) = partial.overflowing_sub(u64::from(borrow));
        *limb = full;
        borrow = first || second;
    }
    (!borrow).then_some(difference)
}
