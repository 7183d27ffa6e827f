//! Five minutes of each fault: what is in use stays, no request waits, the store is asked a few
//! times only, and afterwards it goes on by itself.

use std::time::Duration;

use futures::FutureExt;
use tower_secrets::{
    Keyring,
    clock::TokioClock,
    refresh::Step,
    source::{SecretsManager, SourceErrorKind, Stage},
};

use crate::{
    bed::{client, moto, need, tell},
    proxy::{Fault, Proxy},
    secret::{App, Secret, builder, document},
    stopped_time::StoppedTime,
    support::{ask, token},
};

const OUTAGE: Duration = Duration::from_secs(300);

/// The default.
const INTERVAL: Duration = Duration::from_secs(300);

/// At its start, then after 1 s, and each pause at least twice the one before: 1, 3, 7 .. 255 s.
const MOST_FETCHES: usize = 10;

/// A request that is answered without waiting for anything at all.
fn ask_now(keyring: &Keyring<App>, token: &str) -> Stage {
    ask(keyring, token).now_or_never().unwrap().unwrap()
}

struct Outage {
    time: StoppedTime,
    proxy: Proxy,
    secret: Secret,
    keyring: Keyring<App>,
    old: String,
    older: String,
}

impl Outage {
    /// A server in service, with a current and a previous key, before the fault.
    async fn prepare(server: &str) -> Self {
        let secret = Secret::create(server).await;
        let proxy = Proxy::start(server).await;
        let source = SecretsManager::new(client(&proxy.url()), &secret.name);
        let time = StoppedTime::begin();
        let clock = TokioClock::new();
        let keyring = builder(source).clock(clock).build().await.unwrap();
        let older = token(&keyring.signer());
        secret.rotate(&document(1)).await;
        let swapped = time.until(keyring.refresh(), &proxy).await.unwrap();
        assert!(swapped.is_swapped());
        let old = token(&keyring.signer());
        assert_ne!(older, old);
        Self {
            time,
            proxy,
            secret,
            keyring,
            old,
            older,
        }
    }

    /// A rotation happens, and the fault hides it for five minutes, in which each fetch is so many
    /// calls. Tells what was seen first.
    async fn last(&self, each: usize) -> SourceErrorKind {
        self.secret.rotate(&document(2)).await;
        let before = self.proxy.calls();
        let error = self.time.until(self.keyring.refresh(), &self.proxy).await;
        let error = error.unwrap_err();
        assert_eq!(error.failed_step(), Some(Step::Fetch));
        let text = format!("{error} {error:?}");
        assert!(text.contains(&self.secret.name), "{text}");
        assert!(!text.contains("signing secret"), "{text}");

        let kind = error.source_error().unwrap().kind();
        for _ in 0..OUTAGE.as_secs() {
            assert_eq!(ask_now(&self.keyring, &self.old), Stage::Current);
            assert_eq!(ask_now(&self.keyring, &self.older), Stage::Previous);
            self.time.pass(Duration::from_secs(1), &self.proxy).await;
        }
        let status = self.keyring.status();
        assert_eq!(status.generation, 2);
        let failure = status.last_failure.unwrap().error;
        assert_eq!(failure.source_error().unwrap().kind(), kind);
        let fetches = status.consecutive_failures as usize;
        let calls = self.proxy.calls() - before;
        let test = std::thread::current();
        tell(format_args!(
            "{}: {kind:?}; in five minutes {fetches} fetches with {calls} calls",
            test.name().unwrap_or_default()
        ));
        assert!((4..=MOST_FETCHES).contains(&fetches), "{fetches}");
        // One may be under way.
        let expected = fetches * each..=(fetches + 1) * each;
        assert!(
            expected.contains(&calls),
            "{calls} calls in {fetches} fetches"
        );
        kind
    }

    /// Nobody asks for a refresh: the loop finds out.
    async fn is_over(&self) {
        let mut waited = Duration::ZERO;
        while self.keyring.status().generation == 2 {
            assert!(waited <= INTERVAL, "no recovery within an interval");
            self.time.pass(Duration::from_secs(1), &self.proxy).await;
            waited += Duration::from_secs(1);
        }
        let status = self.keyring.status();
        assert_eq!(status.consecutive_failures, 0);
        assert_eq!(self.keyring.current().api_key, "api-key-2");
        let renewed = token(&self.keyring.signer());
        assert_eq!(ask_now(&self.keyring, &renewed), Stage::Current);
        assert_eq!(ask_now(&self.keyring, &self.old), Stage::Previous);
    }
}

