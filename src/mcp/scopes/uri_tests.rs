//! What a policy asks for, against servers that read a URI in their own ways.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::policy::{Needs, ScopePolicy};
use crate::mcp::message::Target;

fn needs<'p>(policy: &'p ScopePolicy, uri: &str) -> Needs<'p> {
    let mut needs = Needs::default();
    policy.add_target(Target::Resource(uri), &mut needs);
    needs
}

fn of_resource<'p>(policy: &'p ScopePolicy, uri: &str) -> Vec<&'p str> {
    needs(policy, uri).scopes
}

#[test]
fn a_host_hides_nothing() {
    let policy = ScopePolicy::new()
        .resource_prefix("file:///private/", ["local"])
        .resource_prefix("file:///C:/private/", ["drive"])
        .resource_prefix("file://nas/", ["nas"])
        .resource_prefix("https://h/", ["h"])
        .resource_prefix("https://b\u{fc}cher.example/", ["books"])
        .resource("docs:///private", ["docs"])
        .resource("https://whole", ["whole"]);
    for uri in [
        // To who joins to a folder what is behind `file://`, or knows paths alone.
        "file://private/secret",
        "file://public/../private/secret",
        "file://private/secret?x",
        "/private/secret",
        // To who looks at no host.
        "file://x/private/secret",
        // To who maps a host as WHATWG URL does: here to `localhost`.
        "file://loC\u{1d400}\u{1d40b}\u{1d407}\u{1d428}\u{1d42c}\u{1d42d}/private/secret",
        "file://%6cocalhost/private/secret",
        // To who takes apart before decoding, or the other way around.
        "file:///q%2Fr/../private/secret",
        r"file:///q\r/../private/secret",
        "file:///%70rivate//../secret",
        "file:///%70rivate/%2e%2e/../secret",
        "file:///%70rivate/.\t./../secret",
        "file://./private/..\t",
    ] {
        assert!(of_resource(&policy, uri).contains(&"local"), "{uri:?}");
    }
    for uri in [
        "file://x/C:/private/f",
        "file://C:/private/f",
        "file:///C:/../private/f",
        "file://x/C|/private/f",
    ] {
        assert!(of_resource(&policy, uri).contains(&"drive"), "{uri}");
    }
    for uri in [
        "https://h:443/x",
        "https://h:0443/x",
        "https://h:/x",
        "https://u:p@h/x",
        "HTTPS://H./x",
        "https:h/x",
        "https:/h/x",
        r"https:\\\h/x",
        "https://\u{ff48}/x",
        "https://other%2F@h/x",
        r"https://other\@h/x",
    ] {
        assert!(of_resource(&policy, uri).contains(&"h"), "{uri}");
    }
    for (uri, scopes) in [
        ("https://xn--bcher-kva.example/x", &["books"][..]),
        ("https://b\u{fc}cher.example/x", &["books", "h", "whole"]),
        ("file://nas/x", &["nas"]),
        ("docs://x/private", &["docs"]),
        ("https://whole/", &["whole"]),
        // Nobody takes these for others.
        ("https://h.example/x", &[]),
        ("https://h:444/x", &[]),
        ("http://h/x", &[]),
        ("https://h@other/x", &[]),
        ("https://127.0.0.1/x", &[]),
        ("https://[::1]/x", &[]),
        ("file:///nas/x", &["nas"]),
        ("file://other/x", &[]),
        ("file:///x/../y", &[]),
        ("docs://x/private/y", &[]),
        ("docs://\u{30e1}\u{30e2}/x", &[]),
    ] {
        assert_eq!(of_resource(&policy, uri), scopes, "{uri}");
    }
}

fn piece() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "file:",
        "https:",
        "/",
        "//",
        "\\",
        ".",
        "..",
        "%2e",
        "%2F",
        "%5c",
        "%40",
        "private",
        "%70rivate",
        "secret",
        "h",
        "\u{ff48}",
        "u@",
        ":443",
        ":",
        "?",
        "#",
        "localhost",
        "x",
        "\t",
        " ",
    ])
}

