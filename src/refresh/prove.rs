//! What a new version must pass before it is current: parse, keys, prepare, probes.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{
    Parts, RefreshError, Step, Trigger,
    attempt::Refresher,
    error::Subject,
    held_back::is_new,
    parse::{parse, redact},
    probe,
    recipe::Make,
};
use crate::{
    event::{Event, Teller},
    guard::{catch, guarded, keep_if, let_go},
    keyring::{
        key::{PreparedKey, PreparedKeys, prepare},
        session_key::PreparedSessionKey,
    },
    source::{Stage, Version, Versions, combined::Part},
};

/// A current version that passed.
pub(super) struct Fresh<T> {
    pub(super) bundle: Arc<T>,
    pub(super) keys: Vec<Arc<PreparedKey>>,
    pub(super) session: Option<Arc<PreparedSessionKey>>,
    pub(super) parts: Option<Parts>,
}

type Keys = (Vec<Arc<PreparedKey>>, Option<Arc<PreparedSessionKey>>);

/// What a new current version was refused for.
pub(super) enum Refusal {
    Whole(RefreshError),
    /// Parts alone, which the errors name.
    Parts(RefreshError, Vec<RefreshError>),
}

impl<Raw, T> Refresher<Raw, T>
where
    Raw: DeserializeOwned + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    pub(super) async fn prove_unless_quarantined(
        &mut self,
        versions: &Versions,
        trigger: Trigger,
        events: &Teller,
    ) -> Result<Fresh<T>, Refusal> {
        let version = &versions.current;
        let told = self.quarantine.told_again(version, self.clock.now().mono);
        if let Some(error) = told.filter(|_| !trigger.is_deliberate()) {
            return Err(error.into());
        }
        let outcome = self.prove(versions, false, events).await;
        match &outcome {
            Ok(_) => {
                self.quarantine.passed(version);
                self.held_back.passed(versions, &self.in_use);
            }
            Err(Refusal::Whole(error))
                if matches!(error.failed_step(), Some(Step::Prepare | Step::Probe)) =>
            {
                let now = self.clock.now().mono;
                self.quarantine.refused(version, error, now);
            }
            Err(_) => self.quarantine.nothing_offered(),
        }
        outcome
    }

    pub(super) async fn prove(
        &self,
        versions: &Versions,
        first: bool,
        events: &Teller,
    ) -> Result<Fresh<T>, Refusal> {
        let version = &versions.current;
        let raw = Arc::new(self.parsed(version)?);
        let read = self.read(&raw, version, Stage::Current, events);
        let ((keys, session), raw) = keep_if(read, raw)?;
        let limit = self.recipe.probe_limit;
        // A part's probe is due when the part is new; without such a part, it judges the whole.
        let due = |part: Option<&str>| {
            part.is_none_or(|name| {
                let mut parts = versions.parts.iter();
                let part = parts.find(|part| *part.name == *name);
                part.is_none_or(|part| is_new(part, &self.in_use))
            })
        };
        let refusals = probe::run_all(&self.recipe.raw_probes, due, &raw, limit).await;
        let judged = self.judge(refusals, versions, first, events);
        let ((), raw) = keep_if(judged, raw)?;
        let (bundle, parts) = match &self.recipe.make {
            Make::Same(same) => (same(raw), None),
            Make::Prepared(prepare) => {
                let parts = self.parts.retry();
                let prepared = guarded(limit, || prepare(raw, parts.clone())).await;
                let refused = |message: String| {
                    let message = redact(message, version.document());
                    RefreshError::step(Step::Prepare, self.subject(version), message)
                };
                let bundle = prepared
                    .map_err(|fault| refused(format!("the step {fault}")))
                    .and_then(|made| made.map_err(|error| refused(probe::told(&*error))));
                let (bundle, parts) = keep_if(bundle, parts)?;
                (Arc::new(bundle), Some(parts))
            }
        };
        let refusals = probe::run_all(&self.recipe.probes, due, &bundle, limit).await;
        let judged = self.judge(refusals, versions, first, events);
        let ((), (bundle, parts)) = keep_if(judged, (bundle, parts))?;
        Ok(Fresh {
            bundle,
            keys,
            session,
            parts,
        })
    }

    /// The version in use, seen again beside other side stages: nothing is built anew.
    pub(super) fn again(&self, versions: &Versions, bundle: &Arc<T>) -> Result<Fresh<T>, Refusal> {
        let version = &versions.current;
        let raw = self.parsed(version)?;
        let keys = self.prepared_keys(&raw, version);
        let session = self.session_key(&raw, version);
        let_go(|| drop(raw));
        Ok(Fresh {
            bundle: bundle.clone(),
            keys: keys?.keys,
            session: session?,
            parts: None,
        })
    }

    /// At the first build a refusal only warns, unless the probe was declared to be required. Later
    /// a part's probe refuses its part, and the rest is proved again without it.
    fn judge(
        &self,
        refusals: Vec<probe::Refusal>,
        versions: &Versions,
        first: bool,
        events: &Teller,
    ) -> Result<(), Refusal> {
        let mut whole = None;
        let mut parts: Vec<RefreshError> = Vec::new();
        for refusal in refusals {
            self.meter.probe_refused(&refusal.name);
            let reason = redact(refusal.message, versions.current.document());
            let named = |part: &&Part| Some(&part.name) == refusal.part.as_ref();
            let part = versions.parts.iter().find(named);
            let subject = match part {
                Some(part) => Subject {
                    part: Some(&part.name),
                    ..self.subject(&part.versions.current)
                },
                None => self.subject(&versions.current),
            };
            if first && !refusal.required {
                events.tell(Event::ProbeWarning {
                    probe: refusal.name,
                    version: subject.version.clone(),
                    reason,
                });
                continue;
            }
            let error = RefreshError::probe(&refusal.name, subject, reason);
            match part.filter(|part| self.in_use.part(&part.name).is_some()) {
                Some(_) if parts.iter().any(|it| it.part() == error.part()) => {}
                Some(_) => parts.push(error),
                None => {
                    whole.get_or_insert(error);
                }
            }
        }
        let mut parts = parts.into_iter();
        match (parts.next(), whole) {
            (Some(part), _) => Err(Refusal::Parts(part, parts.collect())),
            (None, Some(error)) => Err(error.into()),
            (None, None) => Ok(()),
        }
    }

    fn subject<'a>(&'a self, version: &'a Version) -> Subject<'a> {
        Subject {
            place: version.origin().unwrap_or(&self.source_name),
            part: None,
            version: version.id(),
        }
    }

    pub(super) fn parsed(&self, version: &Version) -> Result<Raw, RefreshError> {
        let refused = |why: String| RefreshError::step(Step::Parse, self.subject(version), why);
        catch(|| parse(version.document()))
            .map_err(|fault| refused(format!("the bundle's type {fault}")))?
            .map_err(refused)
    }

    /// The keys of a version, and what of them is skipped is told.
    pub(super) fn read(
        &self,
        raw: &Raw,
        version: &Version,
        stage: Stage,
        events: &Teller,
    ) -> Result<Keys, RefreshError> {
        let keys = self.keys(raw, version, stage, events)?;
        Ok((keys, self.session_key(raw, version)?))
    }

    fn keys(
        &self,
        raw: &Raw,
        version: &Version,
        stage: Stage,
        events: &Teller,
    ) -> Result<Vec<Arc<PreparedKey>>, RefreshError> {
        let prepared = self.prepared_keys(raw, version)?;
        events.tell_all(prepared.skipped.iter().map(|error| Event::KeySkipped {
            stage,
            version: version.id().clone(),
            reason: error.to_string(),
        }));
        Ok(prepared.keys)
    }

    pub(super) fn prepared_keys(
        &self,
        raw: &Raw,
        version: &Version,
    ) -> Result<PreparedKeys, RefreshError> {
        let Some(field) = &self.recipe.jwt_key else {
            return Ok(PreparedKeys::default());
        };
        let refused = |why: String| RefreshError::step(Step::Keys, self.subject(version), why);
        catch(|| prepare(field(raw), self.recipe.allow_weak))
            .map_err(|fault| refused(format!("the choice of the field {fault}")))?
            .map_err(|error| refused(error.to_string()))
    }

    pub(super) fn session_key(
        &self,
        raw: &Raw,
        version: &Version,
    ) -> Result<Option<Arc<PreparedSessionKey>>, RefreshError> {
        let Some(field) = &self.recipe.session_key else {
            return Ok(None);
        };
        let refused = |why: String| RefreshError::step(Step::Keys, self.subject(version), why);
        let prepared = catch(|| {
            let key = field(raw);
            let verifies = self.recipe.jwt_key.as_ref().map(|field| field(raw));
            (
                verifies.is_some_and(|it| it.is_text_of(key.secret())),
                key.prepare(),
            )
        });
        match prepared {
            Err(fault) => Err(refused(format!("the choice of the session key {fault}"))),
            Ok((true, _)) => Err(refused(
                "the session key is the JWT key; who may sign tokens could take over sessions"
                    .to_owned(),
            )),
            Ok((false, Err(error))) => Err(refused(error.to_string())),
            Ok((false, Ok(key))) => Ok(Some(Arc::new(key))),
        }
    }
}

impl From<RefreshError> for Refusal {
    fn from(error: RefreshError) -> Self {
        Self::Whole(error)
    }
}
