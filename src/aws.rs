//! The edge to AWS itself: clients that sign with an access key out of the bundle.
//!
//! A server that may not use a role, because it calls another provider's S3 or another
//! organisation's account, holds an IAM access key. IAM lets a user have two of them, so a
//! rotation is: create the second, put it into the secret, and delete the first once nobody uses
//! it any more (IAM User Guide, "Update access keys"). An AWS client is built once and signs with
//! whatever its credentials provider gives it, and [`AccessKeyProvider`] gives the key of the
//! newest version:
//!
//! ```
//! use serde::Deserialize;
//! use tower_secrets::{Keyring, aws::{AccessKey, AccessKeyProvider}, source::Memory};
//!
//! #[derive(Deserialize)]
//! struct App {
//!     s3: AccessKey,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let source = Memory::new(r#"{"s3":{"access_key_id":"AKIAEXAMPLE","secret_access_key":"wJal"}}"#);
//! let keyring = Keyring::<App>::builder(source).build().await?;
//! let config = aws_config::from_env()
//!     .region("eu-central-1")
//!     .credentials_provider(AccessKeyProvider::new(keyring, |app| &app.s3))
//!     .load()
//!     .await;
//! # let _ = config;
//! # Ok(())
//! # }
//! ```
//!
//! Every request of every client made from that `config` is signed with the key that is current
//! when the request is signed.
//!
//! To the SDK its credentials are over at once, so that it asks each time. Of a presigned request it therefore warns that
//! it "will expire before the given `expires_in` duration": it will not, unless the key is deleted.

use std::{fmt, time::SystemTime};

use aws_credential_types::{
    Credentials,
    provider::{self, ProvideCredentials, future},
};
use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::Keyring;

/// An IAM access key, as a field of a bundle.
///
/// It is read from an object with `access_key_id`, `secret_access_key` and, for temporary
/// credentials, `session_token`; the names that `aws iam create-access-key` prints
/// (`AccessKeyId`, ..) are read as well. It is wiped from memory when dropped, and `Debug` shows
/// the id alone.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct AccessKey {
    #[serde(alias = "AccessKeyId")]
    access_key_id: String,
    #[serde(alias = "SecretAccessKey")]
    secret_access_key: String,
    #[serde(default, alias = "SessionToken")]
    session_token: Option<String>,
}

impl AccessKey {
    /// The key's id, which is no secret: AWS shows it in logs of its own.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.access_key_id
    }

    fn credentials(&self, expire: SystemTime) -> Credentials {
        Credentials::new(
            &self.access_key_id,
            &self.secret_access_key,
            self.session_token.clone(),
            Some(expire),
            "tower-secrets",
        )
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            access_key_id,
            secret_access_key: _,
            session_token: _,
        } = self;
        f.debug_struct("AccessKey")
            .field("access_key_id", access_key_id)
            .finish_non_exhaustive()
    }
}

type Field<T> = dyn for<'a> Fn(&'a T) -> &'a AccessKey + Send + Sync;

/// Gives AWS clients the access key of the newest version; see the [module](self).
///
/// It holds a handle on the keyring, so the keyring is refreshed for as long as the client lives.
pub struct AccessKeyProvider<T> {
    keyring: Keyring<T>,
    field: Box<Field<T>>,
}

impl<T> AccessKeyProvider<T> {
    /// A provider of this field of the bundle.
    pub fn new<F>(keyring: Keyring<T>, field: F) -> Self
    where
        F: for<'a> Fn(&'a T) -> &'a AccessKey + Send + Sync + 'static,
    {
        Self {
            keyring,
            field: Box::new(field),
        }
    }
}

impl<T: Send + Sync + 'static> ProvideCredentials for AccessKeyProvider<T> {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let secrets = self.keyring.current();
        // Given without an end they would be kept for 15 minutes; as over by any clock, also one that is
        // set back, the client asks for each request, which costs the reading of a pointer.
        let credentials = (self.field)(&secrets).credentials(SystemTime::UNIX_EPOCH);
        future::ProvideCredentials::ready(provider::Result::Ok(credentials))
    }
}

impl<T> fmt::Debug for AccessKeyProvider<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keyring, field: _ } = self;
        f.debug_struct("AccessKeyProvider")
            .field("keyring", keyring)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn both_spellings_are_read_and_no_secret_is_shown() {
        for document in [
            r#"{"access_key_id":"AKIA1","secret_access_key":"hunter2","session_token":"hunter3"}"#,
            r#"{"AccessKeyId":"AKIA1","SecretAccessKey":"hunter2","SessionToken":"hunter3"}"#,
        ] {
            let key: AccessKey = serde_json::from_str(document).unwrap();
            let shown = format!("{key:?}");
            assert!(
                shown.contains("AKIA1") && !shown.contains("hunter"),
                "{shown}"
            );
            let credentials = key.credentials(SystemTime::UNIX_EPOCH);
            assert_eq!(credentials.access_key_id(), key.id());
            assert_eq!(credentials.secret_access_key(), "hunter2");
            assert_eq!(credentials.session_token(), Some("hunter3"));
        }
    }
}
