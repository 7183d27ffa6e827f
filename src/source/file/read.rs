//! Reading one file that anybody may have broken, and the errors that say how.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use zeroize::Zeroizing;

use crate::source::{SourceError, SourceErrorKind};

/// The size of the largest file that is read. A Kubernetes Secret holds no more in all.
pub(super) const MAX_BYTES: u64 = 1024 * 1024;

/// A file's bytes, and what tells two states of it apart.
#[derive(PartialEq)]
pub(super) struct Contents {
    stamp: Stamp,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

/// Why there is nothing to use.
pub(super) enum Interrupt {
    /// It was there a moment ago: somebody is at work in the directory.
    Gone,
    /// It is there and cannot be used.
    Refused(SourceError),
}

/// Reads `path`; errors name it as `shown`, the path that the operator knows.
pub(super) fn read_file(path: &Path, shown: &Path) -> Result<Contents, Interrupt> {
    let refuse = |error: io::Error| interrupt(path, shown, &error);
    // Before it is opened: opening a pipe would wait for a writer.
    let metadata = fs::metadata(path).map_err(refuse)?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() {
            "is a directory, not a file"
        } else {
            "is no regular file"
        };
        return Err(Interrupt::Refused(malformed(shown, what)));
    }
    let file = fs::File::open(path).map_err(refuse)?;
    let metadata = file.metadata().map_err(refuse)?;
    if metadata.len() > MAX_BYTES {
        return Err(Interrupt::Refused(too_large(shown)));
    }
    // One byte more than is there, so that nothing is reallocated and left behind unwiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(metadata.len() as usize + 1));
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(refuse)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Interrupt::Refused(too_large(shown)));
    }
    Ok(Contents {
        stamp: Stamp::of(&metadata),
        bytes,
    })
}

/// Tells what went away from what cannot be read.
pub(super) fn interrupt(path: &Path, shown: &Path, error: &io::Error) -> Interrupt {
    if error.kind() != io::ErrorKind::NotFound {
        return Interrupt::Refused(io_error(shown, error));
    }
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => Interrupt::Refused(SourceError::new(
            SourceErrorKind::NotFound,
            message(shown, "is a symbolic link to nothing"),
        )),
        _ => Interrupt::Gone,
    }
}

pub(super) fn io_error(shown: &Path, error: &io::Error) -> SourceError {
    use io::ErrorKind as Io;
    let (kind, reason) = match error.kind() {
        Io::NotFound => (SourceErrorKind::NotFound, "does not exist"),
        Io::PermissionDenied => (SourceErrorKind::PermissionDenied, "permission denied"),
        Io::TimedOut => (SourceErrorKind::TimedOut, "the file system timed out"),
        Io::NotADirectory => (SourceErrorKind::Malformed, "is not a directory"),
        Io::IsADirectory => (SourceErrorKind::Malformed, "is a directory, not a file"),
        _ => {
            let text = message(shown, &error.to_string());
            return SourceError::new(SourceErrorKind::Unavailable, text);
        }
    };
    SourceError::new(kind, message(shown, reason))
}

pub(super) fn malformed(shown: &Path, reason: &str) -> SourceError {
    SourceError::new(SourceErrorKind::Malformed, message(shown, reason))
}

pub(super) fn unavailable(shown: &Path, reason: &str) -> SourceError {
    SourceError::new(SourceErrorKind::Unavailable, message(shown, reason))
}

fn too_large(shown: &Path) -> SourceError {
    let reason = format!("is larger than {MAX_BYTES} bytes (1 MiB), the limit");
    malformed(shown, &reason)
}

fn message(shown: &Path, reason: &str) -> String {
    format!("`{}`: {reason}", shown.display())
}

/// What changes when a file is written or replaced.
#[cfg(unix)]
#[derive(PartialEq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

#[cfg(unix)]
impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(not(unix))]
#[derive(PartialEq)]
struct Stamp {
    size: u64,
    modified: Option<std::time::SystemTime>,
}

#[cfg(not(unix))]
impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            size: metadata.len(),
            modified: metadata.modified().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn refused(path: &Path) -> SourceError {
        match read_file(path, path) {
            Err(Interrupt::Refused(error)) => error,
            Err(Interrupt::Gone) => panic!("gone"),
            Ok(_) => panic!("read"),
        }
    }

    #[test]
    fn errors_of_the_system_keep_their_kind() {
        let shown = Path::new("/s/current.json");
        for (io, kind) in [
            (
                io::ErrorKind::PermissionDenied,
                SourceErrorKind::PermissionDenied,
            ),
            (io::ErrorKind::NotFound, SourceErrorKind::NotFound),
            (io::ErrorKind::TimedOut, SourceErrorKind::TimedOut),
            (io::ErrorKind::IsADirectory, SourceErrorKind::Malformed),
            (
                io::ErrorKind::StaleNetworkFileHandle,
                SourceErrorKind::Unavailable,
            ),
        ] {
            let error = io_error(shown, &io.into());
            assert_eq!(error.kind(), kind);
            assert!(error.to_string().starts_with("`/s/current.json`: "));
        }
    }

    #[test]
    fn a_huge_file_is_refused_by_its_size_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("current.json");
        // Far more than the machine's memory, and no byte of it on disk.
        let file = fs::File::create(&path).unwrap();
        file.set_len(1 << 40).unwrap();
        let error = refused(&path);
        assert_eq!(error.kind(), SourceErrorKind::Malformed);
        assert!(error.to_string().contains("1 MiB"), "{error}");
    }

    #[test]
    fn the_limit_itself_is_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("current.json");
        fs::write(&path, vec![b' '; MAX_BYTES as usize]).unwrap();
        assert!(read_file(&path, &path).is_ok());
        fs::write(&path, vec![b' '; MAX_BYTES as usize + 1]).unwrap();
        assert_eq!(refused(&path).kind(), SourceErrorKind::Malformed);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        assert!(refused(dir.path()).to_string().contains("is a directory"));

        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(refused(&socket).to_string().contains("no regular file"));

        let dangling = dir.path().join("dangling");
        std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
        let error = refused(&dangling);
        assert_eq!(error.kind(), SourceErrorKind::NotFound);
        assert!(error.to_string().contains("link to nothing"), "{error}");

        let missing = dir.path().join("missing");
        assert!(matches!(
            read_file(&missing, &missing),
            Err(Interrupt::Gone)
        ));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_without_permission_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("current.json");
        fs::write(&path, "{}").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        if fs::File::open(&path).is_ok() {
            eprintln!("this user may read any file: only the mapping of the error was tested");
            return;
        }
        assert_eq!(refused(&path).kind(), SourceErrorKind::PermissionDenied);
    }
}
