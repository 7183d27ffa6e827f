//! The outer form: parts, base64url, lengths.

use aws_lc_rs::{
    encoding::AsDer,
    rsa::KeySize,
    signature::{KeyPair, RsaKeyPair},
};

use super::*;
use crate::keyring::key::testing::pem;

#[test]
fn a_token_has_exactly_three_parts() {
    let keys = [trusted(&secret(1))];
    let good = hs256(&secret(1), None);
    assert_eq!(judge(&good, &keys), Ok(0));
    let parts: Vec<&str> = good.split('.').collect();
    for (token, kind) in [
        (String::new(), Malformed),
        (".".to_owned(), Malformed),
        ("..".to_owned(), Malformed),
        ("...".to_owned(), Malformed),
        (parts[0].to_owned(), Malformed),
        (parts[..2].join("."), Malformed),
        (format!("{good}."), Malformed),
        (format!(".{good}"), Malformed),
        (format!("{good}.x"), Malformed),
        (format!("{good}.x.y"), Malformed),
        (format!(".{}.{}", parts[1], parts[2]), Malformed),
        (token_of_parts(&secret(1), "", parts[1]), Malformed),
        (token_of_parts(&secret(1), parts[0], ""), Malformed),
        (format!("{}..{}", parts[0], parts[2]), BadSignature),
        (format!("{}.{}.", parts[0], parts[1]), BadSignature),
    ] {
        assert_eq!(judge(&token, &keys), Err(kind), "{token}");
    }
}

type Spoil = fn(&str) -> String;

/// Ways to write base64 that other decoders let pass.
const LOOSE_BASE64: [(&str, Spoil); 11] = [
    ("padding", |part| format!("{part}=")),
    ("more padding", |part| format!("{part}==")),
    ("a space before", |part| format!(" {part}")),
    ("a space after", |part| format!("{part} ")),
    ("a line feed", |part| format!("{part}\n")),
    ("a carriage return inside", |part| {
        part.replacen('e', "e\r", 1)
    }),
    ("a tab inside", |part| part.replacen('e', "e\t", 1)),
    ("the plus of plain base64", |part| part.replace('-', "+")),
    ("the slash of plain base64", |part| part.replace('_', "/")),
    ("bits left over", with_bits_left_over),
    ("a length of 1 mod 4", |part| {
        format!("{part}{}", "A".repeat((5 - part.len() % 4) % 4))
    }),
];

/// The same bytes under another last character.
fn with_bits_left_over(part: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    assert_ne!(part.len() % 4, 0, "no bits are left over");
    let (rest, last) = part.split_at(part.len() - 1);
    let next = ALPHABET.find(last).unwrap() + 1;
    format!("{rest}{}", &ALPHABET[next..=next])
}

