//! The KV engine of a real OpenBao server.

use serde_json::{Value, json};
use tower_secrets::source::{SourceErrorKind, Vault, VaultAuth, VaultClient};

use crate::{harness::Harness, relay::Relay};

#[allow(dead_code, reason = "the tests of the source itself use more of it")]
#[path = "../vault/server.rs"]
mod server;
use server::Bao;

source_contract!(openbao, Secret);

pub(crate) struct Secret {
    bao: Bao,
    relay: Relay,
    versions: u64,
    /// What `custom_metadata.pending` names; the last one pends.
    named: Vec<u64>,
}

impl Secret {
    async fn put(&mut self, document: &str) {
        let data: Value = serde_json::from_str(document).unwrap();
        let body = json!({ "data": data, "options": { "cas": self.versions } });
        self.bao.write("secret/data/app", body).await;
        self.versions += 1;
    }

    async fn name_pending(&self) {
        let numbers: Vec<String> = self.named.iter().map(u64::to_string).collect();
        let pending = match numbers.is_empty() {
            true => json!({}),
            false => json!({ "pending": numbers.join(",") }),
        };
        let custom = json!({ "custom_metadata": pending });
        self.bao.write("secret/metadata/app", custom).await;
    }

    async fn destroy(&self, number: u64) {
        let versions = json!({ "versions": [number] });
        self.bao.write("secret/destroy/app", versions).await;
    }
}

impl Harness for Secret {
    type Source = Vault;

    const OUTAGE: SourceErrorKind = SourceErrorKind::Unavailable;

    async fn start(_: &str, document: &str) -> Option<Self> {
        let bao = Bao::dev()?;
        let relay = Relay::start(format!("127.0.0.1:{}", bao.port())).await;
        let mut secret = Self {
            bao,
            relay,
            versions: 0,
            named: Vec::new(),
        };
        // Of the ten that it keeps by default, none may be left of those that were read of a moment ago.
        let keep = json!({ "max_versions": 100 });
        secret.bao.write("secret/metadata/app", keep).await;
        secret.put(document).await;
        Some(secret)
    }

    fn source(&self) -> Vault {
        let auth = VaultAuth::token(&self.bao.root);
        let client = VaultClient::builder(&self.relay.url).auth(auth).build();
        Vault::new(&client.unwrap(), "app")
    }

    /// The engine keeps values, not their text.
    fn stored(document: &str) -> String {
        let value: Value = serde_json::from_str(document).unwrap();
        value.to_string()
    }

    async fn stage(&mut self, document: &str) {
        self.unstage().await;
        self.named.push(self.versions + 1);
        self.name_pending().await;
        self.put(document).await;
    }

    async fn promote(&mut self) {
        self.named.clear();
        self.name_pending().await;
    }

    async fn unstage(&mut self) {
        if let Some(given_up) = self.named.last() {
            self.destroy(*given_up).await;
        }
    }

    async fn withdraw(&mut self) {
        self.destroy(self.versions - 1).await;
    }

    async fn rotate(&mut self, document: &str) {
        self.put(document).await;
    }

    async fn go_down(&mut self) {
        self.relay.cut(true);
    }

    async fn come_back(&mut self) {
        self.relay.cut(false);
    }
}
