//! Whether a whole fleet is done with a version that was replaced, from what the `/status` of each replica says.
//!
//! One process knows of itself alone. So ask all of them, twice, and say how many there must be; the example
//! `fleet_status` is a command that does so:
//!
//! ```sh
//! cargo install tower-secrets --features admin --example fleet_status
//! export TOWER_SECRETS_ADMIN_TOKEN=.. # of the pages
//! fleet_status --expect 3 --wait 30m http://10.0.0.1:9090 http://10.0.0.2:9090 http://10.0.0.3:9090
//! ```
//!
//! The decision is [`Question::decide`], which asks nobody. It is no wherever something is not known:
//!
//! * a replica does not answer, or there are fewer or more than there must be. Two answers of one
//!   [`instance`](super#status), through a load balancer say, count once;
//! * a replica joined, left or was started anew between the two rounds;
//! * a replica is stale, its refresh loop has ended, or it has another current version than the others;
//! * a replica still uses the version; its reasons are those of [`Status::safe_to_revoke`](crate::Status::safe_to_revoke);
//! * no replica knows the version that was asked about, or that anything was replaced at all.
//!
//! Name the version that is to be revoked ([`Question::version`]): without it the answer is about what the
//! replicas have seen leave so far, and right after a rotation all of them may still be at the version before.
//!
//! # What it cannot see
//!
//! * Values that were copied out of [`Secrets`](crate::Secrets), and resources that were made of them elsewhere.
//! * Processes that nobody counts: a job, a verifier elsewhere that reads the same store, a replica that starts
//!   later from an old copy.
//! * Anything that happens after the second round.
//! * Fields. It answers for versions: an older one that is still held may have the same password in it. Without
//!   [`Question::version`] all that were replaced count.
//!
//! Replicas whose versions have names of their own are never of one mind for it, so that it goes on saying no: those
//! with a dynamic account of `VaultDatabase` each, for the name is that of the lease. Ask each replica for itself.

use std::collections::{BTreeMap, BTreeSet};

mod replica;
pub use replica::{Answer, NotAStatus, Replica};

mod verdict;
pub use verdict::{Doubt, Verdict};

/// What is to be known of a fleet.
#[derive(Clone, Debug)]
#[must_use = "it is answered by `decide`"]
pub struct Question {
    replicas: usize,
    keyring: Option<String>,
    version: Option<String>,
}

impl Question {
    /// Whether every version that was replaced may be revoked, in a fleet of exactly so many replicas.
    pub fn new(replicas: usize) -> Self {
        Self {
            replicas,
            keyring: None,
            version: None,
        }
    }

    /// Of this keyring alone, by the name that [`Admin::keyring`](super::Admin::keyring) was given; by default
    /// of all of them.
    pub fn keyring(mut self, name: impl Into<String>) -> Self {
        self.keyring = Some(name.into());
        self
    }

    /// Whether this version may be revoked; by default every one that was replaced.
    pub fn version(mut self, id: impl Into<String>) -> Self {
        self.version = Some(id.into());
        self
    }

    /// Decides by the answers of two rounds, in each of which every replica was asked once. What is looked at
    /// is the second; the first tells who was there.
    pub fn decide(&self, first: &[Answer], second: &[Answer]) -> Verdict {
        let before = by_instance(first);
        let replicas = by_instance(second);
        let mut doubts = Vec::new();
        for Answer { from, replica } in second {
            if let Err(reason) = replica {
                doubts.push(Doubt::NoAnswer {
                    from: from.clone(),
                    reason: reason.clone(),
                });
            }
        }
        if replicas.len() != self.replicas {
            doubts.push(Doubt::Count {
                expected: self.replicas,
                answered: replicas.len(),
            });
        }
        let joined = only_in(&replicas, &before);
        doubts.extend(joined.map(|from| Doubt::Joined { from }));
        let left = only_in(&before, &replicas);
        doubts.extend(left.map(|from| Doubt::Left { from }));

        let mut known = BTreeSet::new();
        for name in self.names(&replicas) {
            self.look_at(&name, &replicas, &mut known, &mut doubts);
        }
        if known.is_empty() {
            doubts.push(match &self.version {
                Some(version) => Doubt::UnknownVersion {
                    version: version.clone(),
                },
                None => Doubt::NothingReplaced,
            });
        }
        Verdict {
            replicas: replicas.iter().map(Seen::line).collect(),
            warnings: self.warnings(&replicas),
            versions: known.into_iter().collect(),
            doubts,
        }
    }

