//! How old what is in use has become, while the store's answers are from before it.

use std::time::Duration;

use tokio::time::Instant;

use super::Versions;
use crate::guard::log;

/// A server that lags for longer does not catch up by itself.
const LONG: Duration = Duration::from_secs(900);

/// When the store last said something that counts.
#[derive(Default)]
pub(super) struct LastWord {
    at: Option<Instant>,
    told: bool,
}

impl LastWord {
    pub(super) fn heard(&mut self) {
        *self = Self {
            at: Some(Instant::now()),
            told: false,
        };
    }

    /// The view in use in place of an answer that is behind it, as old as it is: it is no word of the
    /// store. One that goes on so is told of once.
    pub(super) fn again(&mut self, in_use: &Versions, source: &str) -> Versions {
        let age = self.at.map(|at| at.elapsed()).unwrap_or_default();
        if age >= LONG && !std::mem::replace(&mut self.told, true) {
            log(|| {
                tracing::warn!(
                    source,
                    age_secs = age.as_secs(),
                    hint = "a standby or a replica lags, or the store was restored from a backup; what was \
                            read before stays in use",
                    "secrets_store_behind"
                );
            });
        }
        in_use.clone().answered_ago(age)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::source::Version;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn the_age_is_that_of_the_last_word_and_a_long_one_is_told_of_once() {
        let versions = Versions::new(Version::new("1", "{}"));
        let mut word = LastWord::default();
        assert_eq!(word.again(&versions, "store").age, Duration::ZERO);
        for _ in 0..2 {
            word.heard();
            tokio::time::advance(LONG - Duration::from_secs(1)).await;
            assert_eq!(
                word.again(&versions, "store").age,
                LONG - Duration::from_secs(1)
            );
            assert!(!word.told);
            tokio::time::advance(HOUR).await;
            assert!(word.again(&versions, "store").age > HOUR);
            assert!(word.told);
        }
    }
}
