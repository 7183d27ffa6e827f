//! The outermost bytes of a key in DER.

/// Whether it is one DER sequence to its last byte that begins like a key or a certificate. Among
/// random secrets one in 2^30 looks so.
pub(super) fn is_key(bytes: &[u8]) -> bool {
    match bytes {
        [0x30, len @ 0..=0x7f, content @ ..] if content.len() == usize::from(*len) => {
            // An algorithm's identifier (public keys), or the version 0 or 1 (private keys).
            matches!(content, [0x30, _, 0x06, ..] | [0x02, 0x01, 0 | 1, ..])
        }
        [0x30, 0x81, len, content @ ..] if content.len() == usize::from(*len) => {
            matches!(content, [0x30 | 0x02, ..])
        }
        [0x30, 0x82, high, low, content @ ..]
            if content.len() == usize::from(u16::from_be_bytes([*high, *low])) =>
        {
            matches!(content, [0x30 | 0x02, ..])
        }
        _ => false,
    }
}
