//! Runs code that is not ours: bounded in time, its panics caught, several at once.

use std::{
    fmt,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

/// Longer than any process lives; a bound for sums of instants.
pub(crate) const FAR: Duration = Duration::from_secs(86_400 * 365);

/// Why code that is not ours gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    TimedOut(Duration),
    Panicked,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(limit) => write!(f, "gave no answer within {limit:?}"),
            Self::Panicked => f.write_str("panicked"),
        }
    }
}

/// Awaits what `make` returns for at most `limit`. A panic in `make` or in the future is a
/// [`Fault`], not the end of the refresh loop.
///
/// The future runs in the caller's task, so dropping the caller drops it too: nothing is left
/// running after a shutdown.
pub(crate) async fn guarded<F: Future>(
    limit: Duration,
    make: impl FnOnce() -> F,
) -> Result<F::Output, Fault> {
    let future = catch(make)?;
    match tokio::time::timeout(limit, CatchUnwind(Some(Box::pin(future)))).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Fault::TimedOut(limit)),
    }
}

/// Calls `f`, turning a panic into a [`Fault`].
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Fault> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|_| Fault::Panicked)
}

/// Writes to the log, which may panic: the subscriber is the user's, and tracing-subscriber's own writes to
/// stderr where its file is full.
pub(crate) fn log(f: impl FnOnce()) {
    let _ = catch(f);
}

/// Drops what is the user's, or holds such.
pub(crate) fn let_go(f: impl FnOnce()) {
    if catch(f).is_err() {
        log(|| tracing::error!("secrets_panicked_in_drop"));
    }
}

/// What is the user's goes on with a success, and is let go of with a failure.
pub(crate) fn keep_if<V, E, B>(outcome: Result<V, E>, theirs: B) -> Result<(V, B), E> {
    match outcome {
        Ok(value) => Ok((value, theirs)),
        Err(error) => {
            let_go(|| drop(theirs));
            Err(error)
        }
    }
}

/// Runs all futures at once, in the caller's task, and returns what they return, in their order.
pub(crate) async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    poll_fn(|cx| {
        let mut all_done = true;
        for (future, outcome) in &mut running {
            if outcome.is_none() {
                match future.as_mut().poll(cx) {
                    Poll::Ready(done) => *outcome = Some(done),
                    Poll::Pending => all_done = false,
                }
            }
        }
        if all_done {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    running.into_iter().filter_map(|(_, done)| done).collect()
}

/// `None` as it is dropped: what a future holds is dropped with it.
struct CatchUnwind<F>(Option<Pin<Box<F>>>);

impl<F> Drop for CatchUnwind<F> {
    fn drop(&mut self) {
        let future = self.0.take();
        let_go(|| drop(future));
    }
}

impl<F: Future> Future for CatchUnwind<F> {
    type Output = Result<F::Output, Fault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.0 else {
            return Poll::Pending;
        };
        match catch(|| future.as_mut().poll(cx)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(fault) => Poll::Ready(Err(fault)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_result_passes_a_hang_and_a_panic_do_not() {
        assert_eq!(guarded(LIMIT, || async { 1 }).await, Ok(1));
        assert_eq!(
            guarded(LIMIT, std::future::pending::<()>).await,
            Err(Fault::TimedOut(LIMIT))
        );
        let in_future = guarded(LIMIT, || async { panic!("on purpose") }).await;
        assert_eq!(in_future, Err::<(), _>(Fault::Panicked));
        let in_call = guarded(LIMIT, || -> std::future::Ready<()> { panic!("on purpose") }).await;
        assert_eq!(in_call, Err(Fault::Panicked));
    }
}
