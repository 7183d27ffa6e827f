//! How long a replaced key is trusted, by a process that saw the flip and by one that did not. The
//! proxy writes the dates: moto moves none at a flip, and all of them are now.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use serde_json::{Value, json};
use tower_secrets::{
    Keyring,
    clock::TokioClock,
    source::{SecretsManager, Stage, WindowStart},
};

use crate::{
    bed::{client, moto, need},
    proxy::{Fault, Proxy},
    secret::{App, Secret, builder, document, token_of},
    stopped_time::StoppedTime,
    support::{ask, token},
};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

const WINDOW: Duration = Duration::from_secs(1000);

/// What the store says, in seconds from the flip on; `None` is no date.
#[derive(Clone, Copy, Default)]
struct Dates {
    current_created: Option<i64>,
    previous_created: Option<i64>,
    last_changed: Option<i64>,
    last_rotated: Option<i64>,
}

/// A secret that was rotated once. The flip is the moment of the test.
struct Rotated {
    secret: Secret,
    proxy: Proxy,
    flip: SystemTime,
    time: StoppedTime,
}

impl Rotated {
    async fn start(server: &str) -> Self {
        let secret = Secret::create(server).await;
        secret.rotate(&document(1)).await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self {
            secret,
            proxy: Proxy::start(server).await,
            flip: UNIX_EPOCH + Duration::from_secs(now.as_secs()),
            time: StoppedTime::begin(),
        }
    }

    async fn say(&self, dates: Dates) {
        let flip = self.flip.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let flip = i64::try_from(flip).unwrap();
        let date =
            move |from_flip: Option<i64>| from_flip.map_or(Value::Null, |it| json!(flip + it));
        let current = self.secret.holder("AWSCURRENT").await.unwrap();
        let previous = self.secret.holder("AWSPREVIOUS").await.unwrap();
        self.proxy.set_for(
            "DescribeSecret",
            Fault::rewrite(move |described| {
                described["LastChangedDate"] = date(dates.last_changed);
                described["LastRotatedDate"] = date(dates.last_rotated);
            }),
        );
        self.proxy.set_for(
            "GetSecretValue",
            Fault::rewrite(move |value| {
                for (version, created) in [
                    (&current, dates.current_created),
                    (&previous, dates.previous_created),
                ] {
                    if value["VersionId"] == version.as_str() {
                        value["CreatedDate"] = date(created);
                    }
                }
            }),
        );
    }

    /// A process that starts this many seconds after the flip.
    async fn process(&self, after: i64, rule: WindowStart) -> Keyring<App> {
        let source = SecretsManager::new(client(&self.proxy.url()), &self.secret.name);
        let after = Duration::from_secs(u64::try_from(after).unwrap());
        let keyring = builder(source.window_start(rule))
            .overlap(WINDOW)
            .clock(TokioClock::starting_at(self.flip + after))
            .build();
        self.time.until(keyring, &self.proxy).await.unwrap()
    }

    /// The seconds for which that process trusts the replaced key; proved by its token.
    async fn trust(&self, after: i64, rule: WindowStart, dates: Dates) -> Option<u64> {
        self.say(dates).await;
        let keyring = self.process(after, rule).await;
        let previous = keyring.status().previous.and_then(|it| it.expires_in);
        let old = token_of(&document(0)).await;
        let Some(left) = previous else {
            assert_eq!(ask(&keyring, &old).await, Err(StatusCode::UNAUTHORIZED));
            return None;
        };
        assert_eq!(ask(&keyring, &old).await, Ok(Stage::Previous));
        // By the key's own deadline.
        let moment = Duration::from_millis(1);
        self.time.pass(left - moment, &self.proxy).await;
        assert_eq!(ask(&keyring, &old).await, Ok(Stage::Previous));
        self.time.pass(moment, &self.proxy).await;
        assert_eq!(ask(&keyring, &old).await, Err(StatusCode::UNAUTHORIZED));
        Some(left.as_secs_f64().round() as u64)
    }

    async fn lenient(&self, after: i64, dates: Dates) -> Option<u64> {
        self.trust(after, WindowStart::Lenient, dates).await
    }

    async fn strict(&self, after: i64, dates: Dates) -> Option<u64> {
        self.trust(after, WindowStart::Strict, dates).await
    }
}

