//! The shared, refreshable handle on a secret, and what it knows about its keys.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc, oneshot, watch};

use crate::{
    clock::{Clock, Now},
    event::{Event, Events, Teller},
    refresh::{Builder, RefreshError, Refreshed, Trigger},
    secrets::Secrets,
    snapshot::{Cell, DropSignal, Snapshot},
    source::{Source, VersionId},
};

pub(crate) mod key;
pub use key::{JwtKey, KeyError, KeyErrorKind, KeyId, SignError, SignErrorKind};

pub(crate) mod registered;
pub use registered::{Audience, RegisteredClaims};

pub(crate) mod ledger;
use ledger::{Candidate, Ledger};

mod signer;
pub use signer::Signer;

mod status;
pub(crate) use status::Health;
pub use status::{Failure, Quarantine, Status, VersionStatus};

pub(crate) mod verify;
pub use verify::{VerifyError, VerifyErrorKind};

/// At most one refresh in this time is asked for by upstreams that refuse a credential.
const REFUSAL_COOL_DOWN: Duration = Duration::from_secs(10);

/// The shared handle on a secret that changes while the process runs.
///
/// Made by [`Keyring::builder`]; cheap to clone. A background task keeps it fresh for as long as
/// any clone lives; [`Secrets`] held by requests do not count.
///
/// ```
/// use serde::Deserialize;
/// use tower_secrets::{JwtKey, Keyring, source::Memory};
///
/// #[derive(Deserialize)]
/// struct App {
///     jwt_secret: JwtKey,
///     api_key: String,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let source = Memory::new(r#"{"jwt_secret":"0123456789abcdef0123456789abcdef","api_key":"one"}"#);
/// let keyring = Keyring::<App>::builder(source.clone())
///     .jwt_key(|app| &app.jwt_secret)
///     .build()
///     .await?;
///
/// source.rotate(r#"{"jwt_secret":"fedcba9876543210fedcba9876543210","api_key":"two"}"#);
/// assert!(keyring.refresh().await?.is_swapped());
///
/// let secrets = keyring.current();
/// assert_eq!(secrets.api_key, "two");
/// assert_eq!(secrets.previous().expect("inside the window").api_key, "one");
/// # Ok(())
/// # }
/// ```
pub struct Keyring<T> {
    shared: Arc<Shared<T>>,
}

/// What the handles own. The refresh loop and the requests hold it weakly, so that dropping the
/// last handle drops it, and with it `stop`, which ends the loop.
pub(crate) struct Shared<T> {
    cell: Cell<T>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Teller,
    pub(crate) settings: Settings,
    books: Mutex<Books<T>>,
    pub(crate) health: Mutex<Health>,
    /// When the source last answered: monotonic, in nanoseconds.
    last_answer: AtomicU64,
    requests: mpsc::UnboundedSender<Request>,
    stop: watch::Sender<bool>,
    done: watch::Receiver<()>,
    retired: Arc<Notify>,
    last_refusal: AsyncMutex<Option<Duration>>,
}

/// What the handles need to know of the builder's settings.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) source_name: String,
    pub(crate) has_jwt_key: bool,
    pub(crate) max_staleness: Option<Duration>,
    pub(crate) refuse_after: Option<Duration>,
}

struct Books<T> {
    ledger: Ledger<T>,
    generation: u64,
    retired: Vec<Retired<T>>,
}

struct Retired<T> {
    generation: u64,
    version: VersionId,
    snapshot: Weak<Snapshot<T>>,
}

/// A wish for a refresh, and who wants to know what came of it.
pub(crate) struct Request {
    pub(crate) trigger: Trigger,
    pub(crate) reply: Option<oneshot::Sender<Result<Refreshed, RefreshError>>>,
}

/// The loop's ends of the channels.
pub(crate) struct LoopEnds {
    pub(crate) requests: mpsc::UnboundedReceiver<Request>,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) done: watch::Sender<()>,
    pub(crate) retired: Arc<Notify>,
}

