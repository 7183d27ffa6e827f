#![allow(clippy::unwrap_used)]

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::clock::Now;
use crate::keyring::{
    JwtKey, RegisteredClaims, VerifyErrorKind,
    key::testing::{ed, from_json},
    verify::read_as,
    verify::tests::{NOW, at, secret, token, trusted, with},
};

struct StoppedAt(Now);

impl Clock for StoppedAt {
    fn now(&self) -> Now {
        self.0
    }
}

/// A cache over one private key, whose trust the test changes.
struct World {
    private: JwtKey,
    keys: [TrustedKey; 1],
    cache: TokenCache,
    policy: Policy,
}

impl World {
    fn new() -> Self {
        Self::of(from_json(&ed().private_jwk), 100)
    }

    fn of(private: JwtKey, capacity: usize) -> Self {
        let keys = [trusted(&private)];
        Self {
            cache: TokenCache::new(capacity, &keys, Meter::new("a test")),
            policy: with(|_| ()),
            private,
            keys,
        }
    }

    fn token(&self, claims: &Value) -> String {
        let header = json!({ "alg": self.keys[0].key.algorithm() });
        token(&self.private, &header, claims)
    }

    fn ask_as<C>(&self, token: &str, policy: &Policy, now: Now) -> Result<Verified, VerifyErrorKind>
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        self.cache
            .verify(
                token.as_bytes(),
                &self.keys,
                policy,
                &StoppedAt(now),
                read_as::<C>,
            )
            .map_err(|error| error.kind())
    }

    fn ask(&self, token: &str, seconds: u64) -> Result<Verified, VerifyErrorKind> {
        self.ask_as::<Value>(token, &self.policy, at(seconds))
    }

    /// Whether the token comes out of the cache; an accepted one is in it afterwards.
    fn hits(&self, token: &str, seconds: u64) -> Result<bool, VerifyErrorKind> {
        let before = self.get(token);
        let after = self.ask(token, seconds)?;
        Ok(before.is_some_and(|before| {
            std::ptr::addr_eq(&raw const *before.claims, &raw const *after.claims)
        }))
    }

    fn get(&self, token: &str) -> Option<Verified> {
        self.cache
            .get(&Key::new(self.policy.id(), token.as_bytes()))
    }

    fn len(&self) -> usize {
        self.cache.entries.get().map_or(0, |entries| entries.len())
    }
}

fn claims() -> Value {
    json!({ "sub": "s", "exp": NOW + 60 })
}

#[test]
fn a_token_seen_before_gives_the_same_claims() {
    let world = World::new();
    let token = world.token(&claims());
    assert_eq!(world.hits(&token, NOW), Ok(false));
    assert_eq!(world.hits(&token, NOW), Ok(true));
    assert_eq!(world.len(), 1);
    let verified = world.ask(&token, NOW).unwrap();
    assert_eq!(verified.key, 0);
    assert_eq!(verified.claims.downcast_ref(), Some(&claims()));
    let other = world.token(&json!({ "sub": "s", "exp": NOW + 60, "x": 1 }));
    assert_eq!(world.hits(&other, NOW), Ok(false));
}

#[test]
fn the_largest_capacity_is_not_asked_of_the_system() {
    for capacity in [1, usize::MAX] {
        let world = World::of(from_json(&ed().private_jwk), capacity);
        let token = world.token(&claims());
        assert_eq!(world.hits(&token, NOW), Ok(false));
        assert_eq!(world.hits(&token, NOW), Ok(true));
    }
}

#[test]
fn a_signature_is_part_of_what_was_seen() {
    let world = World::new();
    let token = world.token(&claims());
    world.ask(&token, NOW).unwrap();
    let other = world.token(&json!({ "exp": NOW + 61 }));
    let (input, _) = token.rsplit_once('.').unwrap();
    let (_, signature) = other.rsplit_once('.').unwrap();
    let mixed = format!("{input}.{signature}");
    assert_eq!(world.hits(&mixed, NOW), Err(VerifyErrorKind::BadSignature));
}

