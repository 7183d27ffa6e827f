//! The server: one secret, a list of the calls, and an order for what to answer instead.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use aws_sdk_secretsmanager::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_secretsmanager::{Client, Config, config};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use std::sync::Mutex;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::source::aws::labels::{CURRENT, PENDING, PREVIOUS};

pub(super) const NAME: &str = "mcp/jwt-secret";
pub(super) const ARN: &str =
    "arn:aws:secretsmanager:eu-west-1:123456789012:secret:mcp/jwt-secret-a1B2c3";

/// What a call asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) action: String,
    pub(super) secret: String,
    pub(super) id: Option<String>,
    pub(super) label: Option<String>,
    /// The access key id that signed it.
    pub(super) key: String,
}

impl Call {
    pub(super) fn is_describe(&self) -> bool {
        self.action == "DescribeSecret"
    }
}

/// The secret behind the server.
#[derive(Clone, Debug, Default)]
pub(super) struct Secret {
    /// The fields of an answer to `GetSecretValue`, by version id.
    pub(super) values: BTreeMap<String, Value>,
    pub(super) labels: BTreeMap<String, Vec<String>>,
    pub(super) changed: Option<f64>,
    pub(super) rotated: Option<f64>,
    pub(super) deleted: Option<f64>,
}

impl Secret {
    pub(super) fn put(&mut self, id: &str, document: &str, created: f64) {
        let value = json!({"SecretString": document, "CreatedDate": created});
        self.values.insert(id.to_owned(), value);
    }

    /// Puts a value under a label that no other version holds then.
    pub(super) fn label(&mut self, label: &str, id: &str) {
        self.unlabel(label);
        let held = self.labels.entry(id.to_owned()).or_default();
        held.push(label.to_owned());
    }

    pub(super) fn unlabel(&mut self, label: &str) {
        for held in self.labels.values_mut() {
            held.retain(|it| it != label);
        }
        self.labels.retain(|_, held| !held.is_empty());
    }

    /// Moves AWSCURRENT here, and AWSPREVIOUS to where it was. AWSPENDING stays, as in AWS.
    pub(super) fn flip(&mut self, id: &str) {
        let current = self.holder(CURRENT);
        self.label(CURRENT, id);
        if let Some(current) = current {
            self.label(PREVIOUS, &current);
        }
    }

    fn holder(&self, label: &str) -> Option<String> {
        let holds = |held: &&String| self.labels[*held].iter().any(|it| it == label);
        self.labels.keys().find(holds).cloned()
    }

    pub(super) fn describe(&self) -> Reply {
        Reply::Ok(json!({
            "ARN": ARN,
            "Name": NAME,
            "VersionIdsToStages": self.labels,
            "LastChangedDate": self.changed,
            "LastRotatedDate": self.rotated,
            "DeletedDate": self.deleted,
        }))
    }

    fn value(&self, call: &Call) -> Reply {
        let label = call.label.as_deref().unwrap_or(CURRENT);
        let id = call.id.clone().or_else(|| self.holder(label));
        let value = id.as_ref().and_then(|id| Some((id, self.values.get(id)?)));
        let Some((id, value)) = value else {
            return Reply::error(
                400,
                "ResourceNotFoundException",
                "Secrets Manager can't find the specified secret value",
            );
        };
        let mut answer = json!({"ARN": ARN, "Name": NAME, "VersionId": id});
        let fields = value.as_object().unwrap().clone();
        answer.as_object_mut().unwrap().extend(fields);
        Reply::Ok(answer)
    }
}

