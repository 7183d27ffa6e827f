//! The stores that the runbooks are followed on, each with what the page's commands need.

use tower_secrets::source::{BoxSource, Source};

use crate::{
    fleet::{OLD, document, older_document},
    left_out::needed,
    shell::Shell,
};

pub(crate) trait Store {
    /// The section of a page with its commands.
    const SECTION: &str;

    /// Prints `gone` where the store holds nothing more of what leaked.
    const IS_GONE: &str;

    fn source(&self) -> BoxSource;
}

/// Its current document is [`OLD`].
pub(crate) struct Files(tempfile::TempDir);

impl Files {
    /// With a shell for it; `None` where that is not to be had.
    pub(crate) fn start() -> Option<(Shell, Self)> {
        let mut shell = Shell::new()?;
        let directory = tempfile::tempdir().unwrap();
        for (name, document) in [
            ("previous.json", older_document()),
            ("current.json", document(OLD)),
        ] {
            std::fs::write(directory.path().join(name), document.to_string()).unwrap();
        }
        shell.set("DIRECTORY", directory.path());
        shell.set("SECRET", "no name is needed");
        Some((shell, Self(directory)))
    }
}

impl Store for Files {
    const SECTION: &str = "Files";

    const IS_GONE: &str = r#"
        cd "$DIRECTORY" && jq -rs 'if . == [null, null] then "gone" else . end' previous.json pending.json"#;

    /// Without a watch, so that a step that is left out is noticed.
    fn source(&self) -> BoxSource {
        tower_secrets::source::File::new(self.0.path())
            .watch(false)
            .boxed()
    }
}

/// moto. Its only version is [`OLD`].
pub(crate) struct Aws {
    url: String,
    secret: String,
}

impl Aws {
    pub(crate) async fn start() -> Option<(Shell, Self)> {
        let mut shell = Shell::new()?;
        let test = "a runbook of the guide, with moto";
        let url = needed("TOWER_SECRETS_MOTO", test)?.into_string().unwrap();
        let python = needed("TOWER_SECRETS_BOTO3", test)?;
        // `aws` is beside it.
        shell.add_to_path(python.as_ref());
        for (name, value) in [
            ("AWS_ENDPOINT_URL", url.as_str()),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_DEFAULT_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ] {
            shell.set(name, value);
        }
        let secret = format!("tests/{:016x}", fastrand::u64(..));
        shell.set("SECRET", &secret);
        shell.write("first.json", &document(OLD).to_string());
        let create = r#"aws secretsmanager create-secret --name "$SECRET" --secret-string file://first.json"#;
        shell.run(create).await;
        Some((shell, Self { url, secret }))
    }
}

impl Store for Aws {
    const SECTION: &str = "AWS Secrets Manager";

    const IS_GONE: &str = r#"
        aws secretsmanager describe-secret --secret-id "$SECRET" |
            jq -r '(.VersionIdsToStages[env.LEAKED] // []) | if . == [] then "gone" else . end'"#;

    fn source(&self) -> BoxSource {
        use aws_sdk_secretsmanager::{
            Client, Config,
            config::{BehaviorVersion, Credentials, Region},
        };
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&self.url)
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"));
        let client = Client::from_conf(config.build());
        tower_secrets::source::SecretsManager::new(client, &self.secret).boxed()
    }
}

#[allow(dead_code, reason = "the tests of the source itself use more of it")]
#[path = "../vault/server.rs"]
mod server;

/// Its newest version is [`OLD`], and another one is below it.
pub(crate) struct OpenBao(server::Bao);

impl OpenBao {
    pub(crate) async fn start() -> Option<(Shell, Self)> {
        let mut shell = Shell::new()?;
        let bao = server::Bao::dev()?;
        shell.add_to_path(&server::program()?);
        shell.set("BAO_ADDR", bao.address());
        shell.set("BAO_TOKEN", &bao.root);
        shell.set("SECRET", "mcp/app");
        for document in [older_document(), document(OLD)] {
            bao.put("mcp/app", document).await;
        }
        Some((shell, Self(bao)))
    }
}

impl Store for OpenBao {
    const SECTION: &str = "Vault or OpenBao";

    const IS_GONE: &str = r#"
        bao kv metadata get -mount=secret -format=json "$SECRET" |
            jq -r '.data.versions | if [.[].destroyed] == [true, true, false] then "gone" else . end'"#;

    fn source(&self) -> BoxSource {
        tower_secrets::source::Vault::new(&self.0.client(), "mcp/app").boxed()
    }
}
