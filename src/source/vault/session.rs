//! The token at hand, and its life: renewed before it ends, replaced where that is not possible.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep_until},
};
use zeroize::Zeroizing;

use super::{
    super::{SourceError, SourceErrorKind},
    auth::{Proof, VaultAuth},
    http::{Answer, Http, Request, Token},
    pass::Pass,
};
use crate::guard::log;

/// However short a token lives, the server is not asked more often than this.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// How a process is known to the server.
pub(super) struct Session {
    auth: VaultAuth,
    /// Held over calls, so that a token is renewed or replaced once, however many ask.
    state: Mutex<State>,
    status: watch::Sender<Status>,
}

/// What others see of the token.
#[derive(Clone, Copy, Default)]
pub(super) struct Status {
    due: Option<Instant>,
    /// Which token it is.
    pub(super) number: u64,
    /// When the one before it ends; `None`: never.
    pub(super) before_ends: Option<Instant>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// How many there have been.
    tokens: u64,
}

struct Held {
    pass: Pass,
    /// `None`: it never ends, or nobody could say.
    life: Option<Life>,
}

#[derive(Clone, Copy)]
pub(super) struct Life {
    pub(super) ends: Instant,
    due: Instant,
    /// What was granted at first: a renewal that grants less has met the maximum.
    full: Duration,
    renewable: bool,
}

impl Life {
    fn begin(granted: Duration, renewable: bool) -> Option<Self> {
        (!granted.is_zero()).then(|| Self::granted(granted, granted, renewable))
    }

    fn granted(granted: Duration, full: Duration, renewable: bool) -> Self {
        let now = Instant::now();
        Self {
            ends: now + granted,
            due: now + before_end(granted),
            full,
            renewable,
        }
    }

    fn over() -> Self {
        Self::granted(Duration::ZERO, Duration::ZERO, false)
    }

    fn renewed(self, granted: Duration) -> Self {
        // The server counts whole seconds and rounds down.
        let is_capped = granted + Duration::from_secs(1) < self.full;
        let life = Self::granted(granted, self.full.max(granted), !is_capped);
        if !is_capped {
            return life;
        }
        // Replaced at once: the leases of this token need what is left of it.
        Self {
            due: Instant::now(),
            ..life
        }
    }

    /// After a failure: again halfway to the end.
    fn later(self) -> Self {
        let now = Instant::now();
        let left = self.ends.saturating_duration_since(now);
        Self {
            due: now + (left / 2).max(SHORTEST_PAUSE),
            ..self
        }
    }
}

/// About two thirds of a life, less up to a tenth of that, so that a fleet does not renew in step.
pub(super) fn before_end(life: Duration) -> Duration {
    life.mul_f64(2.0 / 3.0 * (1.0 - 0.1 * fastrand::f64()))
}

/// What a login and a renewal answer.
#[derive(Deserialize)]
struct Granted {
    auth: Option<Auth>,
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
    lease_duration: u64,
    renewable: bool,
}

/// What a token knows of itself.
#[derive(Deserialize)]
pub(super) struct Lookup {
    ttl: u64,
    /// A root token says nothing of it.
    #[serde(default)]
    renewable: bool,
}

impl Lookup {
    pub(super) fn life(&self) -> Option<Life> {
        Life::begin(seconds(self.ttl), self.renewable)
    }
}

impl Session {
    pub(super) fn new(auth: VaultAuth) -> Self {
        Self {
            auth,
            state: Mutex::default(),
            status: watch::Sender::default(),
        }
    }

    /// A token that is not known to be of no use; it is obtained or renewed first where that is
    /// due.
    ///
    /// # Errors
    /// When there is none and none could be obtained.
    pub(super) async fn pass(&self, http: &Http) -> Result<Pass, SourceError> {
        let mut state = self.state.lock().await;
        self.keep(&mut state, http).await?;
        match &state.held {
            Some(held) => Ok(held.pass.clone()),
            None => self.obtain(&mut state, http).await,
        }
    }

