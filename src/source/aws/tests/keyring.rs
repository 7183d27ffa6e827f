//! A keyring over it: when a window ends that began before the process, and what an old answer does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{
    fake::{Fake, Reply},
    *,
};
use crate::{Keyring, Refreshed, clock::TokioClock, source::aws::labels::PREVIOUS};

async fn keyring(source: SecretsManager) -> Keyring<serde_json::Value> {
    Keyring::builder(source)
        .overlap(Duration::from_secs(1_000))
        .build()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_restart_takes_the_window_up_where_the_dates_put_it() {
    type Ago = Option<f64>;
    struct Case {
        what: &'static str,
        /// Current's creation, previous', last change, last rotation: how many seconds ago.
        ago: [Ago; 4],
        /// Whether previous is trusted, by the lenient and the strict rule.
        trusted: (bool, bool),
    }
    let case = |what, ago, trusted| Case { what, ago, trusted };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let at = |ago: f64| now.as_secs_f64() - ago;
    for case in [
        case(
            "inside the window",
            [Some(100.0), Some(9e5), Some(100.0), None],
            (true, true),
        ),
        case(
            "after the window",
            [Some(2e3), Some(9e5), Some(2e3), Some(2e3)],
            (false, false),
        ),
        case(
            "staged for longer than a window, and flipped lately",
            [Some(2e3), Some(9e5), Some(100.0), None],
            (true, false),
        ),
        case(
            "the same, the flip done by AWS's rotation",
            [Some(2e3), Some(9e5), Some(100.0), Some(100.0)],
            (true, true),
        ),
        case(
            "a rollback",
            [Some(9e5), Some(2e3), Some(100.0), None],
            (true, true),
        ),
        case("no dates", [None; 4], (true, true)),
        case(
            "a clock that is behind AWS's",
            [Some(-50.0), Some(9e5), Some(-50.0), None],
            (true, true),
        ),
    ] {
        let [current, previous, changed, rotated] = case.ago.map(|ago| ago.map(at));
        let fake = Fake::start().await;
        fake.rotate("v2");
        fake.change(|secret| {
            secret.values.get_mut("v1").unwrap()["CreatedDate"] = previous.into();
            secret.values.get_mut("v2").unwrap()["CreatedDate"] = current.into();
            secret.changed = changed;
            secret.rotated = rotated;
        });
        for (rule, trusted) in [
            (WindowStart::Lenient, case.trusted.0),
            (WindowStart::Strict, case.trusted.1),
        ] {
            let keyring = keyring(source(&fake).window_start(rule)).await;
            let secrets = keyring.current();
            let what = case.what;
            assert_eq!(secrets.previous().is_some(), trusted, "{what}, {rule:?}");
        }
    }
}

#[tokio::test]
async fn an_old_answer_is_told_as_unchanged() {
    let fake = Fake::start().await;
    let mut old = None;
    fake.change(|secret| old = Some(secret.describe()));
    let keyring = keyring(source(&fake)).await;
    fake.rotate("v2");
    assert!(keyring.refresh().await.unwrap().is_swapped());
    fake.always("DescribeSecret", old.unwrap());
    let told = keyring.refresh().await.unwrap();
    assert!(matches!(told, Refreshed::Unchanged { .. }), "{told:?}");
    assert_eq!(keyring.current()["id"], "v2");
    assert!(keyring.current().previous().is_some());
}

/// A server that lags for ever, and nobody else answers: what is in use stays, and its age is told.
#[tokio::test]
async fn answers_that_stay_old_are_stale_and_those_in_between_are_not() {
    let fake = Fake::start().await;
    let mut old = None;
    fake.change(|secret| old = Some(secret.describe()));
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let keyring = Keyring::<serde_json::Value>::builder(source(&fake))
        .clock(TokioClock::new())
        .max_staleness(minutes(12))
        .build()
        .await
        .unwrap();
    fake.rotate("v2");
    keyring.refresh().await.unwrap();
    let old = old.unwrap();
    for lags in [true, false, true, false] {
        advance(minutes(8)).await;
        match lags {
            true => fake.always("DescribeSecret", old.clone()),
            false => fake.obey_no_more(),
        }
        keyring.refresh().await.unwrap();
        assert!(!keyring.status().is_stale, "{:?}", keyring.status());
    }
    fake.always("DescribeSecret", old);
    advance(minutes(8)).await;
    keyring.refresh().await.unwrap();
    assert!(!keyring.status().is_stale);
    advance(minutes(8)).await;
    let told = keyring.refresh().await.unwrap();
    assert!(matches!(told, Refreshed::Unchanged { .. }), "{told:?}");
    let status = keyring.status();
    assert!(
        status.is_stale && status.staleness >= minutes(16),
        "{status:?}"
    );
}

async fn advance(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_withdrawal_does_not_wait_for_a_value_of_current() {
    let fake = Fake::start().await;
    let keyring = keyring(source(&fake)).await;
    fake.rotate("v2");
    keyring.refresh().await.unwrap();
    assert!(keyring.current().previous().is_some());
    // A rotation to a version that cannot be read, as where its KMS key is another.
    fake.rotate("v3");
    fake.order(|_, call| {
        let is_new = call.id.as_deref() == Some("v3");
        is_new.then(|| Reply::error(400, "AccessDeniedException", ""))
    });
    keyring.refresh().await.unwrap_err();
    assert!(keyring.current().previous().is_some());

    fake.change(|secret| secret.unlabel(PREVIOUS));
    let error = keyring.refresh().await.unwrap_err();
    assert!(error.to_string().contains("GetSecretValue"), "{error}");
    assert!(keyring.current().previous().is_none());
    assert_eq!(keyring.current()["id"], "v2");
}

#[tokio::test]
async fn a_refusal_keeps_what_is_in_use_and_costs_one_call() {
    let fake = Fake::start().await;
    let keyring = keyring(source(&fake)).await;
    fake.calls();
    for code in ["ThrottlingException", "ExpiredTokenException"] {
        fake.always("DescribeSecret", Reply::error(400, code, ""));
        let error = keyring.refresh().await.unwrap_err();
        assert!(error.to_string().contains(code), "{error}");
        assert_eq!(fake.asked(), ["DescribeSecret"]);
        assert_eq!(keyring.current()["n"], 1);
    }
    fake.obey_no_more();
    assert!(!keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(fake.asked(), ["DescribeSecret"]);
}
