//! What an authentication says of a caller: scopes, whatever the type of the claims, and its end.

use std::{convert::Infallible, future::Ready, time::Duration};

use http::{Request, Response};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_secrets::{Authentication, Claims, JwtRotationLayer, layer::RefusalKind};

use crate::{NEW, OLD, bearer, bundle, keyring, timed, token, token_for};

type Inner = tower::util::ServiceFn<fn(Request<String>) -> Answer>;
type Answer = Ready<Result<Response<String>, Infallible>>;

/// Hands out what the layer has left in the request.
fn leave(request: Request<String>) -> Answer {
    let mut response = Response::default();
    let caller: Authentication = request.extensions().get().cloned().unwrap();
    response.extensions_mut().insert(caller);
    std::future::ready(Ok(response))
}

async fn pass<L>(layer: &L, token: &str) -> Authentication
where
    L: Layer<Inner>,
    L::Service: Service<Request<String>, Response = Response<String>, Error = Infallible>,
{
    let service = layer.layer(service_fn(leave as fn(_) -> _));
    let mut response = service.oneshot(bearer(token)).await.unwrap();
    assert_eq!(response.status(), 200);
    response.extensions_mut().remove().unwrap()
}

#[derive(Deserialize)]
struct Roles {
    roles: Vec<String>,
}

#[tokio::test]
async fn scopes_are_granted_by_name_whatever_the_claims_are_read_as() {
    let (_source, keyring) = keyring().await;
    for claims in [
        json!({ "scope": "files:read files:write" }),
        json!({ "scp": "files:read files:write" }),
        json!({ "scp": ["files:read", "files:write"] }),
    ] {
        let token = token_for(OLD, 300, claims);
        let layer = JwtRotationLayer::new(keyring.clone());
        let default = pass(&layer, &token).await;
        let own = pass(&layer.claims::<serde_json::Value>(), &token).await;
        for caller in [default, own] {
            assert!(caller.grants("files:read") && caller.grants("files:write"));
            for other in [
                "files",
                "files:",
                "files:rea",
                "FILES:READ",
                "",
                "files:read files:write",
            ] {
                assert!(!caller.grants(other), "{other:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_rule_of_the_users_own_decides_instead() {
    let (_source, keyring) = keyring().await;
    let layer =
        JwtRotationLayer::new(keyring)
            .claims::<Roles>()
            .scope_rule(|claims: &Roles, scope| {
                claims
                    .roles
                    .iter()
                    .any(|role| role == "admin" || role == scope)
            });
    let admin = pass(&layer, &token_for(OLD, 300, json!({ "roles": ["admin"] }))).await;
    assert!(admin.grants("files:write"));
    let claims = json!({ "roles": ["files:read"], "scope": "files:write" });
    let reader = pass(&layer, &token_for(OLD, 300, claims)).await;
    assert!(reader.grants("files:read") && !reader.grants("files:write"));
}

#[tokio::test]
async fn a_claim_of_a_wrong_type_grants_nothing_and_names_nobody() {
    let (_source, keyring) = keyring().await;
    let layer = JwtRotationLayer::new(keyring).claims::<serde_json::Value>();
    let claims = json!({ "sub": 7, "scope": "files:read" });
    let caller = pass(&layer, &token_for(OLD, 300, claims)).await;
    assert!(caller.registered().is_none() && !caller.grants("files:read"));
}

#[tokio::test]
async fn the_refusal_for_a_scope_names_all_that_is_needed() {
    let (_source, keyring) = keyring().await;
    let layer = JwtRotationLayer::new(keyring).realm("tools").unwrap();
    let caller = pass(&layer, &token(OLD)).await;
    let refusal = caller.insufficient_scope(["files:read", "files:write"]);
    assert_eq!(refusal.kind(), RefusalKind::InsufficientScope);
    assert_eq!(refusal.status(), 403);
    assert_eq!(
        refusal.challenge().unwrap(),
        "Bearer realm=\"tools\", scope=\"files:read files:write\", error=\"insufficient_scope\", \
         error_description=\"the token does not allow what this call needs\""
    );
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_the_token_would_be_refused_and_not_before() {
    let (_source, keyring, token) = timed(600).await;
    let layer = JwtRotationLayer::new(keyring).leeway(Duration::from_secs(5));
    let caller = pass(&layer, &token).await;
    let claims: Claims = caller.claims().unwrap();
    let begin = Instant::now();
    tokio::join!(caller.expired(), claims.expired());
    let after = begin.elapsed();
    assert!(
        after >= Duration::from_secs(604) && after <= Duration::from_secs(606),
        "{after:?}"
    );
    let service = layer.layer(service_fn(leave as fn(_) -> _));
    let response: Response<String> = service.oneshot(bearer(&token)).await.unwrap();
    assert_eq!(response.status(), 401);
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_the_window_of_its_key() {
    let (source, keyring, token) = timed(86_400).await;
    let caller = pass(&JwtRotationLayer::new(keyring.clone()), &token).await;
    source.rotate(bundle(NEW, "second"));
    keyring.refresh().await.unwrap();
    let begin = Instant::now();
    caller.expired().await;
    let after = begin.elapsed();
    assert!(
        after >= Duration::from_secs(900) && after <= Duration::from_secs(911),
        "{after:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn it_ends_at_once_when_its_pending_key_is_taken_back() {
    let (source, keyring) = keyring().await;
    source.stage_pending(bundle(NEW, "second"));
    keyring.refresh().await.unwrap();
    let token = token_for(NEW, 86_400, json!({}));
    let caller = pass(&JwtRotationLayer::new(keyring.clone()), &token).await;
    let expired = tokio::spawn(caller.expired());
    tokio::task::yield_now().await;
    assert!(!expired.is_finished());
    let begin = Instant::now();
    source.drop_pending();
    keyring.refresh().await.unwrap();
    let expired = tokio::time::timeout(Duration::from_secs(1), expired);
    expired.await.unwrap().unwrap();
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn it_ends_at_once_when_its_key_is_revoked() {
    let (_source, keyring, token) = timed(86_400).await;
    let caller = pass(&JwtRotationLayer::new(keyring.clone()), &token).await;
    let version = caller.version().clone();
    let expired = tokio::spawn(caller.expired());
    tokio::task::yield_now().await;
    assert!(!expired.is_finished());
    let begin = Instant::now();
    keyring.revoke(&version);
    expired.await.unwrap();
    assert_eq!(begin.elapsed(), Duration::ZERO);
}
