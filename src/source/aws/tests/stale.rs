//! Answers of a server behind AWS's name that has not heard of the last change.

use super::{
    fake::{Fake, Reply, Secret},
    *,
};
use crate::source::aws::labels::PREVIOUS;

/// The secret as it is now, to be answered later.
fn copy(fake: &Fake) -> Secret {
    let mut copy = None;
    fake.change(|secret| copy = Some(secret.clone()));
    copy.unwrap()
}

fn answer_with(fake: &Fake, old: &Secret) {
    let old: Reply = old.describe();
    fake.always("DescribeSecret", old);
}

#[tokio::test]
async fn an_older_answer_is_the_view_in_use_again() {
    let fake = Fake::start().await;
    let source = source(&fake);
    fetch_and_publish(&source).await;
    let old = copy(&fake);
    fake.rotate("v2");
    fake.stage("v3");
    fetch_and_publish(&source).await;
    answer_with(&fake, &old);
    fake.calls();
    let versions = source.fetch().await.unwrap();
    assert_eq!(ids(&versions), ("v2", Some("v1"), Some("v3")));
    assert_eq!(fake.asked(), ["DescribeSecret"]);
}

#[tokio::test]
async fn an_equal_date_is_the_truth() {
    let fake = Fake::start().await;
    let source = source(&fake);
    fake.rotate("v2");
    fetch_and_publish(&source).await;
    // As moto flips: the date does not move.
    fake.change(|secret| secret.flip("v1"));
    let versions = source.fetch().await.unwrap();
    assert_eq!(ids(&versions), ("v1", Some("v2"), None));
}

/// A version that a probe refused is not in use, and its date says nothing.
#[tokio::test]
async fn only_what_was_published_makes_an_answer_old() {
    let fake = Fake::start().await;
    let source = source(&fake);
    fetch_and_publish(&source).await;
    let old = copy(&fake);
    fake.rotate("refused");
    source.fetch().await.unwrap();
    fake.change(|secret| *secret = old);
    fake.change(|secret| secret.changed = Some(1_000.5));
    assert_eq!(ids(&source.fetch().await.unwrap()), ("v1", None, None));
    fake.rotate("v2");
    fake.change(|secret| secret.unlabel(PREVIOUS));
    assert_eq!(ids(&source.fetch().await.unwrap()), ("v2", None, None));
}

#[tokio::test]
async fn the_date_of_the_view_in_use_moves_up_with_an_equal_answer() {
    let fake = Fake::start().await;
    let source = source(&fake);
    fake.rotate("v2");
    fetch_and_publish(&source).await;
    let withdrawn = {
        let mut secret = copy(&fake);
        secret.unlabel(PREVIOUS);
        secret.changed = Some(secret.changed.unwrap() + 1.0);
        secret
    };
    // Withdrawn by mistake and put back, both between two polls.
    fake.change(|secret| secret.changed = Some(secret.changed.unwrap() + 2.0));
    source.fetch().await.unwrap();
    answer_with(&fake, &withdrawn);
    let versions = source.fetch().await.unwrap();
    assert_eq!(ids(&versions), ("v2", Some("v1"), None));
}

#[tokio::test]
async fn without_dates_every_answer_counts() {
    let fake = Fake::start().await;
    let source = source(&fake);
    fake.rotate("v2");
    fetch_and_publish(&source).await;
    fake.change(|secret| {
        secret.changed = None;
        secret.flip("v1");
    });
    let versions = fetch_and_publish(&source).await;
    assert_eq!(ids(&versions), ("v1", Some("v2"), None));
    fake.change(|secret| secret.changed = Some(1.0));
    assert_eq!(source.fetch().await.unwrap().current().id().as_str(), "v1");
}
