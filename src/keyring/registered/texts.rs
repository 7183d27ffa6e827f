//! The texts of one token's claims, in one piece.
//!
//! A cache holds thousands of claims, and puts out an old one for each new one: what lies in one
//! piece is made, and found cold and let go again, at the price of one.

use std::{fmt, iter, ops::Deref};

use arrayvec::ArrayString;

/// The claims that are one text, in the order in which they are kept.
#[derive(Clone, Copy)]
pub(super) enum Slot {
    Iss,
    Sub,
    Jti,
    Scope,
    ClientId,
}

const SLOTS: usize = 5;

/// Equal where the claims are, as there is one way only to keep them.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Texts {
    /// A text for each slot and then the names of the audience, with nothing between.
    buffer: Buffer,
    /// Where the text of each slot ends.
    ends: [usize; SLOTS],
    is_there: [bool; SLOTS],
    has_audience: bool,
    /// Where each name of the audience ends, but for the last.
    inner_ends: Box<[usize]>,
}

impl Texts {
    pub(super) fn new<A: AsRef<str>>(slots: [Option<&str>; SLOTS], audience: &[A]) -> Self {
        let mut buffer = Buffer::default();
        let mut push = |text: &str| {
            buffer.push_str(text);
            buffer.len()
        };
        let ends = slots.map(|text| push(text.unwrap_or_default()));
        let inner_ends = match audience {
            [] => Box::default(),
            [inner @ .., last] => {
                let ends = inner.iter().map(|name| push(name.as_ref())).collect();
                push(last.as_ref());
                ends
            }
        };
        Self {
            buffer,
            ends,
            is_there: slots.map(|text| text.is_some()),
            has_audience: !audience.is_empty(),
            inner_ends,
        }
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&str> {
        let index = slot as usize;
        let start = match index.checked_sub(1) {
            Some(before) => self.ends[before],
            None => 0,
        };
        self.is_there[index].then(|| &self.buffer[start..self.ends[index]])
    }

    pub(super) fn audience(&self) -> Audience<'_> {
        Audience(self)
    }

    /// The same, but for one of them.
    pub(super) fn with(&self, slot: Slot, text: &str) -> Self {
        let mut slots = self.slots();
        slots[slot as usize] = Some(text);
        Self::new(slots, &self.audience().iter().collect::<Vec<_>>())
    }

    /// The same, and one more name in the audience.
    pub(super) fn with_audience(&self, name: &str) -> Self {
        let names = self.audience().iter().chain([name]);
        Self::new(self.slots(), &names.collect::<Vec<_>>())
    }

    fn slots(&self) -> [Option<&str>; SLOTS] {
        use Slot::*;
        [Iss, Sub, Jti, Scope, ClientId].map(|slot| self.get(slot))
    }
}

/// So many bytes lie beside the other claims: those of most tokens.
const SHORT: usize = 192;

/// One form for each text: short where it fits.
#[derive(Clone, PartialEq, Eq)]
enum Buffer {
    Short(ArrayString<SHORT>),
    Long(String),
}

impl Buffer {
    fn push_str(&mut self, text: &str) {
        match self {
            Self::Long(long) => long.push_str(text),
            Self::Short(short) => {
                if short.try_push_str(text).is_err() {
                    *self = Self::Long([short, text].concat());
                }
            }
        }
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::Short(ArrayString::new())
    }
}

impl Deref for Buffer {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Short(short) => short,
            Self::Long(long) => long,
        }
    }
}

/// The `aud` claim: any number of names. A single one is written as a string, several as an array;
/// both are read ([RFC 7519, section 4.1.3]).
///
/// [RFC 7519, section 4.1.3]: https://www.rfc-editor.org/rfc/rfc7519#section-4.1.3
#[derive(Clone, Copy)]
pub struct Audience<'a>(&'a Texts);

impl<'a> Audience<'a> {
    /// The names, in their order.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        let Texts {
            buffer,
            ends: [.., first],
            is_there: _,
            has_audience,
            inner_ends,
        } = self.0;
        let starts = iter::once(first).chain(inner_ends);
        let ends = inner_ends.iter().copied().chain([buffer.len()]);
        let names = starts.zip(ends).map(|(start, end)| &buffer[*start..end]);
        names.take(if *has_audience { usize::MAX } else { 0 })
    }

    /// Whether it has this name.
    #[must_use]
    pub fn contains(self, name: &str) -> bool {
        self.iter().any(|own| own == name)
    }

    /// Whether there is no name.
    #[must_use]
    pub fn is_empty(self) -> bool {
        !self.0.has_audience
    }
}

impl fmt::Debug for Audience<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Slots = [Option<String>; SLOTS];

    fn kept(slots: &Slots, audience: &[String]) -> Texts {
        Texts::new(slots.each_ref().map(Option::as_deref), audience)
    }

    fn audience(texts: &Texts) -> Vec<&str> {
        texts.audience().iter().collect()
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_was_given(
            slots: Slots,
            names in proptest::collection::vec("\\PC{0,4}", 0..4),
        ) {
            let texts = kept(&slots, &names);
            prop_assert_eq!(texts.slots(), slots.each_ref().map(Option::as_deref));
            prop_assert_eq!(audience(&texts), names.iter().collect::<Vec<_>>());
            prop_assert_eq!(texts.audience().is_empty(), names.is_empty());
            prop_assert!(names.iter().all(|name| texts.audience().contains(name)));
            prop_assert!(!texts.audience().contains("no such name"));
        }

        #[test]
        fn two_are_equal_where_all_texts_are(
            a in any::<[Option<bool>; SLOTS]>(),
            b in any::<[Option<bool>; SLOTS]>(),
            names in proptest::collection::vec("x{0,1}", 0..3),
            other_names in proptest::collection::vec("x{0,1}", 0..3),
        ) {
            // Short texts, some of them empty, so that buffers are often alike.
            let [a, b] = [a, b].map(|slots| slots.map(|it| it.map(|long| "x".repeat(long.into()))));
            let same = a == b && names == other_names;
            prop_assert_eq!(kept(&a, &names) == kept(&b, &other_names), same);
        }

        #[test]
        fn one_is_changed_and_the_rest_stay(
            slots: Slots,
            names in proptest::collection::vec("\\PC{0,4}", 0..3),
            text: String,
        ) {
            let texts = kept(&slots, &names).with(Slot::Jti, &text).with_audience(&text);
            let mut slots = slots;
            slots[Slot::Jti as usize] = Some(text.clone());
            prop_assert!(texts == kept(&slots, &[names, vec![text]].concat()));
        }
    }
}
