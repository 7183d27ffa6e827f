//! Real events of the file system. The time limits only bound a failure.

use std::{os::unix::fs::symlink, sync::atomic::Ordering};

use tokio::time::timeout;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

fn watched(path: &Path) -> File {
    let mut source = File::new(path).debounce(Duration::from_millis(5));
    source.in_kubernetes = || false;
    source
}

async fn changed(source: &File) {
    timeout(LIMIT, source.changed())
        .await
        .expect("no change was reported");
}

async fn current_id(source: &File) -> String {
    let versions = source.fetch().await.unwrap();
    versions.current().id().as_str().to_owned()
}

#[tokio::test]
async fn a_written_file_and_a_moved_data_link_are_reported() {
    let mount = Mount::with(&[("..1/current.json", r#"{"version":1}"#)]);
    symlink("..1", mount.path("..data")).unwrap();
    let source = watched(mount.dir.path());
    assert_eq!(current_id(&source).await, "1");

    mount.write("..2/current.json", r#"{"version":2}"#);
    symlink("..2", mount.path("..data_tmp")).unwrap();
    fs::rename(mount.path("..data_tmp"), mount.path("..data")).unwrap();
    changed(&source).await;
    assert_eq!(current_id(&source).await, "2");

    let plain = Mount::with(&[("current.json", r#"{"version":1}"#)]);
    let source = watched(plain.dir.path());
    assert_eq!(current_id(&source).await, "1");
    plain.write("current.json", r#"{"version":2}"#);
    changed(&source).await;
    assert_eq!(current_id(&source).await, "2");
}

#[tokio::test]
async fn changed_sets_the_watch_up_by_itself() {
    let mount = Mount::with(&[("current.json", "{}")]);
    let source = watched(mount.dir.path());
    let writer = async {
        while !source.watch_tried.load(Ordering::Acquire) {
            tokio::task::yield_now().await;
        }
        mount.write("current.json", r#"{"version":2}"#);
    };
    tokio::join!(changed(&source), writer);
}

#[tokio::test]
async fn a_watch_that_fails_is_told_once() {
    let (events, _guard) = Events::record();
    let source = watched(Path::new("/nowhere"));
    for _ in 0..2 {
        source.warn_of_watch(&notify::Error::new(notify::ErrorKind::MaxFilesWatch));
    }
    assert_eq!(events.count("secrets_watch_unavailable"), 1);
}

/// Had reading been counted, the sum would be greater: events come in order.
#[tokio::test]
async fn reading_is_no_change() {
    let mount = Mount::with(&[("current.json", "{}"), ("previous/key", "x")]);
    let source = watched(mount.dir.path());
    for _ in 0..10 {
        source.fetch().await.unwrap();
    }
    symlink("nowhere", mount.path("previous/.marker")).unwrap();
    let count = timeout(LIMIT, source.signal.first_count()).await.unwrap();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn neighbours_of_the_directory_are_no_change() {
    let mount = Mount::with(&[("app/current.json", "{}")]);
    let source = watched(&mount.path("app"));
    source.fetch().await.unwrap();
    for n in 0..10 {
        mount.write(&format!("neighbour{n}"), "x");
    }
    symlink("nowhere", mount.path("app/.marker")).unwrap();
    let count = timeout(LIMIT, source.signal.first_count()).await.unwrap();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn a_new_stage_folder_is_watched_from_the_next_fetch_on() {
    let mount = Mount::with(&[("current/version", "1")]);
    let source = watched(mount.dir.path());
    assert_eq!(current_id(&source).await, "1");
    mount.write("current/version", "2");
    changed(&source).await;

    fs::create_dir(mount.path("pending")).unwrap();
    changed(&source).await;
    source.fetch().await.unwrap();
    mount.write("pending/version", "3");
    changed(&source).await;
    let versions = source.fetch().await.unwrap();
    assert_eq!(versions.pending().unwrap().id().as_str(), "3");
}

#[tokio::test]
async fn a_swapped_link_to_the_directory_is_reported_and_followed() {
    let mount = Mount::with(&[
        ("one/current.json", r#"{"version":1}"#),
        ("two/current.json", r#"{"version":2}"#),
    ]);
    let link = mount.path("app");
    symlink("one", &link).unwrap();
    let source = watched(&link);
    assert_eq!(current_id(&source).await, "1");

    symlink("two", mount.path("app_tmp")).unwrap();
    fs::rename(mount.path("app_tmp"), &link).unwrap();
    changed(&source).await;
    assert_eq!(current_id(&source).await, "2");
    mount.write("two/current.json", r#"{"version":3}"#);
    changed(&source).await;
    assert_eq!(current_id(&source).await, "3");
}

#[tokio::test]
async fn a_directory_made_again_is_watched_again() {
    let mount = Mount::with(&[("app/current.json", r#"{"version":"0"}"#)]);
    let app = mount.path("app");
    let source = watched(&app);
    assert_eq!(current_id(&source).await, "0");
    // The same inode number is often used again, so several rounds.
    for round in 1..=5 {
        fs::remove_dir_all(&app).unwrap();
        mount.write("app/current.json", format!(r#"{{"version":"{round}"}}"#));
        see(&source, &round.to_string()).await;
        // The first may be seen thanks to events of the re-creation; the last may not.
        for n in 1..=3 {
            let id = format!("{round}-{n}");
            mount.write("app/current.json", format!(r#"{{"version":"{id}"}}"#));
            see(&source, &id).await;
        }
    }
}

/// It is the same inode, and yet its watch ended.
#[tokio::test]
async fn a_directory_moved_away_and_back_is_watched_again() {
    let mount = Mount::with(&[("app/current.json", r#"{"version":"0"}"#)]);
    let app = mount.path("app");
    let source = watched(&app);
    assert_eq!(current_id(&source).await, "0");
    fs::rename(&app, mount.path("away")).unwrap();
    fs::rename(mount.path("away"), &app).unwrap();
    for n in 1..=4 {
        mount.write("app/current.json", format!(r#"{{"version":"{n}"}}"#));
        see(&source, &n.to_string()).await;
    }
}

#[tokio::test]
async fn a_directory_that_is_not_there_yet_is_reported_when_it_comes() {
    let mount = Mount::new();
    let source = watched(&mount.path("app"));
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::NotFound);
    mount.write("new/current.json", r#"{"version":1}"#);
    fs::rename(mount.path("new"), mount.path("app")).unwrap();
    changed(&source).await;
    assert_eq!(current_id(&source).await, "1");
}

#[tokio::test]
async fn a_single_file_is_reported_written_and_replaced() {
    let mount = Mount::with(&[("app.json", r#"{"version":1}"#)]);
    let source = watched(&mount.path("app.json"));
    assert_eq!(current_id(&source).await, "1");
    mount.write("app.json", r#"{"version":2}"#);
    changed(&source).await;
    assert_eq!(current_id(&source).await, "2");
    mount.write("new.json", r#"{"version":3}"#);
    fs::rename(mount.path("new.json"), mount.path("app.json")).unwrap();
    see(&source, "3").await;
}

/// Waits for a change, and for more of them until this version is current. The first wait comes
/// before the first fetch, which would see the version without any watch.
async fn see(source: &File, id: &str) {
    loop {
        changed(source).await;
        if current_id(source).await == id {
            return;
        }
    }
}
