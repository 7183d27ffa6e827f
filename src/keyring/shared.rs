//! What all handles of a keyring share: the cell, the books behind it, and the way to the loop.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::{
    Keyring,
    frame::Frame,
    gate::{Gate, Waiter},
    in_flight::InFlight,
    ledger::{Candidate, Ledger, Windows, Withdrawn},
    refusals::Refusals,
    session_keys::SessionKeys,
    status::Health,
    unknown_key::UnknownKey,
    verify::{KnownKeys, Policy, may_be_of_new_key},
};
use crate::{
    clock::{Clock, Now},
    event::{Event, Teller},
    guard::let_go,
    refresh::{RefreshError, Refreshed, Trigger},
    secrets::Secrets,
    snapshot::{Cell, Reader, Retired},
    source::VersionId,
};

/// What the handles own. The refresh loop and the requests hold it weakly, so that dropping the
/// last handle drops it, and with it `stop`, which ends the loop.
pub(crate) struct Shared<T> {
    cell: Cell<T>,
    frame: Frame<T>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Teller,
    pub(crate) settings: Settings,
    books: Mutex<Books<T>>,
    health: Mutex<Health>,
    /// When the source last answered: monotonic, in nanoseconds.
    last_answer: AtomicU64,
    requests: mpsc::UnboundedSender<Request>,
    /// Of what is published.
    pub(super) changes: watch::Sender<()>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) done: watch::Receiver<()>,
    /// `None` where tokens of unknown keys ask for nothing.
    gate: Option<Gate>,
    pub(crate) refusals: Arc<Refusals>,
    /// `None` where the builder was told of no field.
    pub(super) session_keys: Option<SessionKeys>,
}

/// What the handles need to know of the builder's settings.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) source_name: String,
    pub(crate) has_jwt_key: bool,
    pub(crate) has_session_key: bool,
    pub(crate) max_staleness: Option<Duration>,
    pub(crate) refuse_after: Option<Duration>,
    pub(crate) token_cache: usize,
    pub(crate) unknown_key: UnknownKey,
    pub(crate) refresh_every: Duration,
    /// How long a key is needed after it has signed a token, leeway included.
    pub(crate) token_life: Duration,
}

impl Settings {
    /// The lesser of the bounds on how long the source may be silent.
    pub(crate) fn staleness_limit(&self) -> Option<Duration> {
        self.max_staleness
            .into_iter()
            .chain(self.refuse_after)
            .min()
    }
}

pub(super) struct Books<T> {
    pub(super) ledger: Ledger<T>,
    pub(super) generation: u64,
    pub(super) in_flight: InFlight<T>,
}

/// A wish for a refresh, and who wants to know what came of it.
pub(crate) struct Request {
    pub(crate) trigger: Trigger,
    pub(crate) reply: Option<Reply>,
}

/// How those who asked learn of the end.
pub(crate) enum Reply {
    Answer(oneshot::Sender<Result<Refreshed, RefreshError>>),
    /// Dropped at the end.
    End(#[expect(dead_code, reason = "it is held for its drop")] watch::Sender<()>),
}

/// The loop's ends of the channels.
pub(crate) struct LoopEnds {
    pub(crate) requests: mpsc::UnboundedReceiver<Request>,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) done: watch::Sender<()>,
    pub(crate) retired: Arc<Retired>,
    pub(crate) awaited: Arc<Notify>,
}

