//! Versions held by the program.

use tower_secrets::source::{self, SourceError, SourceErrorKind};

use crate::harness::Harness;

source_contract!(keeps, Memory);

pub(crate) struct Memory(source::Memory);

impl Harness for Memory {
    type Source = source::Memory;

    const OUTAGE: SourceErrorKind = SourceErrorKind::Unavailable;

    async fn start(_: &str, document: &str) -> Option<Self> {
        Some(Self(source::Memory::new(document)))
    }

    fn source(&self) -> source::Memory {
        self.0.clone()
    }

    async fn stage(&mut self, document: &str) {
        self.0.stage_pending(document);
    }

    async fn promote(&mut self) {
        self.0.promote_pending().unwrap();
    }

    async fn unstage(&mut self) {
        self.0.drop_pending();
    }

    async fn withdraw(&mut self) {
        self.0.drop_previous();
    }

    async fn rotate(&mut self, document: &str) {
        self.0.rotate(document);
    }

    async fn go_down(&mut self) {
        let error = SourceError::new(Self::OUTAGE, "down");
        self.0.fail_next(usize::MAX, error);
    }

    async fn come_back(&mut self) {
        self.0.fail_next(0, SourceError::new(Self::OUTAGE, "up"));
    }
}
