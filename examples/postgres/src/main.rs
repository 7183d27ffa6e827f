//! A worker that asks a database who it is, once a second, while its password rotates:
//!
//! ```sh
//! cargo run --manifest-path examples/postgres/Cargo.toml -- /run/secrets/app [--single-user]
//! ```
//!
//! The directory has a `current.json`; README.md shows one. SIGINT and SIGTERM end it, SIGHUP reloads.

use std::{error::Error, sync::Arc, time::Duration};

use sqlx::Row;
use tokio::signal::unix::{SignalKind, signal};
use tower_secrets::{CredentialKind, Keyring, TryError, source::File};
use tower_secrets_postgres::{App, attempt, with_pool};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: tower-secrets-postgres DIRECTORY [--single-user]";
    let directory = arguments.next().ok_or(usage)?;
    let kind = match arguments.next().as_deref() {
        None => CredentialKind::Overlapping,
        Some("--single-user") => CredentialKind::single_user(),
        Some(_) => return Err(usage.into()),
    };

    let keyring = with_pool(File::new(directory))
        .reload_on_sighup()
        .build()
        .await?;
    let mut second = tokio::time::interval(Duration::from_secs(1));
    // Made once: a signal that comes during a query is not lost.
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = second.tick() => match who_am_i(&keyring, kind).await {
                Ok(answer) => println!("{answer}"),
                Err(error) => eprintln!("the database did not answer: {error}"),
            },
        }
    }
    // The loop first, or it could make another pool.
    keyring.shutdown().await;
    keyring.current().pool().close().await;
    Ok(())
}

/// One unit of work takes one view of the secrets, and leaves the rest to `try_each_as`.
async fn who_am_i(
    keyring: &Keyring<App>,
    kind: CredentialKind,
) -> Result<String, TryError<sqlx::Error>> {
    let ask = |app: Arc<App>| async move {
        let row = sqlx::query("SELECT current_user::text, pg_backend_pid()")
            .fetch_one(app.pool())
            .await
            .map_err(attempt)?;
        let (user, session): (String, i32) = (row.get(0), row.get(1));
        Ok(format!("{user}, session {session}"))
    };
    keyring.current().try_each_as(kind, ask).await
}