    /// Renews the token whenever that is due, and never resolves. Cancel safe.
    pub(super) async fn keep_alive(&self, http: &Http) {
        let mut status = self.status.subscribe();
        loop {
            let due = status.borrow_and_update().due;
            let Some(at) = due else {
                // The sender lives as long as `self`, so this cannot fail.
                let _ = status.changed().await;
                continue;
            };
            tokio::select! {
                _ = status.changed() => {}
                () = sleep_until(at) => {
                    let mut state = self.state.lock().await;
                    // What fails is told by the next call that needs a token.
                    let _ = self.keep(&mut state, http).await;
                }
            }
        }
    }

    pub(super) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Whether the server still knows this token, which it refused for `request`, as far as can be
    /// told. One that may not look at itself is known if it logged in, or worked elsewhere, since the
    /// call in question began. From then on a refusal of the same is its policy's, until that works
    /// or the token's time is over: or each poll would log in anew, in vain.
    pub(super) async fn is_known(
        &self,
        http: &Http,
        pass: &Pass,
        request: &Request,
        began: Instant,
    ) -> Result<bool, SourceError> {
        if pass.is_denied(request) || look_up(http, &pass.token).await?.is_some() {
            return Ok(true);
        }
        let is_known = pass.worked_since(began);
        if is_known {
            pass.deny(request);
        }
        Ok(is_known)
    }

    /// Another token than this one, which the server refused. Logs in, unless somebody did.
    ///
    /// # Errors
    /// [`Unauthenticated`](SourceErrorKind::Unauthenticated) where there is no way to another one,
    /// and what the login says.
    pub(super) async fn replace(&self, http: &Http, refused: &Pass) -> Result<Pass, SourceError> {
        let mut state = self.state.lock().await;
        if let Some(held) = &state.held
            && held.pass.number != refused.number
        {
            return Ok(held.pass.clone());
        }
        if !self.auth.can_replace_token() {
            return Err(ended());
        }
        if let Some(held) = &mut state.held {
            held.life = Some(Life::over());
        }
        let pass = self.obtain(&mut state, http).await?;
        if pass.number == refused.number {
            // The file still holds it.
            return Err(ended());
        }
        Ok(pass)
    }

    /// Renews or replaces the token if that is due. It fails only where the token has ended.
    async fn keep(&self, state: &mut State, http: &Http) -> Result<(), SourceError> {
        let Some(Held {
            pass,
            life: Some(life),
        }) = &state.held
        else {
            return Ok(());
        };
        let (token, life) = (pass.token.clone(), *life);
        let now = Instant::now();
        if now < life.due {
            return Ok(());
        }
        if now < life.ends && life.renewable {
            match renew(http, &token).await {
                Ok(granted) => {
                    self.set_life(state, Some(life.renewed(granted)));
                    return Ok(());
                }
                // It is unknown by now.
                Err(error) if error.kind() == SourceErrorKind::PermissionDenied => {}
                Err(error) => {
                    log(|| tracing::warn!(server = %http, %error, "secrets_token_not_renewed"));
                    self.set_life(state, Some(life.later()));
                    return Ok(());
                }
            }
        }
        if !self.auth.can_replace_token() {
            return self.let_it_end(state, life, http);
        }
        match self.obtain(state, http).await {
            Ok(_) => Ok(()),
            Err(error) if Instant::now() < life.ends => {
                log(|| tracing::warn!(server = %http, %error, "secrets_token_not_renewed"));
                self.set_life(state, Some(life.later()));
                Ok(())
            }
            Err(error) => {
                state.held = None;
                self.tell(None);
                Err(error)
            }
        }
    }

    /// Nothing can be done any more but to tell, in time.
    fn let_it_end(&self, state: &mut State, life: Life, http: &Http) -> Result<(), SourceError> {
        let left = life.ends.saturating_duration_since(Instant::now());
        if left.is_zero() {
            self.set_life(state, None);
            return Err(ended());
        }
        log(|| tracing::warn!(server = %http, seconds = left.as_secs(), "secrets_token_ends"));
        self.set_life(
            state,
            Some(Life {
                due: life.ends,
                ..life
            }),
        );
        Ok(())
    }

