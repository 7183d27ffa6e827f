//! Where this server's secrets are: a directory, (feature `aws`) AWS Secrets Manager, or (feature
//! `vault`) Vault or OpenBao.

use std::{
    io,
    path::{Path, PathBuf},
};

use tower_secrets::source::{BoxSource, File, Source};
#[cfg(feature = "vault")]
use tower_secrets::source::{Vault, VaultClient};

use crate::directory::{self, Directory};

#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The directory with `current.json`; a private one is made if there is none
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// The name or full ARN of a secret in AWS Secrets Manager, instead of a directory; where AWS is
    /// and who asks, the environment tells, as with the `aws` command
    #[cfg(feature = "aws")]
    #[arg(long, value_name = "NAME", conflicts_with = "secrets")]
    aws_secret: Option<String>,
    /// The path of a secret in the KV engine `secret` of Vault or OpenBao, instead of a directory;
    /// where the server is and who asks, the environment tells, as with the `vault` and `bao` commands
    #[cfg(feature = "vault")]
    #[arg(long, value_name = "PATH", conflicts_with = "secrets")]
    #[cfg_attr(feature = "aws", arg(conflicts_with = "aws_secret"))]
    vault_secret: Option<String>,
}

pub(crate) enum Store {
    /// Both are one; the path is absolute.
    Directory(Directory, PathBuf),
    #[cfg(feature = "aws")]
    Aws(String),
    #[cfg(feature = "vault")]
    Vault(VaultClient, String),
}

impl Store {
    pub(crate) fn open(place: Place) -> io::Result<Self> {
        #[cfg(feature = "aws")]
        if let Some(name) = place.aws_secret {
            return Ok(Self::Aws(name));
        }
        #[cfg(feature = "vault")]
        if let Some(path) = place.vault_secret {
            let client = VaultClient::from_env().map_err(io::Error::other)?;
            return Ok(Self::Vault(client, path));
        }
        let directory = Directory::open(place.secrets)?;
        let path = std::path::absolute(directory.path())?;
        Ok(Self::Directory(directory, path))
    }

    pub(crate) async fn source(&self) -> BoxSource {
        match self {
            Self::Directory(_, path) => File::new(path).boxed(),
            #[cfg(feature = "aws")]
            Self::Aws(name) => tower_secrets::source::SecretsManager::from_env(name)
                .await
                .boxed(),
            #[cfg(feature = "vault")]
            Self::Vault(client, path) => Vault::new(client, path).boxed(),
        }
    }

    /// What the upstream thinks of an API key. It knows those in the directory right now, and
    /// refuses any that begins with "bad", so that a refused rotation can be tried out.
    pub(crate) fn upstream(&self) -> impl Fn(&str) -> bool + Send + Sync + 'static {
        let directory = match self {
            Self::Directory(_, path) => Some(path.clone()),
            #[cfg(feature = "aws")]
            Self::Aws(_) => None,
            #[cfg(feature = "vault")]
            Self::Vault(..) => None,
        };
        move |api_key| {
            let is_known = |path: &PathBuf| directory::api_keys(path).any(|known| known == api_key);
            !api_key.is_empty()
                && !api_key.starts_with("bad")
                && directory.as_ref().is_none_or(is_known)
        }
    }

    /// A directory that goes away with this process.
    pub(crate) fn made_for_this_run(&self) -> Option<&Path> {
        match self {
            Self::Directory(Directory::Ours(_), path) => Some(path),
            _ => None,
        }
    }

    pub(crate) fn how_to_rotate(&self) -> String {
        match self {
            Self::Directory(_, path) => by_files(path),
            #[cfg(feature = "aws")]
            Self::Aws(name) => by_aws(name),
            #[cfg(feature = "vault")]
            Self::Vault(_, path) => by_vault(path),
        }
    }
}

fn by_files(path: &Path) -> String {
    let path = path.display();
    format!(
        r#"Rotate (the change is seen at once; the old token stays good for the overlap):
  cd '{path}' && umask 077
  random() {{ head -c 32 /dev/urandom | base64; }}
  cp current.json next && mv next previous.json
  printf '{{"jwt_secret":"%s","api_key":"%s","db_password":"%s"}}' "$(random)" "$(random)" "$(random)" > next
  mv next current.json"#
    )
}

#[cfg(feature = "aws")]
fn by_aws(name: &str) -> String {
    format!(
        r#"Rotate (met at the next refresh; the old token stays good for the overlap):
  random() {{ head -c 32 /dev/urandom | base64; }}
  printf '{{"jwt_secret":"%s","api_key":"%s","db_password":"%s"}}' "$(random)" "$(random)" "$(random)" |
    aws secretsmanager put-secret-value --secret-id '{name}' --secret-string file:///dev/stdin"#
    )
}

#[cfg(feature = "vault")]
fn by_vault(path: &str) -> String {
    format!(
        r#"Rotate (met at the next refresh; the old token stays good for the overlap):
  random() {{ head -c 32 /dev/urandom | base64; }}
  printf '{{"jwt_secret":"%s","api_key":"%s","db_password":"%s"}}' "$(random)" "$(random)" "$(random)" |
    bao kv put -mount=secret '{path}' -"#
    )
}
