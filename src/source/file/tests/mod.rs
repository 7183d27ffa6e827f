//! The whole source against real directories.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use tempfile::TempDir;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use super::File;
use crate::source::{
    Source, SourceError, SourceErrorKind, Stage, Version, Versions, version::Side,
};

mod input;

mod history;

#[cfg(unix)]
mod layout;

#[cfg(all(unix, target_os = "linux"))]
mod watch;

/// A directory, and a source over it that watches nothing.
struct Mount {
    dir: TempDir,
    source: File,
}

impl Mount {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = unwatched(dir.path());
        Self { dir, source }
    }

    fn with(files: &[(&str, &str)]) -> Self {
        let mount = Self::new();
        for (name, content) in files {
            mount.write(name, content);
        }
        mount
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    async fn fetch(&self) -> Result<Versions, SourceError> {
        self.source.fetch().await
    }

    async fn versions(&self) -> Versions {
        self.fetch().await.unwrap()
    }
}

fn unwatched(path: &Path) -> File {
    let mut source = File::new(path).watch(false);
    source.in_kubernetes = || false;
    source
}

fn text(version: &Version) -> &str {
    std::str::from_utf8(version.document()).unwrap()
}

fn side(versions: &Versions, stage: Stage) -> &Side {
    match stage {
        Stage::Previous => &versions.previous,
        Stage::Pending => &versions.pending,
        Stage::Current => panic!("no side stage"),
    }
}

fn unreadable(versions: &Versions, stage: Stage) -> &SourceError {
    match side(versions, stage) {
        Side::Unreadable(error) => error,
        other => panic!("{stage} is not unreadable: {other:?}"),
    }
}

fn is_absent(versions: &Versions, stage: Stage) -> bool {
    matches!(side(versions, stage), Side::Absent)
}

/// Collects the events of this thread, each as one line.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

impl Events {
    fn record() -> (Self, tracing::subscriber::DefaultGuard) {
        let events = Self::default();
        let guard = tracing::subscriber::set_default(events.clone());
        (events, guard)
    }

    fn count(&self, part: &str) -> usize {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|line| line.contains(part)).count()
    }
}

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("tower_secrets")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!("{}={value:?} ", field.name()));
    }
}

fn epoch_plus(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}
