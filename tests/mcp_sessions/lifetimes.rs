//! How long a binding lasts: across rotations, replicas, windows and revocations.

use std::{sync::Arc, time::Duration};

use http::{Method, StatusCode};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use tower_secrets::{
    Keyring, SessionKeys,
    event::Event,
    mcp::{BindSessionsLayer, RequestStates},
    source::{Combined, Memory, Version, Versions},
};

use crate::world::{
    App, BOB, Hands, Replica, bundle, initialize, jwt_secret, keyring, session_secret, sessions,
};

const HOUR: Duration = Duration::from_secs(3600);
/// Longer than the window of a session key.
const LATER: Duration = Duration::from_secs(25 * 3600);

/// Two replicas over one store, whose sessions are in a store that both have.
struct Fleet {
    source: Memory,
    hands: Hands,
    sessions: Arc<LocalSessionManager>,
    a: Replica,
    b: Replica,
}

impl Fleet {
    async fn new() -> Self {
        let source = Memory::new(bundle("1", "1"));
        let (hands, sessions) = (Hands::new(), sessions());
        let a = Replica::sharing(&keyring(source.clone(), &hands).await, &sessions);
        let b = Replica::sharing(&keyring(source.clone(), &hands).await, &sessions);
        Self {
            source,
            hands,
            sessions,
            a,
            b,
        }
    }

    /// A replica that was started now.
    async fn joined(&self) -> Replica {
        Replica::sharing(
            &keyring(self.source.clone(), &self.hands).await,
            &self.sessions,
        )
    }

    async fn rotate(&self, jwt: &str, session: &str) {
        self.source.rotate(bundle(jwt, session));
        self.refresh().await;
    }

    async fn refresh(&self) {
        self.a.keyring.refresh().await.unwrap();
        self.b.keyring.refresh().await.unwrap();
    }
}

/// What Alice, who renews her token for each call, gets in this session.
async fn at(replica: &Replica, session: &str) -> Result<String, StatusCode> {
    replica.alice().whoami(session).await
}

fn goes_on() -> Result<String, StatusCode> {
    Ok("alice".to_owned())
}

const GONE: Result<String, StatusCode> = Err(StatusCode::NOT_FOUND);

#[tokio::test]
async fn a_session_lives_through_five_rotations_with_all_windows_over() {
    let fleet = Fleet::new().await;
    let session = fleet.a.alice().open().await;
    for version in ["2", "3", "4", "5", "6"] {
        // Both keys are other ones, and the window of the ones before is over.
        fleet.rotate(version, version).await;
        assert_eq!(at(&fleet.a, &session).await, goes_on(), "{version}");
        fleet.hands.advance(LATER);
        assert_eq!(at(&fleet.a, &session).await, goes_on(), "{version}, later");
    }
    // By memory alone, which the other replica has not; and it is hers still.
    assert_eq!(at(&fleet.b, &session).await, GONE);
    assert_eq!(fleet.a.user(BOB).whoami(&session).await, GONE);
}

#[tokio::test]
async fn rotations_of_the_jwt_key_alone_end_no_session_anywhere() {
    let fleet = Fleet::new().await;
    let session = fleet.a.alice().open().await;
    for version in ["2", "3", "4", "5", "6"] {
        fleet.rotate(version, "1").await;
        fleet.hands.advance(LATER);
    }
    assert_eq!(at(&fleet.b, &session).await, goes_on());
    assert_eq!(at(&fleet.joined().await, &session).await, goes_on());
}

#[tokio::test]
async fn every_key_inside_its_window_opens_on_every_replica_that_saw_it() {
    let fleet = Fleet::new().await;
    let mut opened = vec![fleet.a.alice().open().await];
    for version in ["2", "3", "4", "5", "6"] {
        fleet.rotate(version, version).await;
        fleet.hands.advance(HOUR);
        opened.push(fleet.a.alice().open().await);
    }
    for session in &opened {
        assert_eq!(at(&fleet.b, session).await, goes_on());
    }
    // A new replica knows the keys that the store names: current and previous.
    let joined = fleet.joined().await;
    let seen: Vec<bool> = {
        let mut seen = Vec::new();
        for session in &opened {
            seen.push(at(&joined, session).await.is_ok());
        }
        seen
    };
    assert_eq!(seen, [false, false, false, false, true, true]);
}

