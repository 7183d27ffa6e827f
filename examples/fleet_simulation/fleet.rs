//! The replicas: each a keyring, with all that a server has around it.

use std::{
    convert::Infallible,
    error::Error,
    future::{Ready, ready},
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{HeaderValue, Request, Response};
use tokio::{task::JoinSet, time::sleep_until};
use tower::{Layer, Service, service_fn, util::ServiceFn};
use tower_secrets::{
    BuildError, JwtKey, JwtRotation, JwtRotationLayer, Keyring, RegisteredClaims, Signer,
    UnknownKey,
    clock::{Clock, TokioClock},
    keyring::SignError,
    layer::EmptyBody,
};

use crate::{
    day::{Day, OVERLAP, POLL, START, TOKEN_LIFETIME, Variant},
    store::{Connection, Store},
};

pub(crate) const AUDIENCE: &str = "https://fleet.example";
/// How far a clock is off at most.
const SKEW_MILLIS: i64 = 2_000;

#[derive(serde::Deserialize)]
pub(crate) struct App {
    pub(crate) jwt_secret: JwtKey,
}

type Handler = fn(Request<()>) -> Ready<Result<Response<()>, Infallible>>;
type Server = JwtRotation<ServiceFn<Handler>, App, RegisteredClaims, EmptyBody>;

pub(crate) struct Replica {
    pub(crate) keyring: Keyring<App>,
    signer: Signer<App>,
    clock: Arc<TokioClock>,
    server: Server,
}

impl Replica {
    async fn start(
        variant: Variant,
        connection: Connection,
        clock: Arc<TokioClock>,
    ) -> Result<Self, BuildError> {
        let mut builder = Keyring::<App>::builder(connection)
            .jwt_key(|app| &app.jwt_secret)
            .refresh_every(POLL)
            .overlap(OVERLAP)
            .token_lifetime(TOKEN_LIFETIME)
            .clock(clock.clone());
        if !variant.delayed {
            builder = builder.activation_delay(Duration::ZERO);
        }
        if variant.on_unknown_key {
            builder = builder.refresh_on_unknown_key(UnknownKey::new());
        }
        let keyring = builder.build().await?;
        let layer = JwtRotationLayer::new(keyring.clone()).audience(AUDIENCE);
        let handler: Handler = |_| ready(Ok(Response::new(())));
        Ok(Self {
            signer: keyring.signer(),
            server: layer.layer(service_fn(handler)),
            keyring,
            clock,
        })
    }

    /// A token of one user, by this replica's own clock.
    pub(crate) fn mint(&self) -> Result<String, SignError> {
        let now = self.clock.now().wall;
        let claims = RegisteredClaims::new("alice")
            .audience(AUDIENCE)
            .issued_at(now)
            .not_before(now)
            .expires_at(now + TOKEN_LIFETIME);
        self.signer.sign(&claims)
    }

    /// Whether a request with this `Authorization` comes through. It is ready at once, unless it has to
    /// wait for a key.
    pub(crate) fn ask(
        &self,
        authorization: HeaderValue,
    ) -> impl Future<Output = bool> + Send + use<> {
        let mut request = Request::new(());
        request
            .headers_mut()
            .insert(http::header::AUTHORIZATION, authorization);
        // The handler is always ready.
        let answer = self.server.clone().call(request);
        async move {
            match answer.await {
                Ok(response) => response.status().is_success(),
                Err(never) => match never {},
            }
        }
    }
}

pub(crate) struct Fleet {
    pub(crate) replicas: Vec<Replica>,
}

impl Fleet {
    pub(crate) async fn start(
        day: &Day,
        variant: Variant,
        store: &Arc<Store>,
    ) -> Result<Self, Box<dyn Error>> {
        let mut rng = fastrand::Rng::with_seed(day.seed ^ 1);
        let mut starts = JoinSet::new();
        for replica in 0..day.replicas {
            let at = store.begin() + START.mul_f64(rng.f64());
            let clock = TokioClock::starting_at(store.begin_wall());
            clock.set_skew_millis(rng.i64(-SKEW_MILLIS..=SKEW_MILLIS));
            let connection = Connection {
                store: store.clone(),
                replica,
                published: Mutex::default(),
            };
            starts.spawn(async move {
                sleep_until(at).await;
                Ok::<_, BuildError>((
                    replica,
                    Replica::start(variant, connection, Arc::new(clock)).await?,
                ))
            });
        }
        let mut replicas = Vec::with_capacity(day.replicas);
        while let Some(started) = starts.join_next().await {
            replicas.push(started??);
        }
        replicas.sort_by_key(|(number, _)| *number);
        let replicas = replicas.into_iter().map(|(_, replica)| replica).collect();
        Ok(Self { replicas })
    }
}
