//! tower-oauth2-resource-server 0.12, on the back-end of jsonwebtoken 11 that this process has
//! installed.

use axum::Router;
use jsonwebtoken::Algorithm as Name;
use tower_oauth2_resource_server::{
    server::OAuth2ResourceServer, tenant::TenantConfiguration, validation::ClaimsValidationSpec,
};

use super::{PlainClaims, Setup, empty};
use crate::tokens::{AUDIENCE, ISSUER};

pub fn router(setup: &Setup) -> Option<Router> {
    let claims = ClaimsValidationSpec::new()
        .exp(true)
        .iss(ISSUER)
        .aud(&vec![AUDIENCE.to_owned()]);
    let tenant = TenantConfiguration::static_builder(setup.key.jwks().to_string())
        .claims_validation(claims)
        .allowed_algorithms(&[Name::HS256, Name::RS256, Name::ES256, Name::EdDSA])
        .build()
        .expect("the tenant is complete");
    let server = OAuth2ResourceServer::<PlainClaims>::builder()
        .add_tenant(tenant)
        .build();
    let server = setup.wait(server).expect("the server is built");
    Some(empty().layer(server.into_layer()))
}
