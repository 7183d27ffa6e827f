//! An IAM access key rotates under an AWS client that was built once.
//!
//! ```sh
//! cargo run --example iam_access_key --features aws
//! ```
//!
//! A stand-in for AWS on loopback says with which key each request was signed. Both keys are active
//! meanwhile, as IAM allows, and the client signs with the newer one from the swap on.

use std::error::Error;

use aws_sdk_secretsmanager::{Client, Config, config::Region};
use axum::{Json, Router, http::HeaderMap, routing::post};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_secrets::{
    Keyring,
    aws::{AccessKey, AccessKeyProvider},
    source::Memory,
};

#[derive(Deserialize)]
struct App {
    reports: AccessKey,
}

/// Answers every call with the id of the key that signed it.
async fn who_signed(headers: HeaderMap) -> Json<Value> {
    let signed = headers.get("authorization").and_then(|it| it.to_str().ok());
    let id = signed
        .and_then(|it| it.split("Credential=").nth(1))
        .and_then(|it| it.split('/').next());
    Json(json!({ "SecretString": id }))
}

async fn stand_in() -> std::io::Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let routes = Router::new().route("/", post(who_signed));
    tokio::spawn(async { axum::serve(listener, routes).await });
    Ok(format!("http://{address}"))
}

async fn key_in_use(client: &Client) -> Result<String, Box<dyn Error>> {
    let answer = client.get_secret_value().secret_id("report").send().await?;
    Ok(answer.secret_string().unwrap_or("nobody's").to_owned())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let source = Memory::new(
        r#"{"reports":{"access_key_id":"AKIAFIRST","secret_access_key":"the first secret"}}"#,
    );
    let keyring = Keyring::<App>::builder(source.clone()).build().await?;
    let config = Config::builder()
        .behavior_version_latest()
        .endpoint_url(stand_in().await?)
        .region(Region::new("eu-central-1"))
        .credentials_provider(AccessKeyProvider::new(keyring.clone(), |app: &App| {
            &app.reports
        }))
        .build();
    let client = Client::from_conf(config);
    println!("signed by {}", key_in_use(&client).await?);

    source.rotate(
        r#"{"reports":{"access_key_id":"AKIASECOND","secret_access_key":"the second secret"}}"#,
    );
    keyring.refresh().await?;
    let signer = key_in_use(&client).await?;
    println!("signed by {signer}");
    assert_eq!(signer, "AKIASECOND");
    Ok(())
}
