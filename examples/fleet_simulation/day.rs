//! What happens when, and with which settings the fleet meets it.

use std::{error::Error, fmt, ops::Range, sync::Arc, time::Duration};

use tokio::time::{sleep, sleep_until};
use tower_secrets::source::VersionId;

use crate::{
    fleet::Fleet,
    outcome::{Outcome, Tally},
    store::Store,
    traffic::Traffic,
};

/// In this time the replicas start, as after an outage of the platform below them.
pub(crate) const START: Duration = Duration::from_secs(40);
/// When callers come, and from when on calls to the store are counted for the peak.
pub(crate) const OPENING: Duration = Duration::from_secs(60);
pub(crate) const POLL: Duration = Duration::from_secs(300);
pub(crate) const TOKEN_LIFETIME: Duration = Duration::from_secs(300);
/// What the builder asks for: detection, activation, a token's life and the leeway are 970 s.
pub(crate) const OVERLAP: Duration = Duration::from_secs(1_000);
/// A pending key is put so long before it becomes current: a poll, and some for a slow store.
const PENDING_LEAD: Duration = Duration::from_secs(330);
/// By then the window of the key before is over.
const SPACING: Duration = Duration::from_secs(1020);
/// From the first rotation to the finding that the key before it has leaked. By then nobody signs with it, and
/// its window is open for as long again as a poll takes.
const LEAK: Duration = Duration::from_secs(640);
const OUTAGE: Duration = Duration::from_secs(600);
/// How long the operator needs to reach all replicas.
pub(crate) const REVOKED_EVERYWHERE_IN: Duration = Duration::from_secs(10);

/// How the fleet is set up, and what befalls it.
#[derive(Clone, Copy)]
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    /// The new key is put as pending first.
    pub(crate) pending: bool,
    /// A replica signs with a new key only when the others know it.
    pub(crate) delayed: bool,
    /// A token of an unknown key asks for a refresh.
    pub(crate) on_unknown_key: bool,
    /// The operator tells each replica to revoke, instead of the store alone.
    pub(crate) revoke_everywhere: bool,
    /// One replica in a hundred cannot reach the store for a while.
    pub(crate) outage: bool,
    /// The junk comes to all replicas, not to one in a thousand.
    pub(crate) junk_everywhere: bool,
}

impl Variant {
    const POLLING: Self = Self {
        name: "polling alone",
        pending: false,
        delayed: false,
        on_unknown_key: false,
        revoke_everywhere: false,
        outage: false,
        junk_everywhere: false,
    };
    const ALL_OF_IT: Self = Self {
        name: "all of it",
        pending: true,
        delayed: true,
        on_unknown_key: true,
        revoke_everywhere: true,
        ..Self::POLLING
    };

    pub(crate) const ALL: [Self; 7] = [
        Self::POLLING,
        Self {
            name: "with pending",
            pending: true,
            ..Self::POLLING
        },
        Self {
            name: "delayed signing",
            delayed: true,
            ..Self::POLLING
        },
        Self {
            name: "refresh on unknown key",
            on_unknown_key: true,
            ..Self::POLLING
        },
        Self::ALL_OF_IT,
        Self {
            name: "all of it, 1 % cut off",
            outage: true,
            ..Self::ALL_OF_IT
        },
        Self {
            name: "all of it, junk everywhere",
            junk_everywhere: true,
            ..Self::ALL_OF_IT
        },
    ];

    pub(crate) fn has_all(&self) -> bool {
        self.pending && self.delayed && self.on_unknown_key
    }
}

/// One day: what all variants have in common. Times are since its beginning.
pub(crate) struct Day {
    pub(crate) replicas: usize,
    pub(crate) rotations: u32,
    pub(crate) tokens_per_second: u32,
    pub(crate) seed: u64,
}

impl Day {
    pub(crate) fn new(replicas: u32, rotations: u32, tokens_per_second: u32, seed: u64) -> Self {
        Self {
            replicas: replicas as usize,
            rotations,
            tokens_per_second,
            seed,
        }
    }

    /// When nothing but polls happens.
    pub(crate) fn quiet(&self) -> Range<Duration> {
        let from = OPENING + POLL;
        from..from + 4 * POLL
    }

    pub(crate) fn flip(&self, rotation: u32) -> Duration {
        self.quiet().end + PENDING_LEAD + SPACING * rotation
    }

