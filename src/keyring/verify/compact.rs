//! The compact serialisation (RFC 7515, section 7.1): three parts of base64url with dots between.

use std::mem::MaybeUninit;

use base64_simd::{Out, URL_SAFE_NO_PAD};

use super::VerifyErrorKind;

/// A token in its parts, none of them decoded.
#[derive(Clone, Copy)]
pub(super) struct Compact<'t> {
    /// What is signed: the first two parts and the dot between (RFC 7515, section 5.1).
    pub(super) signing_input: &'t [u8],
    pub(super) header: &'t [u8],
    payload: &'t [u8],
    signature: &'t [u8],
}

impl<'t> Compact<'t> {
    pub(super) fn split(token: &'t [u8]) -> Result<Self, VerifyErrorKind> {
        let mut dots = memchr::memchr_iter(b'.', token);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(VerifyErrorKind::Malformed);
        };
        Ok(Self {
            signing_input: &token[..second],
            header: &token[..first],
            payload: &token[first + 1..second],
            signature: &token[second + 1..],
        })
    }

    pub(super) fn decode_header<'b, const N: usize>(
        &self,
        buffer: &'b mut Buffer<N>,
    ) -> Result<&'b [u8], VerifyErrorKind> {
        buffer.decode(self.header)
    }

    pub(super) fn payload<'b, const N: usize>(
        &self,
        buffer: &'b mut Buffer<N>,
    ) -> Result<&'b [u8], VerifyErrorKind> {
        buffer.decode(self.payload)
    }

    pub(super) fn signature<'b, const N: usize>(
        &self,
        buffer: &'b mut Buffer<N>,
    ) -> Result<&'b [u8], VerifyErrorKind> {
        buffer.decode(self.signature)
    }
}

/// Where a part is decoded to: `N` bytes on the stack, and the heap for what is longer.
pub(super) struct Buffer<const N: usize> {
    // Uninitialised, because clearing it takes as long as a good part of decoding.
    inline: [MaybeUninit<u8>; N],
    long: Vec<u8>,
}

impl<const N: usize> Buffer<N> {
    pub(super) fn new() -> Self {
        Self {
            inline: [const { MaybeUninit::uninit() }; N],
            long: Vec::new(),
        }
    }

    /// Takes the one canonical form: no padding, no white space, no bits left over.
    fn decode(&mut self, part: &[u8]) -> Result<&[u8], VerifyErrorKind> {
        // Exact, as there is no padding.
        let room = part.len() / 4 * 3 + part.len() % 4 * 3 / 4;
        let out = if room <= N {
            &mut self.inline[..]
        } else {
            self.long.reserve(room);
            self.long.spare_capacity_mut()
        };
        URL_SAFE_NO_PAD
            .decode(part, Out::from_uninit_slice(out))
            .map(|decoded| &*decoded)
            .map_err(|_| VerifyErrorKind::Malformed)
    }
}
