//! How a keyring is kept fresh.
//!
//! A refresh takes these steps, and the first that refuses ends it with current as it was (a
//! previous that the source no longer names is withdrawn all the same): *fetch* all stages in one view, *parse* the bundle, check the *keys*, *prepare* what
//! the bundle owns, *probe* that it works. Only then is the new snapshot published, by one pointer
//! store.
//!
//! It is asked for by the interval, by SIGHUP, by the source itself (a file watch) and by
//! [`Keyring::refresh`]. One runs at a time; whoever asks while one runs gets one
//! that began after the asking.
//!
//! Of a [`Combined`] source a part can be held back at what is in use, because its store does not
//! answer or because a probe of that part refused it; the others go through these steps without it.

mod builder;
pub use builder::Builder;

mod trigger;
pub use trigger::Trigger;

mod worker;

mod asked;
#[cfg(test)]
mod asked_tests;
mod attempt;
mod candidate;
mod compose;
mod held_back;
mod prove;
mod quarantine;
mod recipe;
mod settle;
mod view;

mod parse;
#[cfg(any(fuzzing, test))]
pub(crate) use parse::parse;

mod parts;
pub use parts::Parts;

mod probe;
pub use probe::Probe;

mod error;
pub use error::{BuildError, BuildErrorKind, RefreshError, Refreshed, Step};

#[cfg(doc)]
use crate::{Keyring, source::Combined};