    pub(crate) fn end(&self) -> Duration {
        self.flip(self.rotations)
    }

    pub(crate) fn leak(&self) -> Duration {
        self.flip(0) + LEAK
    }

    /// Around the second rotation, from before its key can be seen.
    pub(crate) fn outage(&self) -> Range<Duration> {
        let from = self.flip(1) - PENDING_LEAD - Duration::from_secs(30);
        from..from + OUTAGE
    }

    /// Around the third rotation.
    pub(crate) fn junk(&self) -> Range<Duration> {
        let from = self.flip(2) - Duration::from_secs(60);
        from..from + POLL
    }

    pub(crate) fn cut_off(&self) -> Range<usize> {
        0..self.replicas.div_ceil(100)
    }

    /// Who gets the junk: replicas that somebody has found the addresses of, or those behind the balancer.
    pub(crate) fn flooded(&self, everywhere: bool) -> Range<usize> {
        if everywhere {
            return 0..self.replicas;
        }
        let first = self.cut_off().end;
        first..first + self.replicas.div_ceil(1000)
    }

    /// In this time a fleet makes as many calls as one of 10,000 does in a second, so that what chance does
    /// to the busiest is alike.
    pub(crate) fn calls_counted_over(&self) -> usize {
        10_000_usize.div_ceil(self.replicas)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} replicas, {} rotations, {} tokens minted and {} verified in a second, a poll every {} s, \
             clocks up to 2 s off, {:.1} h of time, seed {}",
            self.replicas,
            self.rotations,
            self.tokens_per_second,
            2 * self.tokens_per_second,
            POLL.as_secs(),
            self.end().as_secs() as f64 / 3600.0,
            self.seed,
        )
    }
}

/// One variant, from the first replica's start to the end.
pub(crate) fn live_through(day: &Day, variant: Variant) -> Result<Outcome, Box<dyn Error>> {
    // Of what the crate leaves to chance. It is one thread, so this is all of it.
    fastrand::seed(day.seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    runtime.block_on(async {
        let store = Arc::new(Store::new(day, variant.outage));
        let fleet = Arc::new(Fleet::start(day, variant, &store).await?);
        let tally = Arc::new(Tally::new(day));
        let operator = Operator {
            variant,
            store: store.clone(),
            fleet: fleet.clone(),
        };
        let operator = tokio::spawn(operator.work(schedule(day, variant)));
        Traffic::new(day, variant, &store, &fleet, &tally)
            .await?
            .flow(day)
            .await?;
        operator.await?;
        Ok(Outcome::of(variant, &tally, &store))
    })
}

enum Deed {
    Stage,
    Flip,
    Revoke,
}

fn schedule(day: &Day, variant: Variant) -> Vec<(Duration, Deed)> {
    let mut deeds = vec![(day.leak(), Deed::Revoke)];
    for rotation in 0..day.rotations {
        let flip = day.flip(rotation);
        if variant.pending {
            deeds.push((flip - PENDING_LEAD, Deed::Stage));
        }
        deeds.push((flip, Deed::Flip));
    }
    deeds.sort_by_key(|(at, _)| *at);
    deeds
}

/// Who rotates and revokes.
struct Operator {
    variant: Variant,
    store: Arc<Store>,
    fleet: Arc<Fleet>,
}

impl Operator {
    async fn work(self, schedule: Vec<(Duration, Deed)>) {
        for (at, deed) in schedule {
            sleep_until(self.store.begin() + at).await;
            match deed {
                Deed::Stage => self.store.stage(),
                Deed::Flip => self.store.flip(),
                Deed::Revoke => {
                    let leaked = self.store.withdraw_previous();
                    if let Some(leaked) = leaked.filter(|_| self.variant.revoke_everywhere) {
                        self.revoke_everywhere(&leaked).await;
                    }
                }
            }
        }
    }

    /// As a script does that posts to the `/revoke` of each replica: it asks the store for nothing.
    async fn revoke_everywhere(&self, leaked: &VersionId) {
        let replicas = &self.fleet.replicas;
        let pause = REVOKED_EVERYWHERE_IN / 100;
        for chunk in replicas.chunks(replicas.len().div_ceil(100)) {
            sleep(pause).await;
            for replica in chunk {
                replica.keyring.revoke(leaked);
            }
        }
    }
}
