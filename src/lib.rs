//! Change the credentials of a running HTTP service, an MCP server above all: no restart, no
//! dropped connection, and no failed call while old and new keys overlap.
//!
//! A secret has *versions*. A *snapshot* is one immutable view of the versions valid now. A
//! request lives its whole life on one snapshot. A new snapshot is published only after it has
//! proved itself (at the start an ordinary probe only warns), and an old key stays trusted for a bounded window.
//!
//! # The way of the data
//!
//! 1. A [`source`] answers which versions there are: [`File`](source::File) reads a mounted
//!    directory, [`SecretsManager`](source::SecretsManager) asks AWS, [`Vault`](source::Vault) Vault or OpenBao,
//!    [`Memory`](source::Memory) is for tests, a closure is a source, and so is your own type.
//!    [`Combined`](source::Combined) makes one bundle of several.
//! 2. [`refresh`] asks it again: by interval, on SIGHUP, on a change, when asked. Each new version
//!    is parsed, its keys are checked, its resources prepared and its probes run *before* it is
//!    swapped in. If anything refuses, the old version stays and an [`event`] says why.
//! 3. The [`keyring`] is the handle on the newest snapshot. It knows which keys verify tokens, and
//!    until when.
//! 4. The [`layer`] verifies bearer tokens against the current and the previous key, and pins the
//!    snapshot to the request.
//! 5. [`Secrets<T>`](Secrets) and [`Claims<C>`](Claims) are arguments of axum handlers (feature
//!    `axum`) and, through `mcp`, of rmcp tools (feature `rmcp`).
//!
//! # Example
//!
//! ```
//! # #[cfg(feature = "axum")]
//! # mod example {
//! use std::time::Duration;
//!
//! use axum::{Router, routing::post};
//! use serde::Deserialize;
//! use tower_secrets::{Claims, JwtKey, JwtRotationLayer, Keyring, Secrets, source::Memory};
//!
//! #[derive(Deserialize)]
//! struct App {
//!     jwt_secret: JwtKey,
//!     api_key: String,
//! }
//!
//! async fn handler(secrets: Secrets<App>, claims: Claims) -> String {
//!     // Every field belongs to one version, whatever is rotated meanwhile.
//!     format!("{:?} calls with a key of {} bytes", claims.sub(), secrets.api_key.len())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # pub async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let source = Memory::new(r#"{"jwt_secret":"0123456789abcdef0123456789abcdef","api_key":"k"}"#);
//! let keyring = Keyring::<App>::builder(source)
//!     .jwt_key(|app| &app.jwt_secret)
//!     .refresh_every(Duration::from_secs(60))
//!     .reload_on_sighup()
//!     .build()
//!     .await?;
//! let app: Router = Router::new()
//!     .route("/tools", post(handler))
//!     .layer(JwtRotationLayer::new(keyring.clone()));
//! # drop(app);
//! # Ok(())
//! # }
//! # }
//! # #[cfg(feature = "axum")]
//! # fn main() { example::main().unwrap() }
//! # #[cfg(not(feature = "axum"))]
//! # fn main() {}
//! ```
//!
//! # Three patterns
//!
//! * **Overlap window.** The new and the old credential are both accepted for a while. The window
//!   is at least three times the refresh interval and what a refresh may take, and longer where
//!   [`Builder::token_lifetime`] says how long signed tokens live, which [`Builder::build`] enforces, or some process still holds the old one when it is revoked.
//! * **CURRENT and PREVIOUS.** The store keeps both. Tokens of the previous key verify until its
//!   window ends; when no key fits, the answer is that of the current one.
//! * **SIGHUP, test before swap.** [`Builder::reload_on_sighup`] fetches anew,
//!   [`Builder::probe`] proves that the new credentials work, and only then are they swapped in.
//!
//! # Outbound credentials
//!
//! A bundle may own what is built from a secret: [`Builder::prepare`] opens a connection pool with
//! the new password, and tries it, before the swap. [`Secrets::try_each`] and
//! [`try_each_as`](Secrets::try_each_as) call an upstream that may have revoked the credential
//! meanwhile. The package `examples/postgres` in the repository shows both with a real database,
//! and its README has the budget of connections of a rotation.
//!
//! # What is not protected
//!
//! Your own fields. [`JwtKey`] and the documents of a [`Version`](source::Version) are redacted in
//! `Debug` and wiped from memory when dropped; a `String` in your bundle is neither. Values copied
//! out of [`Secrets`] live as long as you keep them. See SECURITY.md for the whole list.
//!
//! # More
//!
//! [`guide`] is a book to read from top to bottom, with a page for each store and platform, and runbooks for the
//! moments when nobody wants to think.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `file` | [`source::File`], with its file watch |
//! | `aws` | [`source::SecretsManager`], a secret of AWS Secrets Manager, and `aws::AccessKeyProvider` |
//! | `jwks` | [`source::Jwks`], keys of identity providers over HTTP, and their settings |
//! | `vault` | [`source::Vault`] and [`source::VaultDatabase`], secrets and database credentials of Vault or OpenBao |
//! | `axum` | the axum extractors |
//! | `rmcp` | `mcp`: arguments of rmcp tools and prompts |
//! | `metrics` | [`metrics`], for Prometheus and others |
//! | `admin` | [`admin`]: the operator's page, status, reload |
//! | `full` | all of them |

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod clock;

mod guard;

mod sync;

mod wipe;

pub mod source;

pub mod refresh;
pub use refresh::{BuildError, Builder, Parts, Probe, RefreshError, Refreshed};

mod per_thread;
mod snapshot;

pub mod keyring;
pub use keyring::{
    JwtKey, KeyId, Keyring, RegisteredClaims, SessionKey, SessionKeys, Signer, Status, UnknownKey,
    VerifyErrorKind,
};

pub mod event;

#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "metrics/off.rs"]
mod metrics;

mod secrets;
pub use secrets::{Attempt, CredentialKind, Secrets, TryError};

mod claims;
pub use claims::{Authentication, Claims, ClaimsError};

pub mod layer;
pub use layer::{JwtRotation, JwtRotationLayer, SecretsLayer};

#[cfg(feature = "jwks")]
pub mod provider;

#[cfg(feature = "axum")]
mod extract;

#[cfg(feature = "rmcp")]
pub mod mcp;

#[cfg(feature = "admin")]
pub mod admin;

#[cfg(feature = "aws")]
pub mod aws;

pub mod guide;

#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzz;

// The README's quick start is compiled and run as a test.
#[cfg(all(doctest, feature = "axum", feature = "file"))]
#[doc = include_str!("../README.md")]
struct Readme;
