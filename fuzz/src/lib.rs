//! What the fuzz targets run: the harness of `tests/differential`, where a finding is a panic.

#[path = "../../tests/differential/harness/mod.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod harness;

use harness::{authorization, case::Case, document, judge, judge::Finding};

/// A token, as [`Case::from_bytes`] reads it.
pub fn token(bytes: &[u8]) {
    if let Some(case) = Case::from_bytes(bytes) {
        report(judge::judge(&case));
    }
}

/// A key, as [`document::field`] reads it.
pub fn key(bytes: &[u8]) {
    report(document::judge(&document::field(bytes)));
}

/// `Authorization` headers, one a line.
pub fn authorization(bytes: &[u8]) {
    report(authorization::judge(bytes));
}

fn report<T>(judged: Result<T, Finding>) {
    if let Err(finding) = judged {
        panic!("{finding}");
    }
}
