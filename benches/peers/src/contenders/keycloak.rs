//! axum-keycloak-auth 0.8, on ring.

use std::time::Duration;

use axum::Router;
use axum_keycloak_auth::{
    Url,
    instance::{KeycloakAuthInstance, KeycloakConfig},
    layer::KeycloakAuthLayer,
};
use serde::Deserialize;

use super::{Setup, empty};
use crate::{keys::Algorithm, tokens::AUDIENCE};

/// No claims beside those that the crate reads itself.
#[derive(Clone, Deserialize)]
struct NoMore {}

pub fn router(setup: &Setup) -> Option<Router> {
    if setup.algorithm == Algorithm::Hs256 {
        // Its keys come from a public endpoint, which never holds a secret.
        return None;
    }
    let config = KeycloakConfig::builder()
        .server(Url::parse(&setup.provider).expect("an URL"))
        .realm("main".to_owned())
        .build();
    let instance = setup.wait(async {
        let instance = KeycloakAuthInstance::new(config);
        while !instance.is_operational().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        instance
    });
    let layer = KeycloakAuthLayer::<String, NoMore>::builder()
        .instance(instance)
        .expected_audiences(vec![AUDIENCE.to_owned()])
        .build();
    Some(empty().layer(layer))
}
