//! One token as a test case: who signs it, for which keys, and what was done to it.
//!
//! A case is also a byte string, for the fuzzer: a letter each for the key set, the signer and the
//! [`Wrap`], the header up to a line feed, and the claims. Both may hold the placeholders of
//! [`fill`], so that a case is worth the same whoever signs it and whenever it runs.

use super::{
    keys::{SIGNERS, Signer, b64},
    world::{Set, WORLD},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) set: usize,
    pub(crate) signer: usize,
    pub(crate) wrap: Wrap,
    pub(crate) header: Vec<u8>,
    pub(crate) claims: Vec<u8>,
}

/// How the parts become a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrap {
    /// As it should be.
    Signed,
    /// The text is the token, with a dot for the line feed.
    Raw,
    NoSignature,
    EmptySignature,
    /// One bit of the signature is another one.
    OtherSignature,
    ShortSignature,
    ExtraPart,
    LeadingDot,
    PaddedSignature,
    /// Claims whose base64 has padding, and signed like that.
    PaddedClaims,
    /// The bits behind the last byte are not zero, and signed like that.
    LooseHeader,
    LooseClaims,
    /// The same in the signature.
    LooseSignature,
    /// `+` and `/` instead of `-` and `_`, and signed like that.
    StandardAlphabet,
}

impl Wrap {
    pub(crate) const ALL: [Self; 14] = [
        Self::Signed,
        Self::Raw,
        Self::NoSignature,
        Self::EmptySignature,
        Self::OtherSignature,
        Self::ShortSignature,
        Self::ExtraPart,
        Self::LeadingDot,
        Self::PaddedSignature,
        Self::PaddedClaims,
        Self::LooseHeader,
        Self::LooseClaims,
        Self::LooseSignature,
        Self::StandardAlphabet,
    ];
}

impl Case {
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let [set, signer, wrap, text @ ..] = bytes else {
            return None;
        };
        let mut parts = text.splitn(2, |byte| *byte == b'\n');
        let (header, claims) = (parts.next()?, parts.next().unwrap_or_default());
        Some(Self {
            set: index(*set, WORLD.sets.len()),
            signer: index(*signer, SIGNERS.len()),
            wrap: Wrap::ALL[index(*wrap, Wrap::ALL.len())],
            header: header.to_vec(),
            claims: claims.to_vec(),
        })
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let letters = [self.set, self.signer, self.wrap as usize].map(letter);
        [&letters, &*self.header, b"\n", &*self.claims].concat()
    }

    pub(crate) fn set(&self) -> &'static Set {
        &WORLD.sets[self.set]
    }

    pub(crate) fn signer(&self) -> &'static Signer {
        &SIGNERS[self.signer]
    }

    pub(crate) fn token(&self, now: u64) -> Vec<u8> {
        if self.wrap == Wrap::Raw {
            return [&*self.header, b".", &*self.claims].concat();
        }
        let header = self.fill(&self.header, now);
        let claims = self.fill(&self.claims, now);
        self.wrapped(header, claims).into_bytes()
    }

    fn wrapped(&self, mut header: Vec<u8>, mut claims: Vec<u8>) -> String {
        match self.wrap {
            Wrap::PaddedClaims => {
                leave_spare_bits(&mut claims);
                self.signed(&format!("{}.{}==", b64(header), b64(claims)))
            }
            Wrap::LooseHeader => {
                leave_spare_bits(&mut header);
                self.signed(&format!("{}.{}", loose(&b64(header)), b64(claims)))
            }
            Wrap::LooseClaims => {
                leave_spare_bits(&mut claims);
                self.signed(&format!("{}.{}", b64(header), loose(&b64(claims))))
            }
            Wrap::StandardAlphabet => {
                // Wherever it begins, its base64 holds a `-` and a `_`.
                claims = fill(&claims, "{\"iss\"", "{\"x\":\"~~~???\",\"iss\"");
                let claims = b64(claims).replace('-', "+").replace('_', "/");
                self.signed(&format!("{}.{claims}", b64(header)))
            }
            _ => self.finished(&format!("{}.{}", b64(header), b64(claims))),
        }
    }

    fn signed(&self, input: &str) -> String {
        format!("{input}.{}", b64(self.signer().sign(input.as_bytes())))
    }

    fn finished(&self, input: &str) -> String {
        let mut signature = self.signer().sign(input.as_bytes());
        match self.wrap {
            Wrap::NoSignature => return input.to_owned(),
            Wrap::EmptySignature => signature.clear(),
            Wrap::OtherSignature => signature[7] ^= 1,
            Wrap::ShortSignature => signature.truncate(signature.len() - 1),
            _ => {}
        }
        let signature = b64(signature);
        match self.wrap {
            Wrap::ExtraPart => format!("{input}.{signature}.e30"),
            Wrap::LeadingDot => format!(".{input}.{signature}"),
            Wrap::PaddedSignature => format!("{input}.{signature}="),
            Wrap::LooseSignature => format!("{input}.{}", loose(&signature)),
            _ => format!("{input}.{signature}"),
        }
    }

    fn fill(&self, text: &[u8], now: u64) -> Vec<u8> {
        let member = &self.set().members;
        let id = member
            .iter()
            .find(|member| std::ptr::eq(member.signer, self.signer()))
            .map_or("nobody", |member| member.id());
        let text = fill(text, "@alg", &format!("{:?}", self.signer().algorithm));
        let text = fill(&text, "@kid", id);
        let text = fill(&text, "@past", &(now - 1).to_string());
        let text = fill(&text, "@now", &now.to_string());
        fill(&text, "@next", &(now + 1).to_string())
    }
}

/// Replaces a placeholder, in text that need not be UTF-8.
pub(crate) fn fill(text: &[u8], name: &str, value: &str) -> Vec<u8> {
    let mut filled = Vec::new();
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(name.as_bytes()) {
            filled.extend_from_slice(value.as_bytes());
            rest = after;
        } else {
            filled.push(*first);
            rest = after;
        }
    }
    filled
}

/// JSON of a length whose base64 ends in bits that mean nothing: four of them.
fn leave_spare_bits(json: &mut Vec<u8>) {
    while json.len() % 3 != 1 {
        json.push(b' ');
    }
}

/// The same base64, but for its last bit.
fn loose(base64: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = base64.as_bytes().to_vec();
    if let Some(last) = text.last_mut() {
        let value = ALPHABET.iter().position(|letter| letter == last).unwrap();
        *last = ALPHABET[value ^ 1];
    }
    String::from_utf8(text).unwrap()
}

fn index(letter: u8, len: usize) -> usize {
    usize::from(letter.wrapping_sub(b'A')) % len
}

fn letter(index: usize) -> u8 {
    b'A' + u8::try_from(index).unwrap()
}
