//! `mcp_server reload`: the program asks its own running server, where there is no shell and no `kill`, or where
//! the server is not process 1.
//!
//! Over a socket and not by a process id in a file: the socket says what came of it, an id that is left over
//! from a crash may by now be another process's, and in a container of its own namespace it is no id at all.

use std::{error::Error, path::PathBuf, process::ExitCode, time::Duration};

use tower_secrets::admin;

use crate::say;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Order {
    /// Have the server that was started with this --socket reload, and wait for the outcome
    Reload {
        /// The same path
        #[arg(long, value_name = "PATH")]
        socket: PathBuf,
        /// How long to wait for the outcome
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
        timeout: Duration,
    },
}

impl Order {
    pub(crate) async fn follow(self) -> ExitCode {
        let Self::Reload { socket, timeout } = self;
        let reason = match tokio::time::timeout(timeout, admin::reload(socket)).await {
            Ok(Ok(outcomes)) => {
                outcomes.iter().for_each(say);
                return ExitCode::SUCCESS;
            }
            Ok(Err(error)) => match error.source() {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            },
            Err(_) => format!("no outcome after {timeout:?}; the reload goes on"),
        };
        eprintln!("mcp_server reload: {reason}");
        ExitCode::FAILURE
    }
}
