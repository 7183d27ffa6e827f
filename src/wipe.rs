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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_text_is_left_at_any_depth() {
        let mut value = json!({ "a": "secret", "b": [["secret"], { "c": "secret" }], "d": 1 });
        wipe(&mut value);
        assert_eq!(value, json!({ "a": "", "b": [[""], { "c": "" }], "d": 1 }));
    }
}