#[test]
fn hmac_tokens_stay_out() {
    let alone = World::of(secret(1), 100);
    let token = alone.token(&claims());
    for _ in 0..2 {
        assert_eq!(alone.hits(&token, NOW), Ok(false));
    }
    assert_eq!(alone.len(), 0);

    // Beside a key whose tokens are remembered.
    let other = World::new();
    let keys = [trusted(&secret(1)), other.keys[0].clone()];
    let cache = TokenCache::new(100, &keys, Meter::new("a test"));
    let policy = with(|_| ());
    for (token, is_kept) in [(token, false), (other.token(&claims()), true)] {
        cache
            .verify(
                token.as_bytes(),
                &keys,
                &policy,
                &StoppedAt(at(NOW)),
                read_as::<Value>,
            )
            .unwrap();
        let kept = cache.get(&Key::new(policy.id(), token.as_bytes()));
        assert_eq!(kept.is_some(), is_kept);
    }
}

#[test]
fn tokens_are_spread_by_their_digests() {
    let policy = with(|_| ());
    let hashes = (0..100_u8).map(|n| {
        let key = Key::new(policy.id(), &[n]);
        std::hash::BuildHasher::hash_one(&BuildHasherDefault::<FirstBytes>::default(), &key)
    });
    let hashes: std::collections::HashSet<u64> = hashes.collect();
    assert_eq!(hashes.len(), 100);
}

#[test]
fn times_are_looked_at_on_every_hit() {
    use VerifyErrorKind::{Expired, NotYetValid, TooOld};
    let mut world = World::new();
    for leeway in [0, 30] {
        world.policy = with(|policy| policy.leeway = Duration::from_secs(leeway));
        let token = world.token(&json!({ "exp": NOW + 60, "nbf": NOW - 60 }));
        for (seconds, expected) in [
            (NOW, Ok(false)),
            (NOW + 59 + leeway, Ok(true)),
            (NOW + 60 + leeway, Err(Expired)),
            // A clock that steps back.
            (NOW - 61 - leeway, Err(NotYetValid)),
            // What was refused is forgotten, and verified anew.
            (NOW - 60 - leeway, Ok(false)),
        ] {
            assert_eq!(world.hits(&token, seconds), expected, "{seconds}");
        }
        world
            .policy
            .change(|policy| policy.max_token_age = Some(Duration::from_secs(10)));
        let token = world.token(&json!({ "exp": NOW + 60, "iat": NOW }));
        for (seconds, expected) in [
            (NOW, Ok(false)),
            (NOW + 9 + leeway, Ok(true)),
            (NOW + 10 + leeway, Err(TooOld)),
            (NOW - 1 - leeway, Err(NotYetValid)),
            (NOW - leeway, Ok(false)),
        ] {
            assert_eq!(world.hits(&token, seconds), expected, "{seconds}");
        }
    }
}

#[test]
fn the_trust_in_the_key_is_looked_at_on_every_hit() {
    let unknown = Err(VerifyErrorKind::UnknownKey);
    let world = World::new();
    let token = world.token(&claims());
    let trust = &world.keys[0].trust;
    assert_eq!(world.hits(&token, NOW), Ok(false));
    trust.revoke();
    assert_eq!(world.hits(&token, NOW), unknown);
    trust.restore();
    assert_eq!(world.hits(&token, NOW), Ok(false));
    trust.end_after(at(NOW), Duration::from_secs(10));
    assert_eq!(world.hits(&token, NOW + 9), Ok(true));
    assert_eq!(world.hits(&token, NOW + 10), unknown);
}

#[test]
fn only_accepted_tokens_enter() {
    use VerifyErrorKind::{BadSignature, Expired, Malformed};
    let world = World::new();
    let good = world.token(&claims());
    for (token, kind) in [
        (world.token(&json!({ "exp": NOW })), Expired),
        (world.token(&json!({ "exp": "x" })), Malformed),
        (World::new().token(&claims()), BadSignature),
        (format!("{good}="), Malformed),
        (String::new(), Malformed),
    ] {
        assert_eq!(world.hits(&token, NOW), Err(kind));
        assert_eq!(world.hits(&token, NOW), Err(kind));
    }
    assert_eq!(world.len(), 0);
}

