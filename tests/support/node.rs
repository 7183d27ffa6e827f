//! MCP programs that run on Node.

use std::{path::PathBuf, process::Command};

use crate::left_out::needed;

/// The folder into which `tests/beds/node` has put Node and its packages.
#[derive(Clone, Debug)]
pub(crate) struct Node(PathBuf);

impl Node {
    pub(crate) fn find() -> Option<Self> {
        let test = "a test with an MCP program that runs on Node";
        needed("TOWER_SECRETS_NODE", test).map(|bed| Self(bed.into()))
    }

    /// Node with one of the scripts of `tests/node_clients`, or of the packages.
    pub(crate) fn command(&self, script: &str) -> Command {
        let mut command = Command::new(self.0.join("bin/node"));
        command.arg(self.0.join(script));
        command
    }

    /// The same, with a module that is loaded before it.
    pub(crate) fn command_after(&self, module: &str, script: &str) -> Command {
        let mut command = Command::new(self.0.join("bin/node"));
        let module = self.0.join(module);
        command
            .args(["--import", &format!("file://{}", module.display())])
            .arg(self.0.join(script));
        command
    }
}
