//! Strict reading of JSON members. What nobody asked for is looked through as well: escapes must
//! make sense, and nesting ends at the 128 levels of serde_json.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

use super::VerifyErrorKind;

/// Fills a member's slot; that it is filled already is an error.
pub(super) fn once<'de, A, T>(slot: &mut Option<T>, map: &mut A) -> Result<(), A::Error>
where
    A: MapAccess<'de>,
    T: Deserialize<'de>,
{
    if slot.is_some() {
        return Err(A::Error::custom("a member is there twice"));
    }
    *slot = Some(map.next_value()?);
    Ok(())
}

/// One member of a JSON object, where it is there.
pub(super) fn member<'a>(json: &'a [u8], name: &str) -> Result<Option<Texts<'a>>, VerifyErrorKind> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let found = deserializer.deserialize_map(MemberVisitor(name));
    found.map_err(|_| VerifyErrorKind::Malformed)
}

struct MemberVisitor<'n>(&'n str);

impl<'de> Visitor<'de> for MemberVisitor<'_> {
    type Value = Option<Texts<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<Text<'de>>()? {
            if matches!(&name, Text::Is(name) if name == self.0) {
                once(&mut found, &mut map)?;
            } else {
                map.next_value::<Skipped>()?;
            }
        }
        Ok(found)
    }
}

/// A member that should be a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Text<'a> {
    Is(Cow<'a, str>),
    Null,
    /// Of another type.
    Other,
}

/// A member that should be a string or an array of strings, as `aud` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Texts<'a> {
    One(Cow<'a, str>),
    Several(Vec<Cow<'a, str>>),
    Null,
    /// Of another type, as an array is that holds anything but strings.
    Other,
}

/// A member of any type, read and dropped. Unlike `serde::de::IgnoredAny`, for which serde_json
/// checks neither escapes nor depth.
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct Skipped;

impl<'de> Deserialize<'de> for Texts<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader::<true>)
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match deserializer.deserialize_any(Reader::<false>)? {
            Texts::One(text) => Self::Is(text),
            Texts::Null => Self::Null,
            Texts::Several(_) | Texts::Other => Self::Other,
        })
    }
}

impl<'de> Deserialize<'de> for Skipped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Text::deserialize(deserializer).map(|_| Self)
    }
}

struct Reader<const ARRAYS: bool>;

impl<'de, const ARRAYS: bool> Visitor<'de> for Reader<ARRAYS> {
    type Value = Texts<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Texts<'de>, E> {
        Ok(Texts::One(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Texts<'de>, E> {
        Ok(Texts::One(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Texts<'de>, E> {
        Ok(Texts::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Texts<'de>, E> {
        Ok(Texts::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Texts<'de>, E> {
        Ok(Texts::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Texts<'de>, E> {
        Ok(Texts::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Texts<'de>, E> {
        Ok(Texts::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Texts<'de>, A::Error> {
        let mut texts = Vec::new();
        let mut all_texts = ARRAYS;
        while let Some(element) = seq.next_element()? {
            match element {
                Text::Is(text) if all_texts => texts.push(text),
                _ => all_texts = false,
            }
        }
        Ok(if all_texts {
            Texts::Several(texts)
        } else {
            Texts::Other
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts<'de>, A::Error> {
        while map.next_entry::<Skipped, Skipped>()?.is_some() {}
        Ok(Texts::Other)
    }
}
