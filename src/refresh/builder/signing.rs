//! When a new key begins to sign, and whether tokens of the one before live to their end.

use std::time::Duration;

use super::Builder;

/// What a layer allows for by default between the clocks of issuer and server.
const LEEWAY: Duration = Duration::from_secs(30);

/// What the [`Signer`](crate::Signer) needs to know.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Signing {
    token_lifetime: Option<Duration>,
    activation_delay: Option<Duration>,
}

impl Signing {
    /// How long a key is needed after it has signed a token.
    pub(super) fn token_life(self) -> Duration {
        self.token_lifetime
            .map_or(Duration::ZERO, |life| life.saturating_add(LEEWAY))
    }

    pub(super) fn activation_delay(self, detection: Duration) -> Duration {
        self.activation_delay.unwrap_or(detection)
    }

    /// How the error of an overlap names the life of tokens.
    pub(super) fn told_life(self) -> String {
        self.token_lifetime.map_or_else(String::new, |life| {
            format!(" + token_lifetime ({life:?}) + a leeway of {LEEWAY:?}")
        })
    }
}

impl<Raw, T> Builder<Raw, T> {
    /// How long the tokens of the [`Signer`](crate::Signer) live at most: `exp` minus now. With it,
    /// [`build`](Self::build) makes sure that a token of a replaced key is accepted to its end: the
    /// [overlap](Self::overlap), by default or as it is set, has to cover the time until the last replica
    /// sees a rotation, the [`activation_delay`](Self::activation_delay) (until the new key signs), this, and 30 s for
    /// clocks that differ. Set it wherever tokens are signed. Default: not known, not checked.
    pub fn token_lifetime(mut self, longest: Duration) -> Self {
        self.signing.token_lifetime = Some(longest);
        self
    }

    /// How long a new key is held, as pending or as current, before the [`Signer`](crate::Signer) signs with
    /// it: the time in which every process of the fleet that can reach the store sees it. Default: one
    /// [refresh interval](Self::refresh_every), and twice the time limits of fetch, `prepare` and probes,
    /// for the refresh that just missed the key and the one that finds it: 320 s, with a probe 340 s. That
    /// is right where all processes have the same settings. Zero is for a process that is alone, and
    /// for one that signs nothing. A process that starts counts it from when the store was last changed, and 30 s for clocks that
    /// differ, where the store dates current and previous and it was no rollback.
    pub fn activation_delay(mut self, delay: Duration) -> Self {
        self.signing.activation_delay = Some(delay);
        self
    }
}
