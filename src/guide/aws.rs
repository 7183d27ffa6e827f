//! AWS Secrets Manager: from the secret to a rotation that nobody notices.
//!
//! What the labels mean, the least policy, cost, quotas and errors are at [`source::aws`](crate::source::aws). This page is
//! about what goes around it.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use serde::Deserialize;
//! use tower_secrets::{JwtKey, Keyring, UnknownKey, source::SecretsManager};
//!
//! #[derive(Deserialize)]
//! struct App {
//!     jwt_secret: JwtKey,
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keyring = Keyring::<App>::builder(SecretsManager::from_env("mcp/app").await)
//!     .jwt_key(|app| &app.jwt_secret)
//!     .token_lifetime(Duration::from_secs(300)) // of the tokens that `keyring.signer()` mints
//!     .overlap(Duration::from_secs(970))        // the least that fits: see `guide::fleets`
//!     .refresh_on_unknown_key(UnknownKey::new())
//!     .reload_on_sighup()
//!     .build()
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # A rotation function
//!
//! (AWS: *Rotation by Lambda function*.) Secrets Manager calls the function four times with a `Step`. For a bundle of
//! keys that only this service uses, two of them do nothing:
//!
//! | step | what it does for a signing key | what it does where an upstream is to be told |
//! |---|---|---|
//! | `createSecret` | makes a new document, and puts it with `VersionStages=["AWSPENDING"]` and the `ClientRequestToken` as its id; does nothing where that version exists | the same |
//! | `setSecret` | **waits an [activation delay](crate::Builder::activation_delay)**, so that every replica verifies the pending key. A function may run for 15 minutes; where the delay is nearly as long (an interval of 14 minutes), leave the wait to the `Signer` | tells the upstream |
//! | `testSecret` | nothing | logs in with it |
//! | `finishSecret` | moves AWSCURRENT to it, with `RemoveFromVersionId` the old one; AWS moves AWSPREVIOUS | the same |
//!
//! A function that flips at once loses nothing either, as long as tokens are signed by a [`Signer`](crate::Signer): it goes on
//! with the old key for the [activation delay](crate::Builder::activation_delay). Where somebody else signs, the wait is what
//! keeps a slow replica from meeting a key that it does not know.
//!
//! AWSPENDING may stay on the version after `finishSecret`. It means nothing here then: of several labels the first in the
//! order current, previous, pending counts. In [a breach](super::runbooks::breach) it has to go too.
//!
//! # Reloading at once
//!
//! Polls find every change within [`refresh_every`](crate::Builder::refresh_every) and what two refreshes may take. To be faster, let an event ask:
//!
//! | what happened | the event to match |
//! |---|---|
//! | a rotation by Secrets Manager has **ended** | CloudTrail's `RotationSucceeded`, detail type `AWS Service Event via CloudTrail` |
//! | AWSCURRENT moved, by whomever | `Secret Label Updated`, which Secrets Manager sends to EventBridge itself. It is not sent for AWSPREVIOUS and AWSPENDING, so not for a withdrawal |
//! | labels were moved or taken away by hand | CloudTrail's `UpdateSecretVersionStage`, detail type `AWS API Call via CloudTrail` |
//!
//! **Not `RotateSecret`**: that is the call that *begins* a rotation. Whoever reloads on it finds the old version.
//! (AWS: *AWS CloudTrail entries for Secrets Manager*, *Match AWS Secrets Manager events with Amazon EventBridge*, *Secret
//! event notifications*, *Secret Label Updated event*.)
//!
//! ```json
//! {
//!   "source": ["aws.secretsmanager"],
//!   "detail-type": ["AWS Service Event via CloudTrail"],
//!   "detail": {
//!     "eventSource": ["secretsmanager.amazonaws.com"],
//!     "eventName": ["RotationSucceeded"],
//!     "additionalEventData": { "SecretId": ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:mcp/app-a1b2c3"] }
//!   }
//! }
//! ```
//!
//! An event must reach **every** replica:
//!
//! * On EC2, Systems Manager Run Command as the rule's target, chosen by a *tag* of the instances: `AWS-RunShellScript` with
//!   `systemctl reload app`. The unit has `ExecReload=/bin/kill -HUP $MAINPID`. (AWS: *Automate Amazon EC2 using EventBridge*.)
//! * In containers: [Kubernetes](super::kubernetes), [ECS](super::ecs).
//! * An HTTP endpoint behind a load balancer is **not** a way: a reload URL there reaches one replica, and the others go
//!   on as before. Its 200 says nothing of them. Ask each at its own address.
//!
//! An event may come late or not at all. The interval is what the window is worked out from, and an event changes
//! nothing of that.
//!
//! # Who rotates and who reads
//!
//! Give the server `DescribeSecret` and `GetSecretValue`, and nothing that writes. The rotation function has
//! `PutSecretValue` and `UpdateSecretVersionStage`. A server that is broken into can then not undo a withdrawal.
//!
//! # A start while the store is down
//!
//! [`build`](crate::Builder::build) tries for 30 s and then fails: there is no server without secrets. Where a start must not
//! depend on the Region, give it a [`Fallback`](crate::source::Fallback). A process that starts after a rotation takes its
//! moment from the secret's last change; [`window_start`](crate::source::SecretsManager::window_start) has the choice.
//!
//! # Trying it without an account
//!
//! The [README](https://docs.rs/crate/tower-secrets) starts moto in its place. What AWS does and moto does not (quotas, throttling,
//! answers that are out of date) is met in `tests/aws`, by a proxy that breaks calls.
