//! What the files may hold, and what they may not.

use super::*;

const SECRET: &str = "hunter2";

/// Puts a broken thing at a path.
type Break = fn(&Path);

fn broken() -> Vec<(&'static str, SourceErrorKind, &'static str, Break)> {
    use SourceErrorKind::Malformed;
    let mut all: Vec<(_, _, _, Break)> = vec![
        (
            "truncated",
            Malformed,
            "ends too early (line 1, column",
            |p| {
                fs::write(p, format!(r#"{{"api_key":"{SECRET}"#)).unwrap();
            },
        ),
        ("empty", Malformed, "ends too early", |p| {
            fs::write(p, "").unwrap()
        }),
        (
            "no JSON",
            Malformed,
            "not valid JSON (line 1, column 1)",
            |p| {
                fs::write(p, SECRET).unwrap();
            },
        ),
        ("text after it", Malformed, "not valid JSON", |p| {
            fs::write(p, format!("{{}} {SECRET}")).unwrap();
        }),
        ("string", Malformed, "must be a JSON object", |p| {
            fs::write(p, format!("\"{SECRET}\"")).unwrap();
        }),
        ("array", Malformed, "must be a JSON object", |p| {
            fs::write(p, format!("[\"{SECRET}\"]")).unwrap();
        }),
        ("not UTF-8", Malformed, "is not UTF-8 (at byte 8)", |p| {
            fs::write(p, b"{\"key\":\"\xff\xfe\"}").unwrap();
        }),
        ("10 MB", Malformed, "1 MiB", |p| {
            fs::write(p, vec![b' '; 10_000_000]).unwrap();
        }),
        ("directory", Malformed, "is a directory", |p| {
            fs::create_dir(p).unwrap()
        }),
        ("deep", Malformed, "not valid JSON", |p| {
            fs::write(p, "[".repeat(100_000)).unwrap();
        }),
        ("version too long", Malformed, "field `version`", |p| {
            fs::write(p, format!(r#"{{"version":"{}"}}"#, SECRET.repeat(100))).unwrap();
        }),
        ("version of two lines", Malformed, "field `version`", |p| {
            fs::write(p, format!(r#"{{"version":"a\n{SECRET}"}}"#)).unwrap();
        }),
    ];
    #[cfg(unix)]
    all.push((
        "dangling",
        SourceErrorKind::NotFound,
        "link to nothing",
        |p| {
            std::os::unix::fs::symlink("nowhere", p).unwrap();
        },
    ));
    all
}

fn check(what: &str, error: &SourceError, kind: SourceErrorKind, part: &str, path: &Path) {
    let text = format!("{error} {error:?}");
    assert_eq!(error.kind(), kind, "{what}: {text}");
    assert!(text.contains(part), "{what}: {text}");
    assert!(
        text.contains(&format!("`{}`: ", path.display())),
        "{what}: {text}"
    );
    assert!(!text.contains(SECRET), "{what}: {text}");
}

#[tokio::test]
async fn a_broken_current_is_an_error_that_names_the_file_and_no_value() {
    for (what, kind, part, make) in broken() {
        let mount = Mount::new();
        let path = mount.path("current.json");
        make(&path);
        let error = mount.fetch().await.unwrap_err();
        check(what, &error, kind, part, &path);
    }
}

#[tokio::test]
async fn a_broken_side_stage_is_left_out_and_never_taken_for_none() {
    for stage in [Stage::Previous, Stage::Pending] {
        for (what, kind, part, make) in broken() {
            let mount = Mount::with(&[("current.json", "{}")]);
            let path = mount.path(&format!("{stage}.json"));
            make(&path);
            let versions = mount.versions().await;
            check(what, unreadable(&versions, stage), kind, part, &path);
        }
    }
}

#[tokio::test]
async fn a_single_file_may_be_broken_too() {
    for (what, kind, part, make) in broken() {
        if matches!(what, "directory" | "dangling") {
            continue;
        }
        let mount = Mount::new();
        let path = mount.path("app.json");
        make(&path);
        let error = unwatched(&path).fetch().await.unwrap_err();
        check(what, &error, kind, part, &path);
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let mount = Mount::new();
    let error = mount.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::NotFound);
    assert!(
        error.to_string().contains("neither `current.json` nor"),
        "{error}"
    );

    fs::create_dir(mount.path("current")).unwrap();
    let error = mount.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::NotFound);
    assert!(error.to_string().contains("the folder is empty"), "{error}");

    let gone = mount.path("gone");
    let error = unwatched(&gone).fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::NotFound);
    assert_eq!(
        error.to_string(),
        format!("`{}`: does not exist", gone.display())
    );
}

#[tokio::test]
async fn both_forms_of_a_stage_are_an_error_of_that_stage() {
    let mount = Mount::with(&[
        ("current.json", "{}"),
        ("previous.json", "{}"),
        ("previous/key", "x"),
    ]);
    let versions = mount.versions().await;
    let error = unreadable(&versions, Stage::Previous);
    assert!(
        error.to_string().contains("`previous` exists too"),
        "{error}"
    );

    mount.write("current/key", "x");
    let error = mount.fetch().await.unwrap_err();
    assert!(
        error.to_string().contains("`current` exists too"),
        "{error}"
    );
}

#[tokio::test]
async fn folders_hold_a_field_in_each_file() {
    let mount = Mount::with(&[
        ("current/api_key", "new\n"),
        ("current/password", "two lines\n\n"),
        ("current/windows", "x\r\n"),
        ("current/.hidden", "no field"),
        ("previous/api_key", "old"),
        ("previous/not_after", "1970-01-01T00:00:10Z\n"),
        ("pending/version", "7\n"),
    ]);
    let versions = mount.versions().await;
    let current: serde_json::Value = serde_json::from_slice(versions.current().document()).unwrap();
    assert_eq!(
        current,
        serde_json::json!({"api_key": "new", "password": "two lines\n", "windows": "x"})
    );
    let previous = versions.previous().unwrap();
    assert_eq!(text(previous), r#"{"api_key":"old"}"#);
    assert_eq!(previous.not_after(), Some(epoch_plus(10)));
    let pending = versions.pending().unwrap();
    assert_eq!(pending.id().as_str(), "7");

    fs::create_dir(mount.path("current/nested")).unwrap();
    let error = mount.fetch().await.unwrap_err();
    assert!(
        error.to_string().contains("nested`: is a directory"),
        "{error}"
    );
    fs::remove_dir(mount.path("current/nested")).unwrap();

    mount.write("current/api_key", b"\xff");
    let error = mount.fetch().await.unwrap_err();
    assert!(
        error.to_string().contains("api_key`: is not UTF-8"),
        "{error}"
    );
}

#[tokio::test]
async fn a_stage_folder_that_is_a_file_says_so() {
    let mount = Mount::with(&[("current", "{}")]);
    let error = mount.fetch().await.unwrap_err();
    assert!(
        error.to_string().contains("current`: is not a directory"),
        "{error}"
    );
}

#[tokio::test]
async fn ids_follow_the_content_and_not_its_form() {
    let forms = [
        Mount::with(&[("current.json", r#"{"a":"1","b":"2"}"#)]),
        Mount::with(&[("current.json", "{ \"b\": \"2\",\n \"a\": \"\\u0031\" }\n")]),
        Mount::with(&[("current.json", r#"{"a":"1","not_after":null,"b":"2"}"#)]),
        Mount::with(&[("current/a", "1\n"), ("current/b", "2")]),
    ];
    let expected = forms[0].versions().await.current().id().clone();
    let hex = expected.as_str().strip_prefix("sha256:").unwrap();
    assert_eq!(hex.len(), 32);
    for form in &forms {
        assert_eq!(form.versions().await.current().id(), &expected);
    }
    let other = Mount::with(&[("current.json", r#"{"a":"1","b":"3"}"#)]);
    assert_ne!(other.versions().await.current().id(), &expected);
}

#[tokio::test]
async fn a_declared_version_is_the_id() {
    for (document, id) in [
        (r#"{"version":"blue"}"#, "blue"),
        (r#"{"version":12}"#, "12"),
    ] {
        let mount = Mount::with(&[("current.json", document)]);
        let versions = mount.versions().await;
        assert_eq!(versions.current().id().as_str(), id);
        assert_eq!(text(versions.current()), document);
    }
    let own_matter = Mount::with(&[("current.json", r#"{"version":{"major":1}}"#)]);
    let id = own_matter.versions().await.current().id().clone();
    assert!(id.as_str().starts_with("sha256:"));
}

#[tokio::test]
async fn a_copy_with_not_after_is_the_same_version() {
    let mount = Mount::with(&[
        ("current.json", r#"{"key":"x"}"#),
        (
            "previous.json",
            r#"{"not_after":"1970-01-01T01:00:20+01:00","key":"x"}"#,
        ),
    ]);
    let versions = mount.versions().await;
    let previous = versions.previous().unwrap();
    assert_eq!(previous.id(), versions.current().id());
    assert_eq!(previous.not_after(), Some(epoch_plus(20)));
    assert_eq!(text(previous), r#"{"key":"x"}"#);
}

#[tokio::test]
async fn a_bad_not_after_makes_previous_unreadable() {
    for bad in [r#""soon""#, "5", r#"["hunter2"]"#, r#""hunter2""#] {
        let mount = Mount::with(&[("current.json", "{}")]);
        mount.write("previous.json", format!(r#"{{"not_after":{bad}}}"#));
        let versions = mount.versions().await;
        let error = unreadable(&versions, Stage::Previous);
        let path = mount.path("previous.json");
        check(
            bad,
            error,
            SourceErrorKind::Malformed,
            "field `not_after`",
            &path,
        );
    }
}

#[tokio::test]
async fn null_and_empty_folders_mean_none() {
    let mount = Mount::with(&[
        ("current.json", "{}"),
        ("previous.json", " null\n"),
        ("pending.json", "null"),
    ]);
    let versions = mount.versions().await;
    assert!(is_absent(&versions, Stage::Previous));
    assert!(is_absent(&versions, Stage::Pending));

    let mount = Mount::with(&[("current.json", "{}")]);
    fs::create_dir(mount.path("previous")).unwrap();
    assert!(is_absent(&mount.versions().await, Stage::Previous));

    let mount = Mount::with(&[("current.json", "null")]);
    let error = mount.fetch().await.unwrap_err();
    assert!(
        error.to_string().contains("must be a JSON object"),
        "{error}"
    );
}

#[tokio::test]
async fn debug_shows_the_path_and_no_secret() {
    let mount = Mount::with(&[("current.json", r#"{"api_key":"hunter2"}"#)]);
    let versions = mount.versions().await;
    mount.source.published(versions.current().id());
    let text = format!("{:?} {versions:?}", mount.source);
    assert!(text.contains(&mount.source.name()), "{text}");
    assert!(!text.contains(SECRET), "{text}");
}
