//! Whether a whole fleet is done with a version, from what each replica says.

use std::{sync::Arc, time::Duration};

use tower_secrets::{
    Keyring,
    admin::{
        Admin,
        fleet::{Answer, Doubt, Question, Replica, Verdict},
    },
    clock::TokioClock,
    source::{Memory, SourceError, SourceErrorKind},
};

use crate::world::{App, bundle, get};

const OVERLAP: Duration = Duration::from_secs(1000);

/// One process. What tells processes apart is of the real one, so each has a name put in its place.
struct Process {
    instance: &'static str,
    keyring: Keyring<App>,
}

impl Process {
    async fn start(store: &Memory, instance: &'static str) -> Self {
        let keyring = Keyring::<App>::builder(store.clone())
            .jwt_key(|app| &app.jwt_secret)
            .overlap(OVERLAP)
            .clock(Arc::new(TokioClock::new()))
            .build()
            .await
            .unwrap();
        Self { instance, keyring }
    }

    async fn status(&self) -> Vec<u8> {
        let router = Admin::new().keyring("app", &self.keyring).router();
        let mut status = get(&router, "/status").await.json();
        status["instance"] = self.instance.into();
        status.to_string().into_bytes()
    }

    async fn answer(&self, from: &str) -> Answer {
        let replica = Replica::parse(&self.status().await);
        Answer {
            from: from.to_owned(),
            replica: Ok(replica.unwrap()),
        }
    }
}

/// Each of them is asked once.
async fn round(processes: &[Process]) -> Vec<Answer> {
    let mut answers = Vec::new();
    for process in processes {
        answers.push(process.answer(&format!("at {}", process.instance)).await);
    }
    answers
}

async fn asked_twice(question: &Question, processes: &[Process]) -> Verdict {
    question.decide(&round(processes).await, &round(processes).await)
}

async fn three() -> (Memory, [Process; 3]) {
    let store = Memory::new(bundle("one"));
    let a = Process::start(&store, "a").await;
    let b = Process::start(&store, "b").await;
    let c = Process::start(&store, "c").await;
    (store, [a, b, c])
}

/// All of them have seen the second version, and are done with the first.
async fn rotated() -> (Memory, [Process; 3]) {
    let (store, all) = three().await;
    store.rotate(bundle("two"));
    for process in &all {
        process.keyring.refresh().await.unwrap();
    }
    tokio::time::sleep(OVERLAP + Duration::from_secs(1)).await;
    (store, all)
}