#[tokio::test]
async fn a_restart_inside_and_after_the_window() {
    let server = need!(moto());
    let it = Rotated::start(&server).await;
    let dates = Dates {
        current_created: Some(-1),
        previous_created: Some(-DAY),
        last_changed: Some(0),
        last_rotated: Some(0),
    };
    for rule in [WindowStart::Lenient, WindowStart::Strict] {
        assert_eq!(it.trust(300, rule, dates).await, Some(700), "{rule:?}");
        assert_eq!(it.trust(999, rule, dates).await, Some(1), "{rule:?}");
        assert_eq!(it.trust(1000, rule, dates).await, None, "{rule:?}");
        assert_eq!(it.trust(2 * HOUR, rule, dates).await, None, "{rule:?}");
    }
}

#[tokio::test]
async fn a_value_staged_for_longer_than_a_window_before_the_flip() {
    let server = need!(moto());
    let it = Rotated::start(&server).await;
    let staged = Dates {
        current_created: Some(-2 * DAY),
        previous_created: Some(-30 * DAY),
        last_changed: Some(0),
        last_rotated: None,
    };
    // Its creation says nothing of the flip, so tokens that are valid are not refused ..
    assert_eq!(it.lenient(300, staged).await, Some(700));
    // .. unless that was asked for.
    assert_eq!(it.strict(300, staged).await, None);
    // Where AWS runs the rotation, it knows.
    let run_by_aws = Dates {
        last_rotated: Some(0),
        ..staged
    };
    assert_eq!(it.strict(300, run_by_aws).await, Some(700));
    assert_eq!(it.strict(1100, run_by_aws).await, None);
}

#[tokio::test]
async fn a_change_after_the_flip_is_one_window_too_long_at_most() {
    let server = need!(moto());
    let it = Rotated::start(&server).await;
    let tagged = Dates {
        current_created: Some(-1),
        previous_created: Some(-DAY),
        last_changed: Some(2 * HOUR),
        last_rotated: Some(0),
    };
    assert_eq!(it.lenient(2 * HOUR + 300, tagged).await, Some(700));
    assert_eq!(it.strict(2 * HOUR + 300, tagged).await, None);
    // A date that is yet to come, by clocks that differ, is now.
    assert_eq!(it.lenient(HOUR, tagged).await, Some(1000));
}

#[tokio::test]
async fn a_rollback() {
    let server = need!(moto());
    let it = Rotated::start(&server).await;
    let rollback = Dates {
        current_created: Some(-30 * DAY),
        previous_created: Some(-DAY),
        last_changed: Some(0),
        last_rotated: None,
    };
    assert_eq!(it.lenient(300, rollback).await, Some(700));
    // Its creation says nothing, and nothing else does: from the start of the process.
    assert_eq!(it.strict(300, rollback).await, Some(1000));
    // A rotation by AWS that was rolled back later.
    let rotated_before = Dates {
        last_rotated: Some(-DAY),
        ..rollback
    };
    assert_eq!(it.strict(300, rotated_before).await, None);
}

#[tokio::test]
async fn with_no_date_the_window_starts_with_the_process() {
    let server = need!(moto());
    let it = Rotated::start(&server).await;
    assert_eq!(it.lenient(5 * DAY, Dates::default()).await, Some(1000));
    assert_eq!(it.strict(5 * DAY, Dates::default()).await, Some(1000));
}

#[tokio::test]
async fn who_saw_the_flip_uses_the_moment_it_was_seen() {
    let server = need!(moto());
    let it = Rotated::start(&server).await;
    let dates = Dates {
        current_created: Some(-DAY),
        previous_created: Some(-30 * DAY),
        last_changed: Some(-DAY),
        last_rotated: None,
    };
    for (number, rule) in [(2, WindowStart::Lenient), (3, WindowStart::Strict)] {
        it.say(dates).await;
        let keyring = it.process(0, rule).await;
        let before = token(&keyring.signer());
        // Staged for two windows, and accepted all the while.
        let pending = it.secret.put_pending(&document(number)).await;
        let early = token_of(&document(number)).await;
        it.time.until(keyring.refresh(), &it.proxy).await.unwrap();
        it.time.pass(2 * WINDOW, &it.proxy).await;
        assert_eq!(ask(&keyring, &early).await, Ok(Stage::Pending));

        it.secret.flip(&pending).await;
        let refresh = it.time.until(keyring.refresh(), &it.proxy);
        assert!(refresh.await.unwrap().is_swapped());
        assert_eq!(ask(&keyring, &early).await, Ok(Stage::Current));
        it.time
            .pass(WINDOW - Duration::from_secs(1), &it.proxy)
            .await;
        assert_eq!(ask(&keyring, &before).await, Ok(Stage::Previous));
        it.time.pass(Duration::from_secs(1), &it.proxy).await;
        assert_eq!(
            ask(&keyring, &before).await,
            Err(StatusCode::UNAUTHORIZED),
            "{rule:?}"
        );
    }
}