async fn survives(fault: Fault, kind: SourceErrorKind) {
    let server = need!(moto());
    let outage = Outage::prepare(&server).await;
    outage.proxy.set(fault);
    // Where describing is denied, reading by label is tried.
    let each = if kind == SourceErrorKind::PermissionDenied {
        2
    } else {
        1
    };
    assert_eq!(outage.last(each).await, kind);
    outage.proxy.heal();
    outage.is_over().await;
}

/// The fault is in reading the value.
async fn survives_in_values(fault: Fault, kind: SourceErrorKind) {
    let server = need!(moto());
    let outage = Outage::prepare(&server).await;
    outage.proxy.set_for("GetSecretValue", fault);
    assert_eq!(outage.last(2).await, kind);
    outage.proxy.heal();
    outage.is_over().await;
}

macro_rules! five_minutes_of {
    ($($name:ident: $fault:expr => $kind:ident;)*) => {$(
        #[tokio::test]
        async fn $name() {
            survives($fault, SourceErrorKind::$kind).await;
        }
    )*};
}

five_minutes_of! {
    hanging: Fault::Hang => TimedOut;
    answers_after_half_a_minute: Fault::Delay(Duration::from_secs(30)) => TimedOut;
    connections_that_end: Fault::CutBeforeHead => Unavailable;
    heads_cut_off: Fault::CutInHead => Unavailable;
    bodies_cut_off: Fault::CutInBody => Unavailable;
    bodies_that_are_half: Fault::Truncate => Unavailable;
    garbage: Fault::garbage() => Unavailable;
    a_page_with_200: Fault::page() => Unavailable;
    throttling_with_400: Fault::throttle() => Throttled;
    throttling_with_429: Fault::status(429) => Throttled;
    status_500: Fault::error(500, "InternalServiceError", "An error occurred") => Unavailable;
    status_502: Fault::status(502) => Unavailable;
    status_503: Fault::status(503) => Unavailable;
    expired_credentials: Fault::error(
        400,
        "ExpiredTokenException",
        "The security token included in the request is expired",
    ) => Unauthenticated;
    denied_access: Fault::error(
        400,
        "AccessDeniedException",
        "User: arn:aws:iam::123456789012:user/x is not authorized to perform: secretsmanager:*",
    ) => PermissionDenied;
    another_region: Fault::error(
        400,
        "InvalidSignatureException",
        "Credential should be scoped to a valid region, not 'eu-central-1'.",
    ) => WrongRegion;
}

#[tokio::test]
async fn a_key_that_may_not_be_used() {
    let denied = Fault::error(400, "AccessDeniedException", "Access to KMS is not allowed");
    survives_in_values(denied, SourceErrorKind::DecryptionFailed).await;
}

#[tokio::test]
async fn values_that_are_cut_off() {
    survives_in_values(Fault::CutInBody, SourceErrorKind::Unavailable).await;
}

#[tokio::test]
async fn refused_connections() {
    let server = need!(moto());
    let mut outage = Outage::prepare(&server).await;
    outage.proxy.close().await;
    assert_eq!(outage.last(0).await, SourceErrorKind::Unavailable);
    outage.proxy.open();
    outage.is_over().await;
}

#[tokio::test]
async fn a_secret_marked_for_deletion_and_restored() {
    let server = need!(moto());
    let outage = Outage::prepare(&server).await;
    let secret = outage.secret.clone();
    secret.rotate(&document(2)).await;
    secret.delete().await;
    let refresh = outage.keyring.refresh();
    let error = outage.time.until(refresh, &outage.proxy).await.unwrap_err();
    let kind = error.source_error().unwrap().kind();
    assert_eq!(kind, SourceErrorKind::Deleted, "{error}");
    assert_eq!(ask_now(&outage.keyring, &outage.old), Stage::Current);
    secret.restore().await;
    outage.is_over().await;
}

/// A slow store is no fault: nobody waits for it, and its answer comes.
#[tokio::test]
async fn a_slow_store_keeps_nobody_waiting() {
    let server = need!(moto());
    let outage = Outage::prepare(&server).await;
    outage.proxy.set(Fault::Delay(Duration::from_secs(3)));
    outage.secret.rotate(&document(2)).await;
    let (keyring, proxy) = (&outage.keyring, &outage.proxy);
    let refresh = outage.time.until(keyring.refresh(), proxy);
    let asking = async {
        loop {
            // At first of the current key, then of the previous one.
            ask_now(keyring, &outage.old);
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        swapped = refresh => assert!(swapped.unwrap().is_swapped()),
        () = asking => unreachable!(),
    }
    assert_eq!(outage.keyring.current().api_key, "api-key-2");
}
