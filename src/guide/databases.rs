//! Database passwords: pools, users that take turns, and the seconds in between.
//!
//! # Which kind you have
//!
//! (AWS: *Lambda function rotation strategies*.)
//!
//! | | alternating users | a single user | an account of its own |
//! |---|---|---|---|
//! | what a rotation does | the user that is *not* in use gets a new password, and becomes current | the one user's password changes | a new account is lent |
//! | who does it | AWS rotation functions | AWS, Vault's static roles, people | Vault's dynamic roles |
//! | the old password | works until the *next* rotation | is dead at once, before the new one is current | works until its lease ends |
//! | the call | [`try_each`](crate::Secrets::try_each) | [`try_each_as`](crate::Secrets::try_each_as) [`single_user`](crate::CredentialKind::single_user) | `try_each` |
//!
//! Take alternating users, or dynamic ones, where you can.
//!
//! **After a leak, alternating users need two rotations.** The first makes the *other* user current; the leaked password still
//! opens the database. Only the second rotation changes it. See [the runbook](super::runbooks::breach).
//!
//! # A pool that is proved before it is used
//!
//! ```
//! # use std::{io, sync::Arc};
//! # use serde::Deserialize;
//! use tower_secrets::{Attempt, Keyring, Parts, Secrets, source::Memory};
//!
//! #[derive(Deserialize)]
//! struct Raw {
//!     db_password: String,
//! }
//!
//! struct App {
//!     pool: Arc<Pool>,
//! }
//!
//! # struct Pool(String);
//! # #[derive(Debug)] enum DbError { LogInRefused, Other }
//! # impl Pool {
//! #     async fn connect(password: &str) -> io::Result<Arc<Self>> { Ok(Arc::new(Self(password.to_owned()))) }
//! #     async fn now(&self) -> Result<u64, DbError> {
//! #         match self.0.as_str() { "dead" => Err(DbError::LogInRefused), "" => Err(DbError::Other), _ => Ok(7) }
//! #     }
//! # }
//! async fn now(secrets: &Secrets<App>) -> Result<u64, DbError> {
//!     secrets
//!         .try_each(|app: Arc<App>| async move {
//!             app.pool.now().await.map_err(|error| match error {
//!                 DbError::LogInRefused => Attempt::Unauthenticated(error),
//!                 error => Attempt::Other(error),
//!             })
//!         })
//!         .await
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let source = Memory::new(r#"{"db_password":"one"}"#);
//! let keyring = Keyring::<Raw>::builder(source.clone())
//!     .prepare(|raw: Arc<Raw>, parts: Parts| async move {
//!         // Not made again while other fields of the bundle rotate.
//!         let pool = parts.reuse("pool", &raw.db_password, Pool::connect(&raw.db_password)).await?;
//!         Ok::<_, io::Error>(App { pool })
//!     })
//!     .build()
//!     .await?;
//! assert_eq!(now(&keyring.current()).await.unwrap(), 7);
//! # Ok(())
//! # }
//! ```
//!
//! [`prepare`](crate::Builder::prepare) makes the pool and opens a session *before* the swap. A password that does not work costs one
//! failed login, and service goes on with the old pool. The old pool closes when its window ends, or at the swap with
//! [`release_previous_at_swap`](crate::Builder::release_previous_at_swap).
//!
//! The whole of it with sqlx and a real PostgreSQL, and **the budget of connections** that a rotation needs, is in the package
//! `examples/postgres` of the repository.
//!
//! # What a pool hides
//!
//! Open sessions survive a change of the password; new ones do not. So a dead credential shows only when the pool grows, or
//! when a session reaches its `max_lifetime`, maybe hours later. That is why the pool is proved with a *new* session, and why a
//! rotation that was not followed is told at once, as `secrets_reload_failed`, and not at night.
//!
//! # Account lock-outs
//!
//! Each refused login counts somewhere. The bounds: a version that a probe or `prepare` refused is tried again after one
//! minute, then four times as long, up to an hour: fewer than ten failed logins of three replicas in ten minutes. For a
//! single user, [`CredentialKind::SingleUser`](crate::CredentialKind::SingleUser) has the numbers of `try_each_as`.
//! A person who asks (`refresh()`, SIGHUP, `POST /reload`) is obeyed at once.
//!
//! # The form of the document
//!
//! `source::aws::RdsSecret` (feature `aws`) reads what RDS and the rotation functions write. Vault gives `username` and
//! `password`. Database and JWT key in one process are two secrets that rotate apart:
//! [`Combined`](crate::source::Combined), with a [`part_probe`](crate::Builder::part_probe) for the database alone.
