//! Keyrings over every kind of key set, each behind two layers, and one request through a layer.

use std::{
    cell::Cell,
    convert::Infallible,
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use futures::FutureExt;
use http::{HeaderValue, Request, Response, StatusCode, header};
use jsonwebtoken::{
    get_current_timestamp,
    jwk::{Jwk, ThumbprintHash},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, ServiceExt, service_fn};
use tower_secrets::{
    Authentication, JwtKey, JwtRotationLayer, Keyring, RegisteredClaims,
    clock::{Clock, Now},
    layer::Refusal,
    source::{Memory, Version, Versions},
};

use super::keys::{SECRET, SIGNERS, Signer};

pub(crate) const ISSUER: &str = "https://issuer.test";
pub(crate) const AUDIENCE: &str = "https://api.test";

pub(crate) type Members = Map<String, Value>;

#[derive(Deserialize)]
pub(crate) struct App {
    pub(crate) jwt: JwtKey,
}

pub(crate) static WORLD: LazyLock<World> = LazyLock::new(World::new);

pub(crate) struct World {
    pub(crate) sets: Vec<Set>,
    /// The keyrings' refresh loops, which nobody drives.
    _runtime: Runtime,
}

/// The keys that one keyring trusts.
pub(crate) struct Set {
    pub(crate) name: &'static str,
    pub(crate) members: Vec<Member>,
    pub(crate) plain: JwtRotationLayer<App, Members>,
    pub(crate) registered: JwtRotationLayer<App>,
}

pub(crate) struct Member {
    pub(crate) signer: &'static Signer,
    /// The `kid` in its JWK.
    declared: Option<&'static str>,
    /// What it is called without one.
    computed: String,
}

impl Member {
    pub(crate) fn answers_to(&self, kid: &str) -> bool {
        self.declared == Some(kid) || self.computed == kid
    }

    pub(crate) fn id(&self) -> &str {
        self.declared.unwrap_or(&self.computed)
    }

    pub(crate) fn declares_kid(&self) -> bool {
        self.declared.is_some()
    }
}

impl World {
    fn new() -> Self {
        // So that it does not matter which other provider is compiled in.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let runtime = runtime();
        let sets = runtime.block_on(async {
            let mut sets = Vec::new();
            for name in NAMES {
                sets.push(single(name).await);
            }
            sets.push(named().await);
            sets.push(staged().await);
            sets
        });
        Self {
            sets,
            _runtime: runtime,
        }
    }
}

const NAMES: [&str; 12] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
    "ES384", "EdDSA",
];

async fn single(name: &'static str) -> Set {
    let key = match name {
        "HS256" => json!(SECRET),
        _ => jwk(name, None),
    };
    let versions = Versions::new(version("1", &key));
    Set::new(name, versions, &[(name, None)]).await
}

/// A JWKS in which two keys share a `kid` and one has none.
async fn named() -> Set {
    let members = [
        ("RS256", Some("a")),
        ("ES256", Some("b")),
        ("EdDSA", Some("b")),
        ("HS256", Some("c")),
        ("ES384", None),
    ];
    let keys: Vec<_> = members.iter().map(|(name, kid)| jwk(name, *kid)).collect();
    let versions = Versions::new(version("1", &json!({ "keys": keys })));
    Set::new("named", versions, &members).await
}

/// A key in each stage.
async fn staged() -> Set {
    let versions = Versions::new(version("2", &jwk("ES256", Some("current"))))
        .with_previous(version("1", &json!(SECRET)))
        .with_pending(version("3", &jwk("EdDSA", None)));
    let members = [("ES256", Some("current")), ("HS256", None), ("EdDSA", None)];
    Set::new("staged", versions, &members).await
}

impl Set {
    async fn new(
        name: &'static str,
        versions: Versions,
        members: &[(&'static str, Option<&'static str>)],
    ) -> Self {
        let source = Memory::new("");
        source.set(versions);
        let keyring = keyring(source).await;
        let mut known = Vec::new();
        for (name, declared) in members {
            known.push(Member {
                signer: signer(name),
                declared: *declared,
                computed: computed_id(name).await,
            });
        }
        let registered = JwtRotationLayer::new(keyring)
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .leeway(Duration::ZERO);
        Self {
            name,
            members: known,
            plain: registered.clone().claims(),
            registered,
        }
    }

