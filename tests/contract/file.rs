//! A mounted directory, written as the kubelet does.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use tempfile::TempDir;
use tower_secrets::source::{File, SourceErrorKind};

use crate::harness::Harness;

source_contract!(keeps, Directory);

pub(crate) struct Directory {
    root: TempDir,
    current: String,
    previous: Option<String>,
    pending: Option<String>,
    writes: u64,
}

impl Directory {
    /// A new folder with all files, the link moved onto it, and the old folder removed.
    fn write(&mut self) {
        let root = self.root.path();
        self.writes += 1;
        let name = format!("..{}", self.writes);
        fs::create_dir(root.join(&name)).unwrap();
        let file = |stage: &str, document: &str| {
            let file = root.join(&name).join(stage);
            fs::write(file, document).unwrap();
        };
        file("current.json", &self.current);
        file("previous.json", self.previous.as_deref().unwrap_or("null"));
        file("pending.json", self.pending.as_deref().unwrap_or("null"));
        symlink(&name, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        let old = root.join(format!("..{}", self.writes - 1));
        let _ = fs::remove_dir_all(old);
    }

    fn aside(&self) -> PathBuf {
        self.root.path().with_extension("aside")
    }
}

impl Harness for Directory {
    type Source = File;

    const OUTAGE: SourceErrorKind = SourceErrorKind::NotFound;

    /// A folder has no view that stays while its files are read.
    const MAY_BE_OUTRUN: bool = true;

    async fn start(_: &str, document: &str) -> Option<Self> {
        let mut directory = Self {
            root: tempfile::tempdir().unwrap(),
            current: document.to_owned(),
            previous: None,
            pending: None,
            writes: 0,
        };
        directory.write();
        for stage in ["current.json", "previous.json", "pending.json"] {
            let target = PathBuf::from("..data").join(stage);
            symlink(target, directory.root.path().join(stage)).unwrap();
        }
        Some(directory)
    }

    fn source(&self) -> File {
        File::new(self.root.path()).watch(false)
    }

    async fn stage(&mut self, document: &str) {
        self.pending = Some(document.to_owned());
        self.write();
    }

    async fn promote(&mut self) {
        let next = self.pending.take().unwrap();
        self.rotate(&next).await;
    }

    async fn unstage(&mut self) {
        self.pending = None;
        self.write();
    }

    async fn withdraw(&mut self) {
        self.previous = None;
        self.write();
    }

    async fn rotate(&mut self, document: &str) {
        let replaced = std::mem::replace(&mut self.current, document.to_owned());
        self.previous = Some(replaced);
        self.write();
    }

    async fn go_down(&mut self) {
        fs::rename(self.root.path(), self.aside()).unwrap();
    }

    async fn come_back(&mut self) {
        fs::rename(self.aside(), self.root.path()).unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // A test may end while it is down.
        let _ = fs::remove_dir_all(self.aside());
    }
}
