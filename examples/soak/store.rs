//! The store: bundles, one a second, and what goes wrong with asking for them.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Notify;
use tower_secrets::source::{Source, SourceError, SourceErrorKind, Version, Versions};

use crate::truth::{Truth, View};

/// How many versions it remembers.
const REMEMBERED: usize = 16;

/// The number of a version, and of the key that is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub(crate) struct Number(pub(crate) u64);

impl Number {
    pub(crate) fn id(self) -> String {
        format!("v{}", self.0)
    }

    pub(crate) fn api_key(self) -> String {
        format!("api-{}", self.0)
    }

    pub(crate) fn password(self) -> String {
        format!("password-{}", self.0)
    }

    fn version(self) -> Version {
        let document = json!({
            "number": self,
            "jwt_secret": format!("the signing key of version {:032}", self.0),
            "api_key": self.api_key(),
            "db_password": self.password(),
        });
        Version::new(self.id(), document.to_string())
    }
}

/// What answering is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Well,
    Stopped,
    Slow(Duration),
    Hung,
}

#[derive(Clone)]
pub(crate) struct Store(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    truth: Truth,
    changed: Notify,
    fetches: AtomicU64,
}

struct State {
    mode: Mode,
    next: u64,
    /// The newest last; none that was bad.
    good: VecDeque<Number>,
    has_previous: bool,
    /// What it answers instead, once.
    instead: Option<Instead>,
    /// The upstream does not accept the keys of these any more.
    withdrawn: VecDeque<Number>,
}

#[derive(Clone, Copy, Debug)]
enum Instead {
    Garbage(Number),
    /// The upstream does not know its API key.
    Bad(Number),
    Older(Number),
}

impl Store {
    pub(crate) fn new(truth: Truth) -> Self {
        Self(Arc::new(Inner {
            state: Mutex::new(State {
                mode: Mode::Well,
                next: 1,
                good: VecDeque::from([Number(0)]),
                has_previous: true,
                instead: None,
                withdrawn: VecDeque::new(),
            }),
            truth,
            changed: Notify::new(),
            fetches: AtomicU64::new(0),
        }))
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.state().mode = mode;
    }

    /// The next version becomes current, the one before it previous.
    pub(crate) fn rotate(&self) -> Number {
        let mut state = self.state();
        let number = state.number();
        state.good.push_back(number);
        if state.good.len() > REMEMBERED {
            state.good.pop_front();
        }
        state.has_previous = true;
        state.instead = None;
        number
    }

    pub(crate) fn garbage(&self) {
        let mut state = self.state();
        state.instead = Some(Instead::Garbage(state.number()));
    }

    pub(crate) fn bad(&self) {
        let mut state = self.state();
        state.instead = Some(Instead::Bad(state.number()));
    }

    /// A server that lags behind the others answers.
    pub(crate) fn older(&self, is_of_use: impl Fn(Number) -> bool) {
        let mut state = self.state();
        let older = state.good.iter().rev().skip(5).find(|it| is_of_use(**it));
        state.instead = older.copied().map(Instead::Older);
    }

    pub(crate) fn drop_previous(&self) {
        self.state().has_previous = false;
    }

    /// The upstream ends the API key of what was current before, at once.
    pub(crate) fn withdraw_replaced(&self) {
        let mut state = self.state();
        let replaced = state.good.iter().rev().nth(1).copied();
        state.withdrawn.extend(replaced);
        if state.withdrawn.len() > REMEMBERED {
            state.withdrawn.pop_front();
        }
    }

    pub(crate) fn tell_change(&self) {
        self.0.changed.notify_one();
    }

    pub(crate) fn newest(&self) -> Number {
        self.state().newest()
    }

    pub(crate) fn fetches(&self) -> u64 {
        self.0.fetches.load(Ordering::Relaxed)
    }

    /// Whether the upstream accepts an API key.
    pub(crate) fn upstream(&self) -> Arc<dyn Fn(&str) -> bool + Send + Sync> {
        let store = self.clone();
        Arc::new(move |key| {
            let state = store.state();
            let is_of = |number: &&Number| number.api_key() == key;
            state.good.iter().any(|it| is_of(&it)) && !state.withdrawn.iter().any(|it| is_of(&it))
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self) -> Versions {
        let state = self.state();
        let newest = state.newest();
        let before = state.good.iter().rev().nth(1).copied();
        let (view, versions) = match state.instead {
            None => {
                let previous = before.filter(|_| state.has_previous);
                let versions = Versions::new(newest.version());
                let versions = match previous {
                    Some(previous) => versions.with_previous(previous.version()),
                    None => versions,
                };
                (View::new(newest, previous), versions)
            }
            Some(Instead::Older(older)) => (View::older(older), Versions::new(older.version())),
            Some(Instead::Garbage(number)) => {
                let garbage = Version::new(number.id(), "<html>502 Bad Gateway</html>");
                let versions = Versions::new(garbage).with_previous(newest.version());
                (View::refused(newest), versions)
            }
            Some(Instead::Bad(number)) => {
                let versions = Versions::new(number.version());
                (
                    View::refused(newest),
                    versions.with_previous(newest.version()),
                )
            }
        };
        // Under the lock, so that the books have the order of the answers.
        self.0.truth.offered(view);
        versions
    }
}

impl State {
    fn number(&mut self) -> Number {
        self.next += 1;
        Number(self.next - 1)
    }

    fn newest(&self) -> Number {
        self.good.back().copied().unwrap_or(Number(0))
    }
}

impl Source for Store {
    async fn fetch(&self) -> Result<Versions, SourceError> {
        self.0.fetches.fetch_add(1, Ordering::Relaxed);
        let mode = self.state().mode;
        match mode {
            Mode::Well => {}
            Mode::Slow(pause) => tokio::time::sleep(pause).await,
            Mode::Hung => std::future::pending().await,
            Mode::Stopped => {
                let error = SourceError::new(SourceErrorKind::Unavailable, "the store is stopped");
                return Err(error);
            }
        }
        Ok(self.answer())
    }

    async fn changed(&self) {
        self.0.changed.notified().await;
    }

    fn name(&self) -> String {
        "soak".to_owned()
    }
}
