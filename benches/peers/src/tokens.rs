//! Tokens, and how they are given out.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::http::HeaderValue;
use serde_json::{Value, json};

use crate::keys::{Key, base64url};

pub const ISSUER: &str = "https://auth.example.com";
pub const AUDIENCE: &str = "https://api.example.com";

/// How long a token lives, and what else must not end during a run.
pub const LONG: Duration = Duration::from_secs(24 * 3600);

/// A token in each form that a contender wants, so that nobody pays for another's conversion.
pub struct Token {
    pub text: String,
    pub authorization: HeaderValue,
    pub message: String,
    pub signature: Vec<u8>,
}

impl Token {
    pub fn new(message: String, signature: Vec<u8>) -> Self {
        let text = format!("{message}.{}", base64url(&signature));
        let authorization = format!("Bearer {text}")
            .try_into()
            .expect("a token is ASCII");
        Self {
            text,
            authorization,
            message,
            signature,
        }
    }

    /// The same token with another signature of the same length.
    pub fn forged(&self) -> Self {
        let mut signature = self.signature.clone();
        let middle = signature.len() / 2;
        signature[middle] ^= 1;
        Self::new(self.message.clone(), signature)
    }
}

/// What an access token holds, in about 440 bytes with an EdDSA signature. `jti`, `azp` and `typ` are what axum-keycloak-auth insists on.
pub fn claims() -> Value {
    let now = SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("the clock is set")
        .as_secs();
    json!({
        "iss": ISSUER,
        "sub": "user-4f1c2d",
        "aud": AUDIENCE,
        "exp": now + LONG.as_secs(),
        "iat": now,
        "jti": format!("{:016x}", fastrand::u64(..)),
        "azp": "client-1",
        "typ": "Bearer",
        "scope": "tools:read tools:call",
    })
}

/// Different valid tokens, given out in order.
#[derive(Clone)]
pub struct Ring {
    tokens: Arc<[Token]>,
    next: usize,
    /// Whether it may begin anew after the last.
    again: bool,
}

impl Ring {
    pub fn new(key: &Key, length: usize) -> Self {
        Self::of((0..length).map(|_| key.sign(&claims())))
    }

    pub fn of(tokens: impl IntoIterator<Item = Token>) -> Self {
        Self {
            tokens: tokens.into_iter().collect(),
            next: 0,
            again: true,
        }
    }

    /// From here on each token is given out once only, and asking for more panics.
    pub fn once(mut self) -> Self {
        self.again = false;
        self
    }

    /// Begins somewhere else, so that two threads do not walk in step.
    pub fn from(mut self, share: f64) -> Self {
        self.next = (self.tokens.len() as f64 * share) as usize;
        self
    }

    /// Begins so many tokens later.
    pub fn skip(mut self, count: usize) -> Self {
        self.next += count;
        self
    }

    pub fn count(&self) -> usize {
        self.tokens.len()
    }

    pub fn token(&mut self) -> &Token {
        if self.next == self.tokens.len() && self.again {
            self.next = 0;
        }
        self.next += 1;
        self.tokens
            .get(self.next - 1)
            .expect("a token must not be used twice here")
    }
}
