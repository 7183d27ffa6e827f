//! What a header may say, and what it may not influence.

use std::thread;

use super::*;

fn judge_alone(header: impl AsRef<[u8]>) -> Result<(), VerifyErrorKind> {
    judge_header(header, &policy())
}

#[test]
fn a_header_is_one_json_object() {
    for (header, expected) in [
        (r#"{"alg":"HS256"}"#, Ok(())),
        (" \r\n\t{\"alg\" :\n\"HS256\"}\n ", Ok(())),
        ("\u{feff}{\"alg\":\"HS256\"}", Err(Malformed)),
        ("\u{a0}{\"alg\":\"HS256\"}", Err(Malformed)),
        (r#"{"alg":"HS256"} x"#, Err(Malformed)),
        (r#"{"alg":"HS256"}{}"#, Err(Malformed)),
        ("{\"alg\":\"HS256\"}\0", Err(Malformed)),
        (r#"{"alg":"HS256",}"#, Err(Malformed)),
        (r#"{"alg":"HS256""#, Err(Malformed)),
        (r#"{'alg':'HS256'}"#, Err(Malformed)),
        (r#"{alg:"HS256"}"#, Err(Malformed)),
        (r#"{"alg":"HS256"/**/}"#, Err(Malformed)),
        (r#"{"alg":"HS256","x":NaN}"#, Err(Malformed)),
        (r#"{"alg":"HS256","x":01}"#, Err(Malformed)),
        ("{\"alg\":\"HS256\",\"x\":\"\n\"}", Err(Malformed)),
        (r#"["HS256"]"#, Err(Malformed)),
        (r#"[{"alg":"HS256"}]"#, Err(Malformed)),
        (r#""HS256""#, Err(Malformed)),
        ("1", Err(Malformed)),
        ("null", Err(Malformed)),
        ("true", Err(Malformed)),
        (" ", Err(Malformed)),
        ("{}", Err(Malformed)),
        ("", Err(Malformed)),
    ] {
        assert_eq!(judge_alone(header), expected, "{header}");
    }
}

#[test]
fn alg_is_the_plain_name_of_the_keys_algorithm() {
    for (alg, expected) in [
        (r#""HS256""#, Ok(())),
        // The same string.
        (r#""\u0048S25\u0036""#, Ok(())),
        (r#""hs256""#, Err(Unsupported)),
        (r#""HS256 ""#, Err(Unsupported)),
        (r#"" HS256""#, Err(Unsupported)),
        (r#""HS256\u0000""#, Err(Unsupported)),
        (r#""none""#, Err(Unsupported)),
        (r#""None""#, Err(Unsupported)),
        (r#""""#, Err(Unsupported)),
        (r#""HS1""#, Err(Unsupported)),
        (r#""ES256K""#, Err(Unsupported)),
        (r#""ES512""#, Err(Unsupported)),
        // Known, and not the key's.
        (r#""HS384""#, Err(UnknownKey)),
        (r#""RS256""#, Err(UnknownKey)),
        (r#"{"HS256":null}"#, Err(Malformed)),
        (r#"["HS256"]"#, Err(Malformed)),
        ("null", Err(Malformed)),
        ("256", Err(Malformed)),
        ("0.5", Err(Malformed)),
        ("true", Err(Malformed)),
    ] {
        let header = format!(r#"{{"alg":{alg}}}"#);
        assert_eq!(judge_alone(&header), expected, "{header}");
    }
}

#[test]
fn an_unsigned_token_is_refused_with_and_without_signature() {
    let keys = [trusted(&secret(1))];
    for signature in ["", "AAAA"] {
        let input = format!(
            "{}.{}",
            b64(r#"{"alg":"none"}"#),
            b64(good_claims().to_string())
        );
        let token = format!("{input}.{signature}");
        assert_eq!(judge(&token, &keys), Err(Unsupported));
    }
}

// Present is enough: a null, an empty list and `"b64": true` are extensions, too.
#[test]
fn an_extension_of_the_format_is_refused() {
    let values = [
        "null",
        "false",
        "true",
        "1",
        "\"\"",
        "\"DEF\"",
        "[]",
        "[\"exp\"]",
        "[\"b64\"]",
        "{}",
    ];
    for name in ["crit", "b64", "zip", "enc"] {
        for value in values {
            let header = format!(r#"{{"alg":"HS256","{name}":{value}}}"#);
            assert_eq!(judge_alone(&header), Err(Unsupported), "{header}");
            let header = format!(r#"{{"{name}":{value},"alg":"HS256"}}"#);
            assert_eq!(judge_alone(&header), Err(Unsupported), "{header}");
        }
    }
    assert_eq!(
        judge_alone(r#"{"alg":"HS256","\u0063rit":["exp"]}"#),
        Err(Unsupported)
    );
}

#[test]
fn a_token_within_a_token_is_refused() {
    for (cty, expected) in [
        (r#""JWT""#, Err(Unsupported)),
        (r#""jwt""#, Err(Unsupported)),
        (r#""Jwt""#, Err(Unsupported)),
        (r#""\u004aWT""#, Err(Unsupported)),
        (r#""application/jwt""#, Err(Unsupported)),
        (r#""APPLICATION/JWT""#, Err(Unsupported)),
        (r#""json""#, Ok(())),
        (r#""application/json""#, Ok(())),
        (r#""""#, Ok(())),
        ("null", Err(Malformed)),
        ("1", Err(Malformed)),
        (r#"["JWT"]"#, Err(Malformed)),
    ] {
        let header = format!(r#"{{"alg":"HS256","cty":{cty}}}"#);
        assert_eq!(judge_alone(&header), expected, "{header}");
    }
}

#[test]
fn the_type_is_that_of_a_jwt_unless_others_are_asked_for() {
    let own = with(|policy| policy.token_types = vec!["dpop+jwt".into(), "application/x".into()]);
    for (typ, by_default, asked_for) in [
        ("", Ok(()), Err(Unsupported)),
        (r#","typ":"JWT""#, Ok(()), Err(Unsupported)),
        (r#","typ":"jwt""#, Ok(()), Err(Unsupported)),
        (r#","typ":"\u004aWT""#, Ok(()), Err(Unsupported)),
        (r#","typ":"application/jwt""#, Ok(()), Err(Unsupported)),
        (r#","typ":"APPLICATION/JWT""#, Ok(()), Err(Unsupported)),
        (r#","typ":"at+jwt""#, Ok(()), Err(Unsupported)),
        (r#","typ":"AT+JWT""#, Ok(()), Err(Unsupported)),
        (r#","typ":"application/at+jwt""#, Ok(()), Err(Unsupported)),
        (r#","typ":"dpop+jwt""#, Err(Unsupported), Ok(())),
        (r#","typ":"application/DPOP+jwt""#, Err(Unsupported), Ok(())),
        (r#","typ":"x""#, Err(Unsupported), Ok(())),
        (r#","typ":"Application/X""#, Err(Unsupported), Ok(())),
        (r#","typ":"JWS""#, Err(Unsupported), Err(Unsupported)),
        (r#","typ":"JOSE""#, Err(Unsupported), Err(Unsupported)),
        (r#","typ":"id+jwt""#, Err(Unsupported), Err(Unsupported)),
        (r#","typ":"JWT ""#, Err(Unsupported), Err(Unsupported)),
        (r#","typ":"text/jwt""#, Err(Unsupported), Err(Unsupported)),
        (
            r#","typ":"application-jwt""#,
            Err(Unsupported),
            Err(Unsupported),
        ),
        (
            r#","typ":"application/""#,
            Err(Unsupported),
            Err(Unsupported),
        ),
        (
            r#","typ":"application/application/jwt""#,
            Err(Unsupported),
            Err(Unsupported),
        ),
        (r#","typ":"""#, Err(Unsupported), Err(Unsupported)),
        (
            r#","typ":"ſſſſſſſſſſſſ""#,
            Err(Unsupported),
            Err(Unsupported),
        ),
        (r#","typ":null"#, Err(Malformed), Err(Malformed)),
        (r#","typ":1"#, Err(Malformed), Err(Malformed)),
        (r#","typ":["JWT"]"#, Err(Malformed), Err(Malformed)),
        (r#","typ":{"JWT":null}"#, Err(Malformed), Err(Malformed)),
    ] {
        let header = format!(r#"{{"alg":"HS256"{typ}}}"#);
        assert_eq!(judge_alone(&header), by_default, "{header}");
        assert_eq!(judge_header(&header, &own), asked_for, "{header}");
    }
}

#[test]
fn a_kid_is_a_string_of_at_most_256_bytes() {
    let quoted = |text: String| format!(r#""{text}""#);
    for (kid, expected) in [
        (quoted("k".repeat(256)), Ok(())),
        (quoted("k".repeat(257)), Err(Malformed)),
        (quoted("ä".repeat(128)), Ok(())),
        (quoted("ä".repeat(129)), Err(Malformed)),
        // 256 bytes once it is read.
        (quoted(r"\u006b".repeat(256)), Ok(())),
        (quoted(r"\u006b".repeat(257)), Err(Malformed)),
        (quoted(String::new()), Ok(())),
        ("null".to_owned(), Err(Malformed)),
        ("1".to_owned(), Err(Malformed)),
        ("true".to_owned(), Err(Malformed)),
        (r#"["k"]"#.to_owned(), Err(Malformed)),
        (r#"{"k":1}"#.to_owned(), Err(Malformed)),
    ] {
        let header = format!(r#"{{"alg":"HS256","kid":{kid}}}"#);
        assert_eq!(judge_alone(&header), expected, "{header}");
    }
}

#[test]
fn no_member_that_is_read_is_there_twice() {
    for name in ["alg", "kid", "typ", "cty", "crit", "b64", "zip", "enc"] {
        let escaped = format!(r"\u{:04x}{}", name.as_bytes()[0], &name[1..]);
        for (one, other) in [(name, name), (name, &escaped), (&escaped, name)] {
            for rest in [r#""x":1"#, r#""alg":"HS256""#] {
                let header = format!(r#"{{"{one}":"JWT",{rest},"{other}":"JWT"}}"#);
                assert_eq!(judge_alone(&header), Err(Malformed), "{header}");
            }
        }
    }
    assert_eq!(
        judge_alone(r#"{"alg":"HS256","alg":"HS256"}"#),
        Err(Malformed)
    );
    // Nobody can be misled by what nobody reads.
    assert_eq!(judge_alone(r#"{"alg":"HS256","x":1,"x":2}"#), Ok(()));
}

#[test]
fn what_nobody_reads_is_still_text() {
    for header in [
        &br#"{"alg":"HS256","x":"\xff"}"#[..],
        b"{\"alg\":\"HS256\",\"x\":\"\xff\"}",
        b"{\"alg\":\"HS256\",\"x\":\"\xed\xa0\x80\"}",
        b"{\"alg\":\"HS256\",\"\xc0\xaf\":1}",
        br#"{"alg":"HS256","x":"\ud800"}"#,
        br#"{"alg":"HS256","x":"\udc00"}"#,
        br#"{"alg":"HS256","x":"\ud800\u0041"}"#,
        br#"{"alg":"HS256","x":["\ud800"]}"#,
        br#"{"alg":"HS256","x":{"\ud800":1}}"#,
        br#"{"alg":"HS256","\ud800":1}"#,
        br#"{"alg":"HS256","jku":"\ud800"}"#,
        br#"{"alg":"HS256","x":1e999}"#,
    ] {
        assert_eq!(judge_alone(header), Err(Malformed), "{header:?}");
    }
    let pair = r#"{"alg":"HS256","x":"\ud83d\ude00","\ud83d\ude00":1}"#;
    assert_eq!(judge_alone(pair), Ok(()));
}

#[test]
fn nesting_is_bounded() {
    for (depth, expected) in [
        (126, Ok(())),
        (127, Err(Malformed)),
        (128, Err(Malformed)),
        (5_000, Err(Malformed)),
    ] {
        let header = format!(r#"{{"alg":"HS256","x":{}}}"#, nested(depth));
        assert_eq!(judge_alone(&header), expected, "{depth}");
    }
}

#[test]
fn brackets_alone_overflow_no_stack() {
    let judge_brackets = || {
        for open in ["[", r#"{"x":"#, r#"{"alg":"#] {
            let brackets = open.repeat(12_000 / open.len());
            for header in [brackets.clone(), format!(r#"{{"x":{brackets}"#)] {
                assert_eq!(judge_alone(&header), Err(Malformed));
                assert_eq!(judge_claims(&header, &policy()), Err(Malformed));
            }
        }
    };
    let small = thread::Builder::new().stack_size(512 * 1024);
    small.spawn(judge_brackets).unwrap().join().unwrap();
}

#[test]
fn keys_and_addresses_in_the_header_are_not_looked_at() {
    let ours = ed();
    let keys = [trusted(&from_json(&ours.public_jwk))];
    for more in [
        json!({ "jku": "https://attacker.example/keys" }),
        json!({ "x5u": "https://attacker.example/chain" }),
        json!({ "jwk": ed().public_jwk }),
        json!({ "jwk": 1, "jku": 1, "x5u": 1, "x5c": 1, "x5t": 1 }),
        json!({ "x5c": ["AAAA"], "x5t": "AAAA" }),
    ] {
        let mut header = json!({ "alg": "EdDSA" });
        header
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let token = token(&from_json(&ours.private_jwk), &header, &good_claims());
        assert_eq!(judge(&token, &keys), Ok(0), "{header}");
    }
}

#[test]
fn a_key_in_the_header_verifies_nothing() {
    let keys = [trusted(&from_json(&ed().public_jwk))];
    let ours = keys[0].key.id().as_str();
    let attacker = ed();
    let mut renamed = attacker.public_jwk.clone();
    renamed["kid"] = json!(ours);
    for header in [
        json!({ "alg": "EdDSA", "jwk": attacker.public_jwk }),
        json!({ "alg": "EdDSA", "jwk": attacker.public_jwk, "kid": "theirs" }),
        json!({ "alg": "EdDSA", "jwk": renamed, "kid": ours }),
    ] {
        let token = token(&from_json(&attacker.private_jwk), &header, &good_claims());
        assert_eq!(judge(&token, &keys), Err(BadSignature), "{header}");
    }
}
