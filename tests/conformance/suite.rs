//! The official suite, npm's `@modelcontextprotocol/conformance`, as a process.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;

use crate::node::Node;

/// What it said of a server: each scenario with its checks.
pub(crate) type Column = BTreeMap<String, Checks>;

/// The scenarios in which they are not equal, as they are in each.
pub(crate) fn differing<'c>(
    one: &'c Column,
    other: &'c Column,
) -> BTreeMap<&'c String, [Option<&'c Checks>; 2]> {
    let names = one.keys().chain(other.keys());
    let both = names.map(|name| (name, [one.get(name), other.get(name)]));
    both.filter(|(_, [one, other])| one != other).collect()
}

/// How each check of a scenario ended, in order. Those that only inform are left out: they count
/// events, which arrive as they do.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Checks(Vec<(String, String)>);

impl Checks {
    pub(crate) fn has_failed(&self) -> bool {
        self.ended("FAILURE") > 0
    }

    pub(crate) fn summary(&self) -> String {
        let passed = self.ended("SUCCESS");
        let all = passed + self.ended("FAILURE");
        match (all, self.ended("WARNING")) {
            (0, 0) => "skipped".to_owned(),
            (_, 0) => format!("{passed}/{all}"),
            (_, warned) => format!("{passed}/{all}, {warned} warned"),
        }
    }

    fn ended(&self, status: &str) -> usize {
        self.0.iter().filter(|(it, _)| it == status).count()
    }
}

/// Runs it to its end. `options` choose the scenarios; the token goes with each request.
pub(crate) fn run(node: &Node, options: &[&str], origin: &str, token: Option<&str>) -> Column {
    const SUITE: &str = "node_modules/.bin/conformance";
    let results = tempfile::tempdir().unwrap();
    let mut command = match token {
        Some(token) => {
            let mut command = node.command_after("add_token.mjs", SUITE);
            command
                .env("TOWER_SECRETS_ORIGIN", origin)
                .env("TOWER_SECRETS_TOKEN", token);
            command
        }
        None => node.command(SUITE),
    };
    let output = command
        .args(["server", "--url", &format!("{origin}/mcp")])
        .arg("--output-dir")
        .arg(results.path())
        .args(options)
        .output()
        .unwrap_or_else(|error| panic!("{node:?}: {error}"));
    let column = read(results.path());
    // It ends with an error where a check failed, and where it broke off.
    let has_ended = output.status.success() || column.values().any(Checks::has_failed);
    assert!(
        has_ended && !column.is_empty(),
        "{}, {} scenarios:\n{}\n{}",
        output.status,
        column.len(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    column
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    id: String,
    name: String,
    status: String,
    error_message: Option<String>,
}

/// Each scenario has a folder `server-NAME-TIME`.
fn read(results: &Path) -> Column {
    let mut column = Column::new();
    for folder in fs::read_dir(results).unwrap() {
        let folder = folder.unwrap();
        let name = folder.file_name().into_string().unwrap();
        let name = name.strip_prefix("server-").unwrap();
        let (scenario, _time) = name.split_at(name.len() - "-2026-07-28T00-00-00-000Z".len());
        let checks = fs::read(folder.path().join("checks.json"));
        let checks: Vec<Check> = serde_json::from_slice(&checks.unwrap()).unwrap();
        let into = column.entry(scenario.to_owned()).or_default();
        let checks = checks.into_iter().filter(|check| check.status != "INFO");
        into.0.extend(checks.map(|check| {
            let error = check.error_message.unwrap_or_default();
            let words = format!("{} {} {error}", check.id, check.name);
            (check.status, words.trim_end().to_owned())
        }));
        into.0.sort();
    }
    column
}
