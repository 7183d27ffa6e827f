//! Who rotates: writes bundles as the kubelet does, and knows what may be refused.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::unix::fs::symlink,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::tools::fingerprint;

/// One bundle. `key` counts the signing keys: a rotation of other fields keeps it.
#[derive(Clone)]
pub(crate) struct Bundle {
    pub(crate) version: String,
    pub(crate) key: usize,
    pub(crate) api_key: String,
    document: Value,
}

impl Bundle {
    fn new(version: String, key: usize, jwt_secret: &Value) -> io::Result<Self> {
        let (api_key, db_password) = (random()?, random()?);
        let document = json!({
            "version": version,
            "jwt_secret": jwt_secret,
            "api_key": api_key,
            "db_password": db_password,
        });
        Ok(Self {
            version,
            key,
            api_key,
            document,
        })
    }

    pub(crate) fn first() -> io::Result<Self> {
        Self::new("r00".to_owned(), 0, &random()?.into())
    }

    /// Everything anew.
    pub(crate) fn next(&self, number: usize) -> io::Result<Self> {
        Self::new(format!("r{number:02}"), self.key + 1, &random()?.into())
    }

    /// Everything but the signing key.
    pub(crate) fn next_with_same_key(&self, number: usize) -> io::Result<Self> {
        let jwt_secret = &self.document["jwt_secret"];
        Self::new(format!("r{number:02}"), self.key, jwt_secret)
    }

    fn fingerprint(&self) -> String {
        let field = |name: &str| self.document[name].as_str().unwrap_or_default();
        fingerprint(field("api_key"), field("db_password"))
    }
}

fn random() -> io::Result<String> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// Writes a new data directory and swings `..data` over to it, as the kubelet does.
pub(crate) fn write(mount: &Path, current: &Bundle, previous: Option<&Bundle>) -> io::Result<()> {
    let data = mount.join("..data");
    let old = fs::read_link(&data).ok();
    let name = format!("..{}", current.version);
    let folder = mount.join(&name);
    fs::create_dir(&folder)?;
    let previous = previous.map_or(Value::Null, |bundle| bundle.document.clone());
    fs::write(folder.join("current.json"), current.document.to_string())?;
    fs::write(folder.join("previous.json"), previous.to_string())?;
    symlink(&name, mount.join("..data_tmp"))?;
    fs::rename(mount.join("..data_tmp"), &data)?;
    match old {
        Some(old) => fs::remove_dir_all(mount.join(old)),
        None => ["current.json", "previous.json"]
            .iter()
            .try_for_each(|name| symlink(Path::new("..data").join(name), mount.join(name))),
    }
}

/// What the operator knows, without asking the crate under test.
#[derive(Clone, Default)]
pub(crate) struct Truth(Arc<Mutex<Facts>>);

#[derive(Default)]
struct Facts {
    fingerprints: HashMap<String, String>,
    /// The newest key that was written, and the newest that is known to be in use.
    written: usize,
    in_use: usize,
    /// Keys whose revocation was begun, and was ended.
    revoking: HashSet<usize>,
    revoked: HashSet<usize>,
    api_keys: HashSet<String>,
}

impl Truth {
    /// Before the write: from now on the server may use it. A bundle that must never be used is
    /// not told, and its API key is not valid.
    pub(crate) fn will_write(&self, bundle: &Bundle) {
        let mut facts = self.facts();
        facts.written = bundle.key;
        facts
            .fingerprints
            .insert(bundle.version.clone(), bundle.fingerprint());
        facts.api_keys.insert(bundle.api_key.clone());
    }

    pub(crate) fn is_in_use(&self, bundle: &Bundle) {
        self.facts().in_use = bundle.key;
    }

    pub(crate) fn revoking(&self, key: usize) {
        self.facts().revoking.insert(key);
    }

    pub(crate) fn revoked(&self, key: usize) {
        self.facts().revoked.insert(key);
    }

    /// At most two keys overlap, and a revoked one is over.
    pub(crate) fn may_refuse(&self, key: usize) -> bool {
        let facts = self.facts();
        facts.written >= key + 2 || facts.revoking.contains(&key)
    }

    pub(crate) fn must_refuse(&self, key: usize) -> bool {
        let facts = self.facts();
        facts.in_use >= key + 2 || facts.revoked.contains(&key)
    }

    pub(crate) fn is_fingerprint(&self, version: &str, fingerprint: &str) -> bool {
        let facts = self.facts();
        facts
            .fingerprints
            .get(version)
            .is_some_and(|known| known == fingerprint)
    }

    pub(crate) fn is_version(&self, version: &str) -> bool {
        self.facts().fingerprints.contains_key(version)
    }

    /// The upstream's side.
    pub(crate) fn accepts(&self, api_key: &str) -> bool {
        self.facts().api_keys.contains(api_key)
    }

    pub(crate) fn withdraw(&self, api_key: &str) {
        self.facts().api_keys.remove(api_key);
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
