//! Learning of a change at once, where the file system tells.
//!
//! Watched are the directory, its stage folders, and the parent, which shows that the directory
//! was made again or that the link to it was swapped. A watch follows an inode, not a path, so
//! before each view is read, what is watched is compared with what is there.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use notify::{
    ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, MetadataKind, ModifyKind},
};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::source::Stage;

/// A writer that never rests is reported after this many quiet times.
const LONGEST_IN_QUIET_TIMES: u32 = 10;

/// Counts events, and knows how many of them were reported.
pub(super) struct Signal {
    events: watch::Sender<u64>,
    reported: AtomicU64,
}

impl Signal {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            events: watch::Sender::new(0),
            reported: AtomicU64::new(0),
        })
    }

    #[cfg(test)]
    pub(super) async fn first_count(&self) -> u64 {
        let mut events = self.events.subscribe();
        events
            .wait_for(|count| *count > 0)
            .await
            .map_or(0, |count| *count)
    }

    fn raise(&self) {
        self.events.send_modify(|count| *count += 1);
    }

    /// Resolves when an event came that was not reported, and then none for `quiet`.
    ///
    /// Cancel safe: an event counts as reported only at the very end.
    pub(super) async fn wait(&self, quiet: Duration) {
        let mut events = self.events.subscribe();
        let reported = self.reported.load(Ordering::Acquire);
        // The sender lives as long as `self`, so this cannot fail.
        let _ = events.wait_for(|count| *count != reported).await;
        let latest = Instant::now() + quiet * LONGEST_IN_QUIET_TIMES;
        loop {
            let until = latest.min(Instant::now() + quiet);
            let is_quiet = timeout_at(until, events.changed()).await.is_err();
            if is_quiet || Instant::now() >= latest {
                break;
            }
        }
        let seen = *events.borrow();
        self.reported.fetch_max(seen, Ordering::AcqRel);
    }
}

/// The watch that stands now, if any.
#[derive(Default)]
pub(super) struct Watching(Option<Live>);

struct Live {
    targets: Vec<Target>,
    /// Something that was watched went away: its inode's number may be in use again.
    stale: Arc<AtomicBool>,
    _watcher: RecommendedWatcher,
}

#[derive(PartialEq)]
struct Target {
    path: PathBuf,
    identity: Identity,
    is_needed: bool,
}

impl Watching {
    /// Watches what is at `root` now, unless that is what is watched already.
    pub(super) fn renew(&mut self, root: &Path, signal: &Arc<Signal>) -> notify::Result<()> {
        let root = std::path::absolute(root)?;
        let targets = targets(&root);
        let is_live = self
            .0
            .as_ref()
            .is_some_and(|live| live.targets == targets && !live.stale.load(Ordering::Acquire));
        if !is_live {
            // A watcher of its own each time: the events that one watcher still holds of an old
            // directory would end its watch of the new one at the same path.
            self.0 = Some(Live::start(&root, targets, signal)?);
        }
        Ok(())
    }
}

impl Live {
    fn start(root: &Path, targets: Vec<Target>, signal: &Arc<Signal>) -> notify::Result<Self> {
        let stale = Arc::new(AtomicBool::new(false));
        let scope = Scope {
            parent: root.parent().map(Path::to_owned),
            // A link to a file changes with what it points to, such as a `..data` beside it.
            siblings_matter: root.is_symlink() && root.is_file(),
            root: root.to_owned(),
            watched: targets.iter().map(|target| target.path.clone()).collect(),
        };
        let mut watcher = notify::recommended_watcher({
            let (signal, stale) = (signal.clone(), stale.clone());
            move |event: notify::Result<Event>| match scope.meaning(&event) {
                Meaning::Nothing => {}
                Meaning::Changed => signal.raise(),
                Meaning::Replaced => {
                    stale.store(true, Ordering::Release);
                    signal.raise();
                }
            }
        })?;
        for target in &targets {
            match watcher.watch(&target.path, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                Err(error) if is_missing(&error) => stale.store(true, Ordering::Release),
                Err(error) if target.is_needed => return Err(error),
                Err(_) => {}
            }
        }
        Ok(Self {
            targets,
            stale,
            _watcher: watcher,
        })
    }
}

/// What to watch: the innermost first, so that no event of an outer directory that is older than
/// the watch of an inner one can end that.
fn targets(root: &Path) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut add = |path: &Path, is_needed| {
        if let Some(identity) = Identity::of_dir(path) {
            targets.push(Target {
                path: path.to_owned(),
                identity,
                is_needed,
            });
        }
    };
    // Below a `..data` link nothing ever changes.
    if fs::read_link(root.join("..data")).is_err() {
        for stage in [Stage::Current, Stage::Previous, Stage::Pending] {
            add(&root.join(stage.as_str()), true);
        }
    }
    add(root, true);
    if let Some(parent) = root.parent() {
        // It may well be unreadable for this user, and then only a re-creation goes unseen; but
        // for a single file it is all there is.
        add(parent, root.is_file());
    }
    targets
}

/// Which of a watcher's events matter.
struct Scope {
    parent: Option<PathBuf>,
    siblings_matter: bool,
    root: PathBuf,
    watched: Vec<PathBuf>,
}

#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Nothing,
    Changed,
    /// A watched directory itself was removed, moved or made.
    Replaced,
}

