//! One secret and those who rotate it, with the four steps of a rotation Lambda.

use aws_sdk_secretsmanager::{Client, primitives::Blob};
use serde::Deserialize;
use serde_json::json;
use tower_secrets::{
    Builder, JwtKey, Keyring,
    source::{Memory, Source},
};

use crate::{bed, support::token};

#[derive(Deserialize)]
pub(crate) struct App {
    pub(crate) jwt: JwtKey,
    pub(crate) api_key: String,
}

/// The document of this number.
pub(crate) fn document(number: usize) -> String {
    json!({
        "jwt": format!("the signing secret of document number {number:06}"),
        "api_key": format!("api-key-{number}"),
    })
    .to_string()
}

/// A token of this document's key, signed by somebody who has it already.
pub(crate) async fn token_of(document: &str) -> String {
    let keyring = builder(Memory::new(document)).build().await.unwrap();
    token(&keyring.signer())
}

pub(crate) fn builder(source: impl Source) -> Builder<App> {
    Keyring::<App>::builder(source)
        .activation_delay(std::time::Duration::ZERO)
        .jwt_key(|app| &app.jwt)
}

/// A secret of the test's own.
#[derive(Clone)]
pub(crate) struct Secret {
    client: Client,
    pub(crate) name: String,
}

impl Secret {
    /// With document 0, through no proxy.
    pub(crate) async fn create(server: &str) -> Self {
        Self::create_with(server, &document(0)).await
    }

    pub(crate) async fn create_with(server: &str, document: &str) -> Self {
        let secret = Self::named(server);
        let create = secret.client.create_secret().name(&secret.name);
        create.secret_string(document).send().await.unwrap();
        secret
    }

    pub(crate) async fn create_binary(server: &str, document: &[u8]) -> Self {
        let secret = Self::named(server);
        let create = secret.client.create_secret().name(&secret.name);
        let create = create.secret_binary(Blob::new(document));
        create.send().await.unwrap();
        secret
    }

    fn named(server: &str) -> Self {
        Self {
            client: bed::operator(server),
            name: format!("tests/{:016x}", fastrand::u64(..)),
        }
    }

    /// createSecret: the new value as AWSPENDING. Its setSecret and testSecret are not ours.
    pub(crate) async fn put_pending(&self, document: &str) -> String {
        let put = self.client.put_secret_value().secret_id(&self.name);
        let put = put.secret_string(document).version_stages("AWSPENDING");
        put.send().await.unwrap().version_id.unwrap()
    }

    /// In one step, as people do it: the new value as AWSCURRENT.
    pub(crate) async fn put(&self, document: &str) -> String {
        let put = self.client.put_secret_value().secret_id(&self.name);
        let put = put.secret_string(document);
        put.send().await.unwrap().version_id.unwrap()
    }

    /// finishSecret: AWSCURRENT moves here, and AWSPREVIOUS to where it was.
    pub(crate) async fn flip(&self, to: &str) {
        let from = self.holder("AWSCURRENT").await;
        self.move_stage("AWSCURRENT", from.as_deref(), Some(to))
            .await;
    }

    /// All four steps.
    pub(crate) async fn rotate(&self, document: &str) -> String {
        let version = self.put_pending(document).await;
        self.flip(&version).await;
        version
    }

    pub(crate) async fn move_stage(&self, stage: &str, from: Option<&str>, to: Option<&str>) {
        self.client
            .update_secret_version_stage()
            .secret_id(&self.name)
            .version_stage(stage)
            .set_remove_from_version_id(from.map(str::to_owned))
            .set_move_to_version_id(to.map(str::to_owned))
            .send()
            .await
            .unwrap();
    }

    /// The version with this label.
    pub(crate) async fn holder(&self, stage: &str) -> Option<String> {
        let describe = self.client.describe_secret().secret_id(&self.name);
        let versions = describe.send().await.unwrap().version_ids_to_stages?;
        let holds = |stages: &[String]| stages.iter().any(|it| it == stage);
        let mut versions = versions.into_iter();
        versions.find_map(|(id, stages)| holds(&stages).then_some(id))
    }

    pub(crate) async fn arn(&self) -> String {
        let describe = self.client.describe_secret().secret_id(&self.name);
        describe.send().await.unwrap().arn.unwrap()
    }

    pub(crate) async fn delete(&self) {
        let delete = self.client.delete_secret().secret_id(&self.name);
        delete.recovery_window_in_days(7).send().await.unwrap();
    }

    pub(crate) async fn restore(&self) {
        let restore = self.client.restore_secret().secret_id(&self.name);
        restore.send().await.unwrap();
    }
}
