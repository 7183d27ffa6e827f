//! The answers.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use serde::{Deserialize, Serialize};

use super::{Admin, order::Order, report::Report, row::Row};
use crate::{
    refresh::{RefreshError, Refreshed},
    source::VersionId,
};

pub(super) async fn status(State(admin): State<Arc<Admin>>) -> Response {
    json(StatusCode::OK, &Report::new(&admin.rows, admin.may_revoke))
}

pub(super) async fn healthz(State(admin): State<Arc<Admin>>) -> Response {
    let ended = admin.rows.iter().find(|row| !row.keyring.is_running());
    match ended {
        None => "ok\n".into_response(),
        Some(row) => unavailable(&admin, row, "is refreshed no more"),
    }
}

pub(super) async fn readyz(State(admin): State<Arc<Admin>>) -> Response {
    let is_stale = |row: &&Row| {
        let status = row.keyring.state();
        status.is_stale || status.refuses
    };
    let stale = admin.rows.iter().find(is_stale);
    match stale.filter(|_| admin.unready_when_stale) {
        None => "ok\n".into_response(),
        Some(row) => unavailable(&admin, row, "is stale"),
    }
}

fn unavailable(admin: &Admin, row: &Row, what: &str) -> Response {
    // A probe has no token, and a name is behind the guard.
    let name = match admin.guard {
        None => &*row.name,
        Some(_) => "a keyring",
    };
    let text = format!("{name} {what}\n");
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reload {
    keyring: Option<String>,
}

pub(super) async fn reload(
    State(admin): State<Arc<Admin>>,
    Order(order): Order<Reload>,
) -> Response {
    let rows: Vec<&Row> = match &order.keyring {
        None => admin.rows.iter().collect(),
        Some(name) => match admin.rows.iter().find(|row| row.name == *name) {
            Some(row) => vec![row],
            None => return no_such(name),
        },
    };
    // All are asked before the first is waited for, so that they go side by side.
    let asked: Vec<_> = rows
        .into_iter()
        .map(|row| {
            let (name, keyring) = (row.name.clone(), row.keyring.clone());
            tokio::spawn(async move { Outcome::new(name, keyring.reload().await) })
        })
        .collect();
    let mut outcomes = Vec::new();
    for asked in asked {
        // A panic is none of ours: the loop catches those of user code.
        outcomes.extend(asked.await.ok());
    }
    let all_well = outcomes.iter().all(|it| it.error.is_none());
    let status = if all_well {
        StatusCode::OK
    } else {
        StatusCode::BAD_GATEWAY
    };
    let answer = Outcomes {
        schema: super::report::SCHEMA,
        outcomes,
    };
    json(status, &answer)
}

#[derive(Serialize)]
struct Outcomes {
    schema: u32,
    outcomes: Vec<Outcome>,
}

#[derive(Serialize)]
struct Outcome {
    keyring: String,
    outcome: &'static str,
    generation: Option<u64>,
    error: Option<String>,
}

impl Outcome {
    fn new(keyring: String, refreshed: Result<Refreshed, RefreshError>) -> Self {
        let (outcome, generation, error) = match refreshed {
            Ok(refreshed) if refreshed.is_swapped() => {
                ("swapped", Some(refreshed.generation()), None)
            }
            Ok(refreshed) => ("unchanged", Some(refreshed.generation()), None),
            Err(error) if error.is_stopped() => ("stopped", None, Some(error.to_string())),
            Err(error) => ("failed", None, Some(error.to_string())),
        };
        Self {
            keyring,
            outcome,
            generation,
            error,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revoke {
    keyring: Option<String>,
    version: Option<String>,
    stage: Option<String>,
}

#[derive(Serialize)]
struct Revoked<'a> {
    schema: u32,
    keyring: &'a str,
    revoked: Vec<String>,
    /// Whether all of them have been seen here.
    known: bool,
}

/// Of one that is not known here, in bytes: what a store would take for a name.
const MAX_VERSION: usize = 1024;

pub(super) async fn revoke(
    State(admin): State<Arc<Admin>>,
    Order(order): Order<Revoke>,
) -> Response {
    if !admin.may_revoke {
        let reason = "revoking from here is not switched on: see `Admin::allow_revoke`";
        return refusal(StatusCode::FORBIDDEN, reason);
    }
    let row = match (&order.keyring, &*admin.rows) {
        (None, [row]) => row,
        (None, _) => {
            let reason = "`keyring` must say of which secret";
            return refusal(StatusCode::BAD_REQUEST, reason);
        }
        (Some(name), rows) => match rows.iter().find(|row| row.name == *name) {
            Some(row) => row,
            None => return no_such(name),
        },
    };
    let is_no_name =
        |version: &str| version.len() > MAX_VERSION || version.contains(char::is_control);
    let is_listed = |version: &str| row.keyring.is_known(&version.into());
    if order
        .version
        .as_deref()
        .is_some_and(|it| is_no_name(it) && !is_listed(it))
    {
        let reason = "`version` is longer than 1024 bytes, or has a control character in it";
        return refusal(StatusCode::BAD_REQUEST, reason);
    }
    let (revoked, known) = match (order.version, order.stage.as_deref()) {
        (Some(version), None) if !version.is_empty() => {
            let version = VersionId::from(version);
            let known = row.keyring.is_known(&version);
            row.keyring.refuse(&version);
            (vec![version], known)
        }
        (None, Some("previous")) => (row.keyring.refuse_previous(), true),
        _ => {
            let reason = "either `version` or `\"stage\": \"previous\"` must say what to revoke";
            return refusal(StatusCode::BAD_REQUEST, reason);
        }
    };
    let answer = Revoked {
        schema: super::report::SCHEMA,
        keyring: &row.name,
        revoked: revoked.iter().map(VersionId::to_string).collect(),
        known,
    };
    json(StatusCode::OK, &answer)
}

fn no_such(name: &str) -> Response {
    refusal(
        StatusCode::NOT_FOUND,
        &format!("no keyring is named {name:?}"),
    )
}

/// An error, as JSON.
pub(super) fn refusal(status: StatusCode, reason: &str) -> Response {
    json(status, &serde_json::json!({ "error": reason }))
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    // Nothing here has a key that is no text, or another thing that JSON cannot say.
    let body = serde_json::to_vec(value).unwrap_or_default();
    let json = HeaderValue::from_static("application/json");
    (status, [(CONTENT_TYPE, json)], body).into_response()
}
