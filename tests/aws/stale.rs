//! Answers that are older than what is in use: some server behind AWS's name lags.

use serde_json::{Value, json};
use tower_secrets::{Keyring, keyring::VersionStatus, refresh::Refreshed, source::SecretsManager};

use crate::{
    bed::{client, moto, need},
    proxy::{Answer, Fault, Proxy},
    secret::{App, Secret, builder, document},
};

/// moto does not move `LastChangedDate` when a label moves, and counts whole seconds.
fn changed_at(date: Value) -> Fault {
    Fault::rewrite(move |described| described["LastChangedDate"] = date.clone())
}

struct Lagging {
    secret: Secret,
    proxy: Proxy,
    keyring: Keyring<App>,
}

impl Lagging {
    /// In use is document 0, last changed at 100.
    async fn start(server: &str) -> Self {
        let secret = Secret::create(server).await;
        let proxy = Proxy::start(server).await;
        proxy.set_for("DescribeSecret", changed_at(json!(100)));
        let source = SecretsManager::new(client(&proxy.url()), &secret.name);
        let keyring = builder(source).build().await.unwrap();
        Self {
            secret,
            proxy,
            keyring,
        }
    }

    fn describes(&self, answer: Answer) {
        self.proxy.set_for("DescribeSecret", Fault::Answer(answer));
    }

    async fn rotated_at(&self, date: u64, number: usize) {
        self.secret.rotate(&document(number)).await;
        self.proxy
            .set_for("DescribeSecret", changed_at(json!(date)));
        assert!(self.keyring.refresh().await.unwrap().is_swapped());
    }

    async fn stays(&self) {
        let before = self.keyring.status();
        let refreshed = self.keyring.refresh().await.unwrap();
        assert!(
            matches!(refreshed, Refreshed::Unchanged { .. }),
            "{refreshed:?}"
        );
        let after = self.keyring.status();
        assert_eq!(after.generation, before.generation);
        let ids = |it: Option<VersionStatus>| it.map(|it| it.id);
        assert_eq!(after.current.id, before.current.id);
        assert_eq!(ids(after.previous), ids(before.previous));
        assert_eq!(after.consecutive_failures, 0);
    }
}

#[tokio::test]
async fn an_earlier_answer_is_unchanged_and_never_swapped_in() {
    let server = need!(moto());
    let it = Lagging::start(&server).await;
    let first = it.proxy.last("DescribeSecret");
    it.rotated_at(200, 1).await;
    let second = it.proxy.last("DescribeSecret");

    it.describes(first.clone().with(|it| it["LastChangedDate"] = json!(100)));
    it.stays().await;
    assert_eq!(it.keyring.current().api_key, "api-key-1");

    // One rotation later the answer of the one before is stale too, by a tenth of a second.
    it.rotated_at(300, 2).await;
    it.describes(second.with(|it| it["LastChangedDate"] = json!(299.9)));
    it.stays().await;

    // Nor does it withdraw what it has not heard of.
    it.describes(first.with(|it| it["LastChangedDate"] = json!(100)));
    it.stays().await;
    assert!(it.keyring.current().previous().is_some());
    assert_eq!(it.keyring.current().api_key, "api-key-2");
}

#[tokio::test]
async fn an_equal_or_later_answer_is_the_truth_a_label_moved_back_included() {
    let server = need!(moto());
    let it = Lagging::start(&server).await;
    let first = it.secret.holder("AWSCURRENT").await.unwrap();
    it.rotated_at(200, 1).await;
    let second = it.secret.holder("AWSCURRENT").await.unwrap();

    // Back, within the second of the rotation.
    it.secret.flip(&first).await;
    assert!(it.keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(it.keyring.current().api_key, "api-key-0");

    // And forth, later.
    it.secret.flip(&second).await;
    it.proxy.set_for("DescribeSecret", changed_at(json!(201)));
    assert!(it.keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(it.keyring.current().api_key, "api-key-1");
}

/// A tag changes the date and nothing else: the answer from before it is stale from then on.
#[tokio::test]
async fn a_date_that_moves_alone_counts() {
    let server = need!(moto());
    let it = Lagging::start(&server).await;
    let first = it.secret.holder("AWSCURRENT").await.unwrap();
    it.rotated_at(200, 1).await;
    it.proxy.set_for("DescribeSecret", changed_at(json!(300)));
    it.stays().await;

    it.secret.flip(&first).await;
    it.proxy.set_for("DescribeSecret", changed_at(json!(250)));
    it.stays().await;
    it.proxy.set_for("DescribeSecret", changed_at(json!(300)));
    assert!(it.keyring.refresh().await.unwrap().is_swapped());
}

#[tokio::test]
async fn without_a_date_nothing_is_stale() {
    let server = need!(moto());
    let it = Lagging::start(&server).await;
    it.secret.rotate(&document(1)).await;
    it.proxy.set_for("DescribeSecret", changed_at(Value::Null));
    assert!(it.keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(it.keyring.current().api_key, "api-key-1");
}
