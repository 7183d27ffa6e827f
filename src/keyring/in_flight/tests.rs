#![allow(clippy::unwrap_used)]

use std::{convert::Infallible, time::Duration};

use crate::{Attempt, Keyring, clock::TokioClock, source::Memory};

#[tokio::test(start_paused = true)]
async fn a_call_is_forgotten_after_a_window() {
    const OVERLAP: Duration = Duration::from_secs(1000);
    let store = Memory::new("0");
    let keyring = Keyring::<u32>::builder(store.clone())
        .overlap(OVERLAP)
        .release_previous_at_swap()
        .clock(TokioClock::new())
        .build()
        .await
        .unwrap();
    for count in 1..4 {
        let secrets = keyring.current();
        store.rotate(count.to_string());
        keyring.refresh().await.unwrap();
        let works = |_| std::future::ready(Ok::<_, Attempt<Infallible>>(()));
        secrets.try_each(works).await.unwrap();
        drop(secrets);
        assert_eq!(keyring.shared().books().in_flight.used.len(), 1);
        // To the tick.
        tokio::time::advance(OVERLAP).await;
    }
}
