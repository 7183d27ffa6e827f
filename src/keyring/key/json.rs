//! JSON that may hold private members, wiped when dropped.

use std::{fmt, mem};

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::wipe::wipe;

/// A parsed document whose strings are wiped on drop.
///
/// An object that names a member twice is read as null. RFC 7517, section 4, has parsers reject a
/// JWK of that kind or take the last value; rejecting is safe whatever another parser takes.
pub(super) struct SecretJson(Value);

impl SecretJson {
    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(super) fn value(&self) -> &Value {
        &self.0
    }

    pub(super) fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.to_string())
    }

    fn take(mut self) -> Value {
        mem::take(&mut self.0)
    }
}

impl Drop for SecretJson {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl<'de> Deserialize<'de> for SecretJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> de::Visitor<'de> for JsonVisitor {
    type Value = SecretJson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<SecretJson, A::Error> {
        // Wiped as it is, if a later member turns out to be no JSON.
        let mut object = SecretJson(Value::Object(Map::new()));
        let mut repeated = false;
        while let Some((name, value)) = map.next_entry::<String, SecretJson>()? {
            let members = object.0.as_object_mut();
            let before = members.and_then(|members| members.insert(name, value.take()));
            repeated |= before.map(SecretJson).is_some();
        }
        Ok(if repeated { null() } else { object })
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<SecretJson, A::Error> {
        let mut array = SecretJson(Value::Array(Vec::new()));
        while let Some(item) = seq.next_element::<SecretJson>()? {
            if let Value::Array(items) = &mut array.0 {
                items.push(item.take());
            }
        }
        Ok(array)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretJson, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<SecretJson, E> {
        Ok(SecretJson(Value::String(text)))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<SecretJson, E> {
        Ok(SecretJson(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<SecretJson, E> {
        Ok(SecretJson(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<SecretJson, E> {
        Ok(SecretJson(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<SecretJson, E> {
        Ok(SecretJson(value.into()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<SecretJson, E> {
        Ok(null())
    }
}

fn null() -> SecretJson {
    SecretJson(Value::Null)
}
