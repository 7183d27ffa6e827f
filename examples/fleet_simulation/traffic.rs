//! The callers: honest ones, a thief with a stolen key, and one who sends junk.

use std::{collections::VecDeque, error::Error, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures::FutureExt;
use http::HeaderValue;
use tokio::time::sleep_until;
use tower_secrets::{Keyring, RegisteredClaims};

use crate::{
    day::{Day, OPENING, TOKEN_LIFETIME, Variant},
    fleet::{AUDIENCE, App, Fleet},
    outcome::{Call, Caller, Tally},
    store::Store,
};

const TICK: Duration = Duration::from_millis(100);
const THEFTS_PER_TICK: u32 = 2;
const JUNK_PER_TICK: u32 = 100;
/// How many different tokens each sends who has not got them from the fleet.
const FORGED: usize = 1_000;

/// A token that the fleet gave out.
struct Minted {
    at: Duration,
    authorization: HeaderValue,
}

pub(crate) struct Traffic {
    variant: Variant,
    store: Arc<Store>,
    fleet: Arc<Fleet>,
    tally: Arc<Tally>,
    rng: fastrand::Rng,
    minted: VecDeque<Minted>,
    junk: Vec<HeaderValue>,
    stolen: Stolen,
}

/// Tokens of the key that leaks.
struct Stolen {
    tokens: Vec<HeaderValue>,
    /// What all tokens of this key begin with: the header, with the key's name in it.
    header: String,
}

impl Traffic {
    pub(crate) async fn new(
        day: &Day,
        variant: Variant,
        store: &Arc<Store>,
        fleet: &Arc<Fleet>,
        tally: &Arc<Tally>,
    ) -> Result<Self, Box<dyn Error>> {
        let mut rng = fastrand::Rng::with_seed(day.seed ^ 2);
        Ok(Self {
            variant,
            junk: junk(day, store, &mut rng)?,
            stolen: steal(day, store).await?,
            store: store.clone(),
            fleet: fleet.clone(),
            tally: tally.clone(),
            rng,
            minted: VecDeque::new(),
        })
    }

    pub(crate) async fn flow(mut self, day: &Day) -> Result<(), Box<dyn Error>> {
        let mut owed = 0.0;
        let mut at = OPENING;
        while at < day.end() {
            at += TICK;
            sleep_until(self.store.begin() + at).await;
            owed += f64::from(day.tokens_per_second) * TICK.as_secs_f64();
            while owed >= 1.0 {
                owed -= 1.0;
                self.mint(day, at)?;
                self.use_again(day, at);
            }
            if at > day.leak() && at < day.leak() + Duration::from_secs(600) {
                self.send_stolen(day, at);
            }
            if day.junk().contains(&at) {
                self.send_junk(day, at);
            }
        }
        Ok(())
    }

    /// A new token, used at once somewhere.
    fn mint(&mut self, day: &Day, at: Duration) -> Result<(), Box<dyn Error>> {
        let signing = self.rng.usize(..day.replicas);
        let token = self.fleet.replicas[signing].mint()?;
        let authorization = HeaderValue::try_from(format!("Bearer {token}"))?;
        self.send_honest(day, at, authorization.clone());
        self.minted.push_back(Minted { at, authorization });
        while let Some(first) = self.minted.front()
            && at - first.at > TOKEN_LIFETIME
        {
            self.minted.pop_front();
        }
        Ok(())
    }

    /// One of those that are not over, wherever it came from.
    fn use_again(&mut self, day: &Day, at: Duration) {
        let any = self.rng.usize(..self.minted.len());
        let authorization = self.minted[any].authorization.clone();
        self.send_honest(day, at, authorization);
    }

    fn send_honest(&mut self, day: &Day, at: Duration, authorization: HeaderValue) {
        // Whose key is withdrawn is refused, and rightly so.
        let is_withdrawn = at > day.leak() && self.stolen.is_of_same_key(&authorization);
        let caller = if is_withdrawn {
            Caller::OfWithdrawnKey
        } else {
            Caller::Honest
        };
        let replica = self.rng.usize(..day.replicas);
        self.send(caller, at, replica, authorization);
    }

    fn send_stolen(&mut self, day: &Day, at: Duration) {
        for _ in 0..THEFTS_PER_TICK {
            let any = self.rng.usize(..FORGED);
            let replica = self.rng.usize(..day.replicas);
            self.send(
                Caller::OfWithdrawnKey,
                at,
                replica,
                self.stolen.tokens[any].clone(),
            );
        }
    }

    fn send_junk(&mut self, day: &Day, at: Duration) {
        let targets = day.flooded(self.variant.junk_everywhere);
        for _ in 0..JUNK_PER_TICK {
            let any = self.rng.usize(..FORGED);
            let replica = self.rng.usize(targets.clone());
            self.send(Caller::Junk, at, replica, self.junk[any].clone());
        }
    }

    fn send(&self, caller: Caller, at: Duration, replica: usize, authorization: HeaderValue) {
        let call = Call {
            caller,
            at,
            is_cut_off: self.store.is_cut_off(replica),
        };
        let mut answer = Box::pin(self.fleet.replicas[replica].ask(authorization));
        if let Some(is_accepted) = (&mut answer).now_or_never() {
            self.tally.note(call, is_accepted);
            return;
        }
        self.tally.note_waiting();
        let tally = self.tally.clone();
        tokio::spawn(async move {
            let is_accepted = answer.await;
            tally.note(call, is_accepted);
        });
    }
}

impl Stolen {
    fn is_of_same_key(&self, authorization: &HeaderValue) -> bool {
        authorization.as_bytes().starts_with(self.header.as_bytes())
    }
}

/// Tokens that nobody can tell from those of a key that is not known yet.
fn junk(
    day: &Day,
    store: &Store,
    rng: &mut fastrand::Rng,
) -> Result<Vec<HeaderValue>, Box<dyn Error>> {
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let claims = serde_json::to_vec(&lasting(day, store))?;
    let token = |_| {
        let header = format!(r#"{{"alg":"HS256","kid":"junk-{}"}}"#, rng.u64(..));
        let signature: Vec<u8> = (0..32).map(|_| rng.u8(..)).collect();
        let (header, claims, signature) = (
            encode(header.as_bytes()),
            encode(&claims),
            encode(&signature),
        );
        Ok(HeaderValue::try_from(format!(
            "Bearer {header}.{claims}.{signature}"
        ))?)
    };
    (0..FORGED).map(token).collect()
}

/// What somebody can do who has read the secret that is in use now.
async fn steal(day: &Day, store: &Store) -> Result<Stolen, Box<dyn Error>> {
    let stolen = tower_secrets::source::Versions::new(store.stolen());
    let copy = move || {
        let stolen = stolen.clone();
        async move { Ok(stolen) }
    };
    let keyring = Keyring::<App>::builder(copy)
        .jwt_key(|app| &app.jwt_secret)
        .build()
        .await?;
    let mut tokens = Vec::new();
    for number in 0..FORGED {
        let claims = lasting(day, store).token_id(number.to_string());
        tokens.push(format!("Bearer {}", keyring.signer().sign(&claims)?));
    }
    let header = tokens[0].split('.').next().unwrap_or_default().to_owned();
    keyring.shutdown().await;
    let tokens = tokens
        .into_iter()
        .map(HeaderValue::try_from)
        .collect::<Result<_, _>>()?;
    Ok(Stolen { tokens, header })
}

fn lasting(day: &Day, store: &Store) -> RegisteredClaims {
    RegisteredClaims::new("mallory")
        .audience(AUDIENCE)
        .expires_at(store.begin_wall() + 2 * day.end())
}
