//! Consistent views, under a writer who acts at the worst moment.

use std::{
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::{
    super::layout::{Raw, Step, View, view},
    *,
};

/// Writes a generation as the kubelet does: a new directory, then the link, then the old one goes.
fn swap(root: &Path, generation: u32, files: &[(&str, String)]) {
    if let Some(old) = publish(root, generation, files) {
        fs::remove_dir_all(old).unwrap();
    }
}

/// The same without the end; returns the old directory.
fn publish(root: &Path, generation: u32, files: &[(&str, String)]) -> Option<PathBuf> {
    let name = format!("..gen_{generation}");
    let new = root.join(&name);
    for (file, content) in files {
        let path = new.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let link = root.join("..data");
    let old = fs::read_link(&link).ok();
    symlink(&name, root.join("..data_tmp")).unwrap();
    fs::rename(root.join("..data_tmp"), &link).unwrap();
    old.map(|old| root.join(old))
}

fn pair(generation: u32) -> Vec<(&'static str, String)> {
    let document = |n: u32| format!(r#"{{"version":{n}}}"#);
    vec![
        ("current.json", document(generation + 1)),
        ("previous.json", document(generation)),
    ]
}

fn numbers(versions: &Versions) -> (u32, u32) {
    let number = |version: &Version| version.id().as_str().parse::<u32>().unwrap();
    (
        number(versions.current()),
        number(versions.previous().unwrap()),
    )
}

fn json(raw: &Raw) -> Option<&str> {
    match raw {
        Raw::Json(_, contents) => Some(std::str::from_utf8(&contents.bytes).unwrap()),
        _ => None,
    }
}

fn error_of(outcome: Result<View, SourceError>) -> SourceError {
    match outcome {
        Err(error) => error,
        Ok(_) => panic!("a view"),
    }
}

#[tokio::test]
async fn a_view_is_of_one_generation_while_swaps_never_stop() {
    let mount = Mount::new();
    let root = mount.dir.path().to_owned();
    swap(&root, 0, &pair(0));
    let stop = Arc::new(AtomicBool::new(false));
    let writer = thread::spawn({
        let stop = stop.clone();
        move || {
            let mut generation = 0;
            while !stop.load(Ordering::Relaxed) {
                generation += 1;
                swap(&root, generation, &pair(generation));
            }
            generation
        }
    });
    let mut seen = 0;
    for _ in 0..300 {
        match mount.fetch().await {
            Ok(versions) => {
                let (current, previous) = numbers(&versions);
                assert_eq!(current, previous + 1);
                seen += 1;
            }
            // No kubelet is that fast: four directories in a row went away below one fetch.
            Err(error) => assert_eq!(error.kind(), SourceErrorKind::Unavailable, "{error}"),
        }
    }
    stop.store(true, Ordering::Relaxed);
    let generations = writer.join().unwrap();
    assert!(seen > 0, "no fetch of 300 came through {generations} swaps");
}

#[test]
fn a_directory_that_vanishes_is_started_over_three_times() {
    for vanishes in [1, 3, 4] {
        let mount = Mount::new();
        let root = mount.dir.path();
        swap(root, 0, &pair(0));
        let mut generation = 0;
        let outcome = view(root, &mut |step| {
            if step == Step::Checked && generation < vanishes {
                generation += 1;
                swap(root, generation, &pair(generation));
            }
        });
        if vanishes <= 3 {
            let view = outcome.ok().unwrap();
            let current = format!(r#"{{"version":{}}}"#, vanishes + 1);
            assert_eq!(json(&view.current), Some(&*current));
        } else {
            let error = error_of(outcome);
            assert_eq!(error.kind(), SourceErrorKind::Unavailable);
            assert!(
                error.to_string().contains("each time it was read"),
                "{error}"
            );
        }
    }
}

#[test]
fn a_file_missing_from_a_directory_being_removed_is_not_taken_for_withdrawn() {
    let mount = Mount::new();
    let root = mount.dir.path();
    swap(root, 0, &pair(0));
    // What the kubelet's removal looks like from inside, as long as `current.json` is still there.
    fs::remove_file(root.join("..data/previous.json")).unwrap();
    let mut swapped = false;
    let view = view(root, &mut |step| {
        if step == Step::Listed && !swapped {
            swapped = true;
            publish(root, 1, &pair(1)).unwrap();
        }
    });
    let view = view.ok().unwrap();
    assert_eq!(json(&view.previous), Some(r#"{"version":1}"#));
}

#[tokio::test]
async fn folders_inside_a_kubelet_directory_and_folders_that_are_mounts() {
    let inside = Mount::new();
    let files = [
        ("current/api_key", "b".to_owned()),
        ("previous/api_key", "a".to_owned()),
    ];
    swap(inside.dir.path(), 0, &files);
    let versions = inside.versions().await;
    assert_eq!(text(versions.current()), r#"{"api_key":"b"}"#);
    assert_eq!(text(versions.previous().unwrap()), r#"{"api_key":"a"}"#);

    let mounts = Mount::new();
    for stage in ["current", "previous"] {
        let folder = mounts.path(stage);
        fs::create_dir(&folder).unwrap();
        swap(&folder, 0, &[("api_key", format!("{stage}\n"))]);
        symlink("..data/api_key", folder.join("api_key")).unwrap();
    }
    let versions = mounts.versions().await;
    assert_eq!(text(versions.current()), r#"{"api_key":"current"}"#);
    assert_eq!(
        text(versions.previous().unwrap()),
        r#"{"api_key":"previous"}"#
    );
}

#[test]
fn a_plain_directory_is_read_until_it_holds_still() {
    let mount = Mount::with(&[("current.json", "{}")]);
    let mut left = 2;
    let outcome = view(mount.dir.path(), &mut |step| {
        if step == Step::Checked && left > 0 {
            left -= 1;
            mount.write("current.json", format!(r#"{{"version":{left}}}"#));
        }
    });
    let view = outcome.ok().unwrap();
    assert_eq!(json(&view.current), Some(r#"{"version":0}"#));

    let mut n = 0;
    let error = error_of(self::view(mount.dir.path(), &mut |step| {
        if step == Step::Checked {
            n += 1;
            mount.write("current.json", format!(r#"{{"version":{n}}}"#));
        }
    }));
    assert_eq!(error.kind(), SourceErrorKind::Unavailable);
    assert!(error.to_string().contains("keeps changing"), "{error}");
}

#[test]
fn a_file_replaced_in_a_plain_directory_is_not_taken_for_withdrawn() {
    let mount = Mount::with(&[("current.json", "{}"), ("previous.json", "{}")]);
    let previous = mount.path("previous.json");
    let mut passes = 0;
    let outcome = view(mount.dir.path(), &mut |step| {
        passes += u32::from(step == Step::Listed);
        match (passes, step) {
            (1, Step::Checked) => fs::remove_file(&previous).unwrap(),
            (2, Step::Checked) => fs::write(&previous, r#"{"n":1}"#).unwrap(),
            _ => {}
        }
    });
    let view = outcome.ok().unwrap();
    assert_eq!(json(&view.previous), Some(r#"{"n":1}"#));
}

#[tokio::test]
async fn the_path_may_be_a_link_to_a_directory_or_to_a_kubelet_file() {
    let (events, _guard) = Events::record();
    let mount = Mount::new();
    let real = mount.path("real");
    fs::create_dir(&real).unwrap();
    swap(&real, 0, &pair(0));
    symlink("real", mount.path("link")).unwrap();
    let versions = unwatched(&mount.path("link")).fetch().await.unwrap();
    assert_eq!(numbers(&versions), (1, 0));

    symlink("..data/current.json", real.join("current.json")).unwrap();
    let source = unwatched(&real.join("current.json"));
    source.fetch().await.unwrap();
    swap(&real, 1, &pair(1));
    let versions = source.fetch().await.unwrap();
    assert_eq!(versions.current().id().as_str(), "2");
    assert_eq!(events.count("secrets_mount_may_never_update"), 0);
}
