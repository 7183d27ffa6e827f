//! ECDSA signatures in the form that the crypto library checks without a detour.
//!
//! A JWS holds `r` and `s` as two numbers of fixed length (RFC 7518, section 3.4). aws-lc checks the
//! ASN.1 form alone; turning a fixed one into it takes some thousand instructions and allocations there, and none here.

/// The longest: two numbers of 48 bytes.
const MAX_BYTES: usize = 2 + 2 * (2 + 1 + 48);

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;

/// `SEQUENCE { r INTEGER, s INTEGER }` in DER (RFC 3279, section 2.2.3).
pub(super) struct DerSignature {
    bytes: [u8; MAX_BYTES],
    length: usize,
}

impl DerSignature {
    /// `None` where it is not two numbers of `field_len` bytes each.
    pub(super) fn from_fixed(signature: &[u8], field_len: usize) -> Option<Self> {
        let (r, s) = signature.split_at_checked(field_len)?;
        if s.len() != field_len {
            return None;
        }
        let mut der = Self {
            bytes: [0; MAX_BYTES],
            length: 2,
        };
        der.push_integer(r)?;
        der.push_integer(s)?;
        let [tag, length, ..] = &mut der.bytes;
        *tag = SEQUENCE;
        // Below 128, so it is one byte.
        *length = u8::try_from(der.length - 2).ok()?;
        Some(der)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The least bytes that are this number: no zeros before it but the one that keeps it from being
    /// negative.
    fn push_integer(&mut self, number: &[u8]) -> Option<()> {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let digits = &number[zeros..];
        let padding = usize::from(digits.first().is_none_or(|byte| *byte >= 0x80));
        let length = padding + digits.len();
        let room = self.bytes.get_mut(self.length..self.length + 2 + length)?;
        room[0] = INTEGER;
        room[1] = u8::try_from(length).ok()?;
        room[2 + padding..].copy_from_slice(digits);
        self.length += room.len();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{
            ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING,
            ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING,
            EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair, ParsedPublicKey, VerificationAlgorithm,
        },
    };
    use proptest::prelude::*;

    use super::*;

    fn der(fixed: &[u8], field_len: usize) -> Option<Vec<u8>> {
        DerSignature::from_fixed(fixed, field_len).map(|der| der.as_bytes().to_vec())
    }

    #[test]
    fn numbers_are_as_short_as_can_be_and_never_negative() {
        for (fixed, expected) in [
            ([0, 1, 0, 2], &[0x30, 6, 2, 1, 1, 2, 1, 2][..]),
            ([0, 0, 0, 0], &[0x30, 6, 2, 1, 0, 2, 1, 0]),
            (
                [0x7f, 0, 0x80, 0],
                &[0x30, 9, 2, 2, 0x7f, 0, 2, 3, 0, 0x80, 0],
            ),
            ([0, 0x80, 0, 0x7f], &[0x30, 7, 2, 2, 0, 0x80, 2, 1, 0x7f]),
        ] {
            assert_eq!(der(&fixed, 2).unwrap(), expected);
        }
        assert_eq!(der(&[0xff; 96], 48).unwrap().len(), 104);
    }

    #[test]
    fn another_length_is_no_signature() {
        for length in (0..200).filter(|length| *length != 64) {
            assert!(der(&vec![1; length], 32).is_none(), "{length}");
        }
    }

    type Both = [&'static dyn VerificationAlgorithm; 2];

    /// That of the fixed form and ours.
    fn verdicts(
        signing: &'static EcdsaSigningAlgorithm,
        [fixed, asn1]: Both,
        spoil: impl Fn(&mut Vec<u8>),
    ) -> [bool; 2] {
        let pair = EcdsaKeyPair::generate(signing).unwrap();
        let [fixed, asn1] =
            [fixed, asn1].map(|form| ParsedPublicKey::new(form, pair.public_key()).unwrap());
        let message = b"message";
        let mut signature = pair
            .sign(&SystemRandom::new(), message)
            .unwrap()
            .as_ref()
            .to_vec();
        let field_len = signature.len() / 2;
        spoil(&mut signature);
        let ours = der(&signature, field_len);
        [
            fixed.verify_sig(message, &signature).is_ok(),
            ours.is_some_and(|der| asn1.verify_sig(message, &der).is_ok()),
        ]
    }

    const P256: Both = [&ECDSA_P256_SHA256_FIXED, &ECDSA_P256_SHA256_ASN1];
    const P384: Both = [&ECDSA_P384_SHA384_FIXED, &ECDSA_P384_SHA384_ASN1];

    #[test]
    fn good_ones_pass_in_both_forms() {
        // Often enough that numbers of each length come up.
        for _ in 0..600 {
            let verdicts = verdicts(&ECDSA_P256_SHA256_FIXED_SIGNING, P256, |_| ());
            assert_eq!(verdicts, [true; 2]);
        }
        let verdicts = verdicts(&ECDSA_P384_SHA384_FIXED_SIGNING, P384, |_| ());
        assert_eq!(verdicts, [true; 2]);
    }

    proptest! {
        #[test]
        fn no_other_passes_in_either_form(
            bytes in proptest::collection::vec(any::<u8>(), 1..97),
            place: prop::sample::Index,
            fill in proptest::option::of(prop_oneof![Just(0), Just(0xff)]),
        ) {
            let spoil = |signature: &mut Vec<u8>| {
                let place = place.index(signature.len());
                let before = signature.clone();
                match fill {
                    // A half of zeros, or one that is no number of the field.
                    Some(byte) if place % 2 == 0 => signature[..before.len() / 2].fill(byte),
                    Some(byte) => signature[before.len() / 2..].fill(byte),
                    None => signature.splice(place.., bytes.iter().copied()).for_each(drop),
                }
                if *signature == before {
                    signature.pop();
                }
            };
            prop_assert_eq!(verdicts(&ECDSA_P256_SHA256_FIXED_SIGNING, P256, spoil), [false; 2]);
            prop_assert_eq!(verdicts(&ECDSA_P384_SHA384_FIXED_SIGNING, P384, spoil), [false; 2]);
        }
    }
}
