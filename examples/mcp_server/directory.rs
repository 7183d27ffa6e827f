//! The secrets' directory: one of ours where none was given, and the API keys in it.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use tempfile::TempDir;

/// Where the secrets are. A directory of ours goes away with the value.
#[derive(Debug)]
pub(crate) enum Directory {
    Given(PathBuf),
    Ours(TempDir),
}

impl Directory {
    /// The given one, or a private one with fresh random secrets.
    pub(crate) fn open(given: Option<PathBuf>) -> io::Result<Self> {
        if let Some(path) = given {
            return Ok(Self::Given(path));
        }
        let ours = private_directory()?;
        let bundle = serde_json::json!({
            "jwt_secret": random()?,
            "api_key": random()?,
            "db_password": random()?,
        });
        let mut next = tempfile::NamedTempFile::new_in(ours.path())?;
        writeln!(next, "{bundle:#}")?;
        next.persist(ours.path().join("current.json"))?;
        Ok(Self::Ours(ours))
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Ours(ours) => ours.path(),
        }
    }
}

/// Nobody but its owner may enter it.
fn private_directory() -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.prefix("tower-secrets-").tempdir()
}

fn random() -> io::Result<String> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// The API keys that are in the directory right now.
pub(crate) fn api_keys(secrets: &Path) -> impl Iterator<Item = String> + '_ {
    let stages = ["current", "previous"].into_iter();
    stages.filter_map(|stage| api_key_of(secrets, stage))
}

fn api_key_of(secrets: &Path, stage: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Part {
        api_key: String,
    }

    if let Ok(field) = fs::read_to_string(secrets.join(stage).join("api_key")) {
        return Some(field.strip_suffix('\n').unwrap_or(&field).to_owned());
    }
    let file = match secrets.is_file() {
        true if stage == "current" => secrets.to_owned(),
        _ => secrets.join(format!("{stage}.json")),
    };
    let document = fs::read(file).ok()?;
    serde_json::from_slice::<Part>(&document)
        .ok()
        .map(|part| part.api_key)
}
