//! What the fuzz targets run, where a finding is a panic: the harness of `tests/differential`, the
//! parsers of the sources, and an MCP server behind the layer of scopes.

#![allow(clippy::unwrap_used)]

use std::cell::LazyCell;

use tokio::runtime::Runtime;

mod aws;
pub use aws::aws;

mod file;
pub use file::file;

mod mcp;
pub use mcp::mcp;

pub use tower_secrets::fuzz::{jwks, session};

#[path = "../../tests/scopes/server.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod server;

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

/// What Vault answers. Its tokens and leases are counted on the clock of a runtime.
pub fn vault(bytes: &[u8]) {
    let _entered = runtime().enter();
    tower_secrets::fuzz::vault(bytes);
}

/// One for the whole run: a target has one thread. Its clock stands still while there is work, and
/// nobody waits for it.
fn runtime() -> &'static Runtime {
    thread_local! {
        static RUNTIME: LazyCell<&'static Runtime> = LazyCell::new(|| {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().start_paused(true).build();
            Box::leak(Box::new(runtime.expect("a runtime")))
        });
    }
    RUNTIME.with(|runtime| **runtime)
}

fn report<T>(judged: Result<T, Finding>) {
    if let Err(finding) = judged {
        panic!("{finding}");
    }
}
