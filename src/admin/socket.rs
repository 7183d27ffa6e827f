//! The same routes on a Unix socket, for a command of the program's own that asks the running server to reload.

use std::{
    error::Error,
    fmt, fs, io,
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
        net::SocketAddr,
    },
    path::{Path, PathBuf},
};

use axum::Router;
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

use super::Admin;

/// A server that answers to HTTP/1.0 sends its answer in one piece, and closes.
const ORDER: &[u8] =
    b"POST /reload HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json\r\n\
    content-length: 2\r\n\r\n{}";

/// Far more than the outcome of a hundred keyrings.
const LONGEST: u64 = 1024 * 1024;

impl Admin {
    /// Listens on a Unix socket that this user alone may open (mode 0600): for [`reload`], with which a program
    /// asks its own running process. That needs no shell, no `kill`, no process id and no port, so it works in images
    /// that hold nothing but the program, and where it is not process 1. Unlike a signal, it tells what came of it.
    ///
    /// The mode is the guard: no token is asked for, whatever was set. The parent directory must be there; let
    /// nobody else write to it. A socket that a crashed process left behind is replaced.
    ///
    /// # Errors
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) where a living process listens there,
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) where something is there that is no socket; else what the
    /// system says, of a path of more than some 90 bytes for example.
    ///
    /// # Cancellation safety
    /// Dropping the future leaves nothing open.
    pub async fn bind_unix(self, path: impl AsRef<Path>) -> io::Result<BoundUnix> {
        let path = std::path::absolute(path)?;
        let named = |error: io::Error| {
            let text = format!("cannot listen on {}: {error}", path.display());
            io::Error::new(error.kind(), text)
        };
        let vacant = make_sure_nobody_listens(&path).await;
        let (listener, file) = vacant.and_then(|()| listen(&path)).map_err(named)?;
        let unguarded = Self {
            guard: None,
            ..self
        };
        Ok(BoundUnix {
            listener,
            router: unguarded.router(),
            file,
        })
    }
}

/// A Unix socket that listens and is not served yet; made by [`Admin::bind_unix`]. Its file goes away with it.
#[derive(Debug)]
#[must_use = "nothing is served before `serve` is called"]
pub struct BoundUnix {
    listener: UnixListener,
    router: Router,
    file: SocketFile,
}

impl BoundUnix {
    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Serves until the future is dropped; then the file is removed.
    ///
    /// # Errors
    /// None today: a connection that fails is of no concern to the others.
    ///
    /// # Cancellation safety
    /// Dropping the future stops to accept; a request under way is answered.
    pub async fn serve(self) -> io::Result<()> {
        let Self {
            listener,
            router,
            file: _file,
        } = self;
        axum::serve(listener, router).await
    }
}