/// Members whose base64 holds a `-` and an `_`, and is no multiple of 4 long.
fn awkward(members: &str) -> String {
    let text = format!(r#"{{{members},"x":"???>>>~~~"}}"#);
    let space = " ".repeat((1 + 3 - text.len() % 3) % 3);
    let text = text + &space;
    assert!(b64(&text).contains('-') && b64(&text).contains('_'));
    assert_eq!(text.len() % 3, 1);
    text
}

// The signature is always over the text as it stands, so nothing else is wrong.
#[test]
fn each_part_is_canonical_base64url() {
    let keys = [trusted(&secret(1))];
    let header = b64(awkward(r#""alg":"HS256""#));
    let payload = b64(awkward(&format!(r#""exp":{}"#, NOW + 60)));
    let good = token_of_parts(&secret(1), &header, &payload);
    assert_eq!(judge(&good, &keys), Ok(0));
    for (how, spoil) in LOOSE_BASE64 {
        let bad_header = token_of_parts(&secret(1), &spoil(&header), &payload);
        let bad_payload = token_of_parts(&secret(1), &header, &spoil(&payload));
        assert_eq!(judge(&bad_header, &keys), Err(Malformed), "{how}");
        assert_eq!(judge(&bad_payload, &keys), Err(Malformed), "{how}");
    }
}

#[test]
fn the_signature_is_canonical_base64url() {
    let keys = [trusted(&secret(1))];
    let awkward = |token: &String| {
        let signature = token.rsplit('.').next().unwrap();
        "-_e".chars().all(|each| signature.contains(each))
    };
    let good = (0..10_000)
        .map(|n| json!({ "exp": NOW + 60, "jti": n }))
        .map(|claims| token(&secret(1), &json!({ "alg": "HS256" }), &claims))
        .find(awkward)
        .unwrap();
    assert_eq!(judge(&good, &keys), Ok(0));
    let (input, signature) = good.rsplit_once('.').unwrap();
    for (how, spoil) in LOOSE_BASE64 {
        let spoiled = spoil(signature);
        assert_ne!(spoiled, signature, "{how}");
        let token = format!("{input}.{spoiled}");
        assert_eq!(judge(&token, &keys), Err(Malformed), "{how}");
    }
}

#[test]
fn a_token_may_be_as_long_as_the_policy_says() {
    let keys = [trusted(&secret(1))];
    let good = hs256(&secret(1), None);
    let judge_at_most = |bytes| {
        let policy = with(|policy| policy.max_token_bytes = bytes);
        judge_with(&good, &keys, &policy, at(NOW))
    };
    assert_eq!(judge_at_most(good.len()), Ok(0));
    assert_eq!(judge_at_most(good.len() - 1), Err(TooLong));
    assert_eq!(judge_at_most(0), Err(TooLong));
    // Before anything else is looked at.
    let junk = "\u{0}".repeat(Policy::default().max_token_bytes + 1);
    assert_eq!(judge(&junk, &keys), Err(TooLong));
}

#[test]
fn a_token_of_the_default_limit_is_read_whole() {
    let limit = 16 * 1024;
    let claims = |filler| json!({ "exp": NOW + 60, "x": "x".repeat(filler) }).to_string();
    let token_with = |filler| token_of(&secret(1), HS256, claims(filler));
    let longest = (12_000..limit)
        .map(token_with)
        .take_while(|token| token.len() <= limit)
        .last()
        .unwrap();
    assert!(longest.len() > limit - 2);
    assert_eq!(judge(&longest, &[trusted(&secret(1))]), Ok(0));
    assert_eq!(
        judge(&format!("{longest}AA"), &[trusted(&secret(1))]),
        Err(TooLong)
    );
}

// Parts are decoded on the stack up to some length, and on the heap beyond it.
#[test]
fn parts_of_every_length_are_read() {
    for filler in (0..2_100).step_by(7) {
        let filler = json!("x".repeat(filler));
        let header = json!({ "alg": "HS256", "x": filler }).to_string();
        let claims = json!({ "exp": NOW + 60, "x": filler }).to_string();
        assert_eq!(judge_header(header, &policy()), Ok(()));
        assert_eq!(judge_claims(claims, &policy()), Ok(()));
    }
}

#[test]
fn a_signature_of_every_length_is_judged() {
    let keys = [trusted(&secret(1))];
    let input = format!("{}.{}", b64(HS256), b64(good_claims().to_string()));
    for len in 0..1_100 {
        let token = format!("{input}.{}", b64(vec![0; len]));
        assert_eq!(judge(&token, &keys), Err(BadSignature), "{len}");
    }
}

#[test]
fn the_longest_signatures_verify() {
    let pair = RsaKeyPair::generate(KeySize::Rsa4096).unwrap();
    let private = JwtKey::from_pem(&pem("PRIVATE KEY", pair.as_der().unwrap().as_ref()));
    let spki = pair.public_key().as_der().unwrap();
    let public = JwtKey::from_pem(&pem("PUBLIC KEY", spki.as_ref()));
    let token = token(&private, &json!({ "alg": "RS256" }), &good_claims());
    assert_eq!(judge(&token, &[trusted(&public)]), Ok(0));
    assert_eq!(
        judge(&token[..token.len() - 2], &[trusted(&public)]),
        Err(Malformed)
    );
}
