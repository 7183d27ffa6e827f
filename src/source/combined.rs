//! Several secrets as one bundle.

use std::{
    collections::BTreeSet,
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use serde::de::IgnoredAny;

use super::{BoxSource, Side, Source, SourceError, SourceErrorKind, Version, VersionId, Versions};
use crate::guard::{guarded, join_all};

mod compose;
pub(crate) use compose::{Part, combination, compose, part_ids, splice};

#[cfg(test)]
mod tests;

/// What a part may take of the time limit of the whole, so that one that hangs fails alone.
const SHARE: f64 = 0.8;

/// Several secrets, each with its own source and its own rotations, as one bundle.
///
/// The document has one member for each part: `{"db": .., "jwt": ..}`. The parts are fetched at the
/// same time, and what they hold is swapped in as one snapshot, so that a request sees one
/// combination of proved values.
///
/// ```
/// use serde::Deserialize;
/// use tower_secrets::{JwtKey, Keyring, source::{Combined, Memory}};
///
/// #[derive(Deserialize)]
/// struct App {
///     db: Db,
///     jwt: Jwt,
/// }
///
/// #[derive(Deserialize)]
/// struct Db { password: String }
///
/// #[derive(Deserialize)]
/// struct Jwt { key: JwtKey }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let db = Memory::new(r#"{"password":"one"}"#);
/// let jwt = Memory::new(r#"{"key":"0123456789abcdef0123456789abcdef"}"#);
/// let source = Combined::new().with("db", db.clone()).with("jwt", jwt);
/// let keyring = Keyring::<App>::builder(source).jwt_key(|app| &app.jwt.key).build().await?;
///
/// db.rotate(r#"{"password":"two"}"#);
/// keyring.refresh().await?;
/// let secrets = keyring.current();
/// assert_eq!(secrets.db.password, "two");
/// assert_eq!(secrets.version().as_str(), "db=2,jwt=1");
/// # Ok(())
/// # }
/// ```
///
/// # Versions
///
/// A version is named by those of the parts, in the order of their names: `db=2,jwt=1`. A `,` in the
/// id of a part is written `%2C`, and a `%` is `%25`. [`revoke`](crate::Keyring::revoke) takes this
/// name, and refuses the keys of that combination in whatever other one they are.
///
/// The *previous* version exists where any part has one, and holds, of each part, its previous or
/// else its current; the same goes for *pending*. Of a part whose own window is over it holds the
/// current one, from the next swap on. Its window ends with the last one of its parts, or at the
/// earliest `not_after`. Behind a [`prepare`](crate::Builder::prepare) step it is a bundle that this
/// process has built, as long as each part still vouches for what is in it.
///
/// # Windows
///
/// The window of a verification key is that of the part that the key is in, and ignores the others:
/// it opens when the key leaves *that* part's current version, ends by *that* part's dates, and at
/// once where *that* part has no previous any more. Which part that is need not be said: it is the
/// one that makes the keys differ. Where several do, because
/// [`jwt_key`](crate::Builder::jwt_key) chooses between parts, the windows are those of the bundle
/// as a whole.
///
/// # When a part cannot be read
///
/// At the first fetch that is an error, which names the part. Later the part *stays* at what is in
/// use, with its deadlines, while the other parts move on: a revocation elsewhere does not wait for it,
/// and neither does one of the part's own, where its store shows at least that it has no previous.
/// The event `secrets_part_stale` and [`Status::stale_parts`](crate::Status::stale_parts) name it, it
/// is asked again as after a failure, and for `max_staleness` and `refuse_after` the source has not
/// answered. No part may take more than 80 % of the
/// [time limit of a fetch](crate::Builder::fetch_limit).
///
/// A [`part_probe`](crate::Builder::part_probe) refuses a new version of one part only. What refuses a
/// bundle otherwise (its type, a key, `prepare`, another probe) refuses it as a whole.
pub struct Combined {
    members: Vec<Member>,
    flaw: Option<String>,
    limit: Mutex<Duration>,
    /// The last answer of each part, once all have answered.
    last: Mutex<Vec<Versions>>,
}

struct Member {
    name: Arc<str>,
    source: BoxSource,
}

impl Combined {
    /// No part yet; [`with`](Self::with) adds them.
    #[must_use]
    pub fn new() -> Self {
        Self {
            members: Vec::new(),
            flaw: None,
            limit: Mutex::new(Duration::from_secs(10)),
            last: Mutex::new(Vec::new()),
        }
    }

    /// Adds a part: the member `name` of the bundle, whose documents come from `source`. Each of
    /// them must be one JSON value of any type.
    ///
    /// A name that is empty, taken, or holds a `,` or `=`, is an error of the first fetch, and so is a
    /// source that is a `Combined` itself: windows are kept for the parts of one.
    #[must_use]
    pub fn with(mut self, name: impl Into<Arc<str>>, source: impl Source) -> Self {
        let name = name.into();
        if name.is_empty() || name.contains([',', '=']) {
            let why = "must not be empty or hold `,` or `=`";
            self.flaw
                .get_or_insert(format!("the name `{name}` of a part {why}"));
        }
        let place = self
            .members
            .binary_search_by(|member| member.name.cmp(&name));
        match place {
            Ok(_) => {
                self.flaw
                    .get_or_insert(format!("two parts are called `{name}`"));
            }
            Err(place) => {
                let source = source.boxed();
                self.members.insert(place, Member { name, source });
            }
        }
        self
    }

    fn check(&self) -> Result<(), SourceError> {
        let flaw = match &self.flaw {
            Some(flaw) => flaw,
            None if self.members.is_empty() => "a combined source needs a part",
            None => return Ok(()),
        };
        Err(SourceError::new(SourceErrorKind::Malformed, flaw))
    }

    fn share(&self) -> Duration {
        self.limit
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .mul_f64(SHARE)
    }

    fn last(&self) -> MutexGuard<'_, Vec<Versions>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    async fn fetch(&self, limit: Duration) -> Result<Versions, SourceError> {
        let answer = guarded(limit, || self.source.fetch()).await;
        let mut versions = answer.unwrap_or_else(|fault| Err(fault.into()))?;
        if !versions.parts.is_empty() {
            let why = "it is a combined source itself; give all parts to one";
            return Err(SourceError::new(SourceErrorKind::Malformed, why));
        }
        check_document(&versions.current)?;
        for side in [&mut versions.previous, &mut versions.pending] {
            if let Side::Present(version) = side
                && let Err(error) = check_document(version)
            {
                *side = Side::Unreadable(error);
            }
        }
        Ok(versions)
    }
}

