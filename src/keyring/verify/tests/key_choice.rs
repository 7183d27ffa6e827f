//! Which keys a token is tried with.

use super::*;
use crate::keyring::key::{
    Curve,
    testing::{SECRET, ec, rsa},
};

#[test]
fn what_a_key_mints_it_verifies() {
    let claims = RegisteredClaims::new("s").expires_at(at(NOW + 60).wall);
    let pss = {
        let mut jwk = rsa().private_jwk.clone();
        jwk["alg"] = json!("PS512");
        jwk
    };
    for (private, public) in [
        (JwtKey::from_secret(SECRET), JwtKey::from_secret(SECRET)),
        (
            JwtKey::from_pem(&rsa().private_pem),
            JwtKey::from_pem(&rsa().public_pem),
        ),
        (from_json(&pss), from_json(&pss)),
        {
            let key = ec(Curve::P256);
            (from_json(&key.private_jwk), from_json(&key.public_jwk))
        },
        {
            let key = ec(Curve::P384);
            (
                JwtKey::from_pem(&key.private_pem),
                from_json(&key.public_jwk),
            )
        },
        {
            let key = ed();
            (
                from_json(&key.private_jwk),
                JwtKey::from_pem(&key.public_pem),
            )
        },
    ] {
        let token = one(&private).mint(&claims).unwrap();
        let keys = [trusted(&secret(1)), trusted(&public)];
        let verified =
            verify::<RegisteredClaims>(token.as_bytes(), &keys, &policy(), at(NOW)).unwrap();
        assert_eq!(verified.key, 1);
        assert_eq!(verified.claims.downcast_ref(), Some(&claims));
        assert_eq!(judge(&tampered(&token), &keys), Err(BadSignature));
    }
}

/// Other claims under the old signature.
fn tampered(token: &str) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let claims = json!({ "sub": "root", "exp": NOW + 60 }).to_string();
    format!("{}.{}.{}", parts[0], b64(claims), parts[2])
}

#[test]
fn a_kid_that_a_key_answers_to_selects_that_key_alone() {
    let keys = [trusted(&secret(1)), trusted(&named(2, "two"))];
    assert_eq!(judge(&hs256(&secret(2), Some("two")), &keys), Ok(1));
    // The first key would fit, and is not asked.
    assert_eq!(
        judge(&hs256(&secret(1), Some("two")), &keys),
        Err(BadSignature)
    );
    let computed = one(&secret(2)).id().to_string();
    assert_eq!(judge(&hs256(&secret(2), Some(&computed)), &keys), Ok(1));
}

