//! One bundle from three places: keys of an identity provider, a password from OpenBao, API keys in a
//! mounted file.

use std::{convert::Infallible, fs, path::Path};

use http::{Request, Response};
use serde::Deserialize;
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_secrets::{
    JwtKey, JwtRotationLayer, Keyring, Secrets,
    source::{Combined, File, Jwks, Vault},
};

use crate::session::bao;

#[allow(dead_code, reason = "the tests of the source use all of it")]
#[path = "../jwks/idp.rs"]
mod idp;
use idp::{Answer, KeyServer, SigningKey, set};

#[derive(Deserialize)]
struct App {
    idp: JwtKey,
    db: Db,
    api: Api,
}

#[derive(Deserialize)]
struct Db {
    n: u32,
}

#[derive(Deserialize)]
struct Api {
    key: String,
}

fn write(directory: &Path, key: &str) {
    let next = directory.join("next");
    fs::write(&next, json!({ "key": key }).to_string()).unwrap();
    fs::rename(next, directory.join("current.json")).unwrap();
}

/// What a request with this token sees; `None` where it is refused.
async fn seen(keyring: &Keyring<App>, key: &SigningKey) -> Option<(u64, u32, String)> {
    let service = service_fn(async |request: Request<()>| {
        let secrets = Secrets::<App>::from_extensions(request.extensions()).unwrap();
        let seen = (secrets.generation(), secrets.db.n, secrets.api.key.clone());
        Ok::<_, Infallible>(Response::builder().extension(seen).body(()).unwrap())
    });
    let service = JwtRotationLayer::new(keyring.clone()).layer(service);
    let bearer = format!("Bearer {}", key.token(json!({})));
    let request = Request::builder().header("authorization", bearer);
    let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
    response.extensions().get().cloned()
}

#[tokio::test]
async fn three_places_make_one_snapshot() {
    let Some(mut bao) = bao().await else { return };
    let [a, b] = ["a", "b"].map(SigningKey::new);
    let provider = KeyServer::serving(&[&a]).await;
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "one");
    let source = Combined::new()
        .with("idp", Jwks::new(provider.keys_url()))
        .with("db", Vault::new(&bao.client(), "app"))
        .with("api", File::new(directory.path()));
    let keyring = Keyring::<App>::builder(source).jwt_key(|app| &app.idp);
    let keyring = keyring.build().await.unwrap();
    let is = |generation, n, key: &str| Some((generation, n, key.to_owned()));
    assert_eq!(seen(&keyring, &a).await, is(1, 1, "one"));

    // Each place rotates, and all of it comes at once: a token of the new key brings the rest.
    bao.put("app", json!({ "n": 2 })).await;
    provider.put("/keys", Answer::ok(set(&[&b])));
    assert_eq!(seen(&keyring, &b).await, is(2, 2, "one"));
    assert_eq!(seen(&keyring, &a).await, None, "withdrawn");

    // One place is gone: the others move on.
    bao.stop();
    write(directory.path(), "two");
    keyring.refresh().await.unwrap();
    let (_, n, key) = seen(&keyring, &b).await.unwrap();
    assert_eq!((n, key.as_str()), (2, "two"));
    assert_eq!(keyring.status().stale_parts[0].part, "db");
}
