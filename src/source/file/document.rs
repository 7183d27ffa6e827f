//! From a stage's bytes to a version: its document, its name, and when its window ends.

use std::{collections::BTreeMap, fmt::Write as _, io, path::Path, time::SystemTime};

use aws_lc_rs::digest;
use serde_json::{Map, Value, error::Category};
use zeroize::Zeroizing;

use super::{
    layout::Raw,
    read::{Contents, malformed},
};
use crate::{
    source::{SourceError, Stage, Version, rfc3339::rfc3339},
    wipe::wipe,
};

/// Reserved at the top level of every document, in all stages: it says something about the
/// document and is not a part of it.
const NOT_AFTER: &str = "not_after";
const VERSION: &str = "version";
/// Ids are logged and shown; one that is longer is a mistake.
const MAX_VERSION_BYTES: usize = 128;
/// 128 bits, in hexadecimal.
const FINGERPRINT_BYTES: usize = 16;

/// What a stage holds, understood.
pub(super) enum Found {
    /// There is no such file or folder.
    Missing,
    /// It says that there is none: `null`, or an empty folder.
    Empty,
    Document(Document),
    Unusable(SourceError),
}

pub(super) struct Document {
    pub(super) version: Version,
    pub(super) fingerprint: Fingerprint,
}

/// The digest of a document's content, however it is laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; FINGERPRINT_BYTES]);

/// Understands one stage.
pub(super) fn parse(raw: Raw, stage: Stage) -> Found {
    let outcome = match raw {
        Raw::Absent => return Found::Missing,
        Raw::Unusable(error) => return Found::Unusable(error),
        Raw::Fields(_, fields) if fields.is_empty() => return Found::Empty,
        Raw::Fields(shown, fields) => object_of_fields(fields, &shown)
            .and_then(|object| document(object, None, &shown, stage))
            .map(Some),
        Raw::Json(shown, contents) => document_of_json(contents, &shown, stage),
    };
    match outcome {
        Ok(Some(document)) => Found::Document(document),
        Ok(None) => Found::Empty,
        Err(error) => Found::Unusable(error),
    }
}

fn document_of_json(
    mut contents: Contents,
    shown: &Path,
    stage: Stage,
) -> Result<Option<Document>, SourceError> {
    match value_of_json(&contents.bytes, shown)? {
        Value::Null if stage != Stage::Current => Ok(None),
        Value::Object(object) => {
            let bytes = std::mem::take(&mut *contents.bytes);
            document(Object(object), Some(bytes), shown, stage).map(Some)
        }
        mut other => {
            wipe(&mut other);
            Err(malformed(shown, "the top level must be a JSON object"))
        }
    }
}

fn value_of_json(bytes: &[u8], shown: &Path) -> Result<Value, SourceError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| malformed(shown, &not_utf8(error.valid_up_to())))?;
    // The error's own text may quote the document; its position does not.
    serde_json::from_str(text).map_err(|error| {
        let what = match error.classify() {
            Category::Eof => "the JSON ends too early",
            Category::Syntax | Category::Data | Category::Io => "is not valid JSON",
        };
        let (line, column) = (error.line(), error.column());
        malformed(shown, &format!("{what} (line {line}, column {column})"))
    })
}

fn object_of_fields(
    fields: BTreeMap<String, Contents>,
    shown: &Path,
) -> Result<Object, SourceError> {
    let mut object = Object(Map::new());
    for (name, contents) in fields {
        let text = std::str::from_utf8(&contents.bytes)
            .map_err(|error| malformed(&shown.join(&name), &not_utf8(error.valid_up_to())))?;
        let value = Value::String(without_newline(text).to_owned());
        object.0.insert(name, value);
    }
    Ok(object)
}

/// Editors and `echo` end a file with a newline that is no part of the value: one, and no more.
fn without_newline(text: &str) -> &str {
    match text.strip_suffix('\n') {
        Some(line) => line.strip_suffix('\r').unwrap_or(line),
        None => text,
    }
}

/// `bytes` are the document as it was written, if it was written as JSON.
fn document(
    mut object: Object,
    bytes: Option<Vec<u8>>,
    shown: &Path,
    stage: Stage,
) -> Result<Document, SourceError> {
    let mut bytes = bytes.map(Zeroizing::new);
    let not_after = match object.0.remove(NOT_AFTER) {
        None => None,
        Some(value) => {
            bytes = None;
            match stage {
                Stage::Previous => deadline(value, shown)?,
                _ => None,
            }
        }
    };
    let fingerprint = Fingerprint::of(&object.0);
    let id = match declared_version(&object.0, shown)? {
        Some(declared) => declared,
        None => fingerprint.id(),
    };
    let bytes = match bytes {
        Some(mut bytes) => std::mem::take(&mut *bytes),
        None => serialise(&object.0, shown)?,
    };
    let mut version = Version::new(id, bytes).with_origin(shown.display().to_string());
    if let Some(at) = not_after {
        version = version.with_not_after(at);
    }
    Ok(Document {
        version,
        fingerprint,
    })
}

