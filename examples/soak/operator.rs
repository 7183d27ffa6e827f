//! Who rotates each second, and breaks what can break.

use std::{
    any::Any,
    panic,
    sync::atomic::Ordering,
    time::{Duration, SystemTime},
};

use fastrand::Rng;
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval},
};
use tower_secrets::{
    Keyring, RegisteredClaims,
    event::{Event, Events},
    source::VersionId,
};

use crate::{
    Result,
    client::Token,
    server::{App, PROBE, ProbeFault},
    store::{Mode, Store},
    tally::Tally,
    truth::Truth,
};

const TICK: Duration = Duration::from_secs(1);
const TOKEN_LIFE: Duration = Duration::from_secs(600);
/// Calls ask for one refresh in 10 s, and no more: where an upstream refuses a key, and where current is revoked.
/// A withdrawal within them may be met by the next poll only.
const UNTIL_WITHDRAWAL: u32 = 15;
/// So long the store is well, so that a withdrawal can be met.
const WELL: u32 = 3;
const BURST: usize = 200;
const WENT_BY: usize = 1_100;

/// What goes wrong in one second.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Nothing,
    Stopped,
    Slow,
    Hung,
    Garbage,
    Bad,
    Older,
    PreviousDropped,
    ProbeRefuses,
    ProbeHangs,
    ProbePanics,
    RevokedPrevious,
    RevokedCurrent,
    Withdrawn,
    Burst,
}

const FAULTS: [Fault; 14] = [
    Fault::Stopped,
    Fault::Slow,
    Fault::Hung,
    Fault::Garbage,
    Fault::Bad,
    Fault::Older,
    Fault::PreviousDropped,
    Fault::ProbeRefuses,
    Fault::ProbeHangs,
    Fault::ProbePanics,
    Fault::RevokedPrevious,
    Fault::RevokedCurrent,
    Fault::Withdrawn,
    Fault::Burst,
];

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing but a rotation",
            Self::Stopped => "the store is stopped",
            Self::Slow => "the store is slow",
            Self::Hung => "the store hangs",
            Self::Garbage => "the store answers garbage",
            Self::Bad => "a version that the upstream does not know",
            Self::Older => "the store answers an older version",
            Self::PreviousDropped => "previous is removed",
            Self::ProbeRefuses => "a probe refuses",
            Self::ProbeHangs => "a probe hangs",
            Self::ProbePanics => "a probe panics",
            Self::RevokedPrevious => "previous is revoked",
            Self::RevokedCurrent => "current is revoked",
            Self::Withdrawn => "the upstream ends the old key at once",
            Self::Burst => "200 refreshes at once",
        }
    }
}

pub(crate) struct Operator {
    rng: Rng,
    keyring: Keyring<App>,
    store: Store,
    truth: Truth,
    tally: Tally,
    tick: Option<Interval>,
    /// How many seconds the store goes on as it is.
    mode_left: u32,
    since_withdrawal: u32,
    /// Since calls last had a reason to ask for a refresh.
    since_asked: u32,
}

