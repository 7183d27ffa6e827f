//! Where it listens.

use std::{io::ErrorKind, net::SocketAddr};

use tower_secrets::{JwtRotationLayer, admin::Admin};

use crate::world::keyring;

const BEYOND: [&str; 4] = ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"];

#[tokio::test]
async fn beyond_loopback_only_with_a_guard() {
    let (_, keyring) = keyring().await;
    let page = Admin::new()
        .keyring("app", &keyring)
        .host("secrets.internal");
    for address in BEYOND {
        let address: SocketAddr = address.parse().unwrap();
        let error = page.clone().bind(address).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{address}: {error}");
        assert!(error.to_string().contains("bearer_token"), "{error}");
    }
    // An address that no machine has: what stops a guarded page is the system.
    let beyond: SocketAddr = "192.0.2.1:0".parse().unwrap();
    let token = page.clone().bearer_token("0123456789abcdef-operator");
    let layer = JwtRotationLayer::new(keyring.clone());
    let layer = layer.required_scopes(["operate"]).unwrap();
    for guarded in [token.unwrap(), page.guarded_by(layer).unwrap()] {
        let error = guarded.bind(beyond).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable, "{error}");
    }
}

#[tokio::test]
async fn on_loopback_it_is_served() {
    let (_, keyring) = keyring().await;
    let page = Admin::new().keyring("app", &keyring);
    let page = page.bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = page.local_addr().unwrap();
    let serving = tokio::spawn(page.serve());
    let answer = reqwest::get(format!("http://{address}/status"))
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.unwrap().contains(r#""schema":1"#));
    serving.abort();
}