impl<T: Send + Sync + 'static> Keyring<T> {
    /// The newest snapshot, for background tasks, start-up code and servers without HTTP. Never
    /// waits.
    #[must_use]
    pub fn current(&self) -> Secrets<T> {
        self.shared.secrets()
    }

    /// Fetches now and tells what came of it. Callers that ask while a fetch is under way share
    /// the *next* one, so what is answered was fetched after the asking.
    ///
    /// A version that a probe refused before is probed again at once: somebody asked for it.
    ///
    /// # Errors
    /// Which step refused the new version, and why; the snapshot in use stays. After a shutdown
    /// [`RefreshError::is_stopped`] is true.
    ///
    /// # Cancellation safety
    /// Dropping the future cancels nothing: the refresh goes on.
    pub async fn refresh(&self) -> Result<Refreshed, RefreshError> {
        self.shared.refresh(Trigger::Manual).await
    }

    /// Refuses a version's verification key and its bundle from now on, in whatever stage it is or
    /// will be, for the life of the process and whatever the store says. For a key that leaked.
    ///
    /// Where its key is the one in current use, every token is refused until the store has a new
    /// one, and a refresh is asked for. It is local to this process: to withdraw a key from a
    /// fleet, remove it from the store.
    pub fn revoke(&self, version: &VersionId) {
        self.shared.revoke(version, false);
    }

    /// [`revoke`](Self::revoke) for what is previous now, without touching current: a key that
    /// both have goes on verifying. Tells which versions that were.
    #[expect(clippy::must_use_candidate, reason = "it is called for what it does")]
    pub fn revoke_previous(&self) -> Vec<VersionId> {
        let versions = self.shared.books().ledger.previous_versions();
        for version in &versions {
            self.shared.revoke(version, true);
        }
        versions
    }

    /// Takes a [`revoke`](Self::revoke) back; `false` where there was none. Deadlines that passed
    /// meanwhile stay passed.
    #[expect(clippy::must_use_candidate, reason = "it is called for what it does")]
    pub fn restore(&self, version: &VersionId) -> bool {
        self.shared.restore(version)
    }

    /// What an operator wants to see: versions, windows, the last refreshes.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// A stream of what happens from now on.
    #[must_use]
    pub fn subscribe(&self) -> Events {
        self.shared.events.subscribe()
    }

    /// Mints tokens with the current key.
    #[must_use]
    pub fn signer(&self) -> Signer<T> {
        Signer::new(self.clone())
    }

    /// Ends the refresh loop and waits until it has ended. The snapshot stays readable; a refresh
    /// under way is abandoned, and later ones fail.
    ///
    /// # Cancellation safety
    /// The loop ends even if the future is dropped after its first poll.
    pub async fn shutdown(&self) {
        self.shared.stop.send_replace(true);
        let mut done = self.shared.done.clone();
        // An error says that the loop dropped its end, which is what is waited for.
        while done.changed().await.is_ok() {}
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<T>> {
        &self.shared
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    pub(crate) fn has_jwt_key(&self) -> bool {
        self.shared.settings.has_jwt_key
    }

    /// Whether the source has been silent for longer than `refuse_after`.
    pub(crate) fn refuses(&self) -> bool {
        let limit = self.shared.settings.refuse_after;
        limit.is_some_and(|limit| self.shared.staleness(self.shared.clock.now()) > limit)
    }
}

impl<T: Send + Sync + 'static> Keyring<T> {
    pub(crate) fn open(
        first: Candidate<T>,
        bundle: Arc<T>,
        windows: ledger::Windows,
        clock: Arc<dyn Clock>,
        events: Teller,
        settings: Settings,
    ) -> (Self, LoopEnds) {
        let now = clock.now();
        let (ledger, told) = Ledger::open(first, bundle, windows, now);
        events.tell_all(told);
        let retired = Arc::new(Notify::new());
        let snapshot = compose(&ledger, 1, &clock, &retired, now);
        let (requests, incoming) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let (finished, done) = watch::channel(());
        let shared = Shared {
            cell: Cell::new(snapshot),
            clock,
            events,
            settings,
            books: Mutex::new(Books {
                ledger,
                generation: 1,
                retired: Vec::new(),
            }),
            health: Mutex::new(Health::default()),
            last_answer: AtomicU64::new(as_nanos(now.mono)),
            requests,
            stop,
            done,
            retired: retired.clone(),
            last_refusal: AsyncMutex::new(None),
        };
        let keyring = Self {
            shared: Arc::new(shared),
        };
        let ends = LoopEnds {
            requests: incoming,
            stop: stopped,
            done: finished,
            retired,
        };
        (keyring, ends)
    }
}

impl<Raw: serde::de::DeserializeOwned + Send + Sync + 'static> Keyring<Raw> {
    /// Starts to build a keyring over `source`, whose documents are JSON of the shape `Raw`.
    pub fn builder(source: impl Source) -> Builder<Raw> {
        Builder::new(source.boxed())
    }
}

impl<T> Clone for Keyring<T> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<T> fmt::Debug for Keyring<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.shared.cell.load();
        f.debug_struct("Keyring")
            .field("source", &self.shared.settings.source_name)
            .field("generation", &snapshot.generation)
            .field("version", &snapshot.current.id)
            .finish_non_exhaustive()
    }
}