impl Operator {
    pub(crate) fn new(
        seed: u64,
        keyring: Keyring<App>,
        store: Store,
        truth: Truth,
        tally: Tally,
    ) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            keyring,
            store,
            truth,
            tally,
            tick: None,
            mode_left: 0,
            since_withdrawal: 0,
            since_asked: 0,
        }
    }

    /// A keyring remembers some 1,000 versions and keys that went by. That memory is full before it is
    /// measured, or it would look like a leak for the first quarter of an hour.
    pub(crate) async fn fill(&self) -> Result<()> {
        for _ in 0..WENT_BY {
            self.store.rotate();
            self.keyring.refresh().await?;
        }
        self.truth
            .is_in_use(self.keyring.current().version().as_str());
        Ok(())
    }

    /// One rotation, and what goes wrong with it.
    pub(crate) async fn tick(&mut self) {
        self.next_second().await;
        PROBE.store(ProbeFault::None as u8, Ordering::Relaxed);
        self.since_withdrawal += 1;
        self.since_asked += 1;
        self.mode_left = self.mode_left.saturating_sub(1);
        if self.mode_left == 0 {
            self.store.set(Mode::Well);
        }
        let fault = self.choose();
        self.tally.fault(fault.name());
        self.bring_about(fault);
        self.have_it_noticed();
    }

    fn choose(&mut self) -> Fault {
        let is_quiet = self.rng.u32(..100) < 35 || self.since_withdrawal < WELL;
        if is_quiet {
            return Fault::Nothing;
        }
        match FAULTS[self.rng.usize(..FAULTS.len())] {
            // They need a store that answers.
            Fault::Withdrawn if self.since_asked < UNTIL_WITHDRAWAL => Fault::Nothing,
            fault => fault,
        }
    }

    fn bring_about(&mut self, fault: Fault) {
        let seconds = self.rng.u32(1..=4);
        match fault {
            Fault::Stopped => self.break_store(Mode::Stopped, seconds),
            Fault::Hung => self.break_store(Mode::Hung, seconds),
            Fault::Slow => {
                let pause = Duration::from_millis(self.rng.u64(50..600));
                self.break_store(Mode::Slow(pause), seconds);
            }
            Fault::ProbeRefuses => PROBE.store(ProbeFault::Refuses as u8, Ordering::Relaxed),
            Fault::ProbeHangs => PROBE.store(ProbeFault::Hangs as u8, Ordering::Relaxed),
            Fault::ProbePanics => PROBE.store(ProbeFault::Panics as u8, Ordering::Relaxed),
            Fault::RevokedPrevious => {
                let previous = self.store.newest();
                self.store.rotate();
                return self.revoke(previous);
            }
            Fault::RevokedCurrent => {
                self.mend_store();
                let current = self.store.newest();
                self.revoke(current);
                self.since_asked = 0;
            }
            Fault::Withdrawn => {
                self.mend_store();
                self.store.rotate();
                self.since_withdrawal = 0;
                self.since_asked = 0;
                return self.store.withdraw_replaced();
            }
            Fault::Burst => {
                for _ in 0..BURST {
                    let keyring = self.keyring.clone();
                    tokio::spawn(async move { drop(keyring.refresh().await) });
                }
            }
            Fault::Nothing
            | Fault::Garbage
            | Fault::Bad
            | Fault::Older
            | Fault::PreviousDropped => {}
        }
        match fault {
            Fault::Garbage => self.store.garbage(),
            Fault::Bad => self.store.bad(),
            Fault::Older => {
                let truth = self.truth.clone();
                self.store.older(move |number| !truth.is_revoked(number));
            }
            Fault::PreviousDropped => self.store.drop_previous(),
            _ => drop(self.store.rotate()),
        }
    }

    fn break_store(&mut self, mode: Mode, seconds: u32) {
        self.mode_left = seconds;
        self.store.set(mode);
    }

    fn mend_store(&mut self) {
        self.mode_left = 0;
        self.store.set(Mode::Well);
    }

    fn revoke(&self, number: crate::store::Number) {
        self.truth.revoking(number);
        self.keyring.revoke(&VersionId::new(number.id()));
        self.truth.revoked(number);
    }

    /// By a change that the source sees, by a person, or by the timer.
    fn have_it_noticed(&mut self) {
        match self.rng.u8(..4) {
            0 | 1 => self.store.tell_change(),
            2 => {
                let keyring = self.keyring.clone();
                tokio::spawn(async move { drop(keyring.refresh().await) });
            }
            _ => {}
        }
    }

    /// No more faults, so that what was broken mends.
    pub(crate) async fn calm(&mut self, length: Duration) {
        PROBE.store(ProbeFault::None as u8, Ordering::Relaxed);
        self.next_second().await;
        self.mend_store();
        self.store.rotate();
        self.store.tell_change();
        tokio::time::sleep(length).await;
    }

    async fn next_second(&mut self) {
        let tick = self.tick.get_or_insert_with(|| {
            let mut tick = interval(TICK);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            tick
        });
        tick.tick().await;
    }

    pub(crate) fn mint(&self) -> Result<Token> {
        mint(&self.keyring, &self.truth).ok_or_else(|| "no token could be signed".into())
    }

    /// Notes what is in use, and mints a token for each new version.
    pub(crate) fn minting(
        &self,
        tokens: watch::Sender<Token>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (keyring, truth, tally) =
            (self.keyring.clone(), self.truth.clone(), self.tally.clone());
        let mut events: Events = keyring.subscribe();
        async move {
            while let Some(event) = events.next().await {
                tally.event(&event);
                if let Event::Reloaded { version, .. } = &event {
                    truth.is_in_use(version.as_str());
                    tokens.send_if_modified(|held| {
                        let next = mint(&keyring, &truth);
                        let is_new = next.is_some();
                        *held = next.unwrap_or_else(|| held.clone());
                        is_new
                    });
                }
            }
        }
    }
}

/// `None` where the key changes meanwhile, and while there is none to sign with.
fn mint(keyring: &Keyring<App>, truth: &Truth) -> Option<Token> {
    let key = || keyring.current().number;
    let before = key();
    let claims = RegisteredClaims::new("soak").expires_at(SystemTime::now() + TOKEN_LIFE);
    let jwt = keyring.signer().sign(&claims).ok()?;
    let is_sure = key() == before && !truth.is_revoked(before);
    is_sure.then(|| Token {
        jwt: jwt.into(),
        key: before,
    })
}

/// Those of the probe are part of the test; any other is a failure.
pub(crate) fn count_panics(tally: Tally) {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let payload: &dyn Any = info.payload();
        if payload.downcast_ref::<&str>() != Some(&crate::server::PROBE_PANIC) {
            tally.failure("a panic");
            usual(info);
        }
    }));
}
