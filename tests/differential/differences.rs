//! Each difference that is allowed is real; one that is not any more must leave the table.

use crate::harness::{
    judge::{ALLOWED_DIFFERENCES, Verdict, judge_token, repair},
    keys::SIGNERS,
    oracle,
    world::{WORLD, within_one_second},
};

#[test]
fn each_allowed_difference_is_real_and_is_the_only_one_in_its_example() {
    let (set, signer) = (&WORLD.sets[0], &SIGNERS[0]);
    for difference in ALLOWED_DIFFERENCES {
        let (header, claims) = difference.example;
        let name = format!("{}: {}", difference.name, difference.why);
        let token = signer.token(header.as_bytes(), claims.as_bytes());
        let ours = within_one_second(|now| judge_token(set, token.as_bytes(), now));
        assert_eq!(ours, Ok(Verdict::Accepted), "{name}");
        assert!(oracle::claims(set, None, &token).is_none(), "{name}");

        let parsed = |text| serde_json::from_str(text).unwrap();
        let only = std::slice::from_ref(difference);
        let repaired = repair(signer, parsed(header), parsed(claims), only);
        assert!(oracle::claims(set, None, &repaired).is_some(), "{name}");
    }
}