async fn make_sure_nobody_listens(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => {}
        Ok(_) => {
            let reason = "something is there that is no socket";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    match UnixStream::connect(path).await {
        Ok(_) => {
            let reason = "another process listens there";
            Err(io::Error::new(io::ErrorKind::AddrInUse, reason))
        }
        // A crash left it behind, or it went away this moment.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// A socket is open to whom the umask lets until its mode is set. So it is made where nobody else gets to, and
/// moved to its place, where it replaces one that was left behind.
fn listen(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    // It is made by a shorter name than those who open it have to use.
    SocketAddr::from_pathname(path)?;
    let parent = path.parent().unwrap_or(Path::new("/"));
    let private = parent.join(format!(".{:08x}", fastrand::u32(..)));
    fs::DirBuilder::new().mode(0o700).create(&private)?;
    let made = private.join("s");
    let listening = UnixListener::bind(&made).and_then(|listener| {
        fs::set_permissions(&made, fs::Permissions::from_mode(0o600))?;
        let file = SocketFile::new(path, &fs::symlink_metadata(&made)?);
        fs::rename(&made, path)?;
        Ok((listener, file))
    });
    if listening.is_err() {
        // It may not have been made.
        let _ = fs::remove_file(&made);
    }
    // An empty directory that stays does no harm.
    let _ = fs::remove_dir(&private);
    listening
}

/// Removes the file when dropped, unless another one is in its place by then.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path, metadata: &fs::Metadata) -> Self {
        Self {
            path: path.to_owned(),
            identity: (metadata.dev(), metadata.ino()),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let Self { path, identity } = self;
        let there = fs::symlink_metadata(&*path);
        if there.is_ok_and(|there| (there.dev(), there.ino()) == *identity) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Asks the process that listens on this socket ([`Admin::bind_unix`]) to fetch all of its keyrings now, and
/// waits for what comes of it.
///
/// ```no_run
/// use tower_secrets::admin;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::process::ExitCode {
/// // A subcommand of the server's own program.
/// match admin::reload("/run/app/admin.sock").await {
///     Ok(outcomes) => outcomes.iter().for_each(|outcome| println!("{outcome}")),
///     Err(error) => {
///         eprintln!("{error}");
///         return std::process::ExitCode::FAILURE;
///     }
/// }
/// # std::process::ExitCode::SUCCESS
/// # }
/// ```
///
/// # Errors
/// When nobody listens there, or when a keyring stays as it is: its new version was refused, or its store gave
/// no answer.
///
/// # Cancellation safety
/// Dropping the future cancels no refresh. It waits as long as that takes: fetches and probes have limits of
/// their own.
pub async fn reload(path: impl AsRef<Path>) -> Result<Vec<ReloadOutcome>, ReloadError> {
    let path = path.as_ref();
    let unreachable = |error| ReloadError::Unreachable {
        path: path.to_owned(),
        error,
    };
    let mut stream = UnixStream::connect(path).await.map_err(unreachable)?;
    stream.write_all(ORDER).await.map_err(unreachable)?;
    let mut answer = Vec::new();
    let mut limited = stream.take(LONGEST);
    let read = limited.read_to_end(&mut answer).await;
    read.map_err(unreachable)?;
    let outcomes = read_answer(&answer).ok_or(ReloadError::NotUnderstood)?;
    if outcomes.iter().all(|outcome| outcome.error.is_none()) {
        Ok(outcomes)
    } else {
        Err(ReloadError::Refused(outcomes))
    }
}

fn read_answer(answer: &[u8]) -> Option<Vec<ReloadOutcome>> {
    #[derive(Deserialize)]
    struct Outcomes {
        outcomes: Vec<ReloadOutcome>,
    }
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n")?;
    let (head, body) = (answer.get(..end)?, answer.get(end + 4..)?);
    let status = head.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    let is_outcome = matches!(status, b"200" | b"502");
    let read: Outcomes = serde_json::from_slice(body).ok().filter(|_| is_outcome)?;
    Some(read.outcomes)
}

/// What a reload came to for one keyring.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ReloadOutcome {
    /// Its name.
    pub keyring: String,
    /// `swapped`, `unchanged`, `failed` or `stopped`.
    pub outcome: String,
    /// The generation in use after a reload that went well.
    pub generation: Option<u64>,
    /// Why it stays as it is.
    pub error: Option<String>,
}

impl fmt::Display for ReloadOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            keyring,
            outcome,
            generation,
            error,
        } = self;
        write!(f, "{keyring}: {outcome}")?;
        if let Some(generation) = generation {
            write!(f, ", generation {generation}")?;
        }
        if let Some(error) = error {
            write!(f, ", what was in use stays: {error}")?;
        }
        Ok(())
    }
}

/// Why [`reload`] gives no good news.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReloadError {
    /// No process of this user listens there, or it ended meanwhile.
    Unreachable {
        /// Where.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// At least one keyring stays as it is. All outcomes, good ones included.
    Refused(Vec<ReloadOutcome>),
    /// Something else listens there, or the process ended before its answer did.
    NotUnderstood,
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The system's words are the source's.
            Self::Unreachable { path, .. } => {
                write!(f, "no server is reached at {}", path.display())
            }
            Self::Refused(outcomes) => {
                let mut separator = "";
                for outcome in outcomes {
                    write!(f, "{separator}{outcome}")?;
                    separator = "; ";
                }
                Ok(())
            }
            Self::NotUnderstood => f.write_str("the answer is no outcome of a reload"),
        }
    }
}

impl Error for ReloadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unreachable { error, .. } => Some(error),
            Self::Refused(_) | Self::NotUnderstood => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_path_that_nobody_could_open_is_an_error_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s".repeat(100));
        let error = Admin::new().bind_unix(&path).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
