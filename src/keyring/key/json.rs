//! JSON that may hold private members, wiped when dropped.

use serde_json::Value;
use zeroize::{Zeroize, Zeroizing};

/// A parsed document whose strings are wiped on drop.
pub(super) struct SecretJson(Value);

impl SecretJson {
    pub(super) fn new(value: Value) -> Self {
        Self(value)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }

    pub(super) fn value(&self) -> &Value {
        &self.0
    }

    pub(super) fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.to_string())
    }
}

impl Drop for SecretJson {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

// The depth is bounded by serde_json's limit on recursion.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
