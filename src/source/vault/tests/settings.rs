use super::*;

fn refused(address: &str) -> String {
    let builder = VaultClient::builder(address).auth(VaultAuth::token(TOKEN));
    let error = builder.build().unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::InvalidRequest);
    error.to_string()
}

#[test]
fn an_address_that_is_none_is_refused_and_a_password_in_it_not_told() {
    for address in [
        "",
        "vault.example:8200",
        "unix:///run/vault.sock",
        "http://x/?a=1",
        "http://x/#a",
    ] {
        assert!(refused(address).contains('`'), "{address}");
    }
    for address in [
        "https://user:hunter2@vault.example",
        // What is not encoded ends the host, and the rest is no port.
        "https://user:hunter2#x@vault.example",
        "https://user:hunter2?x@vault.example",
        "https://user:hunter2/x@vault.example",
        "ftp://user:hunter2@vault.example",
        "user:hunter2@vault.example:8200",
        "http://vault.example/?to=user:hunter2@x",
    ] {
        let told = refused(address);
        assert!(!told.contains("hunter2"), "{told}");
        let builder = VaultClient::builder(address);
        let told = builder.build().unwrap_err().to_string();
        assert!(told.contains("a token is missing"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    let builder = VaultClient::builder("https://user:hunter2@vault.example");
    assert!(!format!("{builder:?}").contains("hunter2"));
}

#[test]
fn a_token_is_missing() {
    let error = VaultClient::builder("http://127.0.0.1:8200")
        .build()
        .unwrap_err();
    assert!(error.to_string().contains("a token is missing"), "{error}");
}

#[test]
fn nothing_shows_a_credential() {
    let given = [
        VaultAuth::token("hunter2"),
        VaultAuth::app_role("a role id", "hunter2"),
        VaultAuth::token_file("/run/token"),
        VaultAuth::app_role_file("a role id", "/run/secret-id"),
        VaultAuth::kubernetes("a role").mount("k8s"),
    ];
    for auth in given {
        let builder = VaultClient::builder("http://127.0.0.1:8200").auth(auth.clone());
        let shown = format!("{auth:?} {builder:?}");
        let client = builder.build().unwrap();
        let source = Vault::new(&client, "app");
        let shown = format!("{shown} {client:?} {source:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("Vault"));
    }
}

#[tokio::test]
async fn the_environment_is_read_as_the_command_line_client_reads_it() {
    let address = Fake::new().serve().await;
    let read = |set: &[(&str, &str)]| {
        let set: HashMap<String, String> = set
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        VaultClient::from_variables(|name| set.get(name).cloned())
    };
    let client = read(&[("VAULT_ADDR", &address), ("VAULT_TOKEN", TOKEN)]).unwrap();
    Vault::new(&client, "app").fetch().await.unwrap();
    let both = [
        ("BAO_ADDR", address.as_str()),
        ("VAULT_ADDR", "no address"),
        ("VAULT_TOKEN", TOKEN),
        ("VAULT_NAMESPACE", "team"),
    ];
    let client = read(&both).unwrap();
    Vault::new(&client, "app").fetch().await.unwrap();

    let home = tempfile::tempdir().unwrap();
    let path = home.path().to_str().unwrap();
    let variables = [("VAULT_ADDR", address.as_str()), ("HOME", path)];
    assert!(read(&variables).is_err(), "no token");
    std::fs::write(home.path().join(".vault-token"), TOKEN).unwrap();
    let client = read(&variables).unwrap();
    Vault::new(&client, "app").fetch().await.unwrap();

    let missing = [("VAULT_TOKEN", TOKEN), ("VAULT_CACERT", "/no/such/file")];
    let error = read(&missing).unwrap_err();
    assert!(error.to_string().contains("`/no/such/file`"), "{error}");
}

#[tokio::test]
async fn a_path_below_a_proxy_and_odd_names_are_kept() {
    let fake = Fake::new();
    let moved = |path: &str| fake.0[path].clone();
    let fake = Fake::default()
        .raw("auth/token/lookup-self", moved("auth/token/lookup-self"))
        .raw("a%20b/metadata/c%3Fd/%23", moved("secret/metadata/app"))
        .raw(
            "a%20b/data/c%3Fd/%23?version=1",
            moved("secret/data/app?version=1"),
        );
    let client = client(&fake.serve().await);
    let source = Vault::new(&client, "/c?d/#/").mount("/a b/");
    source.fetch().await.unwrap();
    assert_eq!(source.name(), "vault a b/c?d/#");
}
