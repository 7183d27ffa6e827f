//! What `src/sync.rs` names, over loom. Of tokio's primitives, what their documentation promises and the
//! crate relies on; that tokio keeps it, tokio's own models check.

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64},
};
pub(crate) use tokio::time::Instant;

/// In a model no time passes: who would be saved by a timer alone is stuck, which is a finding.
pub(crate) async fn sleep_until(_: Instant) {
    pending().await
}

pub(crate) async fn timeout_at<F: Future>(_: Instant, future: F) -> Result<F::Output, ()> {
    Ok(future.await)
}

/// `notify_one` is remembered until somebody takes it; `notify_waiters` reaches those whose `notified()`
/// was called before, polled or not.
#[derive(Debug, Default)]
pub(crate) struct Notify(Mutex<Notes>);

#[derive(Debug, Default)]
struct Notes {
    is_one_due: bool,
    /// Of `notify_waiters`.
    calls: u64,
    waiting: Vec<Waker>,
}

impl Notify {
    pub(crate) fn notified(&self) -> Notified<'_> {
        let calls = self.0.lock().unwrap().calls;
        Notified {
            notify: self,
            calls,
        }
    }

    pub(crate) fn notify_one(&self) {
        self.note(|notes| notes.is_one_due = true);
    }

    pub(crate) fn notify_waiters(&self) {
        self.note(|notes| notes.calls += 1);
    }

    fn note(&self, how: impl FnOnce(&mut Notes)) {
        let mut notes = self.0.lock().unwrap();
        how(&mut notes);
        let waiting = std::mem::take(&mut notes.waiting);
        drop(notes);
        waiting.into_iter().for_each(Waker::wake);
    }
}

pub(crate) struct Notified<'a> {
    notify: &'a Notify,
    calls: u64,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut notes = self.notify.0.lock().unwrap();
        if notes.calls != self.calls || std::mem::take(&mut notes.is_one_due) {
            return Poll::Ready(());
        }
        notes.waiting.push(cx.waker().clone());
        Poll::Pending
    }
}

pub(crate) mod watch {
    use super::*;

    #[derive(Debug)]
    struct Shared<T>(Mutex<State<T>>);

    #[derive(Debug)]
    struct State<T> {
        value: T,
        version: u64,
        is_closed: bool,
        waiting: Vec<Waker>,
    }

    #[derive(Debug)]
    pub(crate) struct Sender<T>(Arc<Shared<T>>);

    #[derive(Debug)]
    pub(crate) struct Receiver<T> {
        shared: Arc<Shared<T>>,
        seen: u64,
    }

    #[derive(Debug)]
    pub(crate) struct Closed;

    pub(crate) fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
        let sender = Sender::new(value);
        let receiver = sender.subscribe();
        (sender, receiver)
    }

    impl<T> Sender<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(Arc::new(Shared(Mutex::new(State {
                value,
                version: 0,
                is_closed: false,
                waiting: Vec::new(),
            }))))
        }

        pub(crate) fn subscribe(&self) -> Receiver<T> {
            let seen = self.0.0.lock().unwrap().version;
            Receiver {
                shared: self.0.clone(),
                seen,
            }
        }

        pub(crate) fn send_replace(&self, value: T) {
            self.0.change(|state| {
                state.value = value;
                state.version += 1;
            });
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            self.0.change(|state| state.is_closed = true);
        }
    }

    impl<T> Shared<T> {
        fn change(&self, how: impl FnOnce(&mut State<T>)) {
            let mut state = self.0.lock().unwrap();
            how(&mut state);
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    impl<T> Receiver<T> {
        pub(crate) fn has_changed(&self) -> Result<bool, Closed> {
            let state = self.shared.0.lock().unwrap();
            match state.is_closed {
                true => Err(Closed),
                false => Ok(state.version != self.seen),
            }
        }

        pub(crate) fn mark_unchanged(&mut self) {
            self.seen = self.shared.0.lock().unwrap().version;
        }

        /// What was sent and not seen goes before the end.
        pub(crate) async fn changed(&mut self) -> Result<(), Closed> {
            std::future::poll_fn(|cx| {
                let mut state = self.shared.0.lock().unwrap();
                if state.version != self.seen {
                    self.seen = state.version;
                    return Poll::Ready(Ok(()));
                }
                if state.is_closed {
                    return Poll::Ready(Err(Closed));
                }
                state.waiting.push(cx.waker().clone());
                Poll::Pending
            })
            .await
        }

        pub(crate) fn value(&self) -> T
        where
            T: Clone,
        {
            self.shared.0.lock().unwrap().value.clone()
        }
    }

    impl<T> Clone for Receiver<T> {
        fn clone(&self) -> Self {
            let Self { shared, seen } = self;
            Self {
                shared: shared.clone(),
                seen: *seen,
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Semaphore(Mutex<usize>);

#[derive(Debug)]
pub(crate) struct OwnedSemaphorePermit(Arc<Semaphore>);

impl Semaphore {
    pub(crate) fn new(permits: usize) -> Self {
        Self(Mutex::new(permits))
    }

    pub(crate) fn available_permits(&self) -> usize {
        *self.0.lock().unwrap()
    }

    pub(crate) fn try_acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, ()> {
        let mut permits = self.0.lock().unwrap();
        *permits = permits.checked_sub(1).ok_or(())?;
        drop(permits);
        Ok(OwnedSemaphorePermit(self))
    }
}

impl Drop for OwnedSemaphorePermit {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap() += 1;
    }
}