#[test]
fn a_key_answers_to_its_declared_name_and_to_its_computed_one() {
    let pair = ed();
    let mut declared = pair.public_jwk.clone();
    declared["kid"] = json!("k / \u{e4}");
    let thumbprint = one(&from_json(&pair.public_jwk)).id().to_string();
    // Another one comes first, so that the name has to choose.
    let keys = [
        trusted(&from_json(&ed().public_jwk)),
        trusted(&from_json(&declared)),
    ];
    for (kid, expected) in [
        (r#""k / \u00e4""#.to_owned(), Ok(1)),
        (r#""\u006b \u002F \u00E4""#.to_owned(), Ok(1)),
        (json!("k / \u{e4}").to_string(), Ok(1)),
        (json!(thumbprint).to_string(), Ok(1)),
        (json!("K / \u{e4}").to_string(), Err(BadSignature)),
        (
            json!(keys[0].key.id().as_str()).to_string(),
            Err(BadSignature),
        ),
    ] {
        let header = format!(r#"{{"alg":"EdDSA","kid":{kid}}}"#);
        let claims = good_claims().to_string();
        let token = token_of(&from_json(&pair.private_jwk), &header, claims);
        assert_eq!(judge(&token, &keys), expected, "{header}");
    }
}

#[test]
fn all_keys_of_one_name_are_tried() {
    let keys = [trusted(&named(1, "k")), trusted(&named(2, "k"))];
    assert_eq!(judge(&hs256(&secret(2), Some("k")), &keys), Ok(1));
}

#[test]
fn an_unknown_kid_leaves_the_keys_without_a_declared_one() {
    let keys = [trusted(&named(1, "one")), trusted(&secret(2))];
    assert_eq!(judge(&hs256(&secret(2), Some("elsewhere")), &keys), Ok(1));
    assert_eq!(
        judge(&hs256(&secret(1), Some("elsewhere")), &keys),
        Err(BadSignature)
    );
    assert_eq!(
        judge(&hs256(&secret(1), Some("elsewhere")), &keys[..1]),
        Err(UnknownKey)
    );
}

#[test]
fn a_token_without_kid_is_tried_with_every_key_of_its_algorithm() {
    let keys = [
        trusted(&JwtKey::from_pem(&ed().public_pem)),
        trusted(&named(1, "one")),
        trusted(&secret(2)),
    ];
    assert_eq!(judge(&hs256(&secret(1), None), &keys), Ok(1));
    assert_eq!(judge(&hs256(&secret(2), None), &keys), Ok(2));
    assert_eq!(judge(&hs256(&secret(3), None), &keys), Err(BadSignature));
    assert_eq!(judge(&hs256(&secret(3), None), &keys[..1]), Err(UnknownKey));
    assert_eq!(judge(&hs256(&secret(3), None), &[]), Err(UnknownKey));
}

#[test]
fn keys_are_tried_in_their_order() {
    let twice = [trusted(&secret(1)), trusted(&secret(1))];
    for kid in [None, Some("elsewhere")] {
        assert_eq!(judge(&hs256(&secret(1), kid), &twice), Ok(0));
    }
    let named_first = [trusted(&named(1, "k")), trusted(&secret(1))];
    assert_eq!(
        judge(&hs256(&secret(1), Some("elsewhere")), &named_first),
        Ok(1)
    );
}

#[test]
fn a_token_costs_at_most_eight_signatures() {
    let keys: Vec<TrustedKey> = (0..9).map(|n| trusted(&secret(n))).collect();
    for kid in [None, Some("elsewhere")] {
        for n in 0..8 {
            assert_eq!(judge(&hs256(&secret(n), kid), &keys), Ok(n.into()));
        }
        assert_eq!(judge(&hs256(&secret(8), kid), &keys), Err(BadSignature));
    }
    let ninth = one(&secret(8)).id().to_string();
    assert_eq!(judge(&hs256(&secret(8), Some(&ninth)), &keys), Ok(8));
    let of_one_name: Vec<TrustedKey> = (0..9).map(|n| trusted(&named(n, "k"))).collect();
    assert_eq!(judge(&hs256(&secret(7), Some("k")), &of_one_name), Ok(7));
    assert_eq!(
        judge(&hs256(&secret(8), Some("k")), &of_one_name),
        Err(BadSignature)
    );
}

// Keys of another algorithm and ended ones cost nothing, so they do not count.
#[test]
fn only_keys_that_are_asked_count() {
    let mut keys: Vec<TrustedKey> = (0..8)
        .map(|_| trusted(&from_json(&ed().public_jwk)))
        .collect();
    keys.extend((0..8).map(|n| trusted(&secret(n))));
    keys[8..].iter().for_each(|held| held.trust.revoke());
    keys.push(trusted(&secret(9)));
    assert_eq!(judge(&hs256(&secret(9), None), &keys), Ok(16));
}

// A signature that nobody checks is not even decoded, which tells that none was checked.
#[test]
fn where_no_key_is_asked_the_signature_costs_nothing() {
    let keys = [trusted(&named(1, "one"))];
    let unread = |header: Value| {
        let claims = b64(good_claims().to_string());
        format!("{}.{claims}.*", b64(header.to_string()))
    };
    for (header, kind) in [
        (json!({ "alg": "HS256" }), Malformed),
        (json!({ "alg": "HS256", "kid": "one" }), Malformed),
        (json!({ "alg": "HS256", "kid": "two" }), UnknownKey),
        // Before keys are looked for.
        (json!({ "alg": "HS256", "kid": "k".repeat(257) }), Malformed),
        (json!({ "alg": "EdDSA", "kid": "one" }), Unsupported),
        (json!({ "alg": "EdDSA" }), UnknownKey),
    ] {
        assert_eq!(judge(&unread(header.clone()), &keys), Err(kind), "{header}");
    }
}

#[test]
fn an_ended_key_is_not_asked() {
    let keys = [trusted(&secret(1)), trusted(&secret(2))];
    keys[0].trust.end_after(at(NOW), Duration::from_secs(10));
    let token = hs256(&secret(1), None);
    let judge_at = |seconds| judge_with(&token, &keys, &policy(), at(seconds));
    assert_eq!(judge_at(NOW + 9), Ok(0));
    assert_eq!(judge_at(NOW + 10), Err(BadSignature));

    let token = hs256(&secret(2), Some(one(&secret(2)).id().as_str()));
    keys[1].trust.revoke();
    assert_eq!(
        judge_with(&token, &keys, &policy(), at(NOW + 10)),
        Err(UnknownKey)
    );
}

#[test]
fn a_restored_key_is_asked_again() {
    let keys = [trusted(&secret(1))];
    let token = hs256(&secret(1), None);
    keys[0].trust.revoke();
    assert_eq!(judge(&token, &keys), Err(UnknownKey));
    keys[0].trust.restore();
    assert_eq!(judge(&token, &keys), Ok(0));
}

#[test]
fn the_name_of_an_ended_key_is_nobodys() {
    let keys = [trusted(&named(1, "k")), trusted(&secret(2))];
    keys[0].trust.revoke();
    assert_eq!(judge(&hs256(&secret(2), Some("k")), &keys), Ok(1));
    assert_eq!(
        judge(&hs256(&secret(1), Some("k")), &keys),
        Err(BadSignature)
    );
}

#[test]
fn a_previous_key_verifies_as_current_does() {
    let mut keys = [trusted(&secret(1)), trusted(&named(2, "old"))];
    keys[1].stage = Stage::Previous;
    assert_eq!(judge(&hs256(&secret(2), Some("old")), &keys), Ok(1));
    assert_eq!(judge(&hs256(&secret(2), None), &keys), Ok(1));
}

// Two keys of one name in two algorithms: HS256 to EdDSA is a rotation, too.
#[test]
fn the_algorithm_chooses_among_keys_of_one_name() {
    let pair = ed();
    let mut jwk = pair.private_jwk.clone();
    jwk["kid"] = json!("k");
    let keys = [trusted(&named(1, "k")), trusted(&from_json(&jwk))];
    let header = json!({ "alg": "EdDSA", "kid": "k" });
    let token = token(&from_json(&jwk), &header, &good_claims());
    assert_eq!(judge(&token, &keys), Ok(1));
    assert_eq!(judge(&hs256(&secret(1), Some("k")), &keys), Ok(0));
}

#[test]
fn once_a_signature_fits_its_claims_decide() {
    let keys = [trusted(&secret(1)), trusted(&secret(2))];
    let token = token(&secret(2), &json!({ "alg": "HS256" }), &json!({ "exp": 1 }));
    assert_eq!(judge(&token, &keys), Err(Expired));
}

#[test]
fn a_public_key_is_no_secret() {
    let forms = rsa();
    let keys = [trusted(&JwtKey::from_pem(&forms.public_pem))];
    let id = keys[0].key.id().to_string();
    // The attacker's tool does not refuse what JwtKey refuses.
    for secret in [forms.public_pem.as_str(), forms.public_pem.trim()] {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
        let forge = |header: Value| {
            let input = format!(
                "{}.{}",
                b64(header.to_string()),
                b64(good_claims().to_string())
            );
            let tag = aws_lc_rs::hmac::sign(&key, input.as_bytes());
            format!("{input}.{}", b64(tag))
        };
        assert_eq!(
            judge(&forge(json!({ "alg": "HS256" })), &keys),
            Err(UnknownKey)
        );
        assert_eq!(
            judge(&forge(json!({ "alg": "HS256", "kid": id })), &keys),
            Err(Unsupported)
        );
        assert_eq!(
            judge(&forge(json!({ "alg": "RS256" })), &keys),
            Err(BadSignature)
        );
    }
}

#[test]
fn a_key_has_one_algorithm() {
    let key = from_json(&rsa().private_jwk);
    let mut rs512 = rsa().private_jwk.clone();
    rs512["alg"] = json!("RS512");
    let token = token(
        &from_json(&rs512),
        &json!({ "alg": "RS512" }),
        &good_claims(),
    );
    assert_eq!(judge(&token, &[trusted(&key)]), Err(UnknownKey));
    assert_eq!(
        judge(&token, &[trusted(&key), trusted(&from_json(&rs512))]),
        Ok(1)
    );
}

#[test]
fn a_token_of_a_secret_is_known_by_its_usual_header() {
    let secret = named(1, "s");
    let keys = [trusted(&from_json(&ed().private_jwk)), trusted(&secret)];
    let minted = |key: &JwtKey| one(key).mint(&good_claims()).unwrap();
    assert!(names_secret(minted(&secret).as_bytes(), &keys));
    for other in [
        minted(&from_json(&ed().private_jwk)),
        minted(&named(1, "elsewhere")),
        "no token".to_owned(),
    ] {
        assert!(!names_secret(other.as_bytes(), &keys), "{other}");
    }
}

/// What the shortcut takes a header for is what reading it would say.
#[test]
fn a_usual_header_says_what_it_is_taken_for() {
    for kid in ["k", "a \"quoted\" \\ one", "\u{e9}\u{1f600}"] {
        let key = one(&named(1, kid));
        let mut usual = 0;
        for typ in [None, Some("JWT"), Some("at+jwt"), Some("dpop+jwt")] {
            for header in orders(typ, kid) {
                if !key.is_usual_header(b64(&header).as_bytes()) {
                    continue;
                }
                usual += 1;
                let read = Header::read(header.as_bytes()).unwrap();
                assert!(read.check(&policy()) == Ok(key.alg()), "{header}");
                assert_eq!(read.kid(), Some(key.id().as_str()), "{header}");
            }
        }
        assert_eq!(usual, 10, "{kid}");
    }
}

/// The header's members in every order.
fn orders(typ: Option<&str>, kid: &str) -> Vec<String> {
    let [alg, kid] =
        [("alg", "HS256"), ("kid", kid)].map(|(n, v)| format!("{}:{}", json!(n), json!(v)));
    let Some(typ) = typ else {
        return vec![format!("{{{alg},{kid}}}"), format!("{{{kid},{alg}}}")];
    };
    let typ = format!("\"typ\":{}", json!(typ));
    [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ]
    .map(|order| order.map(|at| [&alg, &kid, &typ][at].as_str()).join(","))
    .map(|members| format!("{{{members}}}"))
    .into()
}

#[test]
fn a_key_with_an_issuer_is_for_its_tokens_alone() {
    let key = |issuer: Option<&str>, number: u8| {
        let mut jwk = json!({ "kty": "oct", "k": b64([number; 32]), "kid": "k" });
        jwk.as_object_mut()
            .unwrap()
            .extend(issuer.map(|issuer| ("issuer".to_owned(), json!(issuer))));
        trusted(&from_json(&jwk))
    };
    let ask = |keys: &[TrustedKey], claims: Value| {
        let mut all = good_claims();
        all.as_object_mut()
            .unwrap()
            .extend(claims.as_object().unwrap().clone());
        let header = json!({ "alg": "HS256", "kid": "k" });
        judge(&token(&named(1, "k"), &header, &all), keys)
    };
    let judge = |keys: &[Option<&str>], claims: Value| {
        let keys: Vec<_> = keys.iter().map(|issuer| key(*issuer, 1)).collect();
        ask(&keys, claims)
    };
    let any = Some("https://l.example/{tenantid}/v2.0");
    let fixed = Some("https://l.example/fixed/v2.0");
    let of = |tenant: &str, tid: &str| json!({ "iss": format!("https://l.example/{tenant}/v2.0"), "tid": tid });
    assert_eq!(judge(&[any], of("a", "a")), Ok(0));
    assert_eq!(judge(&[fixed], of("fixed", "whatever")), Ok(0));
    for (bound, claims) in [
        (any, of("a", "b")),
        (any, of("", "")),
        (any, of("a/b", "a/b")),
        (any, json!({ "iss": any })),
        (any, json!({ "iss": "https://l.example/a/v2.0" })),
        (any, json!({ "tid": "a" })),
        (fixed, of("a", "a")),
        (fixed, json!({ "iss": 1 })),
        (fixed, json!({})),
        (Some(""), json!({})),
    ] {
        assert_eq!(
            judge(&[bound], claims.clone()),
            Err(WrongIssuer),
            "{claims}"
        );
    }
    // The same key under the same id for two issuers, and for anybody.
    assert_eq!(judge(&[fixed, any], of("a", "a")), Ok(1));
    assert_eq!(judge(&[any, fixed], of("fixed", "b")), Ok(1));
    assert_eq!(judge(&[any, fixed], of("a", "b")), Err(WrongIssuer));
    assert_eq!(judge(&[fixed, None], of("a", "b")), Ok(1));
    assert_eq!(judge(&[None, fixed], json!({})), Ok(0));
    // Another key of the same id.
    let keys = [key(any, 1), key(fixed, 2)];
    assert_eq!(ask(&keys, of("fixed", "b")), Err(WrongIssuer));
}