    fn set_life(&self, state: &mut State, life: Option<Life>) {
        if let Some(held) = &mut state.held {
            held.life = life;
        }
        self.tell(life);
    }

    fn tell(&self, life: Option<Life>) {
        self.status
            .send_modify(|status| status.due = life.map(|life| life.due));
    }

    async fn obtain(&self, state: &mut State, http: &Http) -> Result<Pass, SourceError> {
        let mut worked = None;
        let (token, life) = match self.auth.proof().await? {
            Proof::Token(text) => {
                let token = Token::new(text)?;
                // One that may not look at itself is used as long as it works.
                let known = look_up(http, &token).await?;
                let life = known.and_then(|it| it.life());
                (token, life)
            }
            Proof::Login {
                mount,
                body,
                secret,
            } => {
                let new = log_in(http, &mount, body, &secret).await?;
                worked = Some(Instant::now());
                new
            }
        };
        let before = state.held.take();
        let pass = match &before {
            Some(before) if before.pass.token.is_same(&token) => before.pass.clone(),
            _ => {
                state.tokens += 1;
                let number = state.tokens;
                let life = before.map_or(Some(Life::over()), |before| before.life);
                self.status.send_modify(|status| {
                    status.number = number;
                    status.before_ends = life.map(|life| life.ends);
                });
                Pass::new(token, number, worked)
            }
        };
        state.held = Some(Held {
            pass: pass.clone(),
            life,
        });
        self.set_life(state, life);
        Ok(pass)
    }
}

pub(super) fn seconds(n: u64) -> Duration {
    // Longer than any token lives, and short enough to be added to an instant.
    Duration::from_secs(n.min(u64::from(u32::MAX)))
}

fn ended() -> SourceError {
    let message = "the server does not know the token: it has ended or was revoked";
    SourceError::new(SourceErrorKind::Unauthenticated, message)
}

async fn log_in(
    http: &Http,
    mount: &str,
    body: Zeroizing<Vec<u8>>,
    secret: &str,
) -> Result<(Token, Option<Life>), SourceError> {
    let request = Request::post(format!("auth/{mount}/login"), body);
    let answer = http.send(&request, None).await?;
    logged_in(&answer, secret)
}

pub(super) fn logged_in(
    answer: &Answer,
    secret: &str,
) -> Result<(Token, Option<Life>), SourceError> {
    if matches!(
        answer.status(),
        StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND
    ) {
        let refusal = answer.refusal(Some(secret));
        let message = format!("the login was refused: {refusal}");
        return Err(SourceError::new(SourceErrorKind::Unauthenticated, message));
    }
    if !answer.is_success() {
        return Err(answer.refusal(Some(secret)));
    }
    let auth = granted(answer)?;
    let life = Life::begin(seconds(auth.lease_duration), auth.renewable);
    Ok((Token::new(Zeroizing::new(auth.client_token))?, life))
}

async fn renew(http: &Http, token: &Token) -> Result<Duration, SourceError> {
    let request = Request::post("auth/token/renew-self", b"{}".to_vec());
    let answer = http.send(&request, Some(token)).await?;
    let auth = granted(&answer)?;
    drop(Zeroizing::new(auth.client_token));
    Ok(seconds(auth.lease_duration))
}

fn granted(answer: &Answer) -> Result<Auth, SourceError> {
    let granted: Granted = answer.parsed()?;
    granted
        .auth
        .ok_or_else(|| answer.malformed("it has no `auth`"))
}

/// What the server knows of a token; `None` where it knows nothing, or the token may not ask.
async fn look_up(http: &Http, token: &Token) -> Result<Option<Lookup>, SourceError> {
    let request = Request::get("auth/token/lookup-self");
    let answer = http.send(&request, Some(token)).await?;
    if answer.is_forbidden() {
        return Ok(None);
    }
    answer.data().map(Some)
}
