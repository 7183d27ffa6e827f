//! What a resource's URI may come to mean to the server that reads it.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What ends the path for those who know queries and no fragments, fragments and no queries, or neither:
/// to a reader that opens a file, `?` and `#` are letters of its name. Who knows both takes it as one of the
/// first two do, as far as the path goes.
const MARKS: [&[char]; 3] = [&['?'], &['#'], &[]];

/// A URI as those take it who read it.
///
/// Its forms are the same for URIs which common readers take for the same resource: those that remove
/// dot segments and decode percents (RFC 3986, section 6.2.2), that take `\` for `/` and drop tabs and line
/// ends (WHATWG URL), or that open a file, where `//` is `/`. They are for comparing alone, and merge more
/// than any one reader does: who asks for more because of it errs on the safe side.
#[derive(Clone, Debug)]
pub(super) struct Meaning {
    scheme: String,
    /// With each of the marks.
    forms: [Forms; MARKS.len()],
    /// Whether readers make no more of it than that.
    pub(super) is_settled: bool,
    /// Whether its host may stand for one in letters beyond ASCII.
    is_punycode: bool,
}

#[derive(Clone, Debug)]
struct Forms {
    /// With a host, as a URI has it.
    located: String,
    /// To who takes all that is behind the scheme for a path, such as `file://a/b` for `/a/b`.
    opened: String,
    /// To who looks at the path alone, and takes what has no scheme for a file.
    hostless: String,
}

impl Meaning {
    /// Nothing follows what is whole, as it may follow a prefix.
    pub(super) fn new(uri: &str, is_whole: bool) -> Self {
        let has_space = uri.contains(|c: char| c <= ' ');
        let uri = uri.trim_matches(|c: char| c <= ' ');
        let uri = uri.replace(['\t', '\n', '\r'], "");
        let (scheme, rest) = match uri.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => (scheme.to_ascii_lowercase(), rest),
            _ => (String::new(), &*uri),
        };
        // As they are written, which is where readers part.
        let parts = split_authority(&scheme, rest, &['/', '?', '#']);
        let (authority, path) = parts.unwrap_or(("", rest));
        Self {
            forms: MARKS.map(|marks| Forms::new(&scheme, rest, marks, is_whole)),
            is_settled: is_plain_authority(&scheme, authority)
                && is_plain_path(&scheme, path, has_space),
            is_punycode: authority.to_ascii_lowercase().contains("xn--"),
            scheme,
        }
    }

    /// What it is to common readers; those of two are to be compared in this order.
    pub(super) fn readings(&self) -> impl Iterator<Item = &str> {
        let forms = self.forms.iter();
        forms.flat_map(|forms| [&*forms.located, &*forms.opened])
    }

    /// Whether somebody may take the other for this who reads it in yet another way.
    pub(super) fn may_be(&self, other: &Self, meets: impl Fn(&str, &str) -> bool) -> bool {
        let is_of_scheme = other.scheme.is_empty() || self.scheme == other.scheme;
        let is_unknown = !other.is_settled || (!self.is_settled && other.is_punycode);
        let mut forms = self.forms.iter().zip(&other.forms);
        is_of_scheme && is_unknown
            || forms.any(|(own, other)| {
                meets(&own.located, &other.opened) || meets(&own.located, &other.hostless)
            })
    }
}

impl Forms {
    fn new(scheme: &str, rest: &str, marks: &[char], is_whole: bool) -> Self {
        let (rest, query) = split_before(rest, marks);
        let rest = decode(rest);
        let parts = split_authority(scheme, &rest, &['/']);
        let (authority, path) = parts.unwrap_or(("", &rest));
        // RFC 8089: of a file, no authority, an empty one and `localhost` are the same; and its path is
        // absolute.
        let is_file = scheme == "file";
        let host = host(scheme, authority);
        let host = if is_file && host == "localhost" {
            ""
        } else {
            &*host
        };
        let slashes = if is_file || parts.is_some() { "//" } else { "" };
        let is_root = path.is_empty() && is_whole && is_of_web(scheme);
        let form = |start: String, path, is_absolute| {
            let mut form = start;
            push_path(&mut form, path, is_absolute);
            form + query
        };
        let file = if scheme.is_empty() { "file" } else { scheme };
        Self {
            located: form(
                format!("{scheme}:{slashes}{host}"),
                path,
                is_file || is_root || path.starts_with('/'),
            ),
            opened: form(format!("{file}://"), &rest, true),
            hostless: form(format!("{file}://"), path, true),
        }
    }
}

/// RFC 3986, section 3.1. What has none may have a `:` in its path.
fn is_scheme(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(is_part)
}

/// Those of WHATWG URL that always have a host, behind any number of slashes.
fn is_of_web(scheme: &str) -> bool {
    matches!(scheme, "http" | "https" | "ws" | "wss" | "ftp")
}

fn split_authority<'a>(scheme: &str, rest: &'a str, ends: &[char]) -> Option<(&'a str, &'a str)> {
    let behind = if is_of_web(scheme) {
        rest.trim_start_matches(['/', '\\'])
    } else {
        rest.strip_prefix("//")?
    };
    Some(split_before(behind, ends))
}

/// Without what it leads to the same host with: a user, the port of the scheme, the dot of the root.
fn host(scheme: &str, authority: &str) -> String {
    let (name, port) = name_and_port(authority);
    let name = name.strip_suffix('.').unwrap_or(name).to_lowercase();
    match (scheme, port.trim_start_matches('0')) {
        (_, "") | ("http" | "ws", "80") | ("https" | "wss", "443") | ("ftp", "21") => name,
        (_, port) => format!("{name}:{port}"),
    }
}

