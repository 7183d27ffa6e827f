//! The operator's eyes: the `/status` of every replica, read over and over.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    callers::http,
    fleet::{Contacts, REPLICAS},
};

const PACE: Duration = Duration::from_millis(200);

/// What the replicas say of the one secret, in their order; `None` for one that does not answer.
pub(crate) type View = Vec<Option<Value>>;

/// Whether all of them say so of a fleet whose current version is this one: an operator who has
/// rotated may remove what was before.
pub(crate) fn is_safe(view: &View, current: &str) -> bool {
    view.iter().all(|status| {
        let Some(status) = status else { return false };
        is_current(status, current) && status["safe_to_revoke"] == true
    })
}

pub(crate) fn all_are_at(view: &View, current: &str) -> bool {
    let is_there =
        |status: &Option<Value>| status.as_ref().is_some_and(|it| is_current(it, current));
    view.iter().all(is_there)
}

pub(crate) fn all_pend(view: &View, pending: &str) -> bool {
    let pends = |status: &Option<Value>| {
        status
            .as_ref()
            .is_some_and(|it| it["pending"]["id"] == pending)
    };
    view.iter().all(pends)
}

/// OpenBao's versions also have a date.
fn is_current(status: &Value, version: &str) -> bool {
    let id = status["current"]["id"].as_str().unwrap();
    id == version || id.split('@').next() == Some(version)
}

pub(crate) struct Watch {
    views: watch::Receiver<View>,
    guarded: Arc<Mutex<Guarded>>,
    task: JoinHandle<()>,
}

/// While a window is open nobody who knows of it may say that it is safe.
#[derive(Default)]
struct Guarded {
    current: Option<String>,
    /// Which replicas know.
    knows: [bool; REPLICAS],
    looks: usize,
    said_safe: Vec<String>,
}

impl Watch {
    pub(crate) fn start(contacts: Arc<Contacts>) -> Self {
        let (told, views) = watch::channel(View::new());
        let guarded = Arc::<Mutex<Guarded>>::default();
        let shared = guarded.clone();
        let http = http();
        let task = tokio::spawn(async move {
            let mut pace = tokio::time::interval(PACE);
            loop {
                pace.tick().await;
                let before = shared.lock().unwrap().current.clone();
                let all = contacts.all().into_iter().map(async |contact| {
                    let url = format!("http://{}/status", contact?.admin);
                    let text = http.get(url).send().await.ok()?.text().await.ok()?;
                    let mut status: Value = serde_json::from_str(&text).ok()?;
                    Some(status["keyrings"][0].take())
                });
                let view = futures::future::join_all(all).await;
                shared.lock().unwrap().look(&view, before);
                told.send_replace(view);
            }
        });
        Self {
            views,
            guarded,
            task,
        }
    }

    /// The first view like this, within this time.
    pub(crate) async fn until(
        &self,
        what: &str,
        limit: Duration,
        is_it: impl Fn(&View) -> bool,
    ) -> View {
        let mut views = self.views.clone();
        match tokio::time::timeout(limit, views.wait_for(|view| is_it(view))).await {
            Ok(view) => view.unwrap().clone(),
            Err(_) => panic!("not within {limit:?}: {what}: {:#?}", *self.views.borrow()),
        }
    }

    /// From now on it is not safe to revoke what was before this version.
    pub(crate) fn forbid_safe(&self, current: &str) {
        self.guarded.lock().unwrap().current = Some(current.to_owned());
    }

    /// How often it was looked while that was forbidden, and who said it all the same.
    pub(crate) fn allow_safe(&self) -> (usize, Vec<String>) {
        let guarded = std::mem::take(&mut *self.guarded.lock().unwrap());
        (guarded.looks, guarded.said_safe)
    }
}

impl Guarded {
    /// `before` was forbidden when the replicas were asked.
    fn look(&mut self, view: &View, before: Option<String>) {
        // What began or ended meanwhile is looked at next time.
        let Some(current) = before.filter(|it| self.current.as_ref() == Some(it)) else {
            return;
        };
        self.looks += 1;
        if is_safe(view, &current) {
            self.said_safe.push(format!("the fleet, at {current}"));
        }
        for (replica, status) in view.iter().enumerate() {
            let Some(status) = status else { continue };
            self.knows[replica] |= is_current(status, &current);
            if self.knows[replica] && status["safe_to_revoke"] == true {
                let replaced = &status["replaced"];
                self.said_safe
                    .push(format!("replica {replica}, at {current}: {replaced}"));
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