    pub(crate) fn trusts(&self, signer: &Signer) -> bool {
        self.members
            .iter()
            .any(|member| std::ptr::eq(member.signer, signer))
    }
}

async fn keyring(source: Memory) -> Keyring<App> {
    // A fuzzer's hours, in which no stage ends.
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    Keyring::builder(source)
        .overlap(YEAR)
        .max_pending(YEAR)
        .activation_delay(std::time::Duration::ZERO)
        .jwt_key(|app: &App| &app.jwt)
        .clock(CaseClock)
        .build()
        .await
        .unwrap()
}

pub(crate) fn document(key: &Value) -> String {
    json!({ "jwt": key }).to_string()
}

fn version(id: &str, key: &Value) -> Version {
    Version::new(id, document(key))
}

fn jwk(name: &str, kid: Option<&str>) -> Value {
    let mut jwk = signer(name).jwk.clone();
    if let Some(kid) = kid {
        jwk["kid"] = json!(kid);
    }
    jwk
}

pub(crate) fn signer(name: &str) -> &'static Signer {
    SIGNERS.iter().find(|signer| signer.name() == name).unwrap()
}

/// The thumbprint as the oracle computes it. What a secret is called, only its keyring knows.
async fn computed_id(name: &str) -> String {
    let jwk = &signer(name).jwk;
    if jwk["kty"] != "oct" {
        let jwk: Jwk = serde_json::from_value(jwk.clone()).unwrap();
        return jwk.thumbprint(ThumbprintHash::SHA256).unwrap();
    }
    let keyring = keyring(Memory::new(document(jwk))).await;
    let token = keyring.signer().sign(&json!({})).unwrap();
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

thread_local! {
    static NOW: Cell<u64> = Cell::new(get_current_timestamp());
}

/// Stands still while a case is judged.
pub(crate) struct CaseClock;

impl Clock for CaseClock {
    fn now(&self) -> Now {
        let since_epoch = Duration::from_secs(NOW.get());
        Now::new(SystemTime::UNIX_EPOCH + since_epoch, Duration::ZERO)
    }
}

/// Judges within one second of the oracle's clock, which cannot be set: ours follows it.
pub(crate) fn within_one_second<R>(judge: impl Fn(u64) -> R) -> R {
    loop {
        let now = get_current_timestamp();
        NOW.set(now);
        let result = judge(now);
        if get_current_timestamp() == now {
            return result;
        }
    }
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    Passed(Option<Authentication>),
    Refused(Refusal),
}

/// Sends a request with these `Authorization` headers through the layer.
pub(crate) fn ask<C>(layer: &JwtRotationLayer<App, C>, values: &[HeaderValue]) -> Answer
where
    C: DeserializeOwned + Send + Sync + 'static,
{
    let mut request = Request::new(());
    for value in values {
        let headers = request.headers_mut();
        headers.append(header::AUTHORIZATION, value.clone());
    }
    let answer = layer.layer(service_fn(show)).oneshot(request);
    let mut response = answer
        .now_or_never()
        .expect("the layer waits for nothing")
        .unwrap();
    match response.extensions_mut().remove::<Refusal>() {
        None => Answer::Passed(response.extensions_mut().remove()),
        Some(refusal) => {
            check_refusal(&response, &refusal);
            Answer::Refused(refusal)
        }
    }
}

async fn show(mut request: Request<()>) -> Result<Response<()>, Infallible> {
    let mut response = Response::new(());
    if let Some(authentication) = request.extensions_mut().remove::<Authentication>() {
        response.extensions_mut().insert(authentication);
    }
    Ok(response)
}

/// Every refusal of a client is a challenge, of a text that is fixed by its kind.
fn check_refusal(response: &Response<()>, refusal: &Refusal) {
    assert!(
        [StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED].contains(&refusal.status()),
        "{refusal:?}"
    );
    assert_eq!(response.status(), refusal.status());
    let challenge = response.headers()[header::WWW_AUTHENTICATE]
        .to_str()
        .unwrap();
    let known = challenge
        .strip_prefix("Bearer realm=\"restricted\"")
        .unwrap();
    assert!(
        known.is_empty()
            || known.ends_with(&format!("error_description=\"{}\"", refusal.description())),
        "{challenge}"
    );
}

/// Equal for two services that read claims as different types.
pub(crate) fn registered(claims: &Members) -> Option<RegisteredClaims> {
    serde_json::from_value(Value::Object(claims.clone())).ok()
}