#[derive(Clone, Debug)]
pub(super) enum Reply {
    Ok(Value),
    Error {
        status: u16,
        code: String,
        message: String,
    },
    Raw(&'static str),
    /// The connection breaks inside the body.
    Cut,
    Hang,
    /// The usual answer, when this many calls have come in.
    Await(usize),
}

impl Reply {
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::Error {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }
}

/// What to answer instead; it may change the secret too.
type Order = Box<dyn FnMut(&mut Secret, &Call) -> Option<Reply> + Send>;

struct Shared {
    secret: Mutex<Secret>,
    calls: watch::Sender<Vec<Call>>,
    order: Mutex<Order>,
}

pub(super) struct Fake {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Fake {
    /// A server whose secret has one version, `v1`.
    pub(super) async fn start() -> Self {
        let mut secret = Secret {
            changed: Some(1_000.0),
            ..Secret::default()
        };
        secret.put("v1", r#"{"n":1}"#, 1_000.0);
        secret.label(CURRENT, "v1");
        let shared = Arc::new(Shared {
            secret: Mutex::new(secret),
            calls: watch::Sender::default(),
            order: Mutex::new(Box::new(|_, _| None)),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let server = tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            shared,
            server,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn config(&self) -> config::Builder {
        Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .endpoint_url(self.url())
            .credentials_provider(credentials("FIRST"))
    }

    pub(super) fn client(&self) -> Client {
        Client::from_conf(self.config().build())
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Secret)) {
        change(&mut self.shared.secret.lock().unwrap());
    }

    /// Puts a version and makes it current, one second later than the last change.
    pub(super) fn rotate(&self, id: &str) {
        self.change(|secret| {
            let now = secret.changed.unwrap() + 1.0;
            secret.changed = Some(now);
            secret.put(id, &format!(r#"{{"id":"{id}"}}"#), now);
            secret.flip(id);
        });
    }

    pub(super) fn stage(&self, id: &str) {
        self.change(|secret| {
            let now = secret.changed.unwrap() + 1.0;
            secret.changed = Some(now);
            secret.put(id, &format!(r#"{{"id":"{id}"}}"#), now);
            secret.label(PENDING, id);
        });
    }

    pub(super) fn order(
        &self,
        order: impl FnMut(&mut Secret, &Call) -> Option<Reply> + Send + 'static,
    ) {
        *self.shared.order.lock().unwrap() = Box::new(order);
    }

    /// Every call of this action is answered so.
    pub(super) fn always(&self, action: &'static str, reply: Reply) {
        self.order(move |_, call| (call.action == action).then(|| reply.clone()));
    }

    pub(super) fn obey_no_more(&self) {
        self.order(|_, _| None);
    }

    /// The calls since the last time somebody looked.
    pub(super) fn calls(&self) -> Vec<Call> {
        self.shared.calls.send_replace(Vec::new())
    }

    /// Each call since the last look, as `Describe` or what was asked for.
    pub(super) fn asked(&self) -> Vec<String> {
        let asked = |call: Call| call.id.or(call.label).unwrap_or(call.action);
        self.calls().into_iter().map(asked).collect()
    }

    pub(super) async fn wait_for_calls(&self, n: usize) {
        let mut calls = self.shared.calls.subscribe();
        calls.wait_for(|calls| calls.len() >= n).await.unwrap();
    }
}

pub(super) fn credentials(key: &str) -> Credentials {
    Credentials::new(key, "secret key", None, None, "test")
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    if !headers.contains_key("x-amz-target") {
        return vend(&headers, &body);
    }
    let text = |name: &str| headers[name].to_str().unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let field = |name: &str| body[name].as_str().map(str::to_owned);
    let signature = text(AUTHORIZATION.as_str());
    let call = Call {
        action: text("x-amz-target")
            .strip_prefix("secretsmanager.")
            .unwrap()
            .to_owned(),
        secret: field("SecretId").unwrap(),
        id: field("VersionId"),
        label: field("VersionStage"),
        key: signature
            .split("Credential=")
            .nth(1)
            .and_then(|rest| rest.split('/').next())
            .unwrap()
            .to_owned(),
    };
    shared.calls.send_modify(|calls| calls.push(call.clone()));
    let ordered = {
        let mut order = shared.order.lock().unwrap();
        order(&mut shared.secret.lock().unwrap(), &call)
    };
    if let Some(Reply::Await(n)) = &ordered {
        let mut calls = shared.calls.subscribe();
        calls.wait_for(|calls| calls.len() >= *n).await.unwrap();
    }
    let usual = || {
        let secret = shared.secret.lock().unwrap();
        match call.action.as_str() {
            "DescribeSecret" => secret.describe(),
            "GetSecretValue" => secret.value(&call),
            other => panic!("the source called {other}"),
        }
    };
    let reply = match ordered {
        None | Some(Reply::Await(_)) => usual(),
        Some(reply) => reply,
    };
    let request_id = [("x-amzn-requestid", "request-1")];
    match reply {
        Reply::Ok(value) => (request_id, value.to_string()).into_response(),
        Reply::Error {
            status,
            code,
            message,
        } => {
            let body = json!({"__type": code, "Message": message}).to_string();
            (StatusCode::from_u16(status).unwrap(), request_id, body).into_response()
        }
        Reply::Raw(text) => text.into_response(),
        Reply::Cut => {
            let chunks: [Result<&str, _>; 2] = [Ok("{\"ARN\":"), Err("cut")];
            Body::from_stream(futures::stream::iter(chunks)).into_response()
        }
        Reply::Hang | Reply::Await(_) => std::future::pending().await,
    }
}

/// Credentials by the token that the caller shows: as ECS and EKS give them to containers, or as
/// STS does.
fn vend(headers: &HeaderMap, body: &[u8]) -> Response {
    let expires = "2099-01-01T00:00:00Z";
    if let Some(token) = headers.get(AUTHORIZATION).filter(|_| body.is_empty()) {
        let credentials = json!({
            "AccessKeyId": token.to_str().unwrap(),
            "SecretAccessKey": "s",
            "Token": "t",
            "Expiration": expires,
        });
        return credentials.to_string().into_response();
    }
    let form = std::str::from_utf8(body).unwrap();
    let field = |name: &str| {
        let mut fields = form.split('&').filter_map(|field| field.split_once('='));
        fields.find(|(key, _)| *key == name).unwrap().1
    };
    assert_eq!(field("Action"), "AssumeRoleWithWebIdentity");
    assert_eq!(field("RoleSessionName"), "session");
    let key = field("WebIdentityToken");
    format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{key}</AccessKeyId>\
         <SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
         <Expiration>{expires}</Expiration></Credentials>\
         <AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/app/session</Arn>\
         <AssumedRoleId>A:session</AssumedRoleId></AssumedRoleUser>\
         </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    )
    .into_response()
}
