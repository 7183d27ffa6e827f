//! The dashboard and the alert rules name what is exported, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;

use crate::{
    life::{live, token_of_a_stranger},
    recorder::Kept,
};

const DASHBOARD: &str = "examples/grafana/tower-secrets.json";
const RULES: &str = "examples/prometheus/tower-secrets.rules.yml";

/// What Prometheus adds to every series.
const TARGET_LABELS: [&str; 3] = ["secret", "instance", "job"];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The queries of all panels and variables.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if matches!(&**name, "expr" | "query" | "definition") => {
                        found.push(text.clone());
                    }
                    _ => queries(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
        _ => {}
    }
}

fn dashboard() -> String {
    let mut found = Vec::new();
    queries(&serde_json::from_str(&read(DASHBOARD)).unwrap(), &mut found);
    assert!(found.len() >= 10, "{found:?}");
    found.join("\n")
}

/// Each name of ours in a query, and the labels asked for beside it.
fn selectors(text: &str) -> Vec<(&str, Vec<(&str, &str)>)> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices("tower_secrets_")
        .filter(|(at, _)| !text[..*at].ends_with(is_of_name))
        .map(|(at, _)| {
            let rest = &text[at..];
            let (name, rest) = rest.split_at(rest.find(|c| !is_of_name(c)).unwrap_or(rest.len()));
            let matchers = rest.strip_prefix('{').and_then(|it| it.split_once('}'));
            let matchers = matchers.map_or("", |(matchers, _)| matchers);
            let labels = matchers.split(',').filter(|it| !it.is_empty()).map(|it| {
                let (label, value) = it.split_once(['=', '!']).unwrap();
                let value = value
                    .trim_start_matches(['~', '='])
                    .trim_matches(['"', '\\']);
                (label.trim(), value)
            });
            (name, labels.collect())
        })
        .collect()
}

/// The labels of each exported metric, and their values.
type Labels = BTreeMap<String, BTreeSet<String>>;

fn exported(kept: &Kept) -> BTreeMap<String, Labels> {
    let mut exported: BTreeMap<String, Labels> = BTreeMap::new();
    for series in kept.all() {
        let (name, labels) = series.trim_end_matches('}').split_once('{').unwrap();
        let seen = exported.entry(name.to_owned()).or_default();
        for label in labels.split(',').filter(|it| !it.is_empty()) {
            let (label, value) = label.split_once('=').unwrap();
            let values = seen.entry(label.to_owned()).or_default();
            values.insert(value.to_owned());
        }
    }
    exported
}

/// A histogram is exported as these, as a summary without the last.
fn metric<'a>(name: &'a str, kinds: &BTreeMap<String, &str>) -> &'a str {
    let parts = ["_sum", "_count", "_bucket"];
    let stem = parts.iter().find_map(|part| name.strip_suffix(part));
    let is_histogram = |stem: &&str| kinds.get(*stem) == Some(&"histogram");
    stem.filter(is_histogram).unwrap_or(name)
}

#[tokio::test(start_paused = true)]
async fn what_is_exported_is_described_and_shown_and_nothing_else_is() {
    let (kept, unknown) = (Kept::default(), token_of_a_stranger().await);
    let _installed = metrics::set_default_local_recorder(&kept);
    live(&kept, unknown).await;
    let (kinds, exported) = (kept.described(), exported(&kept));
    let names: Vec<_> = exported.keys().collect();
    assert_eq!(names, kinds.keys().collect::<Vec<_>>());

    let (dashboard, rules) = (dashboard(), read(RULES));
    for (file, text) in [(DASHBOARD, &dashboard), (RULES, &rules)] {
        let selectors = selectors(text);
        assert!(!selectors.is_empty(), "{file}");
        for (name, matchers) in selectors {
            let labels = exported.get(metric(name, &kinds));
            let labels = labels.unwrap_or_else(|| panic!("{file}: {name} is not exported"));
            for (label, value) in matchers {
                let target = TARGET_LABELS.contains(&label);
                let known = labels.get(label);
                assert!(target || known.is_some(), "{file}: {name} has no {label}");
                let is_pattern = value.contains(['$', '*', '|']);
                let is_value = known.is_some_and(|known| known.contains(value));
                assert!(
                    target || is_pattern || is_value,
                    "{file}: {name} has no {label}={value}"
                );
            }
        }
    }
    let shown: BTreeSet<_> = selectors(&dashboard)
        .iter()
        .map(|(name, _)| metric(name, &kinds).to_owned())
        .collect();
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !shown.contains(**name))
        .collect();
    assert!(missing.is_empty(), "not in the dashboard: {missing:?}");
}