impl<T: Send + Sync + 'static> Keyring<T> {
    pub(crate) fn open(
        first: Candidate<T>,
        bundle: Arc<T>,
        windows: Windows,
        clock: Arc<dyn Clock>,
        events: Teller,
        settings: Settings,
    ) -> (Self, LoopEnds) {
        let now = clock.now();
        let (ledger, told) = Ledger::open(first, bundle, windows, now);
        events.tell_all(told);
        let retired = Arc::new(Retired::default());
        let (requests, incoming) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let (finished, done) = watch::channel(());
        let refusals = Arc::new(Refusals::new(done.clone()));
        let awaited = refusals.awaited();
        let session_keys = settings
            .has_session_key
            .then(|| SessionKeys::of_keyring(ledger.session_keys(now), clock.clone()));
        let shared = Arc::new_cyclic(|this| {
            let frame = Frame {
                clock: clock.clone(),
                retired: retired.clone(),
                token_cache: settings.token_cache,
                keyring: this.clone(),
                meter: events.meter.clone(),
            };
            Shared {
                gate: Gate::new(settings.unknown_key.clone(), settings.refresh_every),
                cell: Cell::new(frame.compose(&ledger, 1, now)),
                frame,
                clock,
                events,
                settings,
                books: Mutex::new(Books {
                    ledger,
                    generation: 1,
                    in_flight: InFlight::new(),
                }),
                health: Mutex::new(Health::default()),
                last_answer: AtomicU64::new(as_nanos(now.mono)),
                requests,
                changes: watch::Sender::new(()),
                stop,
                done,
                refusals,
                session_keys,
            }
        });
        let keyring = Self { shared };
        let ends = LoopEnds {
            requests: incoming,
            stop: stopped,
            done: finished,
            retired,
            awaited,
        };
        (keyring, ends)
    }
}

impl<T> Shared<T> {
    pub(crate) fn secrets(&self) -> Secrets<T> {
        Secrets::new(self.cell.load())
    }

    pub(crate) fn snapshot(&self) -> Reader<T> {
        self.cell.load()
    }

    /// How many hold the newest snapshot.
    pub(super) fn readers(&self) -> usize {
        self.cell.readers()
    }

    pub(super) fn retired(&self) -> &Retired {
        &self.frame.retired
    }

    pub(crate) fn staleness(&self, now: Now) -> Duration {
        let answered = Duration::from_nanos(self.last_answer.load(Ordering::Acquire));
        now.mono.saturating_sub(answered)
    }

    /// What the source said so long ago it says still.
    pub(crate) fn answered(&self, now: Now, age: Duration) {
        let at = as_nanos(now.mono.saturating_sub(age));
        self.last_answer.fetch_max(at, Ordering::AcqRel);
    }

    /// Publishes a proved view and returns its generation.
    pub(crate) fn accept(&self, candidate: Candidate<T>) -> u64 {
        let offered = candidate.bundles();
        let generation = self.change(|ledger, now| Some(ledger.accept(candidate, now)));
        offered.into_iter().for_each(|it| let_go(|| drop(it)));
        generation.unwrap_or_default()
    }

    /// Drops what the store withdrew, although the new current was refused. Whether there was anything.
    pub(crate) fn withdraw(&self, what: Withdrawn) -> bool {
        self.change(|ledger, now| ledger.withdraw(what, now))
            .is_some()
    }

    pub(crate) fn shorten_bundle(&self, version: &VersionId, not_after: SystemTime) {
        let now = self.clock.now();
        self.books().ledger.shorten_bundle(version, not_after, now);
    }

    pub(crate) fn shorten_keys(&self, version: &VersionId, not_after: SystemTime) {
        let now = self.clock.now();
        let mut books = self.books();
        books.ledger.shorten_keys(version, not_after, now);
        if let Some(session_keys) = &self.session_keys {
            session_keys.publish(books.ledger.session_keys(now));
        }
    }

    /// Lets go of what is over by now.
    pub(crate) fn expire(&self) {
        let now = self.clock.now();
        let cut_offs = self.books().ledger.new_cut_offs(now);
        self.events.tell_all(cut_offs);
        let mut gone = Vec::new();
        let generation = self.change(|ledger, now| {
            gone = ledger.expire(now)?;
            Some(Vec::new())
        });
        let Some(generation) = generation else {
            return;
        };
        for version in gone {
            self.events.tell(Event::PreviousExpired {
                version,
                generation,
            });
        }
    }

    pub(crate) fn next_end(&self, now: Now) -> Option<Duration> {
        self.books().ledger.next_end(now)
    }

    /// For how long a pending version has been waiting.
    pub(crate) fn pending_for(&self, now: Now) -> Option<Duration> {
        let since = self.books().ledger.pending_since?;
        Some(now.mono.saturating_sub(since))
    }

    pub(super) fn revoke(&self, version: &VersionId, spare_current: bool) {
        let mut current_hit = false;
        self.change(|ledger, _| {
            current_hit = ledger.revoke(version, spare_current);
            let version = version.clone();
            Some(vec![Event::Revoked { version }])
        });
        if current_hit {
            self.ask(Trigger::Revoked, None);
        }
    }

