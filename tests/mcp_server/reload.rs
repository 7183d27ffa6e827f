//! `mcp_server reload`: the program asks its own running server.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::process::{Directory, PATIENCE, Server, bundle, example, version};

/// A server, its secrets, and where its socket is.
struct World {
    secrets: Directory,
    place: TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            secrets: Directory::new(),
            place: tempfile::tempdir().unwrap(),
        }
    }

    fn socket(&self) -> PathBuf {
        self.place.path().join("mcp.sock")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(example());
        command.arg("--secrets").arg(self.secrets.path());
        command.arg("--socket").arg(self.socket());
        command.args(["--refresh-every", "1h", "--overlap", "4h"]);
        command
    }

    fn start(&self) -> Server {
        Server::start_with(&mut self.command())
    }
}

fn reload(socket: &Path) -> Output {
    let mut command = Command::new(example());
    command.arg("reload").arg("--socket").arg(socket);
    command.output().unwrap()
}

fn is_refused(output: &Output, status: i32, text: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    assert!(stderr.contains(text), "{stderr}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

fn went_well(output: &Output, text: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), text);
}

#[test]
fn it_waits_for_the_outcome_and_says_whether_it_is_a_good_one() {
    let world = World::new();
    let server = world.start();
    // Whoever comes first, the watch or the order: the order's fetch began after the rotation.
    world.secrets.rotate(1);
    let output = reload(&world.socket());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let token = server.reloaded_to(1);
    assert_eq!(server.whoami(&token)["version"], version(1));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.starts_with("app: ") && text.contains(", generation "),
        "{text}"
    );

    world.secrets.put(
        "current.json",
        &bundle(2).to_string().replace("api-key", "bad"),
    );
    let reason = "version `bundle-2` was refused at step probe `api_key`";
    is_refused(&reload(&world.socket()), 1, reason);
    assert_eq!(server.whoami(&token)["version"], version(1));
    world.secrets.put("current.json", "[]");
    let output = reload(&world.socket());
    is_refused(&output, 1, "mcp_server reload: app: failed");
}

#[test]
fn where_no_server_is() {
    let world = World::new();
    let reason = format!("no server is reached at {}: ", world.socket().display());
    is_refused(&reload(&world.socket()), 1, &reason);

    // Something else listens there, and ends without an answer.
    let other = UnixListener::bind(world.socket()).unwrap();
    let asked = std::thread::spawn({
        let socket = world.socket();
        move || reload(&socket)
    });
    drop(other.accept().unwrap());
    let output = asked.join().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");

    let output = Command::new(example()).arg("reload").output().unwrap();
    is_refused(&output, 2, "--socket");
    let mut both = world.command();
    is_refused(&both.arg("reload").output().unwrap(), 2, "error: ");
}

#[test]
fn the_socket_is_for_one_user_and_goes_away_with_the_server() {
    let world = World::new();
    let server = world.start();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&world.socket()), 0o600);
    let all = fs::read_dir(world.place.path()).unwrap();
    assert_eq!(all.count(), 1, "nothing else is left there");

    // A second one does not take it away.
    let output = world.command().args(["--listen", "127.0.0.1:0"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("another process listens there"), "{stderr}");
    went_well(&reload(&world.socket()), "app: unchanged, generation 1\n");

    server.signal("TERM");
    let (status, last) = server.ended_within(PATIENCE);
    assert_eq!((status, &*last), (Some(0), "ended"));
    assert!(!world.socket().exists());
}

#[test]
fn a_socket_that_a_crash_left_behind_is_replaced_and_another_file_is_not() {
    let world = World::new();
    let server = world.start();
    server.signal("KILL");
    server.ended_within(PATIENCE);
    assert!(world.socket().exists());
    is_refused(&reload(&world.socket()), 1, "no server is reached at ");
    let server = world.start();
    went_well(&reload(&world.socket()), "app: unchanged, generation 1\n");
    drop(server);

    fs::remove_file(world.socket()).unwrap();
    fs::write(world.socket(), "somebody's own").unwrap();
    let output = world.command().args(["--listen", "127.0.0.1:0"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("something is there that is no socket"),
        "{stderr}"
    );
    assert_eq!(
        fs::read_to_string(world.socket()).unwrap(),
        "somebody's own"
    );
}

#[test]
fn a_server_that_does_not_answer_in_time() {
    let world = World::new();
    let _silent = UnixListener::bind(world.socket()).unwrap();
    let mut command = Command::new(example());
    command.arg("reload").arg("--socket").arg(world.socket());
    let output = command.args(["--timeout", "100ms"]).output().unwrap();
    is_refused(&output, 1, "no outcome after 100ms");
}
