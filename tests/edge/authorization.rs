//! What becomes of the `Authorization` header: a token stays in the layer that it was sent to.

use std::convert::Infallible;

use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_secrets::{
    Authentication, JwtRotationLayer,
    layer::{Refusal, RefusalKind},
};

use crate::{NEW, OLD, bearer, keyring, request, token};

/// The headers that the inner service saw, and how a log would show its request.
#[derive(Clone)]
struct Seen(HeaderMap, String, Option<Authentication>);

async fn inner(request: Request<()>) -> Result<Response<()>, Infallible> {
    let caller = request.extensions().get().cloned();
    let (parts, ()) = request.into_parts();
    let seen = Seen(parts.headers.clone(), format!("{parts:?}"), caller);
    Ok(Response::builder().extension(seen).body(()).unwrap())
}

macro_rules! send {
    ($request:expr, $($layer:expr),+) => {
        ServiceBuilder::new()
            $(.layer($layer))+
            .service(service_fn(inner))
            .oneshot($request)
            .await
            .unwrap()
    };
}

fn seen(response: &Response<()>) -> &Seen {
    response
        .extensions()
        .get()
        .expect("the request got through")
}

#[tokio::test]
async fn the_header_is_gone_once_its_token_is_verified() {
    let (_source, keyring) = keyring().await;
    let token = token(OLD);
    let mut request: Request<()> = bearer(&token);
    request
        .headers_mut()
        .insert("accept", "*/*".parse().unwrap());
    let response = send!(request, JwtRotationLayer::new(keyring));
    let Seen(headers, debug, caller) = seen(&response);
    assert!(!headers.contains_key(AUTHORIZATION) && headers.contains_key("accept"));
    assert!(!debug.contains(&token) && caller.is_some(), "{debug}");
}

#[tokio::test]
async fn it_is_kept_where_that_is_asked_for_and_no_log_shows_it() {
    let (_source, keyring) = keyring().await;
    let token = token(OLD);
    let layer = JwtRotationLayer::new(keyring).keep_authorization();
    let response = send!(bearer(&token), layer);
    let Seen(headers, debug, _) = seen(&response);
    assert_eq!(headers[AUTHORIZATION], format!("Bearer {token}"));
    assert!(headers[AUTHORIZATION].is_sensitive() && !debug.contains(&token));
}

/// Nobody has verified them, and a service further in may be made for them.
#[tokio::test]
async fn an_anonymous_callers_other_credentials_stay() {
    let (_source, keyring) = keyring().await;
    let layer = JwtRotationLayer::new(keyring).allow_anonymous();
    let response = send!(request("Basic dXNlcjpwdw=="), layer);
    let Seen(headers, debug, caller) = seen(&response);
    assert_eq!(headers[AUTHORIZATION], "Basic dXNlcjpwdw==");
    assert!(!debug.contains("dXNlcjpwdw") && caller.is_none(), "{debug}");
}

#[tokio::test]
async fn a_second_layer_names_the_mend_where_the_first_took_the_header() {
    let (_source, keyring) = keyring().await;
    let tokens = || JwtRotationLayer::new(keyring.clone());
    let response = send!(bearer(&token(OLD)), tokens(), tokens());
    assert_eq!(response.status(), 500);
    let refusal = response.extensions().get::<Refusal>().unwrap();
    assert_eq!(refusal.kind(), RefusalKind::Misconfigured);
    assert!(refusal.description().contains(".keep_authorization()"));
    assert!(refusal.challenge().is_none());

    // Nor is the caller whom the first has verified nobody to a second that needs no token.
    let response = send!(bearer(&token(OLD)), tokens(), tokens().allow_anonymous());
    assert_eq!(response.status(), 500);
    let refusal = response.extensions().get::<Refusal>().unwrap();
    assert!(refusal.description().contains(".keep_authorization()"));

    let response = send!(bearer(&token(OLD)), tokens().keep_authorization(), tokens());
    let Seen(headers, _, caller) = seen(&response);
    assert!(!headers.contains_key(AUTHORIZATION) && caller.is_some());

    // A caller without a token is told by the outer one, and by the inner one where that lets it through.
    for outer in [tokens(), tokens().allow_anonymous()] {
        let response = send!(Request::new(()), outer, tokens());
        assert_eq!(response.status(), 401);
    }
    let response = send!(bearer(&token(NEW)), tokens(), tokens());
    assert_eq!(response.status(), 401);
}
