//! The database engine, over the real PostgreSQL.

use std::{
    collections::HashSet,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use serde::Deserialize;
use serde_json::json;
use tower_secrets::{
    Attempt, CredentialKind, JwtKey, Keyring,
    event::{Event, Events},
    refresh::Trigger,
    source::{
        Combined, Source, SourceErrorKind, Stage, Vault, VaultAuth, VaultClient, VaultDatabase,
    },
};

use crate::{
    left_out::needed,
    server::{Bao, PATIENCE},
    session::app_role,
    support,
    tap::Tap,
};

#[derive(Clone, Debug, Deserialize)]
struct Login {
    username: String,
    password: String,
}

/// PostgreSQL as its superuser knows it, behind the database engine of a server of the test's own.
struct World {
    bao: Bao,
    postgres: String,
    /// Its host, port and database.
    place: String,
}

impl World {
    async fn new() -> Option<Self> {
        let postgres = needed("TOWER_SECRETS_POSTGRES", "a test with PostgreSQL")?;
        let postgres = postgres.into_string().unwrap();
        let bao = Bao::dev()?;
        let (login, place) = postgres
            .split_once("://")
            .unwrap()
            .1
            .split_once('@')
            .unwrap();
        let (user, password) = login.split_once(':').unwrap();
        bao.write("sys/mounts/database", json!({ "type": "database" }))
            .await;
        let url = format!("postgresql://{{{{username}}}}:{{{{password}}}}@{place}?sslmode=disable");
        let config = json!({
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": "*",
            "connection_url": url,
            "username": user,
            "password": password,
        });
        bao.write("database/config/pg", config).await;
        let place = place.to_owned();
        Some(Self {
            bao,
            postgres,
            place,
        })
    }

    /// A role of PostgreSQL whose password the engine changes from now on.
    async fn static_role(&self, period: &str) -> String {
        let user = format!("static_{}", unique());
        self.sql(&format!("create role {user} login"));
        let role = json!({ "db_name": "pg", "username": user, "rotation_period": period });
        self.bao.write("database/static-roles/app", role).await;
        user
    }

    async fn dynamic_role(&self, ttl: &str, max_ttl: &str) {
        let role = json!({
            "db_name": "pg",
            "default_ttl": ttl,
            "max_ttl": max_ttl,
            "creation_statements":
                "create role \"{{name}}\" login password '{{password}}' valid until '{{expiration}}'",
        });
        self.bao.write("database/roles/app", role).await;
    }

    fn sql(&self, statement: &str) {
        let mut psql = Command::new("psql");
        psql.args([&self.postgres, "-qc", statement]);
        let output = psql.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{statement}: {stderr}");
    }

    /// Whether PostgreSQL lets these in.
    async fn lets_in(&self, login: &Login) -> bool {
        let mut psql = Command::new("psql");
        psql.arg(format!("postgresql://{}@{}", login.username, self.place))
            .args(["-qXc", "select 1"])
            .env("PGPASSWORD", &login.password)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let status = tokio::task::spawn_blocking(move || psql.status()).await;
        status.unwrap().unwrap().success()
    }
}

/// The tests share one PostgreSQL.
fn unique() -> String {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    format!("{}_{}", std::process::id(), now.as_nanos())
}

async fn keyring(source: VaultDatabase) -> (Keyring<Login>, Events) {
    let keyring = Keyring::<Login>::builder(source)
        .refresh_every(Duration::from_secs(3600))
        .release_previous_at_swap()
        .build()
        .await
        .unwrap();
    let events = keyring.subscribe();
    (keyring, events)
}

/// The next swap that the source itself asked for.
async fn changed(events: &mut Events) {
    let swapped = async {
        loop {
            match events.next().await.unwrap() {
                Event::Reloaded {
                    trigger: Trigger::Change,
                    ..
                } => return,
                Event::ReloadError(error) => panic!("{error}"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, swapped).await.unwrap();
}

#[tokio::test]
async fn a_static_role_is_asked_again_when_its_password_changes() {
    let Some(world) = World::new().await else {
        return;
    };
    let user = world.static_role("5s").await;
    let tap = Tap::open(world.bao.port()).await;
    let auth = VaultAuth::token(&world.bao.root);
    let client = VaultClient::builder(&tap.address)
        .auth(auth)
        .build()
        .unwrap();
    let source = VaultDatabase::static_role(&client, "app");
    assert_eq!(source.name(), "vault database/static-creds/app");
    let (keyring, mut events) = keyring(source).await;
    let mut passwords = HashSet::new();
    for _ in 0..3 {
        let login = Login::clone(&keyring.current());
        assert_eq!(login.username, user);
        assert!(
            passwords.insert(login.password.clone()),
            "an old one came back"
        );
        changed(&mut events).await;
        assert!(!world.lets_in(&login).await, "a password that was replaced");
        assert!(world.lets_in(&keyring.current()).await);
    }
    // One call at the start, and a few around each rotation.
    let calls = tap.calls();
    let reads = calls
        .iter()
        .filter(|call| *call == "GET database/static-creds/app")
        .count();
    assert!((4..=4 + 3 * 4).contains(&reads), "{calls:?}");
}

#[tokio::test]
async fn a_static_role_that_is_rotated_by_hand_costs_no_call() {
    let Some(world) = World::new().await else {
        return;
    };
    world.static_role("1h").await;
    let (keyring, _) = keyring(VaultDatabase::static_role(&world.bao.client(), "app")).await;
    let single_user = CredentialKind::single_user();
    let call = async || {
        keyring
            .current()
            .try_each_as(single_user, async |login: Arc<Login>| {
                match world.lets_in(&login).await {
                    true => Ok(()),
                    false => Err(Attempt::Unauthenticated("refused")),
                }
            })
            .await
    };
    let before = keyring.current().version().clone();
    let calls = async || {
        for _ in 0..20 {
            call().await.unwrap();
        }
    };
    let rotate = async {
        call().await.unwrap();
        world.bao.write("database/rotate-role/app", json!({})).await;
    };
    futures::join!(calls(), calls(), rotate);
    call().await.unwrap();
    assert_ne!(*keyring.current().version(), before);
}

#[tokio::test]
async fn a_lease_is_replaced_before_its_end_and_revoked_after_its_last_request() {
    let Some(world) = World::new().await else {
        return;
    };
    world.dynamic_role("10s", "12s").await;
    let tap = Tap::open(world.bao.port()).await;
    let auth = VaultAuth::token(&world.bao.root);
    let client = VaultClient::builder(&tap.address)
        .auth(auth)
        .build()
        .unwrap();
    let (keyring, mut events) = keyring(VaultDatabase::dynamic_role(&client, "app")).await;

    let request = keyring.current();
    assert!(world.lets_in(&request).await);
    keyring.refresh().await.unwrap();
    let start = [
        "GET auth/token/lookup-self",
        "GET database/creds/app",
        "POST sys/leases/lookup",
    ];
    assert_eq!(tap.calls(), start);

    changed(&mut events).await;
    assert_ne!(keyring.current().username, request.username);
    assert!(world.lets_in(&keyring.current()).await);
    assert!(
        world.lets_in(&request).await,
        "its request is still under way"
    );
    assert_eq!(
        tap.calls(),
        ["POST sys/leases/renew", "GET database/creds/app"]
    );

    let old = Login::clone(&request);
    drop(request);
    let revoked = tokio::time::timeout(PATIENCE, tap.next_call());
    assert_eq!(revoked.await.unwrap(), "POST sys/leases/revoke");
    let gone = async { while world.lets_in(&old).await {} };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    assert!(world.lets_in(&keyring.current()).await);
}

#[tokio::test]
async fn a_key_and_a_lease_in_one_bundle_rotate_by_themselves() {
    #[derive(Deserialize)]
    struct App {
        jwt: Jwt,
        db: Login,
    }
    #[derive(Deserialize)]
    struct Jwt {
        key: JwtKey,
    }
    let Some(world) = World::new().await else {
        return;
    };
    world.dynamic_role("10s", "12s").await;
    let key = |n: u32| json!({ "key": format!("the signing secret of bundle number {n}") });
    world.bao.put("app", key(1)).await;
    let tap = Tap::open(world.bao.port()).await;
    let auth = VaultAuth::token(&world.bao.root);
    let client = VaultClient::builder(&tap.address)
        .auth(auth)
        .build()
        .unwrap();
    let source = Combined::new()
        .with("jwt", Vault::new(&client, "app"))
        .with("db", VaultDatabase::dynamic_role(&client, "app"));
    let keyring = Keyring::<App>::builder(source)
        .refresh_every(Duration::from_secs(3600))
        .release_previous_at_swap()
        .activation_delay(std::time::Duration::ZERO)
        .jwt_key(|app| &app.jwt.key)
        .build()
        .await
        .unwrap();
    let mut events = keyring.subscribe();
    let token = support::token(&keyring.signer());

    // The key rotates: the lease stays, also when nobody uses the first combination any more.
    world.bao.put("app", key(2)).await;
    keyring.refresh().await.unwrap();
    assert_eq!(support::ask(&keyring, &token).await, Ok(Stage::Previous));
    let request = keyring.current();

    // The lease is replaced: the keys and their windows stay.
    changed(&mut events).await;
    assert_ne!(keyring.current().db.username, request.db.username);
    assert_eq!(support::ask(&keyring, &token).await, Ok(Stage::Previous));
    assert!(
        world.lets_in(&request.db).await,
        "its request is still under way"
    );
    let calls = tap.calls();
    assert!(
        !calls.contains(&"POST sys/leases/revoke".to_owned()),
        "{calls:?}"
    );
    drop(request);
    let revoked = tokio::time::timeout(PATIENCE, tap.next_call());
    assert_eq!(revoked.await.unwrap(), "POST sys/leases/revoke");
    assert!(world.lets_in(&keyring.current().db).await);
}

#[tokio::test]
async fn a_lease_that_an_operator_revoked_is_replaced_at_the_next_poll() {
    let Some(world) = World::new().await else {
        return;
    };
    world.dynamic_role("1h", "2h").await;
    let (keyring, _) = keyring(VaultDatabase::dynamic_role(&world.bao.client(), "app")).await;
    let old = Login::clone(&keyring.current());
    let lease = keyring.current().version().clone();
    world.bao.run(&["lease", "revoke", "-sync", lease.as_str()]);
    assert!(!world.lets_in(&old).await);
    assert!(keyring.refresh().await.unwrap().is_swapped());
    assert!(world.lets_in(&keyring.current()).await);
    assert!(!keyring.refresh().await.unwrap().is_swapped());
}

#[tokio::test]
async fn a_new_token_means_a_new_lease_since_leases_end_with_their_token() {
    let Some(world) = World::new().await else {
        return;
    };
    world.dynamic_role("1h", "2h").await;
    let policy = r#"path "database/creds/app" { capabilities = ["read"] }"#;
    world.bao.policy("app", policy).await;
    let auth = app_role(&world.bao, "8s", "11s").await;
    let client = world.bao.client_with(auth);
    let (keyring, mut events) = keyring(VaultDatabase::dynamic_role(&client, "app")).await;
    let request = keyring.current();
    changed(&mut events).await;
    assert_ne!(keyring.current().username, request.username);
    assert!(world.lets_in(&request).await, "its token has not ended yet");
    assert!(world.lets_in(&keyring.current()).await);
}

#[tokio::test]
async fn a_token_that_may_read_the_role_and_nothing_else_keeps_its_lease() {
    let Some(world) = World::new().await else {
        return;
    };
    world.dynamic_role("9s", "1h").await;
    let policy = r#"path "database/creds/app" { capabilities = ["read"] }"#;
    world.bao.policy("app", policy).await;
    let auth = app_role(&world.bao, "1h", "2h").await;
    let role = json!({ "token_no_default_policy": true });
    world.bao.write("auth/approle/role/app", role).await;
    let tap = Tap::open(world.bao.port()).await;
    let client = VaultClient::builder(&tap.address)
        .auth(auth)
        .build()
        .unwrap();
    let (keyring, mut events) = keyring(VaultDatabase::dynamic_role(&client, "app")).await;
    let first = keyring.current();
    for _ in 0..3 {
        assert!(!keyring.refresh().await.unwrap().is_swapped());
    }
    assert!(world.lets_in(&first).await);
    let calls = tap.calls();
    assert_eq!(
        calls[..2],
        ["POST auth/approle/login", "GET database/creds/app"]
    );
    let rest = &calls[2..];
    assert!(
        rest.iter().all(|call| call == "POST sys/leases/lookup"),
        "{calls:?}"
    );

    // It may not be renewed: replaced in time, with the same token.
    changed(&mut events).await;
    assert_ne!(keyring.current().username, first.username);
    assert!(world.lets_in(&keyring.current()).await);
    assert!(world.lets_in(&first).await, "its lease has not ended yet");
    assert_eq!(
        tap.calls(),
        ["POST sys/leases/renew", "GET database/creds/app"]
    );
}

#[tokio::test]
async fn a_token_that_was_revoked_is_noticed_by_its_lease() {
    let Some(world) = World::new().await else {
        return;
    };
    world.dynamic_role("1h", "2h").await;
    let policy = r#"path "database/creds/app" { capabilities = ["read"] }"#;
    world.bao.policy("app", policy).await;
    let auth = app_role(&world.bao, "1h", "2h").await;
    let client = world.bao.client_with(auth);
    let (keyring, _) = keyring(VaultDatabase::dynamic_role(&client, "app")).await;
    assert!(!keyring.refresh().await.unwrap().is_swapped());
    world
        .bao
        .write("sys/leases/revoke-prefix/auth/approle", json!({}))
        .await;
    assert!(keyring.refresh().await.unwrap().is_swapped());
    assert!(world.lets_in(&keyring.current()).await);
}

#[tokio::test]
async fn an_unknown_role_is_told_at_once() {
    let Some(world) = World::new().await else {
        return;
    };
    let client = world.bao.client();
    for source in [
        VaultDatabase::static_role(&client, "app"),
        VaultDatabase::dynamic_role(&client, "app"),
    ] {
        let error = source.fetch().await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::InvalidRequest, "{error}");
        assert!(error.to_string().contains("unknown role"), "{error}");
    }
}