    fn asks_for(&self, name: &str) -> bool {
        self.keyring.as_ref().is_none_or(|it| it == name)
    }

    fn names(&self, replicas: &[Seen<'_>]) -> BTreeSet<String> {
        let secrets = replicas.iter().flat_map(|seen| &seen.replica.keyrings);
        let names = secrets.map(|secret| &secret.name);
        let names = names.filter(|name| self.asks_for(name));
        names.chain(&self.keyring).cloned().collect()
    }

    /// One secret on all replicas. Enters the versions that were asked about and are known.
    fn look_at(
        &self,
        name: &str,
        replicas: &[Seen<'_>],
        known: &mut BTreeSet<(String, String)>,
        doubts: &mut Vec<Doubt>,
    ) {
        let mut at = BTreeMap::<&str, Vec<String>>::new();
        for seen in replicas.iter() {
            let keyring = name.to_owned();
            let from = seen.names();
            let mut secrets = seen.replica.keyrings.iter();
            let Some(secret) = secrets.find(|secret| secret.name == name) else {
                doubts.push(Doubt::Missing { from, keyring });
                continue;
            };
            at.entry(&secret.current.id).or_default().push(from.clone());
            let (versions, reasons) = match &self.version {
                Some(version) => secret.uses_of(version),
                None => secret.uses(),
            };
            known.extend(versions.into_iter().map(|id| (keyring.clone(), id)));
            doubts.extend(reasons.into_iter().map(|reason| Doubt::InUse {
                from: from.clone(),
                keyring: keyring.clone(),
                reason,
            }));
        }
        if at.len() > 1 {
            let at = at.into_iter().map(|(id, from)| (id.to_owned(), from));
            doubts.push(Doubt::Differ {
                keyring: name.to_owned(),
                at: at.collect(),
            });
        }
    }

    fn warnings(&self, replicas: &[Seen<'_>]) -> Vec<String> {
        let mut warnings = Vec::new();
        for seen in replicas.iter() {
            let secrets = seen.replica.keyrings.iter();
            for secret in secrets.filter(|secret| self.asks_for(&secret.name)) {
                let texts = secret.warnings.iter().map(|warning| &warning.text);
                let line = |text| format!("{}: {}: {text}", seen.names(), secret.name);
                warnings.extend(texts.map(line));
            }
        }
        warnings
    }
}

/// One process, and each address at which it answered.
struct Seen<'a> {
    from: Vec<&'a str>,
    replica: &'a Replica,
}

impl Seen<'_> {
    fn names(&self) -> String {
        self.from.join(" = ")
    }

    fn line(&self) -> String {
        let mut line = format!("{} ({})", self.names(), self.replica.instance);
        for secret in &self.replica.keyrings {
            line += &format!(" {}: version {};", secret.name, secret.current.id);
        }
        line.truncate(line.trim_end_matches(';').len());
        line
    }
}

/// In the order in which they answered first.
fn by_instance(answers: &[Answer]) -> Vec<Seen<'_>> {
    let mut all: Vec<Seen<'_>> = Vec::new();
    let mut places = BTreeMap::new();
    for answer in answers {
        let Ok(replica) = &answer.replica else {
            continue;
        };
        let place = *places.entry(&replica.instance).or_insert(all.len());
        if place == all.len() {
            let from = Vec::new();
            all.push(Seen { from, replica });
        }
        all[place].from.push(&answer.from);
    }
    all
}

/// Where those answer that are not among the others.
fn only_in(these: &[Seen<'_>], others: &[Seen<'_>]) -> impl Iterator<Item = String> {
    let others: BTreeSet<_> = others.iter().map(|it| &it.replica.instance).collect();
    let only = these.iter();
    let only = only.filter(move |it| !others.contains(&it.replica.instance));
    only.map(Seen::names)
}