/// A part must not reach beyond its member: `1,"jwt":..` would be another part's.
fn check_document(version: &Version) -> Result<(), SourceError> {
    let document = version.document();
    // What is skipped is not looked at for UTF-8 by the parser, and broken text would break all parts.
    let why = match std::str::from_utf8(document) {
        Err(error) => format!("is not UTF-8 at byte {}", error.valid_up_to()),
        Ok(text) => match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => return Ok(()),
            // Without the parser's words, which may quote the document.
            Err(error) => format!(
                "is not one JSON value, at line {} column {}",
                error.line(),
                error.column()
            ),
        },
    };
    let message = format!("version `{}` {why}", version.id());
    Err(SourceError::new(SourceErrorKind::Malformed, message))
}

impl Source for Combined {
    async fn fetch(&self) -> Result<Versions, SourceError> {
        self.check()?;
        let limit = self.share();
        let answers = join_all(self.members.iter().map(|member| member.fetch(limit))).await;
        let mut last = self.last();
        let mut parts = Vec::with_capacity(answers.len());
        for (at, (member, answer)) in self.members.iter().zip(answers).enumerate() {
            let (versions, stale) = match (answer, last.get(at)) {
                (Ok(versions), _) => (versions, None),
                (Err(error), Some(kept)) => {
                    let mut kept = kept.clone();
                    if error.withdraws_previous_of(&member.source.name()) {
                        kept.previous = Side::Absent;
                    }
                    (kept, Some(error))
                }
                (Err(error), None) => return Err(error.in_part(&member.name)),
            };
            let name = member.name.clone();
            parts.push(Part {
                name,
                versions,
                stale,
            });
        }
        *last = parts.iter().map(|part| part.versions.clone()).collect();
        Ok(compose(parts))
    }

    async fn changed(&self) {
        let mut changes: Vec<_> = self
            .members
            .iter()
            .map(|member| Box::pin(member.source.changed()))
            .collect();
        // Only the first that is ready is asked. The others report again what they have not reported.
        poll_fn(|cx| {
            if changes
                .iter_mut()
                .any(|change| change.as_mut().poll(cx).is_ready())
            {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    fn published(&self, current: &VersionId) {
        // Where a `Fallback` is around this, the id may be one of the other source's.
        for (name, id) in part_ids(current).unwrap_or_default() {
            if let Some(member) = self.members.iter().find(|member| *member.name == *name) {
                member.source.published(&id);
            }
        }
    }

    fn drained(&self, versions: &[VersionId], in_use: &[VersionId]) {
        for member in &self.members {
            let own = |ids: &[VersionId]| -> BTreeSet<VersionId> {
                let parts = ids.iter().filter_map(part_ids).flatten();
                let own = parts.filter(|(name, _)| *name == &*member.name);
                own.map(|(_, id)| id).collect()
            };
            // Another combination may hold the same value of this part.
            let in_use = own(in_use);
            let unused: Vec<_> = own(versions).difference(&in_use).cloned().collect();
            if !unused.is_empty() {
                let in_use: Vec<_> = in_use.into_iter().collect();
                member.source.drained(&unused, &in_use);
            }
        }
    }

    fn invalidate(&self) {
        self.members
            .iter()
            .for_each(|member| member.source.invalidate());
    }

    fn refresh_on_unknown_key(&self) -> bool {
        let mut members = self.members.iter();
        members.any(|member| member.source.refresh_on_unknown_key())
    }

    fn set_fetch_limit(&self, limit: Duration) {
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner) = limit;
        for member in &self.members {
            member.source.set_fetch_limit(self.share());
        }
    }

    fn name(&self) -> String {
        let part = |member: &Member| format!("{}: {}", member.name, member.source.name());
        self.members.iter().map(part).collect::<Vec<_>>().join(", ")
    }
}

impl Default for Combined {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Combined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            members,
            flaw,
            limit: _,
            last: _,
        } = self;
        let parts = members.iter().map(|member| (&member.name, &member.source));
        f.debug_struct("Combined")
            .field("parts", &parts.collect::<Vec<_>>())
            .field("flaw", flaw)
            .finish_non_exhaustive()
    }
}
