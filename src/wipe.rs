//! JSON that held a secret, made unreadable before its memory is given back.

use serde_json::Value;
use zeroize::Zeroize;

// The depth is bounded by serde_json's limit on recursion.
pub(crate) fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