#[tokio::test(start_paused = true)]
async fn through_a_rotation() {
    let (store, all) = three().await;
    let any = Question::new(3);
    let first = any.clone().version("1");
    let second = any.clone().version("2");
    assert_eq!(
        asked_twice(&any, &all).await.doubts(),
        [Doubt::NothingReplaced]
    );
    let verdict = asked_twice(&first, &all).await;
    assert_eq!(verdict.doubts().len(), 3, "{verdict}");
    assert!(verdict.to_string().contains("it is the version in use"));

    // One has seen the new version; the others would still sign with the old one.
    store.rotate(bundle("two"));
    all[0].keyring.refresh().await.unwrap();
    for question in [&any, &first, &second] {
        let verdict = asked_twice(question, &all).await;
        let differ = Doubt::Differ {
            keyring: "app".to_owned(),
            at: vec![
                ("1".to_owned(), vec!["at b".to_owned(), "at c".to_owned()]),
                ("2".to_owned(), vec!["at a".to_owned()]),
            ],
        };
        assert!(verdict.doubts().contains(&differ), "{verdict}");
    }
    for process in &all[1..] {
        process.keyring.refresh().await.unwrap();
    }
    for question in [&any, &first] {
        let verdict = asked_twice(question, &all).await;
        assert_eq!(verdict.doubts().len(), 3, "{verdict}");
        let text = "not safe: at b: app: version 1: it is trusted for 1000 s more\n";
        assert!(verdict.to_string().contains(text), "{verdict}");
    }

    // Its window is over; one request of one of them still holds it.
    let request = all[2].keyring.current();
    store.rotate(bundle("three"));
    for process in &all {
        process.keyring.refresh().await.unwrap();
    }
    tokio::time::sleep(OVERLAP + Duration::from_secs(1)).await;
    let verdict = asked_twice(&second, &all).await;
    let [Doubt::InUse { from, reason, .. }] = verdict.doubts() else {
        panic!("{verdict}");
    };
    assert_eq!(from, "at c");
    assert_eq!(
        reason,
        "version 2: it is held 1 times by requests that began with it"
    );
    // That request's previous bundle is the first.
    for question in [&any, &first] {
        let verdict = asked_twice(question, &all).await;
        let text = "not safe: at c: app: version 1: a resource prepared from it is not closed\n";
        assert!(verdict.to_string().contains(text), "{verdict}");
    }
    drop(request);
    let verdict = asked_twice(&any, &all).await;
    assert!(verdict.is_safe(), "{verdict}");
    assert_eq!(
        verdict.to_string(),
        "at a (a) app: version 3\nat b (b) app: version 3\nat c (c) app: version 3\n\
         safe to revoke: yes, version 1 of app, version 2 of app"
    );
    assert_eq!(
        asked_twice(&any.version("9"), &all).await.doubts(),
        [Doubt::UnknownVersion {
            version: "9".to_owned()
        }]
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_answer_or_is_stale_or_is_stopped() {
    let (store, all) = rotated().await;
    let question = Question::new(3).version("1");
    assert!(asked_twice(&question, &all).await.is_safe());

    let silent = Answer {
        from: "at c".to_owned(),
        replica: Err("connection refused".to_owned()),
    };
    let mut answers = round(&all[..2]).await;
    answers.push(silent.clone());
    let count = |expected, answered| Doubt::Count { expected, answered };
    let verdict = question.decide(&answers, &answers);
    let no_answer = Doubt::NoAnswer {
        from: "at c".to_owned(),
        reason: "connection refused".to_owned(),
    };
    assert_eq!(verdict.doubts(), [no_answer.clone(), count(3, 2)]);
    // Nor is it enough that as many as there must be have answered.
    let two = Question::new(2).version("1");
    assert_eq!(two.decide(&answers, &answers).doubts(), [no_answer]);

    store.fail_next(1, SourceError::new(SourceErrorKind::Unavailable, "cut off"));
    all[1].keyring.refresh().await.unwrap_err();
    let verdict = asked_twice(&question, &all).await;
    let text =
        "not safe: at b: app: the last refresh failed, at least in part; the source answered ";
    assert!(verdict.to_string().contains(text), "{verdict}");
    assert_eq!(verdict.doubts().len(), 1);
    all[1].keyring.refresh().await.unwrap();
    assert!(asked_twice(&question, &all).await.is_safe());

    all[1].keyring.shutdown().await;
    let verdict = asked_twice(&question, &all).await;
    let text = "not safe: at b: app: it is refreshed no more\n";
    assert!(verdict.to_string().contains(text), "{verdict}");
}

#[tokio::test(start_paused = true)]
async fn one_that_joined_left_or_was_started_anew() {
    let (store, all) = rotated().await;
    let question = Question::new(3);
    let joined = |from: &str| Doubt::Joined { from: from.into() };
    let left = |from: &str| Doubt::Left { from: from.into() };
    let (two, three) = (round(&all[..2]).await, round(&all).await);
    assert_eq!(question.decide(&two, &three).doubts(), [joined("at c")]);
    let count = Doubt::Count {
        expected: 3,
        answered: 2,
    };
    assert_eq!(
        question.decide(&three, &two).doubts(),
        [count, left("at c")]
    );
    // At the same address.
    let anew = Process::start(&store, "d").await;
    let mut again = two.clone();
    again.push(anew.answer("at c").await);
    let verdict = question.decide(&three, &again);
    let [one, other, in_use] = verdict.doubts() else {
        panic!("{verdict}");
    };
    assert_eq!((one, other), (&joined("at c"), &left("at c")));
    // It has not seen when the first version was replaced, and trusts it for a window of its own.
    let text = "at c: app: version 1: it is trusted for 1000 s more";
    assert_eq!(in_use.to_string(), text);
    tokio::time::sleep(OVERLAP + Duration::from_secs(1)).await;
    again[2] = anew.answer("at c").await;
    assert!(question.decide(&again, &again).is_safe());

    let mut four = three.clone();
    four.push(anew.answer("at d").await);
    let count = Doubt::Count {
        expected: 3,
        answered: 4,
    };
    assert_eq!(question.decide(&four, &four).doubts(), [count]);
}

#[tokio::test(start_paused = true)]
async fn one_that_answers_twice_counts_once() {
    let (_, all) = rotated().await;
    let question = Question::new(3);
    let mut answers = round(&all[..2]).await;
    answers.push(all[0].answer("behind the balancer").await);
    let verdict = question.decide(&answers, &answers);
    let count = Doubt::Count {
        expected: 3,
        answered: 2,
    };
    assert_eq!(verdict.doubts(), [count]);
    let line = "at a = behind the balancer (a) app: version 2\n";
    assert!(verdict.to_string().starts_with(line), "{verdict}");
    assert!(Question::new(2).decide(&answers, &answers).is_safe());
}

#[tokio::test(start_paused = true)]
async fn of_several_secrets_one_may_be_asked_about() {
    let (_, all) = rotated().await;
    let other = Memory::new(bundle("partner"));
    let partner = Process::start(&other, "").await;
    other.rotate(bundle("partner two"));
    partner.keyring.refresh().await.unwrap();
    let page = Admin::new()
        .keyring("app", &all[0].keyring)
        .keyring("partner", &partner.keyring);
    let status = get(&page.router(), "/status").await;
    let both = vec![Answer {
        from: "at both".to_owned(),
        replica: Ok(Replica::parse(status.body.as_bytes()).unwrap()),
    }];
    let question = Question::new(1);
    assert!(!question.decide(&both, &both).is_safe());
    assert!(
        question
            .clone()
            .keyring("app")
            .decide(&both, &both)
            .is_safe()
    );
    let partner = question.clone().keyring("partner");
    assert!(!partner.decide(&both, &both).is_safe());
    let missing = |keyring: &str| Doubt::Missing {
        from: "at both".to_owned(),
        keyring: keyring.to_owned(),
    };
    let none = question.keyring("none").decide(&both, &both);
    assert_eq!(none.doubts(), [missing("none"), Doubt::NothingReplaced]);

    // One replica of two has only one of the secrets.
    let mut answers = both.clone();
    answers.push(all[1].answer("at b").await);
    let two = Question::new(2);
    let missing = Doubt::Missing {
        from: "at b".to_owned(),
        keyring: "partner".to_owned(),
    };
    assert!(two.decide(&answers, &answers).doubts().contains(&missing));
    assert!(two.keyring("app").decide(&answers, &answers).is_safe());
}

#[test]
fn what_is_no_status_counts_as_no_answer() {
    for text in [
        "",
        "ok",
        "{}",
        r#"{"schema":2,"instance":"a","keyrings":[]}"#,
        r#"{"schema":1,"instance":"a","keyrings":"a value"}"#,
    ] {
        let error = Replica::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "the answer is no status of schema 1");
    }
    // Nor can what it says look like a line of ours.
    let text = r#"{"schema":1,"instance":"a\nsafe to revoke: yes\u001b[2J","keyrings":[]}"#;
    let replica = Replica::parse(text.as_bytes()).unwrap();
    assert_eq!(replica.instance(), "a safe to revoke: yes [2J");

    let nobody: [Answer; 0] = [];
    let verdict = Question::new(0).decide(&nobody, &nobody);
    assert_eq!(verdict.doubts(), [Doubt::NothingReplaced]);
}