/// Where a file is opened.
fn cleaned(path: &str) -> String {
    let mut kept = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

fn decoded(text: &str) -> String {
    ["%2e.", "%2F/", "%5c\\", "%40@", "%70p"]
        .iter()
        .fold(text.to_owned(), |text, pair| {
            let (octet, letter) = pair.split_at(3);
            text.replace(octet, letter)
        })
}

/// What servers that read URIs in different ways would open.
fn opened(uri: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let parsed = reqwest::Url::parse(uri);
    // Without a scheme, and not in need of a host.
    let is_path = parsed
        .as_ref()
        .is_err_and(|error| error.to_string().contains("relative"));
    if uri.starts_with("file:") || is_path {
        let bare = uri.strip_prefix("file://").unwrap_or(uri);
        paths = vec![bare.to_owned(), decoded(bare), cleaned(&decoded(bare))];
    }
    if let Ok(url) = parsed
        && url.scheme() == "file"
    {
        paths.extend([url.path().to_owned(), decoded(url.path())]);
    }
    let slashed: Vec<String> = paths.iter().map(|path| path.replace('\\', "/")).collect();
    let mut all = [paths, slashed].concat();
    for mark in ['?', '#'] {
        let before: Vec<String> = all
            .iter()
            .filter_map(|path| Some(path.split(mark).next()?.to_owned()))
            .collect();
        all.extend(before);
    }
    all.iter().map(|path| cleaned(path)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn no_server_opens_what_the_policy_did_not_see(
        scheme in proptest::sample::select(vec!["file:", "file://", "https:", "https://", "https://h/", "file:///private/", ""]),
        pieces in proptest::collection::vec(piece(), 0..9),
    ) {
        let policy = ScopePolicy::new()
            .resource_prefix("file:///private/", ["local"])
            .resource_prefix("https://h/", ["h"])
            .resource_prefix("https://h/private/", ["private"]);
        let uri = format!("{scheme}{}", pieces.concat());
        let needs = of_resource(&policy, &uri);
        for path in opened(&uri) {
            prop_assert!(!path.starts_with("/private/") || needs.contains(&"local"), "{uri:?} {path}");
        }
        let url = reqwest::Url::parse(&uri).ok().filter(|url| url.scheme() == "https");
        if let Some(url) = url.filter(|url| url.host_str() == Some("h") && url.port().is_none()) {
            prop_assert!(needs.contains(&"h"), "{uri:?}");
            let is_private = [url.path().to_owned(), cleaned(&decoded(url.path()))]
                .iter()
                .any(|path| path.starts_with("/private/"));
            prop_assert!(!is_private || needs.contains(&"private"), "{uri:?}");
        }
    }
}

/// However a number is written, it may be the address of the rule.
#[test]
fn an_address_in_another_notation_may_be_any() {
    let policy = ScopePolicy::new()
        .resource_prefix("http://127.0.0.1/", ["v4"])
        .resource_prefix("http://[::1]/", ["v6"]);
    for uri in [
        "http://0x7f.1/",
        "http://2130706433/",
        "http://127.0.0.1./",
        "http://[0::1]/",
        "http://[::ffff:127.0.0.1]/",
    ] {
        assert_eq!(of_resource(&policy, uri), ["v4", "v6"], "{uri}");
    }
    assert_eq!(of_resource(&policy, "http://127.0.0.1:80/x"), ["v4"]);
    assert_eq!(of_resource(&policy, "http://[::1]:80/x"), ["v6"]);
    assert_eq!(of_resource(&policy, "http://127.0.0.2/x"), [""; 0]);
}

#[test]
fn what_is_listed_stays_listed() {
    let policy = ScopePolicy::new()
        .resource_prefix("docs://public/", [])
        .resource_prefix("file://nas/", [])
        .resource_prefix("https:", [])
        .resource("https://h", [])
        .deny_unlisted();
    let denied = |uri| needs(&policy, uri).unlisted;
    for uri in [
        "docs://public/x?y#z",
        "docs://public/x:y",
        "file://nas/x%20y",
        "https://h/x",
        "https://h",
    ] {
        assert!(!denied(uri), "{uri}");
    }
    for uri in [
        "docs://other/public/x",
        "docs://public/%2e%2e/x",
        "file://nas/../x",
        "file:///x",
        "https://\u{ff48}/x",
    ] {
        assert!(denied(uri), "{uri}");
    }
}
