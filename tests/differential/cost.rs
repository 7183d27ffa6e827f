//! What a token costs grows with its length and not with the square of it.

use std::time::{Duration, Instant};

use http::HeaderValue;

use crate::harness::{
    keys::SIGNERS,
    world::{Answer, WORLD, ask},
};

/// 64 times the limit that a layer has by default.
const LONG: usize = 1 << 20;
/// At one step a nanosecond, what is linear takes a millisecond, and what is quadratic 18 minutes.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_token_of_a_mebibyte_is_judged_in_linear_time() {
    for (name, token) in tokens() {
        let layer = WORLD.sets[0].plain.clone().max_token_bytes(usize::MAX);
        let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        let start = Instant::now();
        let answer = ask(&layer, &[value]);
        assert!(matches!(answer, Answer::Refused(_)), "{name}: {answer:?}");
        assert!(start.elapsed() < PATIENCE, "{name}");
    }
}

fn tokens() -> Vec<(String, String)> {
    let mut tokens = vec![
        ("dots".to_owned(), ".".repeat(LONG)),
        ("letters".to_owned(), "A".repeat(LONG)),
        (
            "three long parts".to_owned(),
            format!("{0}.{0}.{0}", "A".repeat(LONG)),
        ),
    ];
    let good = r#"{"alg":"HS256"}"#;
    for unit in [
        "[",
        "{\"a\":",
        "\"",
        "\\",
        " ",
        "9",
        "{",
        "{\"alg\":\"HS256\",",
        "[[],",
        "\"\\ud800",
        "\"\\u0000",
        "{\"exp\":1,",
        "-",
        "1e",
    ] {
        let text = unit.repeat(LONG / unit.len());
        let member = format!("{{\"x\":{text}");
        for (place, header, claims) in [("header", &text, good), ("header member", &member, good)] {
            tokens.push((format!("{unit} in the {place}"), sign(header, claims)));
        }
        for (place, claims) in [("claims", &text), ("claims member", &member)] {
            tokens.push((format!("{unit} in the {place}"), sign(good, claims)));
        }
    }
    tokens
}

fn sign(header: &str, claims: &str) -> String {
    SIGNERS[0].token(header.as_bytes(), claims.as_bytes())
}
