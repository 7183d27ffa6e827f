//! Whether a whole fleet is done with a version of a secret: asks the operator's page of every replica, twice.
//!
//! ```sh
//! cargo run --example fleet_status --features admin -- --expect 2 http://127.0.0.1:9090 http://127.0.0.1:9091
//! ```
//!
//! It prints a line for each replica, why it is not safe, and the verdict. The exit status is 0 for yes, 1 for
//! no and 2 for a mistake in the arguments. How it decides, and what it cannot see: `tower_secrets::admin::fleet`.
//!
//! A URL whose host is the name of several addresses, as that of a headless Service in Kubernetes is, stands for
//! a replica at each of them. A page that wants a token gets the one in `TOWER_SECRETS_ADMIN_TOKEN`. For `https` URLs
//! build it with the feature `jwks` too.

use std::{num::NonZeroUsize, process::ExitCode, time::Duration};

use clap::Parser;
use reqwest::header::HeaderValue;
use tokio::time::{Instant, sleep};
use tower_secrets::admin::fleet::Question;

mod ask;
use ask::{Asker, Page};

const TOKEN: &str = "TOWER_SECRETS_ADMIN_TOKEN";

/// Whether a whole fleet is done with a version of a secret
#[derive(Debug, Parser)]
struct Arguments {
    /// How many replicas there must be
    #[arg(long, value_name = "N")]
    expect: NonZeroUsize,
    /// The version that is to be revoked; every one that was replaced unless given
    #[arg(long, value_name = "ID")]
    version: Option<String>,
    /// The name of the one secret that matters; all of them unless given
    #[arg(long, value_name = "NAME")]
    keyring: Option<String>,
    /// Ask again until the answer is yes, but no longer than this
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// How long after one round of questions the next begins
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    every: Duration,
    /// How long a replica may take to answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Where the operator's page of each replica is, such as http://10.0.0.1:9090
    #[arg(required = true, value_name = "URL")]
    pages: Vec<Page>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let asker = match token().and_then(|token| Asker::new(token, arguments.timeout)) {
        Ok(asker) => asker,
        Err(error) => {
            eprintln!("fleet_status: {error}");
            return ExitCode::from(2);
        }
    };
    if ask_until_safe(&arguments, &asker).await {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn ask_until_safe(arguments: &Arguments, asker: &Asker) -> bool {
    let mut question = Question::new(arguments.expect.get());
    if let Some(name) = &arguments.keyring {
        question = question.keyring(name);
    }
    if let Some(id) = &arguments.version {
        question = question.version(id);
    }
    let end = Instant::now() + arguments.wait;
    let mut before = asker.round(&arguments.pages).await;
    let mut told = None;
    loop {
        sleep(arguments.every).await;
        let now = asker.round(&arguments.pages).await;
        let verdict = question.decide(&before, &now);
        if verdict.is_safe() || Instant::now() >= end {
            println!("{verdict}");
            return verdict.is_safe();
        }
        // Not each second that a window is still open.
        let doubts = verdict.doubts();
        if let Some(doubt) = doubts.first()
            && told.replace(doubts.len()) != Some(doubts.len())
        {
            eprintln!("not yet, for {} reasons, such as: {doubt}", doubts.len());
        }
        before = now;
    }
}

/// What an unset or empty variable means is that pages want none.
fn token() -> Result<Option<HeaderValue>, String> {
    let Some(token) = std::env::var_os(TOKEN).filter(|token| !token.is_empty()) else {
        return Ok(None);
    };
    let token = token.to_str().map(|token| format!("Bearer {token}"));
    let header = token.and_then(|token| HeaderValue::from_str(&token).ok());
    let mut header = header.ok_or_else(|| format!("no header can carry what {TOKEN} holds"))?;
    header.set_sensitive(true);
    Ok(Some(header))
}
