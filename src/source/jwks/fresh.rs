//! For how long an answer may be used again: `Cache-Control` (RFC 9111).

use std::time::Duration;

use http::{
    HeaderMap,
    header::{AGE, CACHE_CONTROL},
};

/// What the server says of its answer's age and end: `max-age` less `Age`. `None` where it says
/// nothing, or that each use should ask (`no-cache`, `no-store`, `max-age=0`).
pub(super) fn lifetime(headers: &HeaderMap) -> Option<Duration> {
    let mut max_age = None;
    for directive in directives(headers) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let name = name.trim();
        if name.eq_ignore_ascii_case("no-cache") || name.eq_ignore_ascii_case("no-store") {
            return None;
        }
        if name.eq_ignore_ascii_case("max-age") {
            // A repeated directive: the shorter one, as section 4.2.1 allows.
            let seconds = seconds(value.trim().trim_matches('"'))?;
            max_age = Some(max_age.map_or(seconds, |other: u64| other.min(seconds)));
        }
    }
    let age = headers.get(AGE).and_then(|age| age.to_str().ok());
    let age = age.and_then(|age| seconds(age.trim())).unwrap_or(0);
    let left = max_age?.saturating_sub(age);
    (left > 0).then(|| Duration::from_secs(left))
}

fn directives(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(CACHE_CONTROL).into_iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
}

/// Delta-seconds (section 1.2.2): what is too large means "for ever".
fn seconds(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::from(u32::MAX)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{HeaderName, HeaderValue};

    use super::*;

    type Lines = [(&'static str, &'static str)];

    fn lifetime_of(lines: &Lines) -> Option<u64> {
        let line = |(name, value): &(&'static str, &'static str)| {
            let value = HeaderValue::from_str(value).unwrap();
            (HeaderName::from_static(name), value)
        };
        lifetime(&lines.iter().map(line).collect()).map(|it| it.as_secs())
    }

    #[test]
    fn what_servers_write() {
        let table: &[(&Lines, Option<u64>)] = &[
            (&[], None),
            (&[("cache-control", "max-age=300")], Some(300)),
            (
                &[(
                    "cache-control",
                    "public, Max-Age=15, stale-while-revalidate=15",
                )],
                Some(15),
            ),
            (&[("cache-control", "max-age=\"60\"")], Some(60)),
            (
                &[
                    ("cache-control", "max-age=60"),
                    ("cache-control", "max-age=30"),
                ],
                Some(30),
            ),
            (
                &[("cache-control", "max-age=300"), ("age", "100")],
                Some(200),
            ),
            (&[("cache-control", "max-age=300"), ("age", "300")], None),
            (&[("cache-control", "max-age=300"), ("age", "x")], Some(300)),
            (&[("cache-control", "max-age=300, no-cache")], None),
            (&[("cache-control", "no-store")], None),
            (&[("cache-control", "max-age=0, must-revalidate")], None),
            (&[("cache-control", "max-age=-1")], None),
            (&[("cache-control", "max-age")], None),
            (&[("cache-control", "s-maxage=300")], None),
            (
                &[("cache-control", "max-age=99999999999999999999")],
                Some(u64::from(u32::MAX)),
            ),
        ];
        for (headers, expected) in table {
            assert_eq!(lifetime_of(headers), *expected, "{headers:?}");
        }
    }
}
