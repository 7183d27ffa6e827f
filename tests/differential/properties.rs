//! Whatever is done to a token, a key or a header.

use proptest::{prelude::*, sample};

use crate::{
    edits::{EDITS, Edit, Expect, Place, part},
    harness::{
        authorization,
        case::{Case, Wrap},
        document,
        judge::{Verdict, judge, judge_token},
        keys::SIGNERS,
        world::{WORLD, within_one_second},
    },
};

fn case(set: usize, signer: usize, wrap: Wrap, edits: &[&Edit]) -> Case {
    Case {
        set,
        signer,
        wrap,
        header: part(Place::Header, edits),
        claims: part(Place::Claims, edits),
    }
}

/// The signers whose keys are in a set.
fn trusted(set: usize) -> Vec<usize> {
    let signers = SIGNERS.iter().enumerate();
    signers
        .filter(|(_, signer)| WORLD.sets[set].trusts(signer))
        .map(|(index, _)| index)
        .collect()
}

fn check(case: &Case, expected: Expect) -> Result<(), String> {
    let verdict = judge(case)?;
    let expected = match expected {
        Expect::Accept => Verdict::Accepted,
        Expect::Refuse => Verdict::Refused,
        Expect::Open => return Ok(()),
    };
    if verdict != expected {
        return Err(format!("{verdict:?}, not {expected:?}: {case:?}"));
    }
    Ok(())
}

/// Every finding at once: a table is mended faster than one row after the other.
fn check_all(cases: impl IntoIterator<Item = (String, Case, Expect)>) {
    let findings: Vec<_> = cases
        .into_iter()
        .filter_map(|(name, case, expected)| {
            let finding = check(&case, expected).err()?;
            Some(format!("{name}: {finding}"))
        })
        .collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn each_edit_has_its_outcome_under_every_key_set() {
    let sets = 0..WORLD.sets.len();
    check_all(sets.flat_map(|set| {
        let signer = trusted(set)[0];
        EDITS.iter().map(move |edit| {
            let case = case(set, signer, Wrap::Signed, &[edit]);
            (edit.name.to_owned(), case, edit.expect)
        })
    }));
}

#[test]
fn each_form_but_the_plain_one_is_refused_under_every_key() {
    let sets = 0..WORLD.sets.len();
    check_all(sets.flat_map(|set| {
        trusted(set).into_iter().flat_map(move |signer| {
            Wrap::ALL.into_iter().map(move |wrap| {
                let expected = match wrap {
                    Wrap::Signed => Expect::Accept,
                    _ => Expect::Refuse,
                };
                (format!("{wrap:?}"), case(set, signer, wrap, &[]), expected)
            })
        })
    }));
}

#[test]
fn a_key_set_takes_the_tokens_of_its_own_keys_only() {
    let sets = 0..WORLD.sets.len();
    check_all(sets.flat_map(|set| {
        let own = trusted(set);
        (0..SIGNERS.len()).map(move |signer| {
            let expected = match own.contains(&signer) {
                true => Expect::Accept,
                false => Expect::Refuse,
            };
            (
                format!("signer {signer}"),
                case(set, signer, Wrap::Signed, &[]),
                expected,
            )
        })
    }));
}

/// Up to four edits that do not undo each other.
fn edits() -> impl Strategy<Value = Vec<&'static Edit>> {
    prop::collection::vec(sample::select(EDITS), 0..=4).prop_map(|drawn| {
        let mut kept: Vec<&'static Edit> = Vec::new();
        for edit in drawn {
            let edit = EDITS.iter().find(|own| own.name == edit.name).unwrap();
            if kept.iter().all(|other| !collide(edit, other)) {
                kept.push(edit);
            }
        }
        kept
    })
}

fn collide(one: &Edit, other: &Edit) -> bool {
    let same = one.place == other.place;
    match (one.op.target(), other.op.target()) {
        (Some(one), Some(other)) => same && one == other,
        _ => same,
    }
}

fn together(edits: &[&Edit]) -> Expect {
    let has = |expect| edits.iter().any(|edit| edit.expect == expect);
    if has(Expect::Refuse) {
        Expect::Refuse
    } else if has(Expect::Open) {
        Expect::Open
    } else {
        Expect::Accept
    }
}