fn deadline(mut value: Value, shown: &Path) -> Result<Option<SystemTime>, SourceError> {
    let at = match &value {
        Value::Null => return Ok(None),
        Value::String(text) => rfc3339(text),
        _ => None,
    };
    wipe(&mut value);
    let reason = "field `not_after` is not an RFC 3339 time such as 2030-01-31T12:00:00Z";
    at.map(Some).ok_or_else(|| malformed(shown, reason))
}

/// The `version` member or file: a string or a number; another type is the document's own matter.
fn declared_version(
    object: &Map<String, Value>,
    shown: &Path,
) -> Result<Option<String>, SourceError> {
    let declared = match object.get(VERSION) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => return Ok(None),
    };
    let fits = !declared.trim().is_empty()
        && declared.len() <= MAX_VERSION_BYTES
        && !declared.chars().any(char::is_control);
    let reason = "field `version` must be 1 to 128 bytes of text without control characters";
    fits.then_some(Some(declared))
        .ok_or_else(|| malformed(shown, reason))
}

fn serialise(object: &Map<String, Value>, shown: &Path) -> Result<Vec<u8>, SourceError> {
    let mut length = Length(0);
    let counted = serde_json::to_writer(&mut length, object);
    // Its exact size, so that nothing is reallocated and left behind unwiped.
    let mut bytes = Vec::with_capacity(length.0);
    counted
        .and_then(|()| serde_json::to_writer(&mut bytes, object))
        .map_err(|_| malformed(shown, "cannot be written as JSON"))?;
    Ok(bytes)
}

impl Fingerprint {
    fn of(object: &Map<String, Value>) -> Self {
        let mut context = Hash(digest::Context::new(&digest::SHA256));
        context.object(object);
        let digest = context.0.finish();
        let mut bytes = [0; FINGERPRINT_BYTES];
        for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }

    fn id(self) -> String {
        let mut id = String::from("sha256:");
        for byte in self.0 {
            // Writing to a `String` cannot fail.
            let _ = write!(id, "{byte:02x}");
        }
        id
    }
}

/// Digests JSON without spaces and with sorted members, whatever order `Map` keeps: another crate
/// may turn serde_json's `preserve_order` on, and ids must be equal in every build.
struct Hash(digest::Context);

impl Hash {
    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.0.update(b"null"),
            Value::Bool(true) => self.0.update(b"true"),
            Value::Bool(false) => self.0.update(b"false"),
            Value::Number(number) => self.0.update(number.to_string().as_bytes()),
            Value::String(text) => self.string(text),
            Value::Array(items) => self.array(items),
            Value::Object(object) => self.object(object),
        }
    }

    fn string(&mut self, text: &str) {
        // The writer below cannot fail, and a string can always be written as JSON.
        let _ = serde_json::to_writer(self, text);
    }

    fn array(&mut self, items: &[Value]) {
        let mut before: &[u8] = b"[";
        for item in items {
            self.0.update(before);
            self.value(item);
            before = b",";
        }
        self.0.update(if items.is_empty() { b"[]" } else { b"]" });
    }

    fn object(&mut self, object: &Map<String, Value>) {
        let mut members: Vec<_> = object.iter().collect();
        members.sort_unstable_by_key(|(name, _)| *name);
        let mut before: &[u8] = b"{";
        for (name, value) in members {
            self.0.update(before);
            self.string(name);
            self.0.update(b":");
            self.value(value);
            before = b",";
        }
        self.0.update(if object.is_empty() { b"{}" } else { b"}" });
    }
}

impl io::Write for &mut Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts what is written.
struct Length(usize);

impl io::Write for &mut Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A document in parts; its strings are wiped when it is dropped.
struct Object(Map<String, Value>);

impl Drop for Object {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

fn not_utf8(at: usize) -> String {
    format!("is not UTF-8 (at byte {at})")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn fingerprint(json: &str) -> String {
        let Value::Object(object) = serde_json::from_str(json).unwrap() else {
            panic!("no object")
        };
        Fingerprint::of(&object).id()
    }

    #[test]
    fn the_digest_is_that_of_sorted_json_without_spaces() {
        // printf '%s' '{"a":[1,true,null],"b":{"c":"\n","d":[],"e":{}}}' | sha256sum | cut -c1-32
        let expected = "sha256:dff154ba3730e4c56c0f4a2cf478a4ee";
        let id =
            fingerprint(r#" { "b": {"e": {}, "d": [ ], "c": "\u000a"}, "a": [1, true, null] } "#);
        assert_eq!(id, expected);
    }

    #[test]
    fn values_of_another_type_have_another_digest() {
        let same_text = [
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            r#"{"a":[1]}"#,
            r#"{"a":null}"#,
        ];
        for (i, one) in same_text.iter().enumerate() {
            for other in &same_text[i + 1..] {
                assert_ne!(fingerprint(one), fingerprint(other));
            }
        }
    }

    #[test]
    fn one_newline_is_dropped() {
        for (text, value) in [
            ("x", "x"),
            ("x\n", "x"),
            ("x\r\n", "x"),
            ("x\n\n", "x\n"),
            ("x\r", "x\r"),
            ("\n", ""),
            (" x ", " x "),
        ] {
            assert_eq!(without_newline(text), value);
        }
    }
}