    pub(super) fn restore(&self, version: &VersionId) -> bool {
        self.change(|ledger, _| {
            let version = version.clone();
            ledger
                .restore(&version)
                .then(|| vec![Event::Restored { version }])
        })
        .is_some()
    }

    /// The one way to a new generation: change the books, compose, store, all under one lock.
    /// Returns the generation where `how` said that something changed.
    fn change(&self, how: impl FnOnce(&mut Ledger<T>, Now) -> Option<Vec<Event>>) -> Option<u64> {
        let now = self.clock.now();
        let mut books = self.books();
        // A bundle's `Drop` is not ours: it may panic, or ask the keyring. So none is dropped under the lock.
        let before = books.ledger.bundles();
        let told = how(&mut books.ledger, now)?;
        books.generation += 1;
        let generation = books.generation;
        let next = self.frame.compose(&books.ledger, generation, now);
        let old = self.cell.store(next);
        if let Some(session_keys) = &self.session_keys {
            session_keys.publish(books.ledger.session_keys(now));
        }
        let Books {
            ledger, in_flight, ..
        } = &mut *books;
        in_flight.replaced(&old, ledger, now);
        drop(books);
        self.refusals.tell_news();
        self.changes.send_replace(());
        self.events.tell_all(told);
        // Perhaps the last holders.
        let_go(|| old.tokens.clear());
        let_go(|| drop(old));
        before.into_iter().for_each(|it| let_go(|| drop(it)));
        self.sample();
        Some(generation)
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Books<T>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, trigger: Trigger, reply: Option<Reply>) {
        // A loop that has ended drops the reply, which tells the asker.
        let _ = self.requests.send(Request { trigger, reply });
    }

    pub(crate) async fn refresh(&self, trigger: Trigger) -> Result<Refreshed, RefreshError> {
        let (reply, answer) = oneshot::channel();
        self.ask(trigger, Some(Reply::Answer(reply)));
        answer
            .await
            .unwrap_or_else(|_| Err(RefreshError::stopped()))
    }

    /// A refresh has ended, and a store wants to be left alone for so long; those who asked for the
    /// refresh are told after this.
    pub(crate) fn note_refresh(&self, is_good: bool, rest: Duration) {
        if let Some(gate) = &self.gate {
            gate.note(is_good, self.clock.now().mono, rest);
        }
    }

    pub(super) fn waits_for_keys(&self) -> bool {
        self.gate.is_some()
    }

    /// A place to wait for the keys that a refresh may bring, for a token that was refused because of
    /// its key alone; `before` is the place of one who has waited, in vain. `None` where nothing is to
    /// be expected of one.
    pub(crate) fn wait_for_key(
        &self,
        token: &[u8],
        policy: &Policy,
        before: Option<Waiter>,
    ) -> Option<Waiter> {
        let gate = self.gate.as_ref()?;
        let now = self.clock.now();
        if before.is_none() && !gate.may_admit(now.mono) {
            return None;
        }
        let snapshot = self.snapshot();
        let known = KnownKeys {
            keys: &snapshot.keys,
            revoked: &snapshot.revoked_names,
        };
        if !may_be_of_new_key(token, known, policy, now, gate.on_bad_signatures()) {
            return None;
        }
        let meter = &self.events.meter;
        let waiter = gate.enter(before, now.mono, |end| {
            meter.asked_for_key();
            self.ask(Trigger::UnknownKey, Some(Reply::End(end)));
        })?;
        Some(waiter.shown_by(meter))
    }

    /// For `try_each`: ends with the refresh under way or just over, or with a new one. It belongs to
    /// no caller, so a caller who gives up ends nothing for the others.
    pub(crate) fn refresh_after_refusal(&self) -> watch::Receiver<()> {
        let now = self.clock.now().mono;
        self.refusals.refresh(now, |end| {
            self.ask(Trigger::Refused, Some(Reply::End(end)));
        })
    }
}

fn as_nanos(mono: Duration) -> u64 {
    u64::try_from(mono.as_nanos()).unwrap_or(u64::MAX)
}