impl Scope {
    fn meaning(&self, event: &notify::Result<Event>) -> Meaning {
        let Ok(event) = event else {
            return Meaning::Replaced;
        };
        if event.need_rescan() {
            return Meaning::Replaced;
        }
        if is_access(event.kind) || !self.concerns(event) {
            return Meaning::Nothing;
        }
        let is_watched = |path: &PathBuf| self.watched.contains(path);
        if is_structural(event.kind) && event.paths.iter().any(is_watched) {
            Meaning::Replaced
        } else {
            Meaning::Changed
        }
    }

    fn concerns(&self, event: &Event) -> bool {
        let is_siblings = |path: &PathBuf| {
            !self.siblings_matter && *path != self.root && path.parent() == self.parent.as_deref()
        };
        let is_parents =
            |path: &PathBuf| self.parent.as_ref() == Some(path) && !is_structural(event.kind);
        event.paths.is_empty()
            || event
                .paths
                .iter()
                .any(|path| !is_siblings(path) && !is_parents(path))
    }
}

/// Reading the files makes such events: reported, they would cause the next reading, for ever.
fn is_access(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        EventKind::Modify(ModifyKind::Metadata(MetadataKind::AccessTime)) => true,
        _ => false,
    }
}

fn is_structural(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Any
            | EventKind::Other
            | EventKind::Create(_)
            | EventKind::Remove(_)
            | EventKind::Modify(ModifyKind::Name(_) | ModifyKind::Any)
    )
}

fn is_missing(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// Tells a directory from another one at the same path.
#[derive(PartialEq)]
struct Identity {
    #[cfg(unix)]
    inode: (u64, u64),
    canonical: Option<PathBuf>,
}

impl Identity {
    fn of_dir(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_dir)?;
        Some(Self {
            #[cfg(unix)]
            inode: {
                use std::os::unix::fs::MetadataExt;
                (metadata.dev(), metadata.ino())
            },
            canonical: fs::canonicalize(path).ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use notify::event::{CreateKind, DataChange, RemoveKind};

    use super::*;

    fn scope() -> Scope {
        Scope {
            parent: Some("/run".into()),
            siblings_matter: false,
            root: "/run/secrets".into(),
            watched: vec!["/run/secrets".into(), "/run".into()],
        }
    }

    fn meaning(kind: EventKind, path: &str) -> Meaning {
        scope().meaning(&Ok(Event::new(kind).add_path(path.into())))
    }

    #[test]
    fn reading_means_nothing() {
        for kind in [
            AccessKind::Read,
            AccessKind::Open(AccessMode::Any),
            AccessKind::Close(AccessMode::Read),
        ] {
            let kind = EventKind::Access(kind);
            assert_eq!(meaning(kind, "/run/secrets/current.json"), Meaning::Nothing);
        }
    }

    #[test]
    fn writing_means_a_change_and_the_neighbours_mean_nothing() {
        let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        for kind in [data, written, EventKind::Create(CreateKind::File)] {
            assert_eq!(meaning(kind, "/run/secrets/current.json"), Meaning::Changed);
            assert_eq!(meaning(kind, "/run/other"), Meaning::Nothing);
        }
    }

    #[test]
    fn a_new_directory_needs_a_new_watch() {
        for kind in [
            EventKind::Create(CreateKind::Folder),
            EventKind::Remove(RemoveKind::Other),
        ] {
            assert_eq!(meaning(kind, "/run/secrets"), Meaning::Replaced);
            assert_eq!(meaning(kind, "/run"), Meaning::Replaced);
        }
    }

    #[test]
    fn an_overflow_means_anything() {
        let event = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert_eq!(scope().meaning(&Ok(event)), Meaning::Replaced);
        let error = Err(notify::Error::new(ErrorKind::MaxFilesWatch));
        assert_eq!(scope().meaning(&error), Meaning::Replaced);
    }

    #[tokio::test(start_paused = true)]
    async fn events_are_reported_together_after_a_quiet_time() {
        let quiet = Duration::from_millis(100);
        let signal = Signal::new();
        let begun = Instant::now();
        signal.raise();
        let writer = async {
            for _ in 0..3 {
                tokio::time::advance(Duration::from_millis(60)).await;
                signal.raise();
            }
        };
        tokio::join!(signal.wait(quiet), writer);
        let waited = begun.elapsed();
        assert!(waited >= Duration::from_millis(280), "{waited:?}");
        let again = tokio::time::timeout(Duration::from_secs(60), signal.wait(quiet)).await;
        assert!(again.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_without_rest_is_reported_all_the_same() {
        let quiet = Duration::from_millis(100);
        let signal = Signal::new();
        let begun = Instant::now();
        signal.raise();
        let writer = async {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                signal.raise();
            }
        };
        tokio::select! {
            () = signal.wait(quiet) => {}
            () = writer => {}
        }
        let waited = begun.elapsed();
        assert!(waited >= Duration::from_secs(1), "{waited:?}");
        assert!(waited < Duration::from_millis(1_100), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_is_not_lost_with_a_future_dropped_in_its_quiet_time() {
        let signal = Signal::new();
        signal.raise();
        let short = tokio::time::timeout(
            Duration::from_millis(50),
            signal.wait(Duration::from_millis(100)),
        );
        assert!(short.await.is_err());
        signal.wait(Duration::from_millis(100)).await;
    }
}
