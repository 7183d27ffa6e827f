//! From a version's bytes to the user's bundle, with errors that never show a value.

use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// The shortest string that is treated as a secret when messages are cleaned: shorter ones occur
/// in ordinary words.
const SHORTEST_SECRET: usize = 4;

/// Deserialises a document. The error names the field, the line and what was wrong with it; what
/// stood there is left out, because serde's own messages quote it.
pub(crate) fn parse<T: DeserializeOwned>(document: &[u8]) -> Result<T, String> {
    if document.iter().all(u8::is_ascii_whitespace) {
        return Err("the document is empty".to_owned());
    }
    let mut deserializer = serde_json::Deserializer::from_slice(document);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        describe(error.inner(), &path)
    })?;
    deserializer.end().map_err(|error| describe(&error, "."))?;
    Ok(value)
}

fn describe(error: &serde_json::Error, path: &str) -> String {
    let place = format!("line {} column {}", error.line(), error.column());
    match error.classify() {
        Category::Eof => format!("the JSON ends too early, at {place}"),
        // Bytes in memory give no error of the second kind.
        Category::Syntax | Category::Io => format!("the JSON is broken at {place}"),
        Category::Data => {
            let what = without_values(&error.to_string());
            match path {
                "." | "" => format!("{what}, at {place}"),
                field => format!("field `{field}`: {what}, at {place}"),
            }
        }
    }
}

/// Keeps of serde's message what comes from the type, never what came from the document.
fn without_values(message: &str) -> String {
    if let Some(field) = message
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split('`').next())
    {
        return format!("field `{field}` is missing");
    }
    let expected = message
        .rfind(", expected ")
        .map(|at| &message[at + ", expected ".len()..])
        .map(|rest| rest.split(" at line ").next().unwrap_or(rest));
    let found = ["invalid type: ", "invalid value: ", "invalid length "]
        .iter()
        .find_map(|prefix| message.strip_prefix(prefix))
        .and_then(|rest| rest.split([' ', '`', ',']).next());
    match (found, expected) {
        (Some(found), Some(expected)) if is_kind(found) => {
            format!("expected {expected}, found {found}")
        }
        (Some(_), Some(expected)) => format!("expected {expected}"),
        _ if message.starts_with("unknown field") => "has an unknown field".to_owned(),
        _ if message.starts_with("unknown variant") => "is none of the known variants".to_owned(),
        _ if message.starts_with("duplicate field") => "occurs twice".to_owned(),
        _ => "its type refused the value".to_owned(),
    }
}

fn is_kind(word: &str) -> bool {
    matches!(
        word,
        "null" | "boolean" | "integer" | "floating" | "string" | "sequence" | "map" | "unit"
    )
}

/// Takes every string value of `document` out of `message`. For messages of code that is not ours,
/// such as a database driver that quotes its connection string.
pub(crate) fn redact(message: String, document: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(document) else {
        return message;
    };
    let mut secrets = Vec::new();
    strings(&value, &mut secrets);
    // The longest first, or a part of a longer secret would survive a shorter one's removal.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.into_iter().fold(message, |message, secret| {
        message.replace(secret, "[redacted]")
    })
}

fn strings<'a>(value: &'a serde_json::Value, into: &mut Vec<&'a str>) {
    match value {
        serde_json::Value::String(text) if text.len() >= SHORTEST_SECRET => into.push(text),
        serde_json::Value::Array(items) => items.iter().for_each(|item| strings(item, into)),
        serde_json::Value::Object(members) => {
            members.values().for_each(|item| strings(item, into));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, dead_code)]

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct App {
        db: Db,
        mode: Mode,
    }

    #[derive(Debug, Deserialize)]
    struct Db {
        password: String,
        port: u16,
    }

    #[derive(Debug, Deserialize)]
    enum Mode {
        Fast,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {}

    /// Whose own words hold what it read.
    #[derive(Debug, Deserialize)]
    #[serde(try_from = "String")]
    struct Picky;

    impl TryFrom<String> for Picky {
        type Error = String;

        fn try_from(text: String) -> Result<Self, String> {
            Err(format!("cannot take {text}"))
        }
    }

    fn error(document: &str) -> String {
        parse::<App>(document.as_bytes()).unwrap_err()
    }

    #[test]
    fn errors_name_the_field_and_the_reason() {
        let wrong = error(r#"{"db":{"password":"x","port":"hunter2"},"mode":"Fast"}"#);
        assert_eq!(
            wrong,
            "field `db.port`: expected u16, found string, at line 1 column 38"
        );
        let missing = error(r#"{"db":{"port":1},"mode":"Fast"}"#);
        assert!(missing.contains("field `password` is missing"), "{missing}");
        assert!(error("").contains("empty"));
        assert!(error("{\"db\":").contains("ends too early"));
        assert!(error("{nope}").contains("broken at line 1"));
        assert!(error("[]").contains("expected"));
        let twice = error(r#"{"mode":"Fast","mode":"Fast"}"#);
        assert!(twice.starts_with("occurs twice, at line 1"), "{twice}");
        let refused = parse::<std::num::NonZeroU8>(b"0").unwrap_err();
        assert!(refused.starts_with("expected a nonzero u8"), "{refused}");
        for (refused, why) in [
            (
                parse::<(u8, u8)>(b"[7]").unwrap_err(),
                "expected a tuple of size 2, at line 1",
            ),
            (
                parse::<Strict>(br#"{"more":1}"#).unwrap_err(),
                "field `more`: has an unknown field, at line 1",
            ),
            (
                parse::<Mode>(br#""Slow""#).unwrap_err(),
                "is none of the known variants, at line 1",
            ),
            (
                parse::<Picky>(br#""it""#).unwrap_err(),
                "its type refused the value, at line",
            ),
        ] {
            assert!(refused.starts_with(why), "{refused}");
        }
        assert!(error(r#"{"db":{"password":"x","port":1},"mode":"Fast"} x"#).contains("broken"));
    }

    #[test]
    fn errors_never_show_a_value() {
        let secret = "hunter2, expected nothing";
        for document in [
            format!(r#"{{"db":"{secret}"}}"#),
            format!(r#"{{"db":{{"password":"x","port":"{secret}"}}}}"#),
            format!(r#"{{"db":{{"password":"x","port":1}},"mode":"{secret}"}}"#),
            format!(r#"{{"db":{{"password":"{secret}","port":70000}},"mode":"Fast"}}"#),
            format!(r#""{secret}""#),
            format!("{{{secret}"),
        ] {
            let text = error(&document);
            assert!(!text.contains("hunter2"), "{text}");
            assert!(!text.contains("70000"), "{text}");
        }
    }

    #[test]
    fn values_are_taken_out_of_foreign_messages() {
        let document = br#"{"db":{"password":"hunter2","all":["hunter2-long"]},"id":"ab"}"#;
        let message = "cannot log in with hunter2-long or hunter2 ab".to_owned();
        assert_eq!(
            redact(message, document),
            "cannot log in with [redacted] or [redacted] ab"
        );
    }
}
