//! The words, and what happens at a rotation.
//!
//! | word | what it is |
//! |---|---|
//! | [`Source`](crate::source::Source) | where versions come from: a directory, AWS Secrets Manager, Vault, a key server, memory, your own |
//! | version, [`VersionId`](crate::source::VersionId) | one immutable value of a secret, named by its source. The name is public |
//! | [`Stage`](crate::source::Stage) | what a version is at this moment: *current*, *previous* or *pending* |
//! | bundle | your type `T`, read from one version: what rotates together |
//! | [`Keyring<T>`](crate::Keyring) | the shared handle, which a loop keeps fresh for as long as any clone of it lives |
//! | snapshot, generation | one immutable view of all stages; the generation is its number, in this process |
//! | key id | names a *key*: two versions with the same key have the same id, on every replica. It reveals nothing |
//! | window | how long a replaced key stays trusted: [`overlap`](crate::Builder::overlap) |
//! | probe | a check that a new bundle works, before it is used |
//!
//! # A request has one snapshot
//!
//! The layer takes the newest snapshot once, when the request arrives, and all that the handler sees comes from it. A
//! rotation in the middle changes nothing for that request, and the two halves of a bundle can never be of two versions.
//! Take [`Keyring::current`](crate::Keyring::current) anew for each unit of work in background tasks; a [`Secrets`](crate::Secrets)
//! that is kept for hours shows what was current hours ago.
//!
//! One thing looks past the snapshot: [`Secrets::try_each`](crate::Secrets::try_each), after an upstream has refused a
//! credential.
//!
//! # A rotation, step by step
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use tower_secrets::{JwtKey, Keyring, RegisteredClaims, source::Memory};
//!
//! #[derive(serde::Deserialize)]
//! struct App { jwt_secret: JwtKey }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let source = Memory::new(r#"{"jwt_secret":"0123456789abcdef0123456789abcdef"}"#);
//! let keyring = Keyring::<App>::builder(source.clone()).jwt_key(|app| &app.jwt_secret).build().await?;
//!
//! // 1. The store stages the next version. Its key verifies tokens, and signs none.
//! let next = source.stage_pending(r#"{"jwt_secret":"fedcba9876543210fedcba9876543210"}"#);
//! keyring.refresh().await?;
//! assert_eq!(keyring.status().pending.map(|it| it.id), Some(next.clone()));
//!
//! // 2. It becomes current. What was current is previous, with a deadline that never moves later.
//! source.promote_pending();
//! keyring.refresh().await?;
//! let status = keyring.status();
//! assert_eq!(status.current.id, next);
//! let left = status.previous.and_then(|it| it.expires_in);
//! assert!(left.is_some_and(|left| left <= Duration::from_secs(910)));
//!
//! // 3. New tokens are signed with the old key until every replica has had time to see the new one.
//! let in_five_minutes = SystemTime::now() + Duration::from_secs(300);
//! let token = keyring.signer().sign(&RegisteredClaims::new("alice").expires_at(in_five_minutes))?;
//! # assert!(!token.is_empty());
//!
//! // 4. The window ends, by time, or because the store withdraws previous.
//! source.drop_previous();
//! keyring.refresh().await?;
//! assert!(keyring.status().previous.is_none());
//! # Ok(())
//! # }
//! ```
//!
//! A refresh takes the same steps each time: fetch, parse, keys, `prepare`, probes, swap. The first that refuses ends it,
//! what was in use stays, and an [event](crate::event) names the step. [`refresh`](crate::refresh) has the details.
//!
//! # Four ways for trust to end
//!
//! | | who knows | when |
//! |---|---|---|
//! | the window ends | every replica, each by its own clock | `overlap` after it saw the rotation; earlier where the store names a `not_after` |
//! | another rotation of the same key | every replica | at once for the oldest: at most two keys overlap. `secrets_window_cut_short` says so. A version put on top of one that a probe refused is one, too: move back first |
//! | the store withdraws the version | every replica, at its next refresh | a label, a version or a file is taken away: see [the runbook](super::runbooks::breach) of a breach |
//! | [`Keyring::revoke`](crate::Keyring::revoke) | this process, for its life | at once, in requests that are under way too |
//!
//! Windows belong to keys, not to versions. Rotate an API key in the same bundle, and no token is refused and no window opens.
//!
//! # What never happens
//!
//! * A request waits for the store, unless you asked for it: [`refresh_on_unknown_key`](crate::Builder::refresh_on_unknown_key),
//!   which `Jwks` has by default, and `try_each` after a refusal.
//! * An outage of the store takes the service down, unless you asked for it: [`refuse_after`](crate::Builder::refuse_after).
//! * A keyring without a snapshot. [`build`](crate::Builder::build) makes the first fetch, or is an error.
