//! What one replica says.

use std::{error::Error, fmt};

use serde::{Deserialize, Deserializer};

use crate::admin::report::SCHEMA;

/// What came of asking one address.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Who was asked, as it is to be shown.
    pub from: String,
    /// What it said, or why there is nothing that counts.
    pub replica: Result<Replica, String>,
}

/// What one replica says in its `/status`, as far as it matters here.
#[derive(Clone, Debug, Deserialize)]
pub struct Replica {
    schema: u32,
    #[serde(deserialize_with = "one_line")]
    pub(super) instance: String,
    pub(super) keyrings: Vec<Secret>,
}

impl Replica {
    /// Reads the answer to `GET /status`.
    ///
    /// # Errors
    /// When it is something else, or of another schema. The error holds nothing of the text.
    pub fn parse(json: &[u8]) -> Result<Self, NotAStatus> {
        let replica: Self = serde_json::from_slice(json).map_err(|_| NotAStatus(()))?;
        if replica.schema == SCHEMA {
            Ok(replica)
        } else {
            Err(NotAStatus(()))
        }
    }

    /// The process's own id.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }
}

/// What was read is no `/status` of this schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAStatus(());

impl fmt::Display for NotAStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the answer is no status of schema {SCHEMA}")
    }
}

impl Error for NotAStatus {}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Secret {
    #[serde(deserialize_with = "one_line")]
    pub(super) name: String,
    safe_to_revoke: bool,
    reasons: Vec<Text>,
    #[serde(default)]
    pub(super) warnings: Vec<Text>,
    pub(super) current: Version,
    previous: Option<Version>,
    pending: Option<Version>,
    replaced: Vec<Replaced>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Version {
    #[serde(deserialize_with = "one_line")]
    pub(super) id: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Replaced {
    #[serde(deserialize_with = "one_line")]
    id: String,
    safe_to_revoke: bool,
    reasons: Vec<Text>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Text {
    version: Option<String>,
    #[serde(deserialize_with = "one_line")]
    pub(super) text: String,
}

/// For a no without a word why.
const NO_REASON: &str = "it does not say why";

impl Secret {
    /// The versions that it has replaced, and what uses any of them.
    pub(super) fn uses(&self) -> (Vec<String>, Vec<String>) {
        let replaced = self.replaced.iter().map(|it| it.id.clone()).collect();
        (replaced, reasons(self.safe_to_revoke, &self.reasons))
    }

    /// This version if it knows it, and what uses it.
    pub(super) fn uses_of(&self, version: &str) -> (Vec<String>, Vec<String>) {
        // Those that are of no version: it is stale, or refreshed no more.
        let general = self.reasons.iter().filter(|it| it.version.is_none());
        let mut uses: Vec<_> = general.map(|it| it.text.clone()).collect();
        let of_version = |text: &str| format!("version {version}: {text}");
        let [current, previous, pending] = [
            Some(&self.current),
            self.previous.as_ref(),
            self.pending.as_ref(),
        ]
        .map(|stage| stage.is_some_and(|it| it.id == version));
        let replaced = self.replaced.iter().find(|it| it.id == version);
        if let Some(replaced) = replaced {
            let own = reasons(replaced.safe_to_revoke, &replaced.reasons);
            uses.extend(own.iter().map(|text| of_version(text)));
        } else if previous {
            uses.push(of_version("it is trusted as previous"));
        }
        if current {
            uses.push(of_version("it is the version in use"));
        } else if pending {
            uses.push(of_version("it is about to come into use"));
        }
        let is_known = replaced.is_some() || current || previous || pending;
        let known = is_known.then(|| version.to_owned());
        (known.into_iter().collect(), uses)
    }
}

fn reasons(is_safe: bool, reasons: &[Text]) -> Vec<String> {
    let mut texts: Vec<_> = reasons.iter().map(|it| it.text.clone()).collect();
    if !is_safe && texts.is_empty() {
        texts.push(NO_REASON.to_owned());
    }
    texts
}

/// It is printed among lines of ours, to a terminal perhaps.
fn one_line<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(text.replace(char::is_control, " "))
}
