//! Who asked for a refresh, and which refresh answers them: the next one to begin, never the one that
//! runs, which may have read the store before they asked.

use super::Trigger;

pub(super) struct Asked<R> {
    /// Those that the running refresh answers.
    answering: Vec<R>,
    /// Those that asked since it began.
    waiting: Vec<R>,
    wanted: Option<Trigger>,
    /// Whether anything but tokens of unknown keys wants it.
    others_want: bool,
    /// The same of the one that runs.
    others_wanted: bool,
}

impl<R> Asked<R> {
    pub(super) fn new() -> Self {
        Self {
            answering: Vec::new(),
            waiting: Vec::new(),
            wanted: None,
            others_want: false,
            others_wanted: false,
        }
    }

    pub(super) fn note(&mut self, trigger: Trigger, reply: Option<R>) {
        self.want(trigger);
        self.waiting.extend(reply);
    }

    /// Of several reasons the one that a person gave counts, then one for which the source must not
    /// answer from memory.
    pub(super) fn want(&mut self, trigger: Trigger) {
        self.others_want |= !trigger.is_for_token();
        let rank = |it: Trigger| (it.is_deliberate(), it.wants_news());
        if self.wanted.is_none_or(|it| rank(it) < rank(trigger)) {
            self.wanted = Some(trigger);
        }
    }

    /// What the refresh is for that begins now, where one is wanted.
    pub(super) fn begin(&mut self) -> Option<Trigger> {
        let trigger = self.wanted.take()?;
        self.answering.append(&mut self.waiting);
        self.others_wanted = std::mem::take(&mut self.others_want);
        Some(trigger)
    }

    /// Of the refresh that began last.
    pub(super) fn was_by_tokens_alone(&self) -> bool {
        !self.others_wanted
    }

    /// The refresh has ended: those that it answers.
    pub(super) fn end(&mut self) -> impl Iterator<Item = R> {
        self.answering.drain(..)
    }
}