#[tokio::test]
async fn the_window_begins_when_the_key_is_replaced_and_then_ends() {
    let fleet = Fleet::new().await;
    fleet.hands.advance(LATER);
    let session = fleet.a.alice().open().await;
    let other = fleet.joined().await;
    fleet.rotate("1", "2").await;
    other.keyring.refresh().await.unwrap();
    fleet.hands.advance(23 * HOUR);
    assert_eq!(at(&fleet.b, &session).await, goes_on());
    fleet.hands.advance(2 * HOUR);
    // One that has not seen the session before, and two that have.
    assert_eq!(at(&other, &session).await, GONE);
    assert_eq!(at(&fleet.b, &session).await, goes_on());
    assert_eq!(at(&fleet.a, &session).await, goes_on());
}

#[tokio::test]
async fn replicas_agree_while_one_has_seen_the_flip_and_another_has_not() {
    let fleet = Fleet::new().await;
    let before = fleet.a.alice().open().await;
    fleet.source.stage_pending(bundle("2", "2"));
    fleet.refresh().await;
    // All know it by now.
    fleet.hands.advance(HOUR);
    fleet.source.promote_pending().unwrap();
    fleet.a.keyring.refresh().await.unwrap();
    // A binds with the new key, which B knows as pending, and B with the old one.
    let by_a = fleet.a.alice().open().await;
    let new = Memory::new(bundle("2", "2"));
    let new = Replica::sharing(&keyring(new, &fleet.hands).await, &fleet.sessions);
    assert_eq!(at(&new, &by_a).await, goes_on());
    let by_b = fleet.b.alice().open().await;
    for session in [&before, &by_a, &by_b] {
        assert_eq!(fleet.a.alice().whoami(session).await, goes_on());
        assert_eq!(fleet.b.alice().whoami(session).await, goes_on());
    }
}

#[tokio::test]
async fn a_key_that_some_replica_may_not_know_seals_nothing_yet() {
    let fleet = Fleet::new().await;
    // Nobody has staged it, and B looks at the store later than A.
    fleet.source.rotate(bundle("2", "2"));
    fleet.a.keyring.refresh().await.unwrap();
    let at_once = fleet.a.alice().open().await;
    assert_eq!(at(&fleet.b, &at_once).await, goes_on());
    fleet.b.keyring.refresh().await.unwrap();
    fleet.hands.advance(HOUR);
    let later = fleet.a.alice().open().await;
    // One that knows the new key alone tells which of the two it was.
    let new = Memory::new(bundle("2", "2"));
    let new = Replica::sharing(&keyring(new, &fleet.hands).await, &fleet.sessions);
    assert_eq!(at(&new, &at_once).await, GONE);
    assert_eq!(at(&new, &later).await, goes_on());
    // A key that was revoked does not seal, however new the other is.
    let second = fleet.a.keyring.current().version().clone();
    fleet.source.rotate(bundle("3", "3"));
    fleet.a.keyring.refresh().await.unwrap();
    fleet.a.keyring.revoke(&second);
    let session = fleet.a.alice().open().await;
    assert_eq!(at(&fleet.a, &session).await, goes_on());
    assert_eq!(at(&new, &session).await, GONE);
}

/// Others have forgotten it meanwhile, as they would a key for tokens.
#[tokio::test]
async fn a_key_that_is_staged_again_begins_anew() {
    let fleet = Fleet::new().await;
    fleet.source.stage_pending(bundle("2", "2"));
    fleet.refresh().await;
    fleet.hands.advance(HOUR);
    let only_current = Versions::new(Version::new("1", bundle("1", "1")));
    fleet.source.set(only_current);
    fleet.refresh().await;
    fleet.hands.advance(HOUR);
    fleet.source.rotate(bundle("2", "2"));
    fleet.a.keyring.refresh().await.unwrap();
    let at_once = fleet.a.alice().open().await;
    assert_eq!(at(&fleet.b, &at_once).await, goes_on());
    let new = Memory::new(bundle("2", "2"));
    let new = Replica::sharing(&keyring(new, &fleet.hands).await, &fleet.sessions);
    assert_eq!(at(&new, &at_once).await, GONE);
}

#[tokio::test]
async fn a_revoked_version_takes_its_session_key_with_it_at_once() {
    let fleet = Fleet::new().await;
    let first = fleet.a.keyring.current().version().clone();
    let session = fleet.a.alice().open().await;
    fleet.rotate("2", "2").await;
    assert_eq!(at(&fleet.a, &session).await, goes_on());
    fleet.a.keyring.revoke(&first);
    // What was remembered counts no more either.
    assert_eq!(at(&fleet.a, &session).await, GONE);
    // It is a matter of this process.
    assert_eq!(at(&fleet.b, &session).await, goes_on());
    assert!(fleet.a.keyring.restore(&first));
    assert_eq!(at(&fleet.a, &session).await, goes_on());
}

