//! What the headers of an answer say of the next request: when it is due, and on which condition.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AGE, CACHE_CONTROL, DATE, ETAG, EXPIRES, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
        RETRY_AFTER,
    },
};

/// The header that turns a request into a conditional one.
pub(super) type Condition = (HeaderName, HeaderValue);

/// What the server says of its answer's age and end (RFC 9111, section 4.2.1): `max-age`, else
/// `Expires` less `Date`, and less `Age`. `None` where it says nothing, or that each use should ask
/// (`no-cache`, `no-store`, `max-age=0`).
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
    let lifetime = max_age.or_else(|| Some(until(headers, EXPIRES)?.as_secs()))?;
    let age = text(headers, AGE).and_then(seconds).unwrap_or(0);
    let left = lifetime.saturating_sub(age);
    (left > 0).then(|| Duration::from_secs(left))
}

/// How long the server asks to be left alone (RFC 9110, section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let delay = text(headers, RETRY_AFTER).and_then(seconds);
    delay
        .map(Duration::from_secs)
        .or_else(|| until(headers, RETRY_AFTER))
}

/// What lets the server say that nothing has changed: the `ETag`, else `Last-Modified`.
pub(super) fn condition(headers: &HeaderMap) -> Option<Condition> {
    if let Some(etag) = headers.get(ETAG) {
        return Some((IF_NONE_MATCH, etag.clone()));
    }
    // A second change within the same second leaves the date as it is, and a withdrawn key would go
    // unnoticed (RFC 9110, section 8.8.2.2).
    let modified = date(headers, LAST_MODIFIED)?;
    let is_settled = modified < date(headers, DATE)?;
    let value = headers.get(LAST_MODIFIED).filter(|_| is_settled)?;
    Some((IF_MODIFIED_SINCE, value.clone()))
}

/// From the server's own `Date`, so that its clock need not agree with ours, to the one in this
/// header. `None` where that is over, or is no date.
fn until(headers: &HeaderMap, name: HeaderName) -> Option<Duration> {
    let sent = date(headers, DATE).unwrap_or_else(SystemTime::now);
    date(headers, name)?.duration_since(sent).ok()
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(text(headers, name)?).ok()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
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

    use super::*;

    type Lines = [(&'static str, &'static str)];

    const NINE: &str = "Fri, 27 Nov 2026 09:00:00 GMT";
    const TEN: &str = "Fri, 27 Nov 2026 10:00:00 GMT";

    fn headers(lines: &Lines) -> HeaderMap {
        let line = |(name, value): &(&'static str, &'static str)| {
            let value = HeaderValue::from_str(value).unwrap();
            (HeaderName::from_static(name), value)
        };
        lines.iter().map(line).collect()
    }

    fn lifetime_of(lines: &Lines) -> Option<u64> {
        lifetime(&headers(lines)).map(|it| it.as_secs())
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
            (&[("expires", TEN), ("date", NINE)], Some(3600)),
            (
                &[("expires", TEN), ("date", NINE), ("age", "600")],
                Some(3000),
            ),
            (&[("expires", NINE), ("date", TEN)], None),
            (&[("expires", "0"), ("date", NINE)], None),
            // Without `Date` it counts from now, which is later.
            (&[("expires", "Fri, 27 Nov 2020 10:00:00 GMT")], None),
            (
                &[
                    ("cache-control", "max-age=60"),
                    ("expires", TEN),
                    ("date", NINE),
                ],
                Some(60),
            ),
            (
                &[
                    ("cache-control", "public"),
                    ("expires", TEN),
                    ("date", NINE),
                ],
                Some(3600),
            ),
            (
                &[
                    ("cache-control", "no-cache"),
                    ("expires", TEN),
                    ("date", NINE),
                ],
                None,
            ),
        ];
        for (headers, expected) in table {
            assert_eq!(lifetime_of(headers), *expected, "{headers:?}");
        }
    }

    #[test]
    fn retry_after_is_a_delay_or_a_date() {
        for (lines, expected) in [
            (&[][..], None),
            (&[("retry-after", "120")], Some(120)),
            (&[("retry-after", "0")], Some(0)),
            (&[("retry-after", TEN), ("date", NINE)], Some(3600)),
            (&[("retry-after", NINE), ("date", TEN)], None),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "-5")], None),
        ] {
            let found = retry_after(&headers(lines)).map(|it| it.as_secs());
            assert_eq!(found, expected, "{lines:?}");
        }
    }

    #[test]
    fn an_etag_goes_before_a_date_and_a_date_must_be_settled() {
        for (lines, expected) in [
            (&[][..], None),
            (
                &[("etag", "\"1\""), ("last-modified", NINE), ("date", TEN)],
                Some((IF_NONE_MATCH, "\"1\"")),
            ),
            (
                &[("last-modified", NINE), ("date", TEN)],
                Some((IF_MODIFIED_SINCE, NINE)),
            ),
            (&[("last-modified", NINE), ("date", NINE)], None),
            (&[("last-modified", NINE)], None),
            (&[("last-modified", "once"), ("date", TEN)], None),
        ] {
            let found = condition(&headers(lines));
            let expected = expected.map(|(name, it)| (name, HeaderValue::from_static(it)));
            assert_eq!(found, expected, "{lines:?}");
        }
    }
}