#[test]
fn long_tokens_are_accepted_and_not_remembered() {
    let world = World::new();
    let of_length = |len: usize| {
        let token = |filler| world.token(&json!({ "exp": NOW + 60, "x": "x".repeat(filler) }));
        let mut tokens = (2_800..3_200).map(token);
        tokens.find(|token| token.len() >= len).unwrap()
    };
    let just = of_length(MAX_TOKEN_BYTES - 1);
    let longer = of_length(MAX_TOKEN_BYTES + 1);
    assert!(just.len() <= MAX_TOKEN_BYTES);
    assert_eq!(world.hits(&just, NOW), Ok(false));
    assert_eq!(world.hits(&just, NOW), Ok(true));
    assert_eq!(world.hits(&longer, NOW), Ok(false));
    assert_eq!(world.hits(&longer, NOW), Ok(false));
    assert_eq!(world.len(), 1);
}

#[test]
fn no_policy_takes_anothers_acceptance_for_its_own() {
    let world = World::new();
    let for_audience = |name: &str| with(|policy| policy.audiences = vec![name.to_owned()]);
    let (a, b) = (for_audience("a"), for_audience("b"));
    let token = world.token(&json!({ "exp": NOW + 60, "aud": "a" }));
    for _ in 0..2 {
        assert!(world.ask_as::<Value>(&token, &a, at(NOW)).is_ok());
        let refused = world.ask_as::<Value>(&token, &b, at(NOW));
        assert_eq!(refused.err(), Some(VerifyErrorKind::WrongAudience));
    }
    // The same rules, and another type.
    let other = with(|policy| policy.audiences = vec!["a".to_owned()]);
    for _ in 0..2 {
        let value = world.ask_as::<Value>(&token, &a, at(NOW)).unwrap();
        let registered = world
            .ask_as::<RegisteredClaims>(&token, &other, at(NOW))
            .unwrap();
        assert!(value.claims.is::<Value>());
        assert!(registered.claims.is::<RegisteredClaims>());
    }
}

#[test]
fn a_changed_policy_is_another_one() {
    let mut policy = Policy::default();
    let mut seen = vec![policy.id(), Policy::default().id()];
    assert_ne!(seen[0], seen[1]);
    assert_eq!(policy.clone().id(), policy.id());
    for _ in 0..3 {
        policy.change(|_| ());
        assert!(!seen.contains(&policy.id()));
        seen.push(policy.id());
    }
}

#[test]
fn a_cache_of_no_entries_remembers_nothing() {
    let world = World::of(from_json(&ed().private_jwk), 0);
    let token = world.token(&claims());
    for _ in 0..2 {
        assert_eq!(world.hits(&token, NOW), Ok(false));
    }
    assert_eq!(world.len(), 0);
}

#[test]
fn who_comes_back_stays_through_a_flood() {
    const CAPACITY: u64 = 1_000;
    let world = World::of(from_json(&ed().private_jwk), CAPACITY as usize);
    let regular = world.token(&claims());
    for n in 0..3 * CAPACITY {
        let once = world.token(&json!({ "sub": n, "exp": NOW + 60 }));
        assert_eq!(world.hits(&once, NOW), Ok(false));
        if n == 2 * CAPACITY {
            world.ask(&regular, NOW).unwrap();
        }
        if n >= 2 * CAPACITY {
            assert_eq!(world.hits(&regular, NOW), Ok(true), "{n}");
        }
    }
}

#[test]
fn a_flood_of_good_tokens_leaves_it_bounded() {
    let world = World::new();
    for n in 0..5_000 {
        let token = world.token(&json!({ "exp": NOW + 60, "jti": n }));
        world.ask(&token, NOW).unwrap();
        assert!(world.len() <= 100);
    }
    assert!(world.len() > 50, "{}", world.len());
}
