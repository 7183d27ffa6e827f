//! Which key signs: one that every process of the fleet can verify with.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use serde::Deserialize;
use serde_json::{Value, json};
use support::{ask, token};
use tower_secrets::{
    BuildError, Builder, JwtKey, KeyId, Keyring,
    clock::TokioClock,
    keyring::SignErrorKind,
    source::{Memory, Stage, Version, VersionId, Versions},
};

#[derive(Deserialize)]
struct App {
    jwt: JwtKey,
}

/// The refresh interval of each process.
const REFRESH: Duration = Duration::from_secs(300);
/// The interval and two fetches of 10 s: by then the last process has seen a change.
const DELAY: Duration = Duration::from_secs(320);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn doc(key: u32) -> String {
    edited(key, 0)
}

fn edited(key: u32, edition: u32) -> String {
    format!(r#"{{"jwt":"key number {key:03} of thirty-two bytes","other":{edition}}}"#)
}

/// A private Ed25519 key of its own.
fn private(number: u8) -> String {
    let seed = [number; 32];
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    let b64 = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let key = json!({
        "kty": "OKP", "crv": "Ed25519", "kid": format!("key-{number}"),
        "x": b64(pair.public_key().as_ref()), "d": b64(&seed),
    });
    json!({ "jwt": key }).to_string()
}

fn builder(store: &Memory) -> Builder<App> {
    Keyring::<App>::builder(store.clone())
        .refresh_every(REFRESH)
        .overlap(Duration::from_secs(1000))
        .jwt_key(|app| &app.jwt)
        .clock(Arc::new(TokioClock::new()))
}

async fn keyring(store: &Memory) -> Keyring<App> {
    builder(store).build().await.unwrap()
}

/// Which stage of this keyring signs, by its own verdict.
async fn signs(keyring: &Keyring<App>) -> Stage {
    ask(keyring, &token(&keyring.signer())).await.unwrap()
}

fn current_key(keyring: &Keyring<App>) -> KeyId {
    keyring.status().current.key_ids[0].clone()
}

#[tokio::test(start_paused = true)]
async fn a_new_key_signs_when_the_last_process_has_seen_it() {
    let store = Memory::new(doc(1));
    let keyring = keyring(&store).await;
    assert_eq!(signs(&keyring).await, Stage::Current);
    store.rotate(doc(2));
    keyring.refresh().await.unwrap();
    tokio::time::advance(DELAY - SECOND).await;
    assert_eq!(signs(&keyring).await, Stage::Previous);
    tokio::time::advance(2 * SECOND).await;
    assert_eq!(signs(&keyring).await, Stage::Current);
}

#[tokio::test(start_paused = true)]
async fn no_replica_is_handed_a_token_that_it_cannot_verify() {
    let store = Memory::new(doc(1));
    let (first, last) = (keyring(&store).await, keyring(&store).await);
    store.rotate(doc(2));
    first.refresh().await.unwrap();
    // The other one polls as late as it may.
    for _ in 0..4 {
        let token = token(&first.signer());
        // Its first poll may come early.
        assert!(ask(&last, &token).await.is_ok());
        tokio::time::advance(MINUTE).await;
    }
    last.refresh().await.unwrap();
    for _ in 0..4 {
        for (signing, verifying) in [(&first, &last), (&last, &first)] {
            assert!(ask(verifying, &token(&signing.signer())).await.is_ok());
        }
        tokio::time::advance(MINUTE).await;
    }
    assert_eq!(signs(&first).await, Stage::Current);
}

#[tokio::test(start_paused = true)]
async fn time_spent_as_pending_counts() {
    let store = Memory::new(doc(1));
    let keyring = keyring(&store).await;
    store.stage_pending(doc(2));
    keyring.refresh().await.unwrap();
    tokio::time::advance(DELAY - MINUTE).await;
    store.promote_pending();
    keyring.refresh().await.unwrap();
    assert_eq!(signs(&keyring).await, Stage::Previous);
    tokio::time::advance(MINUTE + SECOND).await;
    assert_eq!(signs(&keyring).await, Stage::Current);

    // Long enough, and it signs from the flip on.
    store.stage_pending(doc(3));
    keyring.refresh().await.unwrap();
    tokio::time::advance(DELAY).await;
    store.promote_pending();
    keyring.refresh().await.unwrap();
    assert_eq!(signs(&keyring).await, Stage::Current);
}

#[tokio::test(start_paused = true)]
async fn a_pending_key_that_was_taken_back_begins_anew() {
    let store = Memory::new(doc(1));
    let keyring = keyring(&store).await;
    store.stage_pending(doc(2));
    keyring.refresh().await.unwrap();
    tokio::time::advance(DELAY).await;
    store.drop_pending();
    keyring.refresh().await.unwrap();
    store.rotate(doc(2));
    keyring.refresh().await.unwrap();
    assert_eq!(signs(&keyring).await, Stage::Previous);
}

#[tokio::test(start_paused = true)]
async fn it_moves_on_at_once_when_there_is_no_key_to_go_on_with() {
    for how in ["withdrawn", "revoked"] {
        let store = Memory::new(doc(1));
        let keyring = keyring(&store).await;
        store.rotate(doc(2));
        keyring.refresh().await.unwrap();
        assert_eq!(signs(&keyring).await, Stage::Previous, "{how}");
        if how == "withdrawn" {
            store.drop_previous();
            keyring.refresh().await.unwrap();
        } else {
            keyring.revoke_previous();
        }
        assert_eq!(signs(&keyring).await, Stage::Current, "{how}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_field_is_none_of_its_business_and_a_rollback_waits_for_nobody() {
    let store = Memory::new(doc(1));
    let keyring = keyring(&store).await;
    let key = current_key(&keyring);
    store.rotate(edited(1, 1));
    keyring.refresh().await.unwrap();
    assert_eq!(
        (signs(&keyring).await, current_key(&keyring)),
        (Stage::Current, key.clone())
    );
    store.rotate(doc(2));
    keyring.refresh().await.unwrap();
    tokio::time::advance(DELAY).await;
    assert_eq!(signs(&keyring).await, Stage::Current);
    // Everybody still verifies with the first one.
    store.rotate(edited(1, 2));
    keyring.refresh().await.unwrap();
    assert_eq!(
        (signs(&keyring).await, current_key(&keyring)),
        (Stage::Current, key)
    );
}

#[tokio::test(start_paused = true)]
async fn a_process_started_in_the_middle_of_a_rotation_waits_like_the_others() {
    let store = Memory::new(doc(1));
    let old = keyring(&store).await;
    store.rotate(doc(2));
    let fresh = keyring(&store).await;
    let token = token(&fresh.signer());
    assert!(ask(&old, &token).await.is_ok());
    assert_eq!(signs(&fresh).await, Stage::Previous);
}

#[tokio::test(start_paused = true)]
async fn verifiers_elsewhere_get_the_public_keys_of_all_stages() {
    let store = Memory::new(private(1));
    let keyring = keyring(&store).await;
    store.rotate(private(2));
    keyring.refresh().await.unwrap();
    store.stage_pending(private(3));
    keyring.refresh().await.unwrap();

    let served = keyring.jwks();
    let set: Value = serde_json::from_str(&served).unwrap();
    let kids: Vec<_> = set["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["kid"])
        .collect();
    assert_eq!(kids, ["key-2", "key-1", "key-3"]);
    for key in set["keys"].as_array().unwrap() {
        assert_eq!((&key["use"], &key["alg"]), (&json!("sig"), &json!("EdDSA")));
        assert!(key.get("d").is_none(), "{key}");
    }

    // A service that has nothing but this document verifies what is signed now and after the flip.
    let document = json!({ "jwt": set }).to_string();
    let elsewhere = self::keyring(&Memory::new(document)).await;
    assert!(ask(&elsewhere, &token(&keyring.signer())).await.is_ok());
    store.promote_pending();
    keyring.refresh().await.unwrap();
    tokio::time::advance(2 * DELAY).await;
    assert!(ask(&elsewhere, &token(&keyring.signer())).await.is_ok());

    keyring.revoke_previous();
    let set: Value = serde_json::from_str(&keyring.jwks()).unwrap();
    assert_eq!(set["keys"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_in_the_public_set() {
    let keyring = keyring(&Memory::new(doc(1))).await;
    assert_eq!(keyring.jwks(), r#"{"keys":[]}"#);
}

/// A process that was started so long after the flip.
async fn started_after(flip: Duration) -> Keyring<App> {
    let replaced_at = SystemTime::now() - flip;
    let previous = Version::new("1", doc(1)).with_replaced_at(replaced_at);
    let store = Memory::new("");
    store.set(Versions::new(Version::new("2", doc(2))).with_previous(previous));
    let builder = builder(&store).token_lifetime(5 * MINUTE);
    builder.build().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn close_to_the_end_of_the_window_the_new_key_signs() {
    // 1,000 s of overlap; a token needs 330 s of it.
    let early = started_after(Duration::from_secs(660)).await;
    assert_eq!(signs(&early).await, Stage::Previous);
    let late = started_after(Duration::from_secs(680)).await;
    assert_eq!(signs(&late).await, Stage::Current);
}

/// A process that starts, and what the store says of when its versions were written.
async fn started_with(current: Duration, previous: Duration) -> Keyring<App> {
    let now = SystemTime::now();
    let version = |name, document, age| Version::new(name, document).with_created_at(now - age);
    let view = Versions::new(version("2", doc(2), current));
    let store = Memory::new("");
    store.set(view.with_previous(version("1", doc(1), previous)));
    keyring(&store).await
}

#[tokio::test(start_paused = true)]
async fn a_process_that_starts_long_after_a_rotation_signs_with_the_new_key_at_once() {
    // The others have let go of the key before; when the window began this process cannot know.
    let hour = 60 * MINUTE;
    let late = started_with(hour, 2 * hour).await;
    assert!(late.status().previous.is_some());
    assert_eq!(signs(&late).await, Stage::Current);

    // Shortly after, it waits until the last of the others knows the new one, by any clock.
    let early = started_with(100 * SECOND, hour).await;
    tokio::time::advance(DELAY + 30 * SECOND - 101 * SECOND).await;
    assert_eq!(signs(&early).await, Stage::Previous);
    tokio::time::advance(2 * SECOND).await;
    assert_eq!(signs(&early).await, Stage::Current);

    // Written at once, as a restored secret is.
    let same = started_with(hour, hour).await;
    assert_eq!(signs(&same).await, Stage::Current);

    // What was changed since may be new to the others: a flip back and forth, or a version that pended for days.
    let version =
        |name, document, age| Version::new(name, document).with_created_at(SystemTime::now() - age);
    let previous = version("1", doc(1), 2 * hour).with_replaced_at(SystemTime::now() - MINUTE);
    let store = Memory::new("");
    store.set(Versions::new(version("2", doc(2), hour)).with_previous(previous));
    let flipped = keyring(&store).await;
    assert_eq!(signs(&flipped).await, Stage::Previous);
    tokio::time::advance(DELAY).await;
    assert_eq!(signs(&flipped).await, Stage::Current);

    // One date says nothing of the order.
    let store = Memory::new("");
    let undated =
        Versions::new(version("2", doc(2), hour)).with_previous(Version::new("1", doc(1)));
    store.set(undated);
    assert_eq!(signs(&keyring(&store).await).await, Stage::Previous);

    // What the store went back to may be long forgotten.
    let back = started_with(2 * hour, hour).await;
    assert_eq!(signs(&back).await, Stage::Previous);
    tokio::time::advance(DELAY + SECOND).await;
    assert_eq!(signs(&back).await, Stage::Current);
}

#[tokio::test(start_paused = true)]
async fn an_overlap_in_which_tokens_would_be_cut_off_is_refused() {
    let store = Memory::new(doc(1));
    let built = builder(&store).token_lifetime(331 * SECOND).build().await;
    let error: BuildError = built.unwrap_err();
    assert_eq!(
        error.to_string(),
        "overlap is 1000s, which is less than 1001s: the time until the last process sees a rotation \
         (320s: refresh_every, and twice the 10s of fetch_limit and of the limits of prepare and \
         probes) + activation_delay (320s) + token_lifetime (331s) + a leeway of 30s; with less, what \
         the replaced key signed would be refused before its end"
    );
    assert!(
        builder(&store)
            .token_lifetime(330 * SECOND)
            .build()
            .await
            .is_ok()
    );
    let alone = builder(&store).activation_delay(Duration::ZERO);
    assert!(alone.token_lifetime(650 * SECOND).build().await.is_ok());

    // The default one is long enough: an hour later the key before still verifies.
    let default = Keyring::<App>::builder(store.clone())
        .token_lifetime(60 * MINUTE)
        .jwt_key(|app| &app.jwt)
        .clock(Arc::new(TokioClock::new()));
    let keyring = default.build().await.unwrap();
    let old = token(&keyring.signer());
    store.rotate(doc(2));
    keyring.refresh().await.unwrap();
    tokio::time::advance(2 * DELAY + 60 * MINUTE + 30 * SECOND - SECOND).await;
    assert_eq!(ask(&keyring, &old).await, Ok(Stage::Previous));
    tokio::time::advance(2 * SECOND).await;
    assert!(ask(&keyring, &old).await.is_err());
}

/// Where fetches may take longer than the interval, they decide.
#[tokio::test(start_paused = true)]
async fn an_overlap_in_which_somebody_still_signs_is_refused() {
    let store = Memory::new(doc(1));
    let slow = || {
        Keyring::<App>::builder(store.clone())
            .refresh_every(10 * SECOND)
            .fetch_limit(60 * SECOND)
            .jwt_key(|app| &app.jwt)
    };
    for (delay, least) in [(None, 260), (Some(10 * SECOND), 140), (Some(SECOND), 131)] {
        let builder = |overlap| {
            let builder = slow().overlap(overlap);
            delay.into_iter().fold(builder, Builder::activation_delay)
        };
        let refused = builder((least - 1) * SECOND).build().await.unwrap_err();
        let told = format!("overlap is {}s, which is less than {least}s", least - 1);
        assert!(refused.to_string().starts_with(&told), "{refused}");
        builder(least * SECOND).build().await.unwrap();
    }
    let sessions = slow().overlap(MINUTE * 10).session_key_window(259 * SECOND);
    let refused = sessions.build().await.unwrap_err();
    assert!(refused.to_string().contains("less than 260s"), "{refused}");
    // Who has neither key signs nothing.
    let passwords = |overlap| {
        Keyring::<App>::builder(store.clone())
            .refresh_every(30 * SECOND)
            .fetch_limit(20 * SECOND)
            .overlap(overlap)
    };
    passwords(110 * SECOND).build().await.unwrap();
    let refused = passwords(109 * SECOND).build().await.unwrap_err();
    assert!(
        refused.to_string().contains("less than 110s: 3 x"),
        "{refused}"
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_key_that_signs_the_error_says_what_is_missing() {
    let store = Memory::new(doc(1));
    let unnamed = Keyring::<App>::builder(store).build().await.unwrap();
    let mut public: Value = serde_json::from_str(&private(1)).unwrap();
    public["jwt"].as_object_mut().unwrap().remove("d");
    let verifying = keyring(&Memory::new(public.to_string())).await;
    let revoked = keyring(&Memory::new(doc(1))).await;
    revoked.revoke(&VersionId::new("1"));
    for (keyring, kind, says) in [
        (unnamed, SignErrorKind::NoKey, "`.jwt_key(..)`"),
        (verifying, SignErrorKind::CannotSign, "public key"),
        (revoked, SignErrorKind::Revoked, "no successor yet"),
    ] {
        let error = keyring.signer().clone().sign(&json!({})).unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_secret_is_refused_unless_danger_is_asked_for() {
    let short = || Memory::new(r#"{"jwt":"thirty-one bytes are not enough"}"#);
    let refused = builder(&short()).build().await.unwrap_err().to_string();
    assert!(refused.contains("shorter than 32 bytes"), "{refused}");
    assert!(!refused.contains("thirty-one"), "{refused}");

    let dangerous = |store| builder(&store).dangerously_allow_short_hmac_secrets();
    let keyring = dangerous(short()).build().await.unwrap();
    assert_eq!(signs(&keyring).await, Stage::Current);
    let empty = Memory::new(r#"{"jwt":""}"#);
    dangerous(empty).build().await.unwrap_err();
}
