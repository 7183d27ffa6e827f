//! A mounted directory, such as a Kubernetes Secret.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use self::{
    history::{History, Stages},
    watch::{Signal, Watching},
};
use super::{Source, SourceError, SourceErrorKind, Stage, VersionId, Versions};

mod read;

mod layout;

mod document;

mod history;

mod watch;

#[cfg(test)]
mod tests;

const DEFAULT_DEBOUNCE: Duration = Duration::from_millis(100);
const MAX_DEBOUNCE: Duration = Duration::from_secs(60);

/// Reads a mounted directory, such as a Kubernetes Secret, and watches it.
///
/// # What is in the directory
/// For each stage, one JSON object:
///
/// | file | holds |
/// |---|---|
/// | `current.json` | the secrets in use; the only one that is required |
/// | `previous.json` | those in use before; `null`, or removing the file, withdraws them at once, even if `current.json` has become unreadable |
/// | `pending.json` | those that come into use next; `null`, or no file: none |
///
/// or one folder, `current/`, `previous/` and `pending/`, in which each file is a field: its name
/// is the field's, its content is the value, always a string. Exactly one newline at the end is
/// dropped; files whose name begins with a dot are ignored; an empty folder is like `null`. A stage
/// that has both forms is an error. A file may have up to 1 MiB.
///
/// Two fields at the top level, or files in a stage's folder, have a meaning:
///
/// * `version`: a string or a number that names this version, up to 128 bytes. Without it the name
///   is a digest, the same on every replica and for every order of members and spaces: `sha256:`
///   and the first 32 digits of the SHA-256 of the document, its members sorted, without spaces
///   and without `not_after`. Names are logged, so a document with nothing but a guessable
///   password in it should carry a `version`: a digest can be compared with guesses. New content
///   under a published name is refused. The field stays in the document.
/// * `not_after`, of previous: when its window ends at the latest, as
///   [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339) has it; the keyring's `overlap`, counted from
///   when this process saw the change, may end it earlier. Without it the window begins when
///   this process first sees that version, and anew after a restart; the event
///   `secrets_previous_without_not_after` says so. The field is taken out of every document, so a
///   copy of `current.json` with it added is still the same version.
///
/// # When only `current` is ever written
/// Then the version that was last *published*, so never one that a probe refused, is offered as
/// previous when current changes. A replica that starts later does not know it; the event
/// `secrets_previous_not_durable` says so. From the first sight of a previous stage on, only what
/// is written there counts.
///
/// # Never half an update
/// Where the kubelet writes the directory, its `..data` link is resolved once for each fetch. Any
/// other directory is read until two readings agree, and it is an error if that does not happen
/// soon. Nothing shows that a writer has paused in the middle of a file, so write a new file and
/// rename it. With stage folders that are mounts of their own, the kubelet updates each by itself.
///
/// # Changes
/// The directory is watched through the operating system, so that a change is seen at once. Where
/// that is impossible, the event `secrets_watch_unavailable` says so and the keyring's timer
/// remains; on network file systems the watch may see nothing, without an error. A path that is a
/// single file stands for `current.json` alone. A Kubernetes `subPath` mount never updates; the
/// event `secrets_mount_may_never_update` warns where it looks like one.
///
/// Nothing is ever written: a read-only root file system is fine.
///
/// ```
/// use std::time::Duration;
/// use tower_secrets::source::File;
///
/// let source = File::new("/run/secrets/app").debounce(Duration::from_millis(250));
/// ```
pub struct File {
    path: PathBuf,
    debounce: Duration,
    watch: bool,
    in_kubernetes: fn() -> bool,
    signal: Arc<Signal>,
    /// Held by whoever touches the file system, so that a mount that hangs costs one thread.
    watching: Arc<tokio::sync::Mutex<Watching>>,
    watch_tried: AtomicBool,
    watch_warned: AtomicBool,
    history: Mutex<History>,
}

impl File {
    /// A source over the directory, or the single file, at `path`. Reads nothing yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            debounce: DEFAULT_DEBOUNCE,
            watch: true,
            in_kubernetes: || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
            signal: Signal::new(),
            watching: Arc::default(),
            watch_tried: AtomicBool::new(false),
            watch_warned: AtomicBool::new(false),
            history: Mutex::default(),
        }
    }

    /// How long the directory must be quiet before a change is reported; 100 ms by default, at
    /// most one minute. A directory that is never quiet is reported after ten times as long.
    #[must_use]
    pub fn debounce(mut self, quiet: Duration) -> Self {
        self.debounce = quiet.min(MAX_DEBOUNCE);
        self
    }

    /// Whether to watch the directory; `true` by default. Without it only the keyring's timer and
    /// other triggers find a change.
    #[must_use]
    pub fn watch(mut self, watch: bool) -> Self {
        self.watch = watch;
        self
    }

    /// Sets the watch up, or renews it, and then does `job`, away from the async threads.
    async fn on_disk<R: Send + 'static>(
        &self,
        job: impl FnOnce(&Path) -> R + Send + 'static,
    ) -> Result<R, SourceError> {
        let mut watching = self.watching.clone().lock_owned().await;
        let (path, watch, signal) = (self.path.clone(), self.watch, self.signal.clone());
        let task = tokio::task::spawn_blocking(move || {
            // Before the reading: a change after it must be seen.
            let renewed = if watch {
                watching.renew(&path, &signal)
            } else {
                Ok(())
            };
            (renewed, job(&path))
        });
        let (renewed, result) = task.await.map_err(|error| {
            let message = format!("`{}`: reading stopped: {error}", self.path.display());
            SourceError::new(SourceErrorKind::Other, message)
        })?;
        self.watch_tried.store(true, Ordering::Release);
        if let Err(error) = renewed {
            self.warn_of_watch(&error);
        }
        Ok(result)
    }

    fn warn_of_watch(&self, error: &notify::Error) {
        if !self.watch_warned.swap(true, Ordering::AcqRel) {
            tracing::warn!(
                source = %self.path.display(),
                %error,
                hint = "changes are found by the timer only",
                "secrets_watch_unavailable"
            );
        }
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for File {
    async fn fetch(&self) -> Result<Versions, SourceError> {
        let stages = self.on_disk(read_stages).await??;
        self.history()
            .settle(&self.path, (self.in_kubernetes)(), stages)
    }

    async fn changed(&self) {
        if !self.watch {
            return std::future::pending().await;
        }
        if !self.watch_tried.load(Ordering::Acquire) {
            // A failure is told where it matters, at the next fetch.
            let _ = self.on_disk(|_| ()).await;
        }
        self.signal.wait(self.debounce).await;
    }

    fn published(&self, current: &VersionId) {
        self.history().published(current);
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

fn read_stages(path: &Path) -> Result<Stages, SourceError> {
    let view = layout::view(path, &mut |_| ())?;
    Ok(Stages {
        current: document::parse(view.current, Stage::Current),
        previous: document::parse(view.previous, Stage::Previous),
        pending: document::parse(view.pending, Stage::Pending),
        mount: view.mount,
    })
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            debounce,
            watch,
            in_kubernetes: _,
            signal: _,
            watching: _,
            watch_tried: _,
            watch_warned: _,
            history: _,
        } = self;
        f.debug_struct("File")
            .field("path", path)
            .field("debounce", debounce)
            .field("watch", watch)
            .finish_non_exhaustive()
    }
}
