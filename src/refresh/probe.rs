//! Test before swap: checks that the new bundle works, run before anyone sees it.

use std::{error::Error, fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use crate::guard::{catch, guarded, join_all};

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
    /// The part that it judges; `None` for the bundle as a whole.
    part: Option<Arc<str>>,
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
            part: None,
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
    pub(crate) fn of_part(mut self, part: Arc<str>) -> Self {
        self.part = Some(part);
        self
    }

    /// The part that it judges, and its own name.
    pub(crate) fn judged(&self) -> Option<(&str, &str)> {
        Some((self.part.as_deref()?, &self.name))
    }

    pub(crate) fn limit_or(&self, default: Duration) -> Duration {
        self.limit.unwrap_or(default)
    }
}

impl<T> fmt::Debug for Probe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            part,
            limit,
            required,
            check: _,
        } = self;
        f.debug_struct("Probe")
            .field("name", name)
            .field("part", part)
            .field("limit", limit)
            .field("required", required)
            .finish()
    }
}

/// A probe that refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) name: Arc<str>,
    pub(crate) part: Option<Arc<str>>,
    pub(crate) required: bool,
    pub(crate) message: String,
}

/// Runs the probes that are due for what they judge (a part, or the whole), all at once, and returns
/// those that refused, in the order they were declared.
pub(crate) async fn run_all<T: Send + Sync + 'static>(
    probes: &[Probe<T>],
    due: impl Fn(Option<&str>) -> bool,
    bundle: &Arc<T>,
    default_limit: Duration,
) -> Vec<Refusal> {
    let running = probes
        .iter()
        .filter(|probe| due(probe.part.as_deref()))
        .map(|probe| run(probe, bundle, default_limit));
    join_all(running).await.into_iter().flatten().collect()
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
        part: probe.part.clone(),
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
        let refusals = run_all(&probes, |_| true, &Arc::new(()), Duration::from_secs(10)).await;
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
