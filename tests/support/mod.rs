//! A client's view of a keyring: what a token is worth behind the layer.

use std::{
    convert::Infallible,
    time::{Duration, SystemTime},
};

use http::{Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};
use tower_secrets::{
    Authentication, JwtRotationLayer, Keyring, RegisteredClaims, Signer, source::Stage,
};

/// The stage of the key that verified the token, or the status of the refusal.
pub(crate) async fn ask<T>(keyring: &Keyring<T>, token: &str) -> Result<Stage, StatusCode>
where
    T: Send + Sync + 'static,
{
    ask_layer(&JwtRotationLayer::new(keyring.clone()), token).await
}

pub(crate) async fn ask_layer<T>(
    layer: &JwtRotationLayer<T>,
    token: &str,
) -> Result<Stage, StatusCode>
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

/// A token that outlives every test.
pub(crate) fn token<T: Send + Sync + 'static>(signer: &Signer<T>) -> String {
    let later = SystemTime::now() + Duration::from_secs(1_000_000);
    signer
        .sign(&RegisteredClaims::new("alice").expires_at(later))
        .unwrap()
}
