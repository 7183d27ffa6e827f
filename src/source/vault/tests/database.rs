use futures::FutureExt;
use tokio::time::Instant;

use super::{
    super::lease::{Fate, Lease},
    *,
};
use crate::source::VaultDatabase;

const STATIC: &str = "database/static-creds/app";
const DYNAMIC: &str = "database/creds/app";

async fn databases(fake: Fake) -> [VaultDatabase; 2] {
    let client = client(&fake.serve().await);
    [
        VaultDatabase::static_role(&client, "app"),
        VaultDatabase::dynamic_role(&client, "app"),
    ]
}

#[tokio::test]
async fn credentials_are_copied_as_they_were_written() {
    let credentials = r#""username":"v-app","password":"a\"b\\\u00e4/""#;
    let rotated = r#""last_vault_rotation":"2026-01-02T03:04:05.678Z","ttl":100"#;
    let fake = Fake::new()
        .with(STATIC, 200, &format!(r#"{{"data":{{{credentials},{rotated},"rotation_period":200}}}}"#))
        .with(
            DYNAMIC,
            200,
            &format!(r#"{{"lease_id":"database/creds/app/x","lease_duration":60,"renewable":true,"data":{{{credentials}}}}}"#),
        );
    let ids = ["app@2026-01-02T03:04:05.678Z", "database/creds/app/x"];
    for (source, id) in databases(fake).await.into_iter().zip(ids) {
        let versions = source.fetch().await.unwrap();
        let document = std::str::from_utf8(versions.current().document()).unwrap();
        assert_eq!(document, format!("{{{credentials}}}"));
        assert_eq!(versions.current().id().as_str(), id);
        assert!(versions.current().created_at().is_some());
        assert!(!format!("{source:?} {versions:?}").contains("a\\\"b"));
    }
}

#[tokio::test]
async fn what_is_no_credential_is_malformed() {
    let bodies = [
        "{}",
        r#"{"data":{"username":"hunter2","ttl":1}}"#,
        r#"{"lease_id":"","lease_duration":60,"renewable":true,"data":{"username":"hunter2","password":"x"}}"#,
        r#"{"lease_id":"x","lease_duration":0,"renewable":true,"data":{"username":"hunter2","password":"x"}}"#,
    ];
    for body in bodies {
        let fake = Fake::new().with(STATIC, 200, body).with(DYNAMIC, 200, body);
        for source in databases(fake).await {
            let error = source.fetch().await.unwrap_err();
            assert_eq!(error.kind(), SourceErrorKind::Malformed, "{body}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_renewal_that_is_refused_does_not_tell_that_a_lease_is_over() {
    let taken = r#"{"lease_id":"x","lease_duration":60,"renewable":true,"data":{"username":"u","password":"p"}}"#;
    let looked_up = r#"{"data":{"ttl":20}}"#;
    let cases = [
        (403, 400, "ends"),
        (400, 400, "gone"),
        (400, 404, "gone"),
        (400, 200, "ends"),
        (400, 403, "ends"),
        (400, 503, "ends"),
    ];
    for (renewal, look_up, expected) in cases {
        let fake = Fake::new()
            .with(DYNAMIC, 200, taken)
            .with("sys/leases/renew", renewal, r#"{"errors":[]}"#)
            .with("sys/leases/lookup", look_up, looked_up);
        let client = client(&fake.serve().await);
        let mut lease = Lease::obtain(&client, DYNAMIC).await.unwrap();
        lease.due = Instant::now();
        let fate = match lease.keep(&client).await.unwrap() {
            Fate::Lives => "lives",
            Fate::Ends => "ends",
            Fate::Gone => "gone",
        };
        assert_eq!(fate, expected, "{renewal} {look_up}");
    }
}

#[tokio::test]
async fn a_moment_that_is_due_is_reported_once_whatever_comes_of_it() {
    let overdue = r#"{"data":{"username":"u","password":"p","last_vault_rotation":null,"ttl":-3}}"#;
    let [source, _] = databases(Fake::new().with(STATIC, 200, overdue)).await;
    assert!(
        source.changed().now_or_never().is_none(),
        "nothing was fetched"
    );
    source.fetch().await.unwrap();
    // The engine is late: in a second or so it may have changed the password.
    source.changed().await;
    assert!(source.changed().now_or_never().is_none());
    source.fetch().await.unwrap();
    source.changed().await;
}
