//! Runs a page's commands as somebody does who pastes them into a terminal.

use std::{collections::BTreeMap, env, ffi::OsString, path::Path, process::Stdio};

use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::left_out::left_out;

/// Where each block goes, with what the blocks before it have exported.
pub(crate) struct Shell {
    variables: BTreeMap<String, OsString>,
    folder: TempDir,
}

impl Shell {
    /// `None`, after telling so, where nobody has promised the programs that the pages need.
    pub(crate) fn new() -> Option<Self> {
        let missing = ["sh", "curl", "jq"]
            .into_iter()
            .find(|name| !is_there(name));
        if let Some(name) = missing {
            let beds = ["TOWER_SECRETS_MOTO", "TOWER_SECRETS_BAO"];
            let promised = beds.into_iter().any(|bed| env::var_os(bed).is_some());
            assert!(!promised, "`{name}` is missing: install curl and jq");
            left_out(format_args!(
                "a runbook of the guide. `{name}` is missing: install curl and jq."
            ));
            return None;
        }
        Some(Self {
            variables: BTreeMap::new(),
            folder: tempfile::tempdir().unwrap(),
        })
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.variables.insert(name.to_owned(), value.into());
    }

    /// A file in the folder that all commands run in.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        self.variables[name].to_str().unwrap()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    /// Puts the folder of this program before the others.
    pub(crate) fn add_to_path(&mut self, program: &Path) {
        let folder = program.parent().unwrap().to_owned();
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = [folder].into_iter().chain(env::split_paths(&path));
        let path = env::join_paths(folders).unwrap();
        self.set("PATH", path);
    }

    /// What it printed. It must succeed.
    pub(crate) async fn run(&self, script: &str) -> String {
        let mut child = Command::new("sh")
            .args(["-eu", "-s"])
            .envs(&self.variables)
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // A shell that reads its script from a pipe would share it with the commands in it.
        let mut stdin = child.stdin.take().unwrap();
        let whole = format!("{{\n{script}\n}} < /dev/null\n");
        stdin.write_all(whole.as_bytes()).await.unwrap();
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
        assert!(output.status.success(), "{script}\n{out}{err}");
        out
    }

    /// Runs a block that exports these variables, and keeps them.
    pub(crate) async fn learn(&mut self, script: &str, names: &[&str]) {
        let print = names.iter().map(|name| format!("\"${name}\" "));
        let print: String = print.collect();
        let out = self.run(&format!("{script}\nprintf '%s\\n' {print}")).await;
        let values: Vec<&str> = out.lines().collect();
        assert_eq!(values.len(), names.len(), "{out}");
        for (name, value) in names.iter().zip(values) {
            assert!(!value.is_empty() && value != "null", "{name}: {out}");
            self.set(name, value);
        }
    }
}

fn is_there(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
