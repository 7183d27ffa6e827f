//! AWS Secrets Manager: [`SecretsManager`], and the JSON of its database secrets, [`RdsSecret`].
//!
//! ```no_run
//! use serde::Deserialize;
//! use tower_secrets::{JwtKey, Keyring, source::SecretsManager};
//!
//! #[derive(Deserialize)]
//! struct App {
//!     jwt_secret: JwtKey,
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // {"jwt_secret": ".."}
//! let source = SecretsManager::from_env("mcp/jwt-secret").await;
//! let keyring = Keyring::<App>::builder(source)
//!     .jwt_key(|app| &app.jwt_secret)
//!     .reload_on_sighup()
//!     .build()
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What the labels mean here
//!
//! | staging label | stage | |
//! |---|---|---|
//! | AWSCURRENT | current | must be there, on one version |
//! | AWSPREVIOUS | previous | none before the first rotation. AWS keeps the label until the next one; the window is the keyring's. Taking the label away withdraws the version from the fleet, at each replica's next poll |
//! | AWSPENDING | pending | verifies tokens, signs none. An id that has no value yet is none: AWS names it first |
//!
//! Where one version holds several, the first in this order counts. Labels of your own mean
//! nothing here.
//!
//! One poll is one `DescribeSecret`, which says who held which label at one instant. Values are
//! immutable, so each is read once by its version id. An answer whose `LastChangedDate` is before
//! that of the view in use comes from a server that has not heard of the change yet; the view in
//! use stays, and ages: see [`max_staleness`](crate::Builder::max_staleness). After a quarter of an hour
//! of such answers the event `secrets_store_behind` tells of them.
//!
//! # The four steps of a rotation function, seen from here
//!
//! (AWS: *Lambda rotation functions*)
//!
//! 1. `createSecret` puts a value under AWSPENDING. Its JWT key verifies from the next poll on, so
//!    that no replica is late. Polls are no closer for it, unless
//!    [`refresh_while_pending`](crate::Builder::refresh_while_pending) says so.
//! 2. `setSecret` changes the upstream. Where it has one user, whose password changes at once, the
//!    old password is dead from here to the end of step 4: see
//!    [`Secrets::try_each_as`](crate::Secrets::try_each_as) with
//!    [`CredentialKind::single_user`](crate::CredentialKind::single_user).
//! 3. `testSecret`: nothing to be seen.
//! 4. `finishSecret` moves AWSCURRENT; AWS moves AWSPREVIOUS after it. The value is held already:
//!    it passes the probes and is swapped in.
//!
//! A rotation that fails leaves AWSPENDING on the bad version: it never becomes current, and its
//! key verifies for `max_pending` at most.
//!
//! A process that starts after step 4 does not know when it was: see
//! [`window_start`](SecretsManager::window_start).
//!
//! # Permissions
//!
//! The least policy (AWS: *Permissions policy examples*). The second statement is needed only where
//! the secret has a KMS key of your own (AWS: *Secret encryption and decryption*).
//!
//! ```json
//! {
//!   "Version": "2012-10-17",
//!   "Statement": [
//!     {
//!       "Effect": "Allow",
//!       "Action": ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"],
//!       "Resource": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:mcp/jwt-secret-??????"
//!     },
//!     {
//!       "Effect": "Allow",
//!       "Action": "kms:Decrypt",
//!       "Resource": "arn:aws:kms:eu-west-1:123456789012:key/KEY-ID",
//!       "Condition": {
//!         "StringEquals": { "kms:ViaService": "secretsmanager.eu-west-1.amazonaws.com" }
//!       }
//!     }
//!   ]
//! }
//! ```
//!
//! Without `DescribeSecret` each label is read by itself, until the answers fit together: four
//! calls a poll at least, eight while AWSPREVIOUS is on the version of AWSCURRENT, no protection from
//! answers that are out of date, and an error while the labels keep moving. The event
//! `secrets_describe_denied` tells it once; `DescribeSecret` is tried again every hour.
//!
//! A secret of another account needs its full ARN, a policy on the secret and on its KMS key
//! (AWS: *Access AWS Secrets Manager secrets from a different account*). A partial ARN is refused
//! before anything is asked, as far as it can be told: a name that ends in a hyphen and six letters
//! looks like a full one.
//!
//! # Cost and quotas
//!
//! Calls = replicas x 1 for each interval, and one more for each new version. Ten replicas at the
//! default interval of 300 s make 86,400 calls in 30 days, 0.43 USD at 0.05 USD for 10,000 (AWS:
//! *AWS Secrets Manager Pricing*, as of 2025).
//!
//! AWS has documented 10,000 calls a second for `DescribeSecret` and `GetSecretValue` together
//! (*AWS Secrets Manager quotas*), and announced in 2025 10,000 for `GetSecretValue` and 40,000
//! for `DescribeSecret`; look up what holds for you. The quota is for each account and Region, and
//! calls across accounts count for the caller's. AWS asks not to put values more often than once
//! in ten minutes, sustained.
//!
//! # Reloading at once
//!
//! The interval finds every change. To be faster:
//!
//! * EventBridge (through CloudTrail), on `RotationSucceeded`, or on `UpdateSecretVersionStage`
//!   where a person moves labels (AWS: *Match AWS Secrets Manager events with Amazon EventBridge*),
//!   with Systems Manager Run Command as its target: `systemctl reload app`, which sends SIGHUP.
//! * The same event to an endpoint of yours that calls
//!   [`Keyring::refresh`](crate::Keyring::refresh); a thousand calls at once cost two fetches.
//! * In Kubernetes, for each pod: `kubectl exec POD -- kill -HUP 1`. It needs `kill` in the image,
//!   and [`reload_on_sighup`](crate::Builder::reload_on_sighup).
//!
//! [`guide::aws`](crate::guide::aws) has the pattern of the event, and what reaches every replica.
//!
//! # Who tries again
//!
//! Only the refresh loop, with its own jittered pauses. The SDK's retries are off in this source's
//! copy of the client, so the two do not multiply: a poll that fails costs one call. An operation
//! may take 8 s, and an attempt too, unless your client's configuration has limits of its own;
//! connecting, and the protection from stalled streams, are as you or the SDK have them. Previous and
//! pending get half of the time that is left of a fetch: one that hangs is left out, and current is not.
//!
//! # Whose calls they are
//!
//! [`from_env`](SecretsManager::from_env) takes what `aws-config` finds: environment, profile
//! files, web identity (IAM roles for service accounts), ECS and EKS Pod Identity, EC2. Single
//! sign-on and credential processes are features of `aws-config` that this crate leaves off; add
//! it to your own dependencies with `sso` or `credentials-process` if a developer's machine needs
//! them. `AWS_ENDPOINT_URL` and `AWS_REGION` work as in every SDK.
//!
//! An identity that AWS refuses, or that cannot be loaded, is
//! [`Unauthenticated`](super::SourceErrorKind::Unauthenticated). The next poll loads it anew, so a token
//! file or a profile that was replaced is taken up without a restart.
//!
//! # Regions
//!
//! A replica Region follows its primary with a delay, values last. While AWSCURRENT has no value
//! there, polls fail as [`Unavailable`](super::SourceErrorKind::Unavailable) and what is in use stays.

mod secrets_manager;
pub use secrets_manager::SecretsManager;

mod secret_id;

mod error;

mod caller;

mod labels;

mod by_label;

mod memory;

mod time;

mod rds;
pub use rds::RdsSecret;

#[cfg(test)]
mod tests;