fn name_and_port(authority: &str) -> (&str, &str) {
    let host = authority.rsplit('@').next().unwrap_or_default();
    match host.rsplit_once(':') {
        Some((name, port)) if is_number(port) => (name, port),
        _ => (host, ""),
    }
}

/// Whether all readers find the same host in it, and none maps that to another.
fn is_plain_authority(scheme: &str, authority: &str) -> bool {
    let count = |text: &str, it: char| text.matches(it).count();
    let decoded = decode(authority);
    if decoded.contains('/')
        || ['@', ':']
            .iter()
            .any(|it| count(&decoded, *it) != count(authority, *it))
    {
        return false;
    }
    // UTS 46 makes one name of others, and numbers are addresses. Of other schemes a host is a text.
    let is_mapped = is_of_web(scheme) || scheme == "file";
    let (name, _) = name_and_port(authority);
    !is_mapped || is_plain_address(name) || is_plain_name(name)
}

fn is_plain_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let last = name
        .trim_end_matches('.')
        .rsplit('.')
        .next()
        .unwrap_or_default();
    let may_be_address = last.starts_with(|c: char| c.is_ascii_digit());
    name.chars().all(is_part) && !may_be_address
}

/// One of IPv6 with dots has two usual notations.
fn is_plain_address(name: &str) -> bool {
    match name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
    {
        Some(name) => {
            let is_as_written = |it: Ipv6Addr| it.to_string() == name && !name.contains('.');
            name.parse().is_ok_and(is_as_written)
        }
        None => name.parse::<Ipv4Addr>().is_ok(),
    }
}

/// Whether all readers go back equally far: how a percent, `\`, an empty segment or a drive is taken decides
/// where `..` leads.
fn is_plain_path(scheme: &str, path: &str, has_space: bool) -> bool {
    let is_drive = scheme == "file" && path.contains('|');
    let is_odd = has_space || path.contains("//") || path.contains(['%', '\\', ':']);
    let goes_back = || decode(path).split(['/', '?', '#']).any(|it| it == "..");
    !(is_drive || is_odd && goes_back())
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Without `.`, `..` and empty segments, but for an empty one at the end.
fn push_path(form: &mut String, path: &str, absolute: bool) {
    let mut kept: Vec<&str> = Vec::new();
    let mut is_folder = false;
    for segment in path.split('/') {
        is_folder = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    if absolute {
        form.push('/');
    }
    form.push_str(&kept.join("/"));
    if is_folder && !kept.is_empty() {
        form.push('/');
    }
}

/// With every percent-encoded octet decoded, and `\` as `/`.
fn decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let (octet, after) = match (first, after) {
            (b'%', [high, low, after @ ..]) => match octet(*high, *low) {
                Some(octet) => (octet, after),
                None => (b'%', rest.get(1..).unwrap_or_default()),
            },
            (octet, after) => (*octet, after),
        };
        decoded.push(if octet == b'\\' { b'/' } else { octet });
        rest = after;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn octet(high: u8, low: u8) -> Option<u8> {
    let digit = |c: u8| char::from(c).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

fn split_before<'a>(text: &'a str, any: &[char]) -> (&'a str, &'a str) {
    text.split_at(text.find(any).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(uri: &str) -> String {
        let [_, _, unmarked] = Meaning::new(uri, true).forms;
        unmarked.located
    }

    #[test]
    fn what_a_reader_may_take_for_the_same_is_the_same() {
        let secret = canonical("file:///private/secret");
        for other in [
            "FILE:///private/secret",
            "file://localhost/private/secret",
            "file://LOCALHOST/private/secret",
            "file:/private/secret",
            "file:private/secret",
            "file:////private//secret",
            "file:///public/../private/./secret",
            "file:///public/%2e%2E/private/secret",
            "file:///../private/secret",
            "file:///%70rivate/secret",
            "file:///private%2Fsecret",
            "file:///private%5csecret",
            r"file:\\\private\secret",
            "file:///pri\tvate/sec\r\nret",
            " file:///private/secret\u{0}",
        ] {
            assert_eq!(canonical(other), secret, "{other:?}");
        }
    }

    #[test]
    fn what_differs_stays_different() {
        let forms = [
            "file:///private/secret",
            "file:///private/secret/",
            "file:///private/Secret",
            "file:///private/secret?x",
            "file://host/private/secret",
            "file:///secret",
            "docs://private/secret",
            "docs:/private/secret",
            "docs:private/secret",
            "private/secret",
            "file:///private/%25secret",
            "",
        ];
        for (at, one) in forms.iter().enumerate() {
            for other in &forms[at + 1..] {
                assert_ne!(canonical(one), canonical(other), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_broken_percent_is_a_percent() {
        for (uri, form) in [
            ("a:%", "a:%"),
            ("a:%4", "a:%4"),
            ("a:%g1", "a:%g1"),
            ("a:%%41", "a:%A"),
        ] {
            assert_eq!(canonical(uri), form);
        }
    }

    proptest! {
        #[test]
        fn any_text_has_its_forms(uri in ".{0,40}") {
            let meaning = Meaning::new(&uri, true);
            prop_assert_eq!(meaning.readings().count(), 2 * MARKS.len());
        }

        #[test]
        fn a_way_around_ends_in_the_same_place(
            way in proptest::collection::vec("[a-z]{1,4}", 0..4),
            around in "(\\./|x/\\.\\./|/|%2e/|y/%2E\\./){0,4}",
        ) {
            let (straight, around) = (way.join("/"), format!("{around}{}", way.join("/")));
            prop_assert_eq!(
                canonical(&format!("file:///{straight}")),
                canonical(&format!("file:///{around}"))
            );
        }
    }
}
