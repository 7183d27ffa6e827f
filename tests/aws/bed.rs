//! The servers, and clients for them.

use std::{fmt, io::Write, process::Command, time::Duration};

use aws_sdk_secretsmanager::{
    Client,
    config::{BehaviorVersion, Credentials, Region, timeout::TimeoutConfig},
};

/// The base URL of moto, or nothing where no test bed was started.
pub(crate) fn moto() -> Option<String> {
    std::env::var("TOWER_SECRETS_MOTO").ok()
}

pub(crate) fn ministack() -> Option<String> {
    std::env::var("TOWER_SECRETS_MINISTACK").ok()
}

/// The base URL of microburst, which stands before moto. One test alone may give it rules.
pub(crate) fn microburst() -> Option<String> {
    std::env::var("TOWER_SECRETS_MICROBURST").ok()
}

/// The test returns where its server was not started; `what_is_left_out` tells how many did.
macro_rules! need {
    ($server:expr) => {
        match $server {
            Some(server) => server,
            None => return,
        }
    };
}
pub(crate) use need;

#[test]
fn what_is_left_out() {
    let servers = [moto(), ministack(), microburst()];
    if servers.iter().all(Option::is_some) {
        return;
    }
    assert!(
        servers.iter().all(Option::is_none),
        "`tests/beds/aws start` sets TOWER_SECRETS_MOTO, .._MINISTACK and .._MICROBURST together"
    );
    let own = std::env::current_exe().unwrap();
    let list = Command::new(own).arg("--list").output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let tests = list.lines().filter(|line| line.ends_with(": test"));
    // All but this one and the program that some start, `identity::pod`.
    let left_out = tests.count() - 2;
    crate::left_out::left_out(format_args!(
        "{left_out} tests with servers that speak AWS's protocol. `tests/run` makes and \
         starts them; by hand: `tests/beds/aws run cargo test --features full --test aws`."
    ));
}

/// Around the capture of test output, so that it is seen when the test passes.
pub(crate) fn tell(line: fmt::Arguments<'_>) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

pub(crate) const REGION: &str = "eu-central-1";

/// A client as a user makes one: no time-outs of its own, and the SDK's retries.
pub(crate) fn client(url: &str) -> Client {
    client_in(url, REGION)
}

pub(crate) fn client_in(url: &str, region: &'static str) -> Client {
    Client::from_conf(config(url, region).build())
}

/// A client that makes the changes. It may be patient: the machine is busy.
pub(crate) fn operator(url: &str) -> Client {
    let patient = TimeoutConfig::builder()
        .operation_timeout(Duration::from_secs(60))
        .build();
    Client::from_conf(config(url, REGION).timeout_config(patient).build())
}

fn config(url: &str, region: &'static str) -> aws_sdk_secretsmanager::config::Builder {
    aws_sdk_secretsmanager::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(url)
        .region(Region::new(region))
        .credentials_provider(Credentials::new("AKIDTEST", "secret", None, None, "test"))
}
