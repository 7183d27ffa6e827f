//! Which mutant is on. `tests/mutants/run` puts this module into its copy of the crate.

use std::{
    env,
    fs::{File, OpenOptions},
    io::Write,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

const UNREAD: usize = usize::MAX;
const TRACE: usize = UNREAD - 1;
const NONE: usize = UNREAD - 2;

static ACTIVE: AtomicUsize = AtomicUsize::new(UNREAD);
static REACHED: [AtomicBool; 16_384] = [const { AtomicBool::new(false) }; 16_384];

#[inline]
pub(crate) fn is(mutant: usize) -> bool {
    let active = ACTIVE.load(Ordering::Relaxed);
    active == mutant || (active >= TRACE && read_or_trace(mutant))
}

#[cold]
fn read_or_trace(mutant: usize) -> bool {
    let Some(path) = env::var_os("TOWER_SECRETS_MUTANT_TRACE") else {
        let active = env::var("TOWER_SECRETS_MUTANT").map_or(NONE, |it| it.parse().unwrap());
        ACTIVE.store(active, Ordering::Relaxed);
        return active == mutant;
    };
    static FILE: OnceLock<File> = OnceLock::new();
    ACTIVE.store(TRACE, Ordering::Relaxed);
    if !REACHED[mutant].swap(true, Ordering::Relaxed) {
        let open = || OpenOptions::new().create(true).append(true).open(path).unwrap();
        // One write, so that the lines of many processes do not mix; no allocation, because some tests count.
        let mut line = *b"        \n";
        write!(&mut line[..8], "{mutant}").unwrap();
        FILE.get_or_init(open).write_all(&line).unwrap();
    }
    false
}
