//! A token, and what was learnt of it by using it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use super::http::{Answer, Request, Token};

/// A token, and which one it is.
#[derive(Clone)]
pub(super) struct Pass {
    pub(super) token: Arc<Token>,
    /// Counts the tokens of a session: leases end with the token that took them.
    pub(super) number: u64,
    use_of_it: Arc<Mutex<Use>>,
}

#[derive(Default)]
struct Use {
    /// When the server last showed that it knows the token.
    worked: Option<Instant>,
    /// The paths that its policy does not allow, where it may not look at itself either, so that each
    /// refusal would look like its end.
    denied: BTreeSet<String>,
}

impl Pass {
    pub(super) fn new(token: Token, number: u64, worked: Option<Instant>) -> Self {
        let denied = BTreeSet::new();
        Self {
            token: Arc::new(token),
            number,
            use_of_it: Arc::new(Mutex::new(Use { worked, denied })),
        }
    }

    pub(super) fn note(&self, request: &Request, answer: &Answer) {
        if answer.is_success() {
            let mut its = self.use_of_it();
            its.worked = Some(Instant::now());
            its.denied.remove(&request.path);
        }
    }

    pub(super) fn worked_since(&self, began: Instant) -> bool {
        self.use_of_it().worked.is_some_and(|at| at >= began)
    }

    pub(super) fn deny(&self, request: &Request) {
        self.use_of_it().denied.insert(request.path.clone());
    }

    pub(super) fn is_denied(&self, request: &Request) -> bool {
        self.use_of_it().denied.contains(&request.path)
    }

    fn use_of_it(&self) -> MutexGuard<'_, Use> {
        self.use_of_it
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
