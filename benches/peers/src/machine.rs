//! What the figures were measured with.

use std::{env, fs, path::Path, process::Command, thread};

use crate::report::Table;

/// The crates whose versions matter. The lock file says which those are, so they cannot be wrong.
const CRATES: [&str; 14] = [
    "tower-secrets",
    "aws-lc-rs",
    "axum",
    "aliri_tower",
    "axum-jwt-auth",
    "jwt-authorizer",
    "tower-oauth2-resource-server",
    "axum-keycloak-auth",
    "tower-mcp",
    "jsonwebtoken",
    "base64",
    "base64-simd",
    "quick_cache",
    "moka",
];

const LOCK: &str = include_str!("../Cargo.lock");

pub fn table() -> Table {
    let mut table = Table::new("", [""]);
    let cores = thread::available_parallelism().map_or(0, usize::from);
    table.row("machine", [format!("{}, {cores} cores", processor())]);
    table.row("date", [output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])]);
    table.row("rustc", [output("rustc", &["--version"])]);
    table.row("profile", [profile()]);
    let versions = CRATES.map(|name| format!("{name} {}", versions(name)));
    table.row("crates", [versions.join(", ")]);
    table
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = line.and_then(|line| line.split(": ").nth(1));
    model.unwrap_or("unknown processor").to_owned()
}

/// Cargo names the folder after it.
fn profile() -> String {
    let program = env::current_exe().unwrap_or_default();
    let folder = program.parent().and_then(Path::file_name);
    match folder.and_then(|it| it.to_str()) {
        Some("lto") => "lto: release with lto = \"fat\", codegen-units = 1".to_owned(),
        Some(other) => format!("{other}, with Cargo's defaults, debug = false"),
        None => "unknown".to_owned(),
    }
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|_| "unknown".to_owned())
}

/// All versions of a crate in the lock file.
fn versions(name: &str) -> String {
    let entry = format!("name = \"{name}\"\nversion = \"");
    let found = LOCK.split(entry.as_str()).skip(1);
    let versions: Vec<&str> = found.filter_map(|rest| rest.split('"').next()).collect();
    versions.join("/")
}
