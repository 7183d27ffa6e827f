//! A mounted directory that anybody may have written, read as the keyring reads it.
//!
//! A line `=current.json` begins a file of that name; so do `previous` and `pending`, and
//! `=current/field` for a folder with a file for each field.

use std::{fs, path::Path, sync::LazyLock, time::Duration};

use serde::Deserialize;
use serde_json::{Map, Value};
use tower_secrets::{
    JwtKey, Keyring,
    fuzz::{assert_untold, texts},
    source::{File, Memory, Source, Version, Versions},
};

use crate::runtime;

const MOST_FILES: usize = 16;

/// What a server could have for a bundle.
#[derive(Deserialize)]
#[allow(dead_code, reason = "only whether it can be read is asked")]
struct App {
    jwt_secret: JwtKey,
    api_key: String,
    limits: Option<Limits>,
    mode: Option<Mode>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "only whether it can be read is asked")]
struct Limits {
    calls: u16,
    names: Vec<String>,
}

#[derive(Deserialize)]
enum Mode {
    Fast,
    Safe,
}

/// Judges one directory.
pub fn file(bytes: &[u8]) {
    let files = files(bytes);
    let root = MOUNT.path().join("mount");
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(&root).unwrap();
    for (name, contents) in &files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // A name that is a folder already.
        let _ = fs::write(path, contents);
    }
    let values: Vec<Value> = files.iter().map(|(_, contents)| value(contents)).collect();
    // The names of files are told.
    let untold = values.iter().flat_map(texts).filter(|text| {
        let mut words = text.split(|c: char| !c.is_alphanumeric());
        !words.any(|word| {
            files
                .iter()
                .any(|(name, _)| !word.is_empty() && name.contains(word))
        })
    });
    let untold: Vec<&str> = untold.collect();
    let versions = match fetch(&root) {
        Ok(versions) => versions,
        Err(text) => return assert_untold(&text, untold),
    };
    let stages = [
        Some(versions.current()),
        versions.previous(),
        versions.pending(),
    ];
    for version in stages.into_iter().flatten() {
        whole(version);
    }
    written(versions.current(), &files);
    read_back(versions.current());
    let document = versions.current().document().to_vec();
    let built = runtime().block_on(async {
        let source = Memory::new(String::from_utf8(document).unwrap());
        let builder = Keyring::<App>::builder(source).start_budget(Duration::ZERO);
        builder.jwt_key(|app: &App| &app.jwt_secret).build().await
    });
    if let Err(error) = built {
        assert_untold(&error.to_string(), untold);
    }
}

fn fetch(root: &Path) -> Result<Versions, String> {
    let source = File::new(root).watch(false);
    let fetched = runtime().block_on(source.fetch());
    fetched.map_err(|error| error.to_string())
}

/// What every version keeps to.
fn whole(version: &Version) {
    let id = version.id().as_str();
    assert!((1..=128).contains(&id.len()), "{id:?}");
    assert!(!id.contains(char::is_control), "{id:?}");
    let document: Map<String, Value> = serde_json::from_slice(version.document()).unwrap();
    assert!(
        !document.contains_key("not_after"),
        "it is about the document"
    );
    let declared = match document.get("version") {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    match declared {
        Some(declared) => assert_eq!(declared, id),
        None => assert!(id.starts_with("sha256:"), "{id}"),
    }
}

/// The document says what the files say.
fn written(version: &Version, files: &[(String, Vec<u8>)]) {
    let document: Value = serde_json::from_slice(version.document()).unwrap();
    let find = |wanted: &str| files.iter().rev().find(|(name, _)| name == wanted);
    if let Some((_, contents)) = find("current.json") {
        let mut expected = value(contents);
        expected.as_object_mut().unwrap().remove("not_after");
        assert_eq!(document, expected);
        return;
    }
    for (name, value) in document.as_object().unwrap() {
        let (_, contents) = find(&format!("current/{name}")).unwrap();
        let value = value.as_str().unwrap().as_bytes();
        let end = contents.strip_prefix(value).unwrap();
        assert!(matches!(end, b"" | b"\n" | b"\r\n"), "{name}: {end:?}");
    }
}

/// Written as one file, it is the same version.
fn read_back(version: &Version) {
    let root = MOUNT.path().join("again");
    fs::create_dir_all(&root).unwrap();
    fs::write(root.join("current.json"), version.document()).unwrap();
    let again = fetch(&root).unwrap();
    assert_eq!(again.current().id(), version.id());
    assert_eq!(again.current().document(), version.document());
}

fn value(contents: &[u8]) -> Value {
    let text = || Value::String(String::from_utf8_lossy(contents).into_owned());
    serde_json::from_slice(contents).unwrap_or_else(|_| text())
}

fn files(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let name = line
            .strip_prefix(b"=")
            .and_then(|name| std::str::from_utf8(name).ok());
        match name.map(str::trim_end).filter(|name| is_known(name)) {
            Some(name) if files.len() < MOST_FILES => files.push((name.to_owned(), Vec::new())),
            _ => match files.last_mut() {
                Some((_, contents)) => contents.extend(line),
                None => {}
            },
        }
    }
    // The end of the last line belongs to the next name.
    let count = files.len();
    for (_, contents) in files.iter_mut().take(count.saturating_sub(1)) {
        contents.pop_if(|byte| *byte == b'\n');
    }
    files
}

fn is_known(name: &str) -> bool {
    let is_plain = |field: &str| {
        let is_letter = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        (1..=32).contains(&field.len())
            && !matches!(field, "." | "..")
            && field.chars().all(is_letter)
    };
    ["current", "previous", "pending"].iter().any(|stage| {
        let rest = name.strip_prefix(stage).unwrap_or_default();
        rest == ".json" || rest.strip_prefix('/').is_some_and(is_plain)
    })
}

/// Where the files are, until the process ends.
static MOUNT: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
