use super::*;

const MALFORMED: SourceErrorKind = SourceErrorKind::Malformed;

#[tokio::test]
async fn a_plain_answer_is_read() {
    let versions = Fake::new().fetch().await.unwrap();
    assert_eq!(versions.current().document(), br#"{"n":1}"#);
    assert_eq!(
        versions.current().id().as_str(),
        "1@2026-01-01T00:00:00.123456789Z"
    );
}

#[tokio::test]
async fn a_value_of_another_version_is_not_taken() {
    let path = "secret/data/app?version=1";
    let created = |text: &str| data(1).replace("2026-01-01", text);
    let long = "x".repeat(10_000);
    for other in [
        data(2),
        created("2025-12-31"),
        created(r"\nERROR"),
        created(&long),
    ] {
        let (kind, text) = Fake::new().with(path, 200, &other).error().await;
        assert_eq!(kind, SourceErrorKind::Other);
        assert!(text.contains("asked for version 1@2026-01-01T"), "{text}");
        assert!(
            !text.contains(char::is_control) && text.len() < 1_000,
            "{text:?}"
        );
    }
}

#[tokio::test]
async fn what_is_no_answer_of_a_vault_is_malformed_and_not_quoted() {
    let big = format!(r#"{{"data":"{}"}}"#, "x".repeat(2 * 1024 * 1024));
    let bodies = [
        "",
        "<html>hunter2</html>",
        r#"{"data":"hunter2"}"#,
        r#"{"data":{"versions":"hunter2"}}"#,
        r#"{"data":null}"#,
        "{}",
        "[]",
        "null",
        &big,
    ];
    for body in bodies {
        for path in [
            "secret/metadata/app",
            "secret/data/app?version=1",
            "auth/token/lookup-self",
        ] {
            let (kind, text) = Fake::new().with(path, 200, body).error().await;
            let of = body.get(..20.min(body.len()));
            assert_eq!(kind, MALFORMED, "{path}: {of:?}: {text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_answer() {
    let whole = metadata("null", &[(1, LIVE)]);
    let cut = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}",
        whole.len(),
        &whole[..40]
    );
    let endless = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"dat".to_owned();
    for answer in [cut, endless, String::new(), "SSH-2.0-x\r\n".to_owned()] {
        let fake = Fake::new().raw("secret/metadata/app", answer);
        assert_eq!(fake.error().await.0, SourceErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn statuses_have_their_kinds() {
    let sealed = r#"{"errors":["Vault is sealed"]}"#;
    let quota = r#"{"errors":["request path \"secret\": rate limit quota exceeded"]}"#;
    let upgrading = r#"{"errors":["Upgrading from non-versioned to versioned data. .."]}"#;
    let cases = [
        (400, "", SourceErrorKind::InvalidRequest),
        (400, upgrading, SourceErrorKind::Unavailable),
        (404, r#"{"errors":[]}"#, SourceErrorKind::NotFound),
        (412, "", SourceErrorKind::Unavailable),
        (418, "", SourceErrorKind::Other),
        (429, "", SourceErrorKind::Standby),
        (429, quota, SourceErrorKind::Throttled),
        (472, "", SourceErrorKind::Standby),
        (473, "", SourceErrorKind::Standby),
        (500, "", SourceErrorKind::Unavailable),
        (502, "<html>", SourceErrorKind::Unavailable),
        (503, sealed, SourceErrorKind::Sealed),
        (503, "", SourceErrorKind::Unavailable),
    ];
    for (status, body, expected) in cases {
        for path in [
            "secret/metadata/app",
            "secret/data/app?version=1",
            "auth/token/lookup-self",
        ] {
            let (kind, text) = Fake::new().with(path, status, body).error().await;
            assert_eq!(kind, expected, "{path}: {text}");
            assert!(text.contains(&format!("({status})")), "{text}");
        }
    }
}

#[tokio::test]
async fn the_servers_words_are_one_line_and_bounded() {
    let words = format!(
        r#"{{"errors":["one\ntwo\u001b[31m","{}"]}}"#,
        "x".repeat(5000)
    );
    let fake = Fake::new().with("secret/metadata/app", 400, &words);
    let text = fake.error().await.1;
    assert!(text.contains("one two [31m; xxx"), "{text}");
    assert!(text.len() < 500 && !text.contains(char::is_control));
}

#[tokio::test]
async fn a_side_stage_that_cannot_be_read_does_not_stop_current() {
    let three = metadata(r#"{"pending":"3"}"#, &[(1, LIVE), (2, LIVE), (3, LIVE)]);
    let fake = Fake::new()
        .with("secret/metadata/app", 200, &three)
        .with("secret/data/app?version=1", 500, "")
        .with("secret/data/app?version=2", 200, &data(2))
        .with("secret/data/app?version=3", 200, "no JSON");
    let source = fake.source().await;
    let versions = source.fetch().await.unwrap();
    assert_eq!(versions.current().document(), br#"{"n":2}"#);
    let sides = [&versions.previous, &versions.pending];
    assert!(
        sides
            .iter()
            .all(|side| matches!(side, crate::source::Side::Unreadable(_)))
    );
}

#[tokio::test(start_paused = true)]
async fn a_side_stage_that_hangs_leaves_time_for_current() {
    let two = metadata("null", &[(1, LIVE), (2, LIVE)]);
    let fake = Fake::new()
        .with("secret/metadata/app", 200, &two)
        .hang("secret/data/app?version=1")
        .with("secret/data/app?version=2", 200, &data(2));
    let source = fake.source().await;
    let limit = Duration::from_secs(2);
    source.set_fetch_limit(limit);
    let answer = tokio::time::timeout(limit, source.fetch()).await;
    let versions = answer.expect("side stage in its share").unwrap();
    assert_eq!(versions.current().document(), br#"{"n":2}"#);
    let crate::source::Side::Unreadable(error) = &versions.previous else {
        panic!("{versions:?}")
    };
    assert_eq!(error.kind(), SourceErrorKind::TimedOut);
    assert_eq!(
        error.to_string(),
        "`secret/app`: version 1 gave no answer within 1s"
    );
}

#[tokio::test]
async fn a_version_deleted_between_the_two_calls_is_told_as_such() {
    let deleted = r#"{"data":{"data":null,"metadata":{"version":1}}}"#;
    let fake = Fake::new().with("secret/data/app?version=1", 404, deleted);
    let (kind, text) = fake.error().await;
    assert_eq!(kind, SourceErrorKind::Deleted);
    assert_eq!(text, "`secret/app`: version 1 was deleted meanwhile");
}

#[tokio::test]
async fn a_standby_may_send_on_once_and_never_to_another_scheme() {
    let to = |location: &str| {
        format!("HTTP/1.1 307 Elsewhere\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n")
    };
    let path = "secret/metadata/app";
    let active = Fake::new().serve().await;
    let standby = Fake::new().raw(path, to(&format!("{active}/v1/{path}")));
    standby.fetch().await.unwrap();

    let another = Fake::new()
        .raw(path, to(&format!("{active}/v1/{path}")))
        .serve()
        .await;
    let twice = Fake::new().raw(path, to(&format!("{another}/v1/{path}")));
    assert_eq!(twice.error().await.0, SourceErrorKind::Standby);
    for nowhere in [
        "https://127.0.0.1:1/",
        "ftp://127.0.0.1/",
        "http://[",
        "\u{e4}",
    ] {
        let (kind, text) = Fake::new().raw(path, to(nowhere)).error().await;
        assert_eq!(kind, SourceErrorKind::Standby, "{text}");
    }
    let without = "HTTP/1.1 307 Elsewhere\r\ncontent-length: 0\r\n\r\n";
    let fake = Fake::new().raw(path, without);
    assert_eq!(fake.error().await.0, SourceErrorKind::Standby);
}

#[tokio::test]
async fn a_server_that_repeats_the_credential_does_not_get_it_into_a_log() {
    let echo = r#"{"errors":["no secret id the-secret-id here"]}"#;
    let address = Fake::new()
        .with("auth/approle/login", 400, echo)
        .serve()
        .await;
    let client = VaultClient::builder(address)
        .auth(VaultAuth::app_role("a role id", "the-secret-id"))
        .build()
        .unwrap();
    let error = Vault::new(&client, "app").fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Unauthenticated);
    assert!(
        error.to_string().contains("no secret id [redacted] here"),
        "{error}"
    );
}

#[tokio::test]
async fn a_token_with_a_line_break_is_refused_before_it_is_sent() {
    let client = VaultClient::builder(Fake::new().serve().await)
        .auth(VaultAuth::token("two\r\nlines"))
        .build()
        .unwrap();
    let error = Vault::new(&client, "app").fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Unauthenticated);
    assert!(!error.to_string().contains("lines"), "{error}");
}
