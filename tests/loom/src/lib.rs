//! What carries a race, in every order in which threads may come: who shares a refresh, and who is told
//! that the last reader of a snapshot is gone.
//!
//! The modules with a path are the crate's own files, over primitives of loom in place of those that
//! `src/sync.rs` names. What stands around them in the crate is said once more here, and names what it
//! stands for. Each model also has a wrong order, which it must find: a caller who is never woken is a
//! deadlock to loom.

#![cfg(test)]
#![allow(clippy::unwrap_used)]

use std::{env, process::Command};

mod sync;

mod source {
    /// The name of a version.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct VersionId(pub(crate) &'static str);
}

/// Nobody looks at the gauges.
mod metrics {
    #[derive(Clone, Debug)]
    pub(crate) struct Meter;

    #[derive(Debug)]
    pub(crate) struct Waiting;

    impl Meter {
        pub(crate) fn waiting(&self) -> Waiting {
            Waiting
        }
    }
}

#[allow(
    dead_code,
    unreachable_pub,
    reason = "the crate uses more of them, and elsewhere"
)]
mod keyring {
    #[path = "../../../../src/keyring/drain.rs"]
    mod drain;
    #[path = "../../../../src/keyring/gate.rs"]
    mod gate;
    #[path = "../../../../src/keyring/refusals.rs"]
    mod refusals;
    #[path = "../../../../src/keyring/unknown_key.rs"]
    mod unknown_key;

    mod last_reader;
    mod unknown_keys;
    mod upstreams;
}

mod refresh {
    #[expect(dead_code, reason = "no model asks who wanted a refresh")]
    #[path = "../../../../src/refresh/asked.rs"]
    mod asked;

    mod one_refresh;

    /// Why a refresh is asked for is no matter here.
    #[derive(Clone, Copy)]
    struct Trigger;

    impl Trigger {
        fn is_deliberate(self) -> bool {
            true
        }

        fn is_for_token(self) -> bool {
            false
        }

        fn wants_news(self) -> bool {
            true
        }
    }
}

/// Runs a model in every order that two preemptions make, or as many as `LOOM_MAX_PREEMPTIONS` says:
/// few races need more, and each more costs many times as long.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(2);
    builder.check(model);
}

/// A deadlock in a model ends the whole process, so each has its own.
#[test]
fn each_wrong_order_is_found() {
    for (name, says) in [
        (
            "keyring::last_reader::a_reader_that_tells_before_it_is_gone_is_found",
            "deadlock",
        ),
        (
            "keyring::last_reader::arming_after_the_look_is_found",
            "deadlock",
        ),
        (
            "keyring::last_reader::news_before_the_books_are_written_are_found",
            "deadlock",
        ),
        (
            "keyring::unknown_keys::an_end_that_is_told_before_the_failure_is_known_is_found",
            "inside of the pause",
        ),
        (
            "keyring::upstreams::news_before_the_flip_are_found",
            "deadlock",
        ),
        (
            "refresh::one_refresh::joining_the_refresh_that_runs_is_found",
            "what was read before the asking",
        ),
    ] {
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", name, "--ignored", "--nocapture"])
            .env("RUST_BACKTRACE", "0")
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("running 1 test"), "{name} is no test");
        assert!(!output.status.success(), "{name} was not found");
        assert!(text.contains(says), "{name}: {text}");
    }
}
