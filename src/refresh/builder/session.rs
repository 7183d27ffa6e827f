//! Which key binds sessions, and how long a replaced one does.

use std::time::Duration;

use super::Builder;
use crate::{keyring::SessionKey, refresh::BuildError};

/// The default window of a replaced key, unless the overlap is longer.
const WINDOW: Duration = Duration::from_secs(24 * 3600);

/// The window of replaced session keys; for `least` some process may still bind with one.
pub(super) fn window(
    asked: Option<Duration>,
    overlap: Duration,
    least: Duration,
) -> Result<Duration, BuildError> {
    let window = asked.unwrap_or_else(|| WINDOW.max(overlap));
    if window < least {
        return Err(BuildError::config(format!(
            "session_key_window is {window:?}, which is less than {least:?}, the least overlap that is \
             allowed without a token_lifetime; with less, some process would still bind with a key when it \
             ends",
        )));
    }
    Ok(window)
}

impl<Raw, T> Builder<Raw, T> {
    /// Which field of the document binds MCP sessions and request states to their users, where
    /// replicas share them; [`Keyring::session_keys`](crate::Keyring::session_keys) gives the keys. It is
    /// an error of the version where it is also what [`jwt_key`](Self::jwt_key) chose.
    ///
    /// Rotating it is a rotation of a field like any other: put a new value into a new version. The new key
    /// binds once it was held for the [`activation_delay`](Self::activation_delay), and opens at once. A
    /// previous version that has no such field yet is left out, as it does not have the bundle's form.
    ///
    /// ```
    /// use tower_secrets::{JwtKey, Keyring, SessionKey, source::Memory};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct App {
    ///     jwt_secret: JwtKey,
    ///     session_key: SessionKey,
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let source = Memory::new(
    ///     r#"{ "jwt_secret": "0123456789abcdef0123456789abcdef",
    ///          "session_key": "another secret of at least 32 bytes" }"#,
    /// );
    /// let keyring = Keyring::<App>::builder(source)
    ///     .jwt_key(|app: &App| &app.jwt_secret)
    ///     .session_key(|app: &App| &app.session_key)
    ///     .build()
    ///     .await?;
    /// assert!(keyring.session_keys().is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub fn session_key<F>(mut self, field: F) -> Self
    where
        F: for<'a> Fn(&'a Raw) -> &'a SessionKey + Send + Sync + 'static,
    {
        self.recipe.session_key = Some(Box::new(field));
        self
    }

    /// How long a replaced session key goes on opening what it has bound. Default 24 h, or the
    /// [`overlap`](Self::overlap) where that is longer: sessions outlive many tokens, so it is not the
    /// same window. Less than the least overlap that is allowed, the life of tokens not counted, is an error
    /// of [`build`](Self::build).
    ///
    /// At most 32 replaced keys are kept; beyond that the window of the oldest ends early, which
    /// `secrets_window_cut_short` tells. A `not_after` of the previous version, and its removal from the
    /// store, end its session key too, and the sessions that a process remembers beyond the window; a store that names no previous version keeps no replaced key.
    pub fn session_key_window(mut self, window: Duration) -> Self {
        self.session_key_window = Some(window);
        self
    }
}
