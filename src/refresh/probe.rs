//! Test before swap: checks that the new bundle works, run before anyone sees it.

use std::{
    error::Error,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use super::guard::{catch, guarded};

type BoxError = Box<dyn Error + Send + Sync>;
type Check<T> =
    dyn Fn(Arc<T>) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> + Send + Sync;

/// A named check of a new bundle.
///
/// Probes run concurrently, each within its time limit; a panic counts as a failure. A version
/// that a probe refuses is not swapped in, and is tried again after growing pauses (one minute up
/// to an hour), or at once when an operator asks for a refresh.
///
/// At the very first build there is nothing to protect, so a refusal there is only a warning
/// unless the probe was declared with [`require`](Self::require).
///
/// ```
/// use std::{io, sync::Arc, time::Duration};
/// use tower_secrets::Probe;
///
/// struct App { api_key: String }
///
/// let probe = Probe::new("api", |app: Arc<App>| async move {
///     // Call the upstream with the new key here.
///     if app.api_key.is_empty() { Err(io::Error::other("no key")) } else { Ok(()) }
/// })
/// .time_limit(Duration::from_secs(3))
/// .require();
/// # let _ = probe;
/// ```
pub struct Probe<T> {
    name: Arc<str>,
    limit: Option<Duration>,
    required: bool,
    check: Box<Check<T>>,
}

impl<T: Send + Sync + 'static> Probe<T> {
    /// A check with a name for errors and events. It gets the new bundle and answers `Ok(())` or
    /// why not.
    ///
    /// The error's text is logged, after every string value of the bundle was taken out of it.
    pub fn new<F, Fut, E>(name: impl Into<Arc<str>>, check: F) -> Self
    where
        F: Fn(Arc<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        Self {
            name: name.into(),
            limit: None,
            required: false,
            check: Box::new(move |bundle| {
                let answer = check(bundle);
                Box::pin(async move { answer.await.map_err(Into::into) })
            }),
        }
    }

    /// How long this probe may take. The default is the builder's `probe_limit`, 10 s.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Makes the probe count at the very first build too: `build()` fails when it refuses.
    #[must_use]
    pub fn require(mut self) -> Self {
        self.required = true;
        self
    }
}

impl<T> Probe<T> {
    pub(crate) fn limit_or(&self, default: Duration) -> Duration {
        self.limit.unwrap_or(default)
    }
}

impl<T> fmt::Debug for Probe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            limit,
            required,
            check: _,
        } = self;
        f.debug_struct("Probe")
            .field("name", name)
            .field("limit", limit)
            .field("required", required)
            .finish()
    }
}

/// A probe that refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) name: Arc<str>,
    pub(crate) required: bool,
    pub(crate) message: String,
}

/// Runs all probes at once and returns those that refused, in the order they were declared.
pub(crate) async fn run_all<T: Send + Sync + 'static>(
    probes: &[Probe<T>],
    bundle: &Arc<T>,
    default_limit: Duration,
) -> Vec<Refusal> {
    let mut running: Vec<_> = probes
        .iter()
        .map(|probe| (Box::pin(run(probe, bundle, default_limit)), None))
        .collect();
    poll_fn(|cx| {
        for (future, outcome) in &mut running {
            if outcome.is_none()
                && let Poll::Ready(done) = future.as_mut().poll(cx)
            {
                *outcome = Some(done);
            }
        }
        if running.iter().all(|(_, outcome)| outcome.is_some()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    running
        .into_iter()
        .filter_map(|(_, outcome)| outcome.flatten())
        .collect()
}

async fn run<T: Send + Sync + 'static>(
    probe: &Probe<T>,
    bundle: &Arc<T>,
    default_limit: Duration,
) -> Option<Refusal> {
    let limit = probe.limit_or(default_limit);
    let message = match guarded(limit, || (probe.check)(bundle.clone())).await {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => told(&*error),
        Err(fault) => fault.to_string(),
    };
    Some(Refusal {
        name: probe.name.clone(),
        required: probe.required,
        message,
    })
}

/// What an error of the user's says; its `Display` is the user's code, too.
pub(super) fn told(error: &(dyn Error + Send + Sync)) -> String {
    catch(|| error.to_string()).unwrap_or_else(|_| "an error that cannot be shown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn probes_run_at_the_same_time_and_each_within_its_limit() {
        let slow = |_: Arc<()>| async {
            tokio::time::advance(Duration::from_millis(1)).await;
            std::future::pending::<Result<(), std::io::Error>>().await
        };
        let probes = [
            Probe::new("hangs", slow).time_limit(Duration::from_secs(3)),
            Probe::new("hangs too", slow),
            Probe::new("refuses", |_: Arc<()>| async { Err("no") }).require(),
            Probe::new("panics", |_: Arc<()>| async {
                panic!("on purpose") as Result<(), &str>
            }),
            Probe::new("agrees", |_: Arc<()>| async { Ok::<_, &str>(()) }),
        ];
        let start = tokio::time::Instant::now();
        let refusals = run_all(&probes, &Arc::new(()), Duration::from_secs(10)).await;
        assert!(
            start.elapsed() < Duration::from_secs(11),
            "one after the other"
        );
        let told: Vec<_> = refusals
            .iter()
            .map(|refusal| (&*refusal.name, refusal.message.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("hangs", "gave no answer within 3s"),
                ("hangs too", "gave no answer within 10s"),
                ("refuses", "no"),
                ("panics", "panicked"),
            ]
        );
        assert!(refusals[2].required && !refusals[0].required);
    }
}