#[tokio::test]
async fn a_key_that_current_has_too_is_revoked_once_it_is_replaced() {
    let fleet = Fleet::new().await;
    let first = fleet.a.keyring.current().version().clone();
    let session = fleet.a.alice().open().await;
    fleet.rotate("2", "1").await;
    fleet.a.keyring.revoke(&first);
    assert_eq!(at(&fleet.a, &session).await, goes_on());
    fleet.rotate("3", "3").await;
    assert_eq!(at(&fleet.a, &session).await, GONE);
    assert_eq!(at(&fleet.b, &session).await, goes_on());
}

#[tokio::test]
async fn revoking_what_is_previous_spares_what_current_has_for_good() {
    let fleet = Fleet::new().await;
    let session = fleet.a.alice().open().await;
    fleet.rotate("2", "1").await;
    assert_eq!(fleet.a.keyring.revoke_previous().len(), 1);
    fleet.rotate("3", "3").await;
    assert_eq!(at(&fleet.a, &session).await, goes_on());
}

#[tokio::test]
async fn what_the_store_takes_back_is_gone_everywhere() {
    let fleet = Fleet::new().await;
    let session = fleet.a.alice().open().await;
    fleet.rotate("2", "2").await;
    assert_eq!(at(&fleet.b, &session).await, goes_on());
    fleet.source.drop_previous();
    fleet.refresh().await;
    assert_eq!(at(&fleet.a, &session).await, GONE);
    assert_eq!(at(&fleet.b, &session).await, GONE);
    // And does not come back with the label.
    let now = std::time::SystemTime::now();
    let current = Version::new("2", bundle("2", "2"));
    let previous = Version::new("1", bundle("1", "1")).with_replaced_at(now);
    fleet
        .source
        .set(Versions::new(current).with_previous(previous));
    fleet.refresh().await;
    assert_eq!(at(&fleet.a, &session).await, GONE);
}

#[tokio::test]
async fn what_the_store_takes_back_ends_what_goes_on_by_memory_alone() {
    let fleet = Fleet::new().await;
    let session = fleet.a.alice().open().await;
    fleet.rotate("2", "2").await;
    fleet.hands.advance(LATER);
    fleet.refresh().await;
    assert_eq!(at(&fleet.a, &session).await, goes_on());
    fleet.source.drop_previous();
    fleet.refresh().await;
    assert_eq!(at(&fleet.a, &session).await, GONE);
}

#[tokio::test]
async fn what_the_store_takes_back_before_it_was_current_here_is_gone_as_well() {
    let fleet = Fleet::new().await;
    fleet.source.stage_pending(bundle("2", "2"));
    fleet.refresh().await;
    fleet.hands.advance(HOUR);
    fleet.source.promote_pending().unwrap();
    fleet.b.keyring.refresh().await.unwrap();
    let session = fleet.b.alice().open().await;
    // A knows the key as pending, and remembers the session.
    assert_eq!(at(&fleet.a, &session).await, goes_on());
    let third = || Version::new("3", bundle("3", "3"));
    fleet.source.set(Versions::new(third()));
    fleet.refresh().await;
    assert_eq!(at(&fleet.b, &session).await, GONE);
    assert_eq!(at(&fleet.a, &session).await, GONE);
    // What is staged anew opens again what it has bound.
    let second = Version::new("4", bundle("4", "2"));
    fleet
        .source
        .set(Versions::new(third()).with_pending(second));
    fleet.a.keyring.refresh().await.unwrap();
    assert_eq!(at(&fleet.a, &session).await, goes_on());
}

#[tokio::test]
async fn an_end_that_the_store_names_ends_what_goes_on_by_memory_alone() {
    let fleet = Fleet::new().await;
    let session = fleet.a.alice().open().await;
    fleet.rotate("2", "2").await;
    fleet.hands.advance(LATER);
    fleet.refresh().await;
    let ends = std::time::SystemTime::now() + LATER + HOUR;
    let current = Version::new("2", bundle("2", "2"));
    let previous = Version::new("1", bundle("1", "1")).with_not_after(ends);
    fleet
        .source
        .set(Versions::new(current).with_previous(previous));
    fleet.refresh().await;
    // Its window is over, and it was promised nothing longer; but it was seen here.
    assert_eq!(at(&fleet.a, &session).await, goes_on());
    fleet.hands.advance(2 * HOUR);
    assert_eq!(at(&fleet.a, &session).await, GONE);
}

