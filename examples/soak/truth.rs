//! Which tokens must be accepted, and which must be refused, as the store's books have it.
//!
//! While a new view is on its way nobody outside can tell which one a request meets. So each request is
//! judged by all views from the one that was in use when it began to the newest when it ended.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::store::Number;

/// More than a request, or an event, can be late.
const VIEWS: usize = 256;
const REVOCATIONS: usize = 256;

/// One answer of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// What becomes current; `None` where it is to be refused.
    current: Option<Number>,
    /// Keys that must be accepted, and others that may be.
    certain: Vec<Number>,
    possible: Vec<Number>,
    is_older: bool,
    /// Which keys the store named, whatever became of them.
    named: Vec<Number>,
}

impl View {
    pub(crate) fn new(current: Number, previous: Option<Number>) -> Self {
        let named: Vec<Number> = previous.into_iter().chain([current]).collect();
        Self {
            current: Some(current),
            certain: named.clone(),
            possible: Vec::new(),
            is_older: false,
            named,
        }
    }

    /// One that was replaced is current again: its key is trusted again.
    pub(crate) fn older(current: Number) -> Self {
        Self {
            is_older: true,
            ..Self::new(current, None)
        }
    }

    /// A new version that must not be taken; what it replaces goes on.
    pub(crate) fn refused(in_use: Number) -> Self {
        Self {
            current: None,
            ..Self::new(in_use, None)
        }
    }

    fn trusts(&self, key: Number) -> bool {
        self.certain.contains(&key) || self.possible.contains(&key)
    }
}

#[derive(Clone, Default)]
pub(crate) struct Truth(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    views: VecDeque<View>,
    /// How many views were forgotten.
    forgotten: usize,
    /// The one that is known to be in use, counted from the first of all.
    in_use: usize,
    revoking: VecDeque<Number>,
    revoked: VecDeque<Number>,
}

/// The moment at which a request began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    in_use: usize,
    is_revoked: bool,
}

/// What may become of a token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub(crate) may_refuse: bool,
    pub(crate) must_refuse: bool,
}

impl Truth {
    /// The store is about to answer so.
    pub(crate) fn offered(&self, mut view: View) {
        let mut books = self.books();
        if let Some(last) = books.views.back() {
            // Asked again, it says the same again.
            let is_same = view.current == last.current && view.named == last.named;
            if is_same && view.is_older == last.is_older {
                return;
            }
            // A key that is replaced, or passed over, may be trusted for the rest of its window.
            let others = last.certain.iter().chain(&last.possible).copied();
            let left = if last.current.is_some() && view.current.is_some() {
                last.current.into_iter().collect()
            } else {
                others.collect::<Vec<_>>()
            };
            view.possible.extend(left);
            view.possible.retain(|key| !view.certain.contains(key));
            if view.is_older || last.is_older {
                // Two keys overlap, and a key that came back is one of them.
                let previous = view
                    .certain
                    .iter()
                    .copied()
                    .filter(|key| Some(*key) != view.current);
                view.possible.extend(previous.collect::<Vec<_>>());
                view.certain.retain(|key| Some(*key) == view.current);
            }
        }
        books.views.push_back(view);
        if books.views.len() > VIEWS {
            books.views.pop_front();
            books.forgotten += 1;
        }
    }

    /// The keyring has this version in use.
    pub(crate) fn is_in_use(&self, version: &str) {
        let mut books = self.books();
        let is = |view: &View| view.current.is_some_and(|current| current.id() == version);
        if let Some(at) = books.views.iter().rposition(is) {
            books.in_use = books.in_use.max(books.forgotten + at);
        }
    }

    pub(crate) fn revoking(&self, key: Number) {
        note(&mut self.books().revoking, key);
    }

    pub(crate) fn revoked(&self, key: Number) {
        note(&mut self.books().revoked, key);
    }

    pub(crate) fn is_revoked(&self, key: Number) -> bool {
        self.books().revoking.contains(&key)
    }

    /// A request with a token of this key begins.
    pub(crate) fn begin(&self, key: Number) -> Moment {
        let books = self.books();
        Moment {
            in_use: books.in_use,
            is_revoked: books.revoked.contains(&key),
        }
    }

    /// It has ended.
    pub(crate) fn verdict(&self, began: Moment, key: Number) -> Verdict {
        let books = self.books();
        let from = began.in_use.saturating_sub(books.forgotten);
        let views = || books.views.iter().skip(from);
        let is_revoked = books.revoking.contains(&key);
        Verdict {
            may_refuse: is_revoked || views().any(|view| !view.certain.contains(&key)),
            must_refuse: began.is_revoked || !views().any(|view| view.trusts(key)),
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note(keys: &mut VecDeque<Number>, key: Number) {
    keys.push_back(key);
    if keys.len() > REVOCATIONS {
        keys.pop_front();
    }
}
