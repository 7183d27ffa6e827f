//! AWS Secrets Manager, by servers that stand in for it and err in different places.

use std::{
    marker::PhantomData,
    sync::atomic::{AtomicU64, Ordering},
};

use aws_sdk_secretsmanager::{
    Client, Config,
    config::{BehaviorVersion, Credentials, Region},
};
use tower_secrets::source::{SecretsManager, SourceErrorKind};

use crate::{harness::Harness, left_out::needed, relay::Relay};

source_contract!(moto, Secret<Moto>);
source_contract!(ministack, Secret<MiniStack>);

/// A server, named by the environment variable that holds its address.
pub(crate) trait Bed {
    const VARIABLE: &'static str;
    const GAP: Option<&'static str> = None;
}

pub(crate) struct Moto;

impl Bed for Moto {
    const VARIABLE: &'static str = "TOWER_SECRETS_MOTO";
    /// It takes the label from one version before it gives it to the next.
    const GAP: Option<&'static str> = Some("no version holds AWSCURRENT");
}

pub(crate) struct MiniStack;

impl Bed for MiniStack {
    const VARIABLE: &'static str = "TOWER_SECRETS_MINISTACK";
}

pub(crate) struct Secret<B> {
    name: String,
    /// Straight to the server: who changes the secret is not cut off.
    writer: Client,
    relay: Relay,
    pending: Option<String>,
    bed: PhantomData<B>,
}

impl<B: Bed> Secret<B> {
    async fn holder(&self, label: &str) -> Option<String> {
        let described = self.writer.describe_secret().secret_id(&self.name);
        let described = described.send().await.unwrap();
        let labels = described.version_ids_to_stages()?;
        let holds = |held: &[String]| held.iter().any(|it| it == label);
        let mut holders = labels.iter().filter(|(_, held)| holds(held));
        holders.next().map(|(id, _)| id.clone())
    }

    async fn take_away(&self, label: &str) {
        let Some(holder) = self.holder(label).await else {
            return;
        };
        self.writer
            .update_secret_version_stage()
            .secret_id(&self.name)
            .version_stage(label)
            .remove_from_version_id(holder)
            .send()
            .await
            .unwrap();
    }
}

impl<B: Bed> Harness for Secret<B> {
    type Source = SecretsManager;

    const OUTAGE: SourceErrorKind = SourceErrorKind::Unavailable;
    const GAP: Option<&str> = B::GAP;

    async fn start(test: &str, document: &str) -> Option<Self> {
        static TESTS: AtomicU64 = AtomicU64::new(0);

        let url = needed(B::VARIABLE, test)?.into_string().unwrap();
        let writer = client(&url);
        let number = TESTS.fetch_add(1, Ordering::Relaxed);
        let name = format!("contract/{}-{number}", std::process::id());
        let created = writer.create_secret().name(&name).secret_string(document);
        let created = created.send().await;
        created.unwrap_or_else(|error| panic!("{}={url}: {error:?}", B::VARIABLE));
        let target = url.strip_prefix("http://").unwrap().trim_end_matches('/');
        Some(Self {
            name,
            writer,
            relay: Relay::start(target.to_owned()).await,
            pending: None,
            bed: PhantomData,
        })
    }

    fn source(&self) -> SecretsManager {
        SecretsManager::new(client(&self.relay.url), &self.name)
    }

    async fn stage(&mut self, document: &str) {
        // AWS moves the label by itself, and so does moto; in MiniStack two versions would hold it.
        self.take_away("AWSPENDING").await;
        let put = self.writer.put_secret_value().secret_id(&self.name);
        let put = put.secret_string(document).version_stages("AWSPENDING");
        self.pending = put.send().await.unwrap().version_id;
    }

    async fn promote(&mut self) {
        let current = self.holder("AWSCURRENT").await.unwrap();
        self.writer
            .update_secret_version_stage()
            .secret_id(&self.name)
            .version_stage("AWSCURRENT")
            .move_to_version_id(self.pending.take().unwrap())
            .remove_from_version_id(current)
            .send()
            .await
            .unwrap();
    }

    async fn unstage(&mut self) {
        self.take_away("AWSPENDING").await;
    }

    async fn withdraw(&mut self) {
        self.take_away("AWSPREVIOUS").await;
    }

    async fn rotate(&mut self, document: &str) {
        self.stage(document).await;
        self.promote().await;
    }

    async fn go_down(&mut self) {
        self.relay.cut(true);
    }

    async fn come_back(&mut self) {
        self.relay.cut(false);
    }
}

fn client(url: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(url)
        .credentials_provider(Credentials::new("test", "test", None, None, "test"));
    Client::from_conf(config.build())
}
