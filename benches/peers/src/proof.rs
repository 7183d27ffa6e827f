//! Before anything is measured: every contender lets a good token through and refuses bad ones.

use axum::{Router, http::StatusCode};
use serde_json::Value;

use crate::{
    contenders::{
        self, Backend, Setup, bare,
        ours::{self, Cache},
    },
    keys::Algorithm,
    report::Table,
    tokens::{Token, claims},
};

/// What is wrong with a token, and whether a contender that lets it through is out.
const FAULTS: [(&str, bool); 6] = [
    ("another signature", true),
    ("`exp` in the past", true),
    ("other `aud`", false),
    ("other `iss`", false),
    ("no `aud`", false),
    ("no `exp`", false),
];

/// What each answers, so that nobody is fast by checking less unseen.
pub fn table(setups: &[Setup], backend: Backend) -> Table {
    let mut table = Table::new("refuses a token with", FAULTS.map(|(fault, _)| fault));
    let mut add = |name: &str, check: &dyn Fn(&Setup) -> Option<Answers>| {
        let all: Vec<Answers> = setups.iter().filter_map(check).collect();
        table.row(name, (0..FAULTS.len()).map(|i| verdict(&all, i)));
    };
    for (name, cache) in [
        ("ours, cache off", Cache::Off),
        ("ours, cache on", Cache::On),
    ] {
        add(name, &|setup| {
            Some(check_router(setup, name, ours::router(setup, cache)))
        });
    }
    for peer in contenders::peers(backend) {
        add(peer.name, &|setup| {
            Some(check_router(setup, peer.name, (peer.router)(setup)?))
        });
    }
    add("bare jsonwebtoken", &|setup| {
        Some(check(
            setup,
            "bare jsonwebtoken",
            |token| match bare::accepts(setup, token) {
                true => StatusCode::OK,
                false => StatusCode::UNAUTHORIZED,
            },
        ))
    });
    table
}

/// The answer to a token with each of the [`FAULTS`].
type Answers = [StatusCode; FAULTS.len()];

/// Over all algorithms.
fn verdict(all: &[Answers], fault: usize) -> String {
    let mut answers = all.iter().map(|answers| answers[fault]);
    if answers.clone().any(|status| status == StatusCode::OK) {
        return "**no**".to_owned();
    }
    let error = answers.find(StatusCode::is_server_error);
    error.map_or("yes".to_owned(), |status| {
        format!("as a {}", status.as_u16())
    })
}

fn check_router(setup: &Setup, name: &str, mut router: Router) -> Answers {
    check(setup, name, move |token| {
        contenders::request(&mut router, token)
    })
}

/// # Panics
/// When a good token is refused, the second time as well, or one is let through that nobody may.
fn check(setup: &Setup, name: &str, mut answer: impl FnMut(&Token) -> StatusCode) -> Answers {
    let algorithm = setup.algorithm.name();
    let good = setup.key.sign(&claims());
    for time in ["first", "second"] {
        let status = answer(&good);
        assert_eq!(
            status,
            StatusCode::OK,
            "{name}: a good {algorithm} token, {time} time"
        );
    }
    let answers = bad_tokens(setup, &good).map(|token| answer(&token));
    for ((fault, must), status) in FAULTS.iter().zip(answers) {
        let refused = status.is_client_error();
        assert!(
            refused || !must,
            "{name}: {status} for a {algorithm} token with {fault}"
        );
    }
    answers
}

/// In the order of [`FAULTS`].
fn bad_tokens(setup: &Setup, good: &Token) -> [Token; FAULTS.len()] {
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        setup.key.sign(&claims)
    };
    let without = |name: &str| {
        let mut claims = claims();
        claims
            .as_object_mut()
            .expect("claims are an object")
            .remove(name);
        setup.key.sign(&claims)
    };
    [
        good.forged(),
        with("exp", 1_600_000_000.into()),
        with("aud", "https://other.example.com".into()),
        with("iss", "https://other.example.com".into()),
        without("aud"),
        without("exp"),
    ]
}

/// The setups of all algorithms.
pub fn setups() -> Vec<Setup> {
    Algorithm::ALL.into_iter().map(Setup::new).collect()
}
