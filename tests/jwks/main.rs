//! Keys of an identity provider over HTTP, against key servers on loopback.
#![cfg(feature = "jwks")]
#![allow(clippy::unwrap_used)]

use std::{convert::Infallible, time::Duration};

use http::{Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};
use tower_secrets::{
    Authentication, Builder, JwtKey, JwtRotationLayer, Keyring,
    source::{Jwks, Source, Stage},
};

mod caching;
mod chaos;
mod contract;
mod discovery;
mod http_rules;
mod idp;
mod issuers;
mod polling;
mod providers;
mod real_provider;
mod scopes;
mod withdrawn;

const SECOND: Duration = Duration::from_secs(1);

/// The least program, with a time for polls that no test waits for.
fn builder(source: impl Source) -> Builder<JwtKey> {
    Keyring::<JwtKey>::builder(source)
        .jwt_key(|keys| keys)
        .refresh_every(3600 * SECOND)
}

async fn keyring(source: Jwks) -> Keyring<JwtKey> {
    builder(source).build().await.unwrap()
}

/// The stage of the key that verified the token, or the status of the refusal.
async fn ask(keyring: &Keyring<JwtKey>, token: &str) -> Result<Stage, StatusCode> {
    ask_layer(&JwtRotationLayer::new(keyring.clone()), token).await
}

async fn ask_layer<T>(layer: &JwtRotationLayer<T>, token: &str) -> Result<Stage, StatusCode>
where
    T: Send + Sync + 'static,
{
    let service = layer.layer(service_fn(async |request: Request<()>| {
        let caller: &Authentication = request.extensions().get().unwrap();
        let stage = caller.stage();
        Ok::<_, Infallible>(Response::builder().extension(stage).body(()).unwrap())
    }));
    let request = Request::builder()
        .header("authorization", format!("Bearer {token}"))
        .body(())
        .unwrap();
    let response = service.oneshot(request).await.unwrap();
    let stage = response.extensions().get::<Stage>();
    stage.copied().ok_or(response.status())
}