impl<T> Shared<T> {
    pub(crate) fn secrets(self: &Arc<Self>) -> Secrets<T> {
        Secrets::new(self.cell.load(), Arc::downgrade(self))
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot<T>> {
        self.cell.load()
    }

    pub(crate) fn staleness(&self, now: Now) -> Duration {
        let answered = Duration::from_nanos(self.last_answer.load(Ordering::Acquire));
        now.mono.saturating_sub(answered)
    }

    pub(crate) fn answered(&self, now: Now) {
        self.last_answer
            .store(as_nanos(now.mono), Ordering::Release);
    }

    /// Publishes a proved view and returns its generation.
    pub(crate) fn accept(&self, candidate: Candidate<T>) -> u64 {
        self.change(|ledger, now| Some(ledger.accept(candidate, now)))
            .unwrap_or_default()
    }

    /// Drops previous although the new current was refused.
    pub(crate) fn withdraw_previous(&self) {
        self.change(|ledger, now| {
            let told = ledger.withdraw_previous(now);
            (!told.is_empty()).then_some(told)
        });
    }

    pub(crate) fn shorten_previous(&self, id: &VersionId, not_after: std::time::SystemTime) {
        let now = self.clock.now();
        self.books().ledger.shorten_previous(id, not_after, now);
    }

    /// Lets go of what is over by now.
    pub(crate) fn expire(&self) {
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

    /// Tells of the older snapshots whose last reader is gone.
    pub(crate) fn tell_drained(&self) {
        let mut drained = Vec::new();
        self.books().retired.retain(|old| {
            let alive = old.snapshot.strong_count() > 0;
            if !alive {
                drained.push((old.generation, old.version.clone()));
            }
            alive
        });
        for (generation, version) in drained {
            self.events.tell(Event::Drained {
                generation,
                version,
            });
        }
    }

    fn revoke(&self, version: &VersionId, spare_current: bool) {
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

    fn restore(&self, version: &VersionId) -> bool {
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
        let told = how(&mut books.ledger, now)?;
        books.generation += 1;
        let generation = books.generation;
        let next = compose(&books.ledger, generation, &self.clock, &self.retired, now);
        let old = self.cell.store(next);
        books.retired.push(Retired {
            generation: old.generation,
            version: old.current.id.clone(),
            snapshot: Arc::downgrade(&old),
        });
        drop(books);
        // Perhaps the last reader: what the old bundle owns is dropped outside of the lock.
        drop(old);
        self.events.tell_all(told);
        Some(generation)
    }

    fn books(&self) -> MutexGuard<'_, Books<T>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(
        &self,
        trigger: Trigger,
        reply: Option<oneshot::Sender<Result<Refreshed, RefreshError>>>,
    ) {
        // A loop that has ended drops the reply, which tells the asker.
        let _ = self.requests.send(Request { trigger, reply });
    }

    pub(crate) async fn refresh(&self, trigger: Trigger) -> Result<Refreshed, RefreshError> {
        let (reply, answer) = oneshot::channel();
        self.ask(trigger, Some(reply));
        answer
            .await
            .unwrap_or_else(|_| Err(RefreshError::stopped()))
    }

    /// For `try_each`: the newest snapshot, after one refresh that all refused callers share.
    pub(crate) async fn newest_after_refusal(self: &Arc<Self>, refused: &VersionId) -> Secrets<T> {
        let mut last = self.last_refusal.lock().await;
        let now = self.clock.now().mono;
        let cooling = last.is_some_and(|last| now.saturating_sub(last) < REFUSAL_COOL_DOWN);
        if !cooling && self.cell.load().current.id == *refused {
            *last = Some(now);
            // What came of it is told by the events; the newest credential is what is wanted.
            let _ = self.refresh(Trigger::Refused).await;
        }
        self.secrets()
    }
}

fn compose<T>(
    ledger: &Ledger<T>,
    generation: u64,
    clock: &Arc<dyn Clock>,
    retired: &Arc<Notify>,
    now: Now,
) -> Arc<Snapshot<T>> {
    Arc::new(Snapshot {
        generation,
        current: ledger.current.clone(),
        previous: ledger.trusted_previous(now),
        keys: ledger.trusted_keys(now),
        clock: clock.clone(),
        _on_drop: DropSignal(retired.clone()),
    })
}

fn as_nanos(mono: Duration) -> u64 {
    u64::try_from(mono.as_nanos()).unwrap_or(u64::MAX)
}
