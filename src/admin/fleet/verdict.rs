//! The answer, and why it is no.

use std::fmt;

/// Why the answer is no.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doubt {
    /// An address gave no answer that counts.
    NoAnswer {
        /// Which.
        from: String,
        /// Why.
        reason: String,
    },
    /// There are not as many replicas as there must be.
    Count {
        /// How many there must be.
        expected: usize,
        /// How many processes have answered.
        answered: usize,
    },
    /// A process was not there the first time.
    Joined {
        /// Where it answers.
        from: String,
    },
    /// A process was there the first time only.
    Left {
        /// Where it answered.
        from: String,
    },
    /// A replica has no secret of this name.
    Missing {
        /// Which replica.
        from: String,
        /// The name.
        keyring: String,
    },
    /// The replicas are not all at the same version.
    Differ {
        /// Of which secret.
        keyring: String,
        /// Each current version, and who is at it.
        at: Vec<(String, Vec<String>)>,
    },
    /// A replica says that it is not safe.
    InUse {
        /// Which replica.
        from: String,
        /// For which secret.
        keyring: String,
        /// Its words.
        reason: String,
    },
    /// No replica knows the version that was asked about.
    UnknownVersion {
        /// The version.
        version: String,
    },
    /// No replica knows that anything was replaced.
    NothingReplaced,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer { from, reason } => write!(f, "{from}: no answer: {reason}"),
            Self::Count { expected, answered } => {
                write!(
                    f,
                    "there must be {expected} replicas, and {answered} answered"
                )
            }
            Self::Joined { from } => write!(f, "{from}: joined meanwhile"),
            Self::Left { from } => write!(f, "{from}: left meanwhile"),
            Self::Missing { from, keyring } => write!(f, "{from}: has no keyring {keyring}"),
            Self::Differ { keyring, at } => {
                write!(f, "{keyring}: not all are at the same version:")?;
                let mut separator = "";
                for (version, from) in at {
                    write!(f, "{separator} {version} at {}", from.join(", "))?;
                    separator = ";";
                }
                Ok(())
            }
            Self::InUse {
                from,
                keyring,
                reason,
            } => write!(f, "{from}: {keyring}: {reason}"),
            Self::UnknownVersion { version } => {
                write!(f, "no replica knows of a version {version}")
            }
            Self::NothingReplaced => f.write_str("no replica knows of a version to revoke"),
        }
    }
}

/// The answer. Its text is a line for each replica, for each doubt and for each warning, and the verdict.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub(super) replicas: Vec<String>,
    pub(super) doubts: Vec<Doubt>,
    pub(super) warnings: Vec<String>,
    /// Those that were asked about: of which keyring, and which.
    pub(super) versions: Vec<(String, String)>,
}

impl Verdict {
    /// Whether the fleet is done with the versions that were asked about.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.doubts.is_empty()
    }

    /// Why not; nothing where it is safe.
    #[must_use]
    pub fn doubts(&self) -> &[Doubt] {
        &self.doubts
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            replicas,
            doubts,
            warnings,
            versions,
        } = self;
        for line in replicas {
            writeln!(f, "{line}")?;
        }
        for doubt in doubts {
            writeln!(f, "not safe: {doubt}")?;
        }
        for warning in warnings {
            writeln!(f, "warning: {warning}")?;
        }
        if !self.is_safe() {
            return f.write_str("safe to revoke: no");
        }
        f.write_str("safe to revoke: yes,")?;
        let mut separator = "";
        for (keyring, version) in versions {
            write!(f, "{separator} version {version} of {keyring}")?;
            separator = ",";
        }
        Ok(())
    }
}
