//! Which files make up the stages, read as one view that no writer tears.
//!
//! A directory written by the kubelet holds a link, `..data`, to the directory with the real
//! files, which never change. An update makes a new such directory, moves the link, and removes
//! the old one. So the link is resolved once for each view, and everything is read from where it
//! pointed. That a file is *not* there counts only while the link still points there: the old
//! directory is emptied file by file.
//!
//! Any other directory may be written at any moment, so it is read until two views in a row agree.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::read::{Contents, Interrupt, interrupt, io_error, malformed, read_file, unavailable};
use crate::source::{SourceError, Stage};

/// How often a view is begun anew because its directory was removed below it.
const MAX_RESTARTS: u32 = 3;
/// How many views of a plain directory are compared before giving up.
const MAX_VIEWS: u32 = 6;
/// The first pause for a writer to finish; it doubles each time.
const PAUSE: Duration = Duration::from_millis(1);

/// All stages as they were at one moment.
#[derive(PartialEq)]
pub(super) struct View {
    pub(super) current: Raw,
    pub(super) previous: Raw,
    pub(super) pending: Raw,
    pub(super) mount: Mount,
}

/// What one stage holds, and the path that the operator knows it by.
pub(super) enum Raw {
    Absent,
    Json(PathBuf, Contents),
    /// One file for each field.
    Fields(PathBuf, BTreeMap<String, Contents>),
    Unusable(SourceError),
}

/// What the path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mount {
    /// The kubelet writes it, or its stage folders, or what the single file links to.
    Kubelet,
    Directory,
    SingleFile,
}

/// Moments inside a view, at which tests act as the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Listed,
    Checked,
}

/// Reads one consistent view.
pub(super) fn view(root: &Path, at: &mut dyn FnMut(Step)) -> Result<View, SourceError> {
    let mut restarts = 0;
    let mut views = 0;
    let mut last = None;
    loop {
        match pass(root, at)? {
            Pass::Immutable(view) => return Ok(view),
            Pass::Mutable(Some(view)) if last.as_ref() == Some(&view) => return Ok(view),
            Pass::Mutable(view) => {
                views += 1;
                if views >= MAX_VIEWS {
                    return Err(unavailable(root, "keeps changing while it is read"));
                }
                if views > 1 {
                    thread::sleep(PAUSE * (1 << (views - 2)));
                }
                last = view;
            }
            Pass::Torn => {
                restarts += 1;
                if restarts > MAX_RESTARTS {
                    return Err(unavailable(root, "was replaced each time it was read"));
                }
            }
        }
    }
}

enum Pass {
    /// Read from a directory that nobody writes to.
    Immutable(View),
    /// Valid if the next one is equal; `None` if something went away meanwhile.
    Mutable(Option<View>),
    /// The directory was replaced meanwhile.
    Torn,
}

fn pass(root: &Path, at: &mut dyn FnMut(Step)) -> Result<Pass, SourceError> {
    let base = fs::canonicalize(root).map_err(|error| io_error(root, &error))?;
    if !base.is_dir() {
        return Ok(Pass::Mutable(single_file(&base, root).ok()));
    }
    let dir = Dir::resolve(base);
    let outcome = read_stages(&dir, root, at);
    Ok(match (outcome, dir.is_linked()) {
        (Ok(view), true) => Pass::Immutable(view),
        (Err(Gone), true) => Pass::Torn,
        (outcome, false) => Pass::Mutable(outcome.ok()),
    })
}

/// Something that was there went away.
struct Gone;

fn single_file(path: &Path, root: &Path) -> Result<View, Gone> {
    let contents = read_file(path, root);
    let is_linked = root.is_symlink()
        && root
            .parent()
            .is_some_and(|parent| Dir::resolve(parent.to_owned()).is_linked());
    Ok(View {
        current: or_unusable(contents.map(|contents| Raw::Json(root.to_owned(), contents)))?,
        previous: Raw::Absent,
        pending: Raw::Absent,
        mount: if is_linked {
            Mount::Kubelet
        } else {
            Mount::SingleFile
        },
    })
}

fn read_stages(dir: &Dir, root: &Path, at: &mut dyn FnMut(Step)) -> Result<View, Gone> {
    let current = Form::of(dir, root, Stage::Current)?;
    let previous = Form::of(dir, root, Stage::Previous)?;
    let pending = Form::of(dir, root, Stage::Pending)?;
    at(Step::Listed);
    let folders = [&current, &previous, &pending].map(Form::dir);
    if dir.moved() || folders.into_iter().flatten().any(Dir::moved) {
        return Err(Gone);
    }
    let linked = dir.is_linked() || current.dir().is_some_and(Dir::is_linked);
    at(Step::Checked);
    Ok(View {
        current: current.read()?,
        previous: previous.read()?,
        pending: pending.read()?,
        mount: if linked {
            Mount::Kubelet
        } else {
            Mount::Directory
        },
    })
}

