//! Tests that need what `tests/run` makes: without it they are left out, and say so.

use std::{ffi::OsString, fmt, io::Write};

/// What the variable names. Where it is not set, the test returns.
pub(crate) fn needed(variable: &str, test: &str) -> Option<OsString> {
    let value = std::env::var_os(variable);
    if value.is_none() {
        left_out(format_args!(
            "{test}. `tests/run` makes what it needs and sets {variable}."
        ));
    }
    value
}

/// `tests/run` promises all there is: to it, a variable that has got another name is an error.
pub(crate) fn left_out(what: fmt::Arguments<'_>) {
    let promised = std::env::var_os("TOWER_SECRETS_ALL_BEDS").is_some();
    assert!(!promised, "left out, though all is promised: {what}");
    // Around the capture of test output, so that it is seen when the test passes.
    let _ = writeln!(std::io::stderr(), "LEFT OUT: {what}");
}