/// With no key to seal with nothing is opened, and a client may try again.
#[tokio::test]
async fn a_revoked_current_opens_and_seals_nothing() {
    let fleet = Fleet::new().await;
    let session = fleet.a.alice().open().await;
    let current = fleet.a.keyring.current().version().clone();
    // Without a token, for its key is revoked as well.
    let anyone = fleet.a.anyone();
    let anonymous = anyone.open().await;
    fleet.a.keyring.revoke(&current);
    assert_eq!(anyone.whoami(&anonymous).await, GONE);
    let mut answer = anyone.send(Method::POST, &[], Some(&initialize())).await;
    assert_eq!((answer.status.as_u16(), answer.session()), (503, None));
    let text = answer.rest().await;
    assert!(text.contains("no session key is trusted"), "{text}");
    assert_eq!(at(&fleet.b, &session).await, goes_on());
    assert!(fleet.a.keyring.restore(&current));
    assert_eq!(at(&fleet.a, &session).await, goes_on());
}

/// Each key in a secret of its own: one rotates without the other.
#[tokio::test]
async fn in_a_combined_source_a_session_key_follows_its_own_part() {
    let text = |secret: String| serde_json::to_string(&secret).unwrap();
    let jwt = Memory::new(text(jwt_secret("1")));
    let session_key = Memory::new(text(session_secret("1")));
    let source = || {
        let source = Combined::new().with("jwt_secret", jwt.clone());
        source.with("session_key", session_key.clone())
    };
    let (hands, sessions) = (Hands::new(), sessions());
    let a = Replica::sharing(&keyring(source(), &hands).await, &sessions);
    let b = Replica::sharing(&keyring(source(), &hands).await, &sessions);
    let refresh = async || {
        a.keyring.refresh().await.unwrap();
        b.keyring.refresh().await.unwrap();
    };
    let first = a.alice().open().await;
    jwt.rotate(text(jwt_secret("2")));
    refresh().await;
    hands.advance(LATER);
    assert_eq!(at(&b, &first).await, goes_on());
    session_key.rotate(text(session_secret("2")));
    refresh().await;
    hands.advance(HOUR);
    let second = a.alice().open().await;
    for session in [&first, &second] {
        assert_eq!(at(&b, session).await, goes_on());
    }
    // The other part has a previous version still, which vouches for nothing here.
    session_key.drop_previous();
    refresh().await;
    assert_eq!(at(&a, &first).await, GONE);
    assert_eq!(at(&b, &first).await, GONE);
    assert_eq!(at(&b, &second).await, goes_on());
}

/// A store that takes previous back is obeyed although the new current is refused.
#[tokio::test]
async fn a_withdrawal_does_not_wait_for_a_good_current() {
    let fleet = Fleet::new().await;
    let session = fleet.a.alice().open().await;
    fleet.rotate("2", "2").await;
    fleet.source.set(Versions::new(Version::new("3", "{}")));
    fleet.a.keyring.refresh().await.unwrap_err();
    assert_eq!(at(&fleet.a, &session).await, GONE);
    assert_eq!(at(&fleet.b, &session).await, goes_on());
}

/// Nor for a window that is open: that of the JWT key is over here.
#[tokio::test]
async fn a_withdrawal_of_a_session_key_alone_does_not_wait_either() {
    let fleet = Fleet::new().await;
    let session = fleet.a.alice().open().await;
    fleet.rotate("2", "2").await;
    fleet.hands.advance(HOUR);
    fleet.refresh().await;
    let mut events = fleet.a.keyring.subscribe();
    fleet.source.set(Versions::new(Version::new("3", "{}")));
    fleet.a.keyring.refresh().await.unwrap_err();
    assert_eq!(at(&fleet.a, &session).await, GONE);
    let withdrawn = loop {
        match events.next().await.unwrap() {
            Event::PreviousWithdrawn { version, .. } => break version,
            Event::ReloadFailed(_) => panic!("the withdrawal was not told"),
            _ => continue,
        }
    };
    assert_eq!(withdrawn.as_str(), "1");
}

