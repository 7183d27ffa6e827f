//! Reload on SIGHUP, test before swap: a bad new version is refused, a good one comes into use.
//!
//! ```sh
//! cargo run --example sighup
//! ```

use std::{error::Error, process::Command, sync::Arc};

use serde::Deserialize;
use tower_secrets::{Keyring, event::Event, source::Memory};

#[derive(Deserialize)]
struct App {
    db_password: String,
}

/// Stands for opening a connection with the new password.
async fn log_in(app: Arc<App>) -> Result<(), &'static str> {
    if app.db_password.starts_with("good") {
        Ok(())
    } else {
        Err("the database refuses this password")
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // In a service this is `File::new("/run/secrets/app")`, and somebody else sends the signal.
    let source = Memory::new(r#"{"db_password":"good-1"}"#);
    let keyring = Keyring::<App>::builder(source.clone())
        .probe("database", log_in)
        .reload_on_sighup()
        .build()
        .await?;
    println!("start: {}", keyring.current().db_password);

    for document in [
        r#"{"db_password":"mistyped"}"#,
        r#"{"db_password":"good-2"}"#,
    ] {
        let mut events = keyring.subscribe();
        source.rotate(document);
        hang_up()?;
        while let Some(event) = events.next().await {
            match event {
                Event::Reloaded { trigger, .. } => println!("reloaded on {trigger}"),
                Event::ReloadFailed(error) => println!("refused: {error}"),
                _ => continue,
            }
            break;
        }
        println!("in use: {}", keyring.current().db_password);
    }
    Ok(())
}

/// `kill -HUP` to this very process.
fn hang_up() -> Result<(), Box<dyn Error>> {
    let id = std::process::id().to_string();
    let status = Command::new("kill").args(["-HUP", &id]).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("kill: {status}").into())
    }
}