proptest! {
    #[test]
    fn any_edits_of_any_token(
        set in 0..WORLD.sets.len(),
        signer in any::<sample::Index>(),
        stranger in proptest::option::weighted(0.1, 0..SIGNERS.len()),
        edits in edits(),
    ) {
        let own = trusted(set);
        let signer = stranger.unwrap_or(own[signer.index(own.len())]);
        let expected = match own.contains(&signer) {
            true => together(&edits),
            false => Expect::Refuse,
        };
        let case = case(set, signer, Wrap::Signed, &edits);
        prop_assert_eq!(check(&case, expected), Ok(()));
    }

    #[test]
    fn any_bytes_changed_in_any_part(
        set in 0..WORLD.sets.len(),
        signer in any::<sample::Index>(),
        edits in edits(),
        changes in prop::collection::vec((any::<sample::Index>(), byte()), 1..4),
    ) {
        let own = trusted(set);
        let mut case = case(set, own[signer.index(own.len())], Wrap::Signed, &edits);
        for (at, byte) in changes {
            let at = at.index(case.header.len() + case.claims.len() + 1);
            if let Some(old) = case.header.iter_mut().chain(&mut case.claims).nth(at) {
                *old = byte;
            }
        }
        prop_assert_eq!(check(&case, Expect::Open), Ok(()));
    }

    #[test]
    fn any_text_as_a_token(
        set in 0..WORLD.sets.len(),
        token in "[A-Za-z0-9_=.+/-]{0,60}|([A-Za-z0-9_-]{0,30}\\.){0,4}|\\PC{0,30}",
    ) {
        let verdict = within_one_second(|now| judge_token(&WORLD.sets[set], token.as_bytes(), now));
        prop_assert_eq!(verdict, Ok(Verdict::Refused));
    }

    #[test]
    fn any_members_in_a_key(
        good in sample::select(GOOD),
        edits in prop::collection::vec(member(), 0..4),
        from_scratch in prop::bool::weighted(0.1),
        set in any::<bool>(),
    ) {
        let mut members = if from_scratch { Vec::new() } else { good.to_vec() };
        for (place, how, new) in edits {
            let place = place.index(members.len() + 1);
            match (members.get_mut(place), how) {
                (Some(old), Change::Replace) => old.1 = new.1,
                (Some(_), Change::Drop) => drop(members.remove(place)),
                _ => members.insert(place, new),
            }
        }
        let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let jwk = format!("{{{}}}", members.join(","));
        let key = if set { format!("{{\"keys\":[{jwk},{jwk}]}}") } else { jwk };
        prop_assert!(document::judge(&document::field(key.as_bytes())).is_ok());
    }

    #[test]
    fn any_text_as_a_key(text in "S?\\PC{0,80}|S-----BEGIN [A-Z ]{0,20}-----\n[A-Za-z0-9+/=\n]{0,80}") {
        let judged = document::judge(&document::field(text.as_bytes()));
        prop_assert!(judged.is_ok(), "{:?}", judged);
    }

    #[test]
    fn any_authorization_header(
        lines in prop::collection::vec(line(), 0..3),
    ) {
        let lines: Vec<_> = lines.iter().map(|pieces| pieces.concat()).collect();
        let judged = authorization::judge(&lines.join(&b'\n'));
        prop_assert!(judged.is_ok(), "{:?}", judged);
    }
}

/// Bytes that JSON is made of, and some that it is not.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        sample::select(&b"{}[]\":,.\\u0123456789eE+-truefalsn \n"[..]),
        any::<u8>()
    ]
}

/// What is done at a place of a key that would load.
#[derive(Clone, Copy, Debug)]
enum Change {
    Add,
    Drop,
    Replace,
}

type Member = (&'static str, &'static str);

fn member() -> impl Strategy<Value = (sample::Index, Change, Member)> {
    let how = sample::select(vec![Change::Add, Change::Drop, Change::Replace]);
    let new = (sample::select(NAMES), sample::select(VALUES));
    (any::<sample::Index>(), how, new)
}

#[test]
fn keys_that_nobody_edits_load() {
    for good in GOOD {
        let members: Vec<_> = good
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        let jwk = document::field(format!("{{{}}}", members.join(",")).as_bytes());
        assert!(matches!(document::judge(&jwk), Ok(Some(_))), "{good:?}");
    }
}

/// One of three has a token in its place.
fn line() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let good = [&b"Bearer"[..], b" ", b"@token"].map(<[u8]>::to_vec);
    prop_oneof![
        1 => prop::collection::vec(piece(), 0..2).prop_map(move |end| [&good[..], &end].concat()),
        2 => prop::collection::vec(piece(), 0..6),
    ]
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known: &[&[u8]] = &[
        b"Bearer", b"bearer", b"Basic", b" ", b"  ", b"\t", b"@token", b"abc", b"=", b",", b"\"",
        b"\xe9",
    ];
    prop_oneof![
        8 => sample::select(known).prop_map(<[u8]>::to_vec),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ]
}

const GOOD: &[&[Member]] = &[
    &[
        ("kty", "\"oct\""),
        ("alg", "\"HS256\""),
        ("k", "\"@oct.k\""),
    ],
    &[
        ("kty", "\"RSA\""),
        ("alg", "\"RS256\""),
        ("n", "\"@rsa.n\""),
        ("e", "\"@rsa.e\""),
    ],
    &[
        ("kty", "\"EC\""),
        ("crv", "\"P-256\""),
        ("x", "\"@p256.x\""),
        ("y", "\"@p256.y\""),
        ("d", "\"@p256.d\""),
    ],
    &[
        ("kty", "\"OKP\""),
        ("crv", "\"Ed25519\""),
        ("x", "\"@ed25519.x\""),
        ("d", "\"@ed25519.d\""),
    ],
];

const NAMES: &[&str] = &[
    "kty", "kty", "crv", "alg", "kid", "use", "key_ops", "n", "e", "d", "p", "q", "dp", "dq", "qi",
    "x", "y", "k", "oth",
];

const VALUES: &[&str] = &[
    "\"oct\"",
    "\"RSA\"",
    "\"EC\"",
    "\"OKP\"",
    "\"P-256\"",
    "\"P-384\"",
    "\"Ed25519\"",
    "\"X25519\"",
    "\"HS256\"",
    "\"RS256\"",
    "\"PS384\"",
    "\"ES256\"",
    "\"EdDSA\"",
    "\"sig\"",
    "\"enc\"",
    "[\"verify\"]",
    "[\"sign\"]",
    "[]",
    "null",
    "1",
    "\"\"",
    "\"AA\"",
    "\"AQAB\"",
    "\"@oct.k\"",
    "\"@rsa.n\"",
    "\"@rsa.e\"",
    "\"@rsa.d\"",
    "\"@p256.x\"",
    "\"@p256.y\"",
    "\"@p256.d\"",
    "\"@p384.x\"",
    "\"@p384.y\"",
    "\"@ed25519.x\"",
    "\"@ed25519.d\"",
];