#[tokio::test]
async fn the_store_says_how_old_a_previous_key_is_and_when_it_ends() {
    let hands = Hands::new();
    let fleet_sessions = sessions();
    let first = Replica::sharing(
        &keyring(Memory::new(bundle("1", "1")), &hands).await,
        &fleet_sessions,
    );
    let session = first.alice().open().await;
    let now = std::time::SystemTime::now();
    let previous = || Version::new("1", bundle("1", "1"));
    for (previous, expected) in [
        (previous().with_replaced_at(now - 23 * HOUR), goes_on()),
        (previous().with_replaced_at(now - 25 * HOUR), GONE),
        (previous().with_not_after(now + HOUR), goes_on()),
        (previous().with_not_after(now - HOUR), GONE),
    ] {
        let source = Memory::new("{}");
        let current = Version::new("2", bundle("2", "2"));
        source.set(Versions::new(current).with_previous(previous.clone()));
        let replica = Replica::sharing(&keyring(source.clone(), &hands).await, &fleet_sessions);
        assert_eq!(at(&replica, &session).await, expected, "{previous:?}");
    }
}

#[tokio::test]
async fn at_most_32_replaced_keys_are_inside_their_window() {
    let fleet = Fleet::new().await;
    let session = fleet.a.alice().open().await;
    let mut events = fleet.b.keyring.subscribe();
    for version in 2..=33 {
        fleet.rotate("1", &version.to_string()).await;
    }
    assert_eq!(at(&fleet.joined().await, &session).await, GONE);
    // B has not seen the session, and has its key as the oldest of 32.
    assert_eq!(at(&fleet.b, &session).await, goes_on());
    let unseen = fleet.a.alice().open().await;
    fleet.rotate("1", "34").await;
    let cut = loop {
        match events.next().await.unwrap() {
            Event::WindowCutShort { version, .. } => break version,
            _ => continue,
        }
    };
    assert_eq!(cut.as_str(), "1");
    assert_eq!(at(&fleet.b, &unseen).await, goes_on());
}

#[tokio::test]
async fn a_random_key_is_of_one_process() {
    let source = Memory::new(bundle("1", "1"));
    let (hands, sessions) = (Hands::new(), sessions());
    let keyring = keyring(source.clone(), &hands).await;
    let process = || {
        let bind = BindSessionsLayer::of_process();
        Replica::new(&keyring, &sessions, bind, RequestStates::of_process())
    };
    let (one, other) = (process(), process());
    let session = one.alice().open().await;
    assert_eq!(at(&one, &session).await, goes_on());
    // As after a restart: the client is told to open another session.
    assert_eq!(at(&other, &session).await, GONE);
    source.rotate(bundle("2", "2"));
    keyring.refresh().await.unwrap();
    hands.advance(LATER);
    assert_eq!(at(&one, &session).await, goes_on());
}

#[tokio::test]
async fn a_keyring_without_a_session_key_shares_nothing() {
    let source = Memory::new(bundle("1", "1"));
    let keyring = Keyring::<App>::builder(source).build().await.unwrap();
    assert!(keyring.session_keys().is_none());
    let error = BindSessionsLayer::shared(&keyring).unwrap_err();
    assert!(error.to_string().contains(".session_key(..)"), "{error}");
    assert_eq!(RequestStates::shared(&keyring).unwrap_err(), error);
}

#[tokio::test]
async fn keys_are_shown_by_their_ids_alone() {
    let keyring = keyring(Memory::new(bundle("1", "1")), &Hands::new()).await;
    let shared = format!("{:?}", BindSessionsLayer::shared(&keyring).unwrap());
    assert!(shared.contains("is_shared: true"), "{shared}");
    assert!(!shared.contains("session secret"), "{shared}");
    let own = format!("{:?}", SessionKeys::of_process());
    assert!(own.contains("is_shared: false"), "{own}");
}

/// A bundle that cannot bind is refused, and the one in use stays.
#[tokio::test]
async fn a_bad_session_key_refuses_the_version() {
    let source = Memory::new(bundle("1", "1"));
    let keyring = keyring(source.clone(), &Hands::new()).await;
    let jwt = jwt_secret("1");
    let twice = serde_json::json!({ "jwt_secret": jwt, "session_key": jwt }).to_string();
    let short = serde_json::json!({ "jwt_secret": jwt, "session_key": "short" }).to_string();
    let none = serde_json::json!({ "jwt_secret": jwt }).to_string();
    for (document, expected) in [
        (twice, "the session key is the JWT key"),
        (short, "`session_key`"),
        (none, "`session_key`"),
    ] {
        source.rotate(document);
        let error = keyring.refresh().await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains(&jwt), "{error}");
    }
    assert_eq!(keyring.current().version().as_str(), "1");
}

#[tokio::test]
async fn a_window_too_short_for_the_fleet_is_refused() {
    let builder = Keyring::<App>::builder(Memory::new(bundle("1", "1")));
    let error = builder
        .session_key_window(HOUR / 6)
        .build()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("session_key_window"), "{error}");
}