/// A directory, its `..data` link resolved.
struct Dir {
    path: PathBuf,
    link: Option<(PathBuf, PathBuf)>,
}

impl Dir {
    fn resolve(path: PathBuf) -> Self {
        let link = path.join("..data");
        match fs::read_link(&link) {
            Ok(target) => Self {
                path: path.join(&target),
                link: Some((link, target)),
            },
            Err(_) => Self { path, link: None },
        }
    }

    fn is_linked(&self) -> bool {
        self.link.is_some()
    }

    /// Whether the link points elsewhere by now.
    fn moved(&self) -> bool {
        self.link
            .as_ref()
            .is_some_and(|(link, target)| !fs::read_link(link).is_ok_and(|now| now == *target))
    }
}

/// How a stage is laid out.
enum Form {
    Absent,
    Json {
        path: PathBuf,
        shown: PathBuf,
    },
    Folder {
        dir: Dir,
        shown: PathBuf,
        names: Vec<OsString>,
    },
    Unusable(SourceError),
}

impl Form {
    fn of(dir: &Dir, root: &Path, stage: Stage) -> Result<Self, Gone> {
        let (folder, json) = (stage.as_str(), format!("{stage}.json"));
        let shown = (root.join(folder), root.join(&json));
        let is_there = (
            exists(&dir.path.join(folder)),
            exists(&dir.path.join(&json)),
        );
        match is_there {
            (Ok(false), Ok(false)) => Ok(Self::Absent),
            (Ok(false), Ok(true)) => Ok(Self::Json {
                path: dir.path.join(&json),
                shown: shown.1,
            }),
            (Ok(true), Ok(false)) => Self::folder(dir.path.join(folder), shown.0),
            (Ok(true), Ok(true)) => Ok(Self::Unusable(malformed(
                &shown.1,
                &format!("the folder `{folder}` exists too; keep one of them"),
            ))),
            (Err(error), _) => Ok(Self::Unusable(io_error(&shown.0, &error))),
            (_, Err(error)) => Ok(Self::Unusable(io_error(&shown.1, &error))),
        }
    }

    fn folder(path: PathBuf, shown: PathBuf) -> Result<Self, Gone> {
        let dir = Dir::resolve(path);
        match list(&dir.path) {
            Ok(names) => Ok(Self::Folder { dir, shown, names }),
            Err(error) => match interrupt(&dir.path, &shown, &error) {
                Interrupt::Gone => Err(Gone),
                Interrupt::Refused(error) => Ok(Self::Unusable(error)),
            },
        }
    }

    fn dir(&self) -> Option<&Dir> {
        match self {
            Self::Folder { dir, .. } => Some(dir),
            _ => None,
        }
    }

    fn read(self) -> Result<Raw, Gone> {
        match self {
            Self::Absent => Ok(Raw::Absent),
            Self::Unusable(error) => Ok(Raw::Unusable(error)),
            Self::Json { path, shown } => {
                or_unusable(read_file(&path, &shown).map(|contents| Raw::Json(shown, contents)))
            }
            Self::Folder { dir, shown, names } => or_unusable(
                read_fields(&dir, &shown, names).map(|fields| Raw::Fields(shown, fields)),
            ),
        }
    }
}

fn read_fields(
    dir: &Dir,
    shown: &Path,
    names: Vec<OsString>,
) -> Result<BTreeMap<String, Contents>, Interrupt> {
    let mut fields = BTreeMap::new();
    for name in names {
        let shown = shown.join(&name);
        let contents = read_file(&dir.path.join(&name), &shown)?;
        let name = name
            .into_string()
            .map_err(|_| Interrupt::Refused(malformed(&shown, "the file's name is not UTF-8")))?;
        fields.insert(name, contents);
    }
    Ok(fields)
}

fn or_unusable(outcome: Result<Raw, Interrupt>) -> Result<Raw, Gone> {
    match outcome {
        Ok(raw) => Ok(raw),
        Err(Interrupt::Refused(error)) => Ok(Raw::Unusable(error)),
        Err(Interrupt::Gone) => Err(Gone),
    }
}

fn exists(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The names in a directory, sorted, dot-files left out.
fn list(dir: &Path) -> io::Result<Vec<OsString>> {
    let mut names = fs::read_dir(dir)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<Vec<_>>>()?;
    names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    names.sort();
    Ok(names)
}

// By hand because errors are compared by what they say.
impl PartialEq for Raw {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) => true,
            (Self::Json(at, a), Self::Json(other, b)) => at == other && a == b,
            (Self::Fields(at, a), Self::Fields(other, b)) => at == other && a == b,
            (Self::Unusable(a), Self::Unusable(b)) => {
                a.kind() == b.kind() && a.to_string() == b.to_string()
            }
            _ => false,
        }
    }
}
