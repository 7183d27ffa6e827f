//! Which versions are in which stage, as series of a bounded number.

use std::collections::HashSet;

use ::metrics::{Gauge, SharedString, gauge};

use crate::{keyring::VersionStatus, source::Stage};

/// A facade takes no series back, so a process that rotates for years must stop to add some.
const MAX_VERSIONS: usize = 256;

/// The name of all versions after those.
const OTHER: &str = "other";

pub(super) struct Versions {
    secret: SharedString,
    named: HashSet<String>,
    shown: Vec<Shown>,
}

struct Shown {
    stage: Stage,
    version: String,
    gauge: Gauge,
}

impl Versions {
    pub(super) fn new(secret: SharedString) -> Self {
        Self {
            secret,
            named: HashSet::new(),
            shown: Vec::new(),
        }
    }

    pub(super) fn show<'a>(&mut self, versions: impl Iterator<Item = &'a VersionStatus>) {
        let now: Vec<_> = versions
            .map(|it| (it.stage, self.name(it.id.as_str())))
            .collect();
        self.shown.retain(|shown| {
            let stays = now.iter().any(|it| shown.is(it));
            if !stays {
                shown.gauge.set(0);
            }
            stays
        });
        for it in now {
            if !self.shown.iter().any(|shown| shown.is(&it)) {
                let (stage, version) = it;
                let gauge = gauge!(super::VERSION_INFO, "secret" => self.secret.clone(),
                    "version" => version.clone(), "stage" => stage.as_str());
                self.shown.push(Shown {
                    stage,
                    version,
                    gauge,
                });
            }
        }
        for shown in &self.shown {
            shown.gauge.set(1);
        }
    }

    fn name(&mut self, version: &str) -> String {
        if !self.named.contains(version) {
            if self.named.len() == MAX_VERSIONS {
                return OTHER.to_owned();
            }
            self.named.insert(version.to_owned());
        }
        version.to_owned()
    }
}

impl Shown {
    fn is(&self, (stage, version): &(Stage, String)) -> bool {
        self.stage == *stage && self.version == *version
    }
}
