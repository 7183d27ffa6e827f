//! What a resource's URI may come to mean to the server that reads it.

/// How many readings of a URI there are.
pub(super) const READINGS: usize = 3;

/// The forms of a URI as those take it who know queries and no fragments, fragments and no queries, or
/// neither: to a reader that opens a file, `?` and `#` are letters of its name. Who knows both takes it as
/// one of the first two do, as far as the path goes.
pub(super) fn readings(uri: &str) -> [String; READINGS] {
    [&['?'][..], &['#'], &[]].map(|marks| canonical(uri, marks))
}

/// A form that is the same for URIs which common readers take for the same resource: those that remove
/// dot segments and decode percents before or after (RFC 3986, section 6.2.2), that take `\` for `/` and
/// drop tabs and line ends (WHATWG URL), or that open a file, where `//` is `/`.
///
/// It is for comparing alone, and merges more than any one reader does: who asks for more because of it
/// errs on the safe side. What one of the marks begins, such as a query, is kept as it is.
fn canonical(uri: &str, marks: &[char]) -> String {
    let uri: String = uri
        .trim_matches(|c: char| c <= ' ')
        .chars()
        .filter(|c| !matches!(c, '\t' | '\n' | '\r'))
        .collect();
    let (uri, query) = split_before(&uri, marks);
    let (scheme, rest) = match uri.split_once(':') {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), decode(rest)),
        None => (String::new(), decode(uri)),
    };
    let (mut authority, mut path) = match rest.strip_prefix("//") {
        Some(rest) => {
            let (authority, path) = split_before(rest, &['/']);
            (Some(authority.to_lowercase()), path)
        }
        None => (None, &*rest),
    };
    if scheme == "file" {
        // RFC 8089: no authority, an empty one and `localhost` are the same; and the path is absolute.
        let local = authority.filter(|host| host != "localhost");
        authority = Some(local.unwrap_or_default());
        path = path.trim_start_matches('/');
    }
    let mut form = format!("{scheme}:");
    if let Some(authority) = &authority {
        form.extend(["//", authority]);
    }
    let absolute = scheme == "file" || path.starts_with('/');
    push_path(&mut form, path, absolute);
    form.push_str(query);
    form
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
        let [_, _, whole] = readings(uri);
        whole
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
            readings(&uri);
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
