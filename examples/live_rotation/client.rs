//! One MCP client: calls the tools in turn, without pause, and judges each answer.

use std::time::{Duration, Instant};

use rmcp::{
    ClientLifecycleMode, ClientServiceExt, RoleClient,
    model::{CallToolRequestParams, ProtocolVersion},
    service::RunningService,
    transport::{
        StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::{
    app::WhoAmI,
    authorized::Authorized,
    operator::Truth,
    tally::Tally,
    tools::{Fingerprints, Quote},
    wallet::Wallet,
};

/// Far more than a call takes, so that a call that hangs is a failure and not a hang.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Client {
    service: RunningService<RoleClient, ()>,
    truth: Truth,
    tally: Tally,
}

impl Client {
    pub(crate) async fn connect(
        uri: String,
        wallet: Wallet,
        is_legacy: bool,
        truth: Truth,
        tally: Tally,
    ) -> Result<Self, rmcp::service::ClientInitializeError> {
        let lifecycle = if is_legacy {
            ClientLifecycleMode::Initialize
        } else {
            ClientLifecycleMode::Discover {
                preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            }
        };
        let config = StreamableHttpClientTransportConfig::with_uri(uri);
        let transport = StreamableHttpClientTransport::with_client(Authorized(wallet), config);
        let service = ().serve_with_lifecycle(transport, lifecycle).await?;
        Ok(Self {
            service,
            truth,
            tally,
        })
    }

    pub(crate) async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let start = Instant::now();
            let result = self.whoami().await;
            self.tally.call(start, result);

            let start = Instant::now();
            let result = self.fingerprint().await;
            self.tally.call(start, result);

            let start = Instant::now();
            let result = self.quote().await;
            self.tally.call(start, result);
        }
        let _ = self.service.cancel().await;
    }

    async fn whoami(&self) -> Result<(), &'static str> {
        let answer: WhoAmI = self.ask("whoami").await?;
        if answer.sub.as_deref() != Some("live") {
            return Err("another subject");
        }
        if !matches!(answer.stage.as_str(), "current" | "previous") {
            return Err("another stage");
        }
        self.tally.stage(answer.stage == "previous");
        self.is_known(answer.generation, &answer.version)
    }

    async fn fingerprint(&self) -> Result<(), &'static str> {
        let answer: Fingerprints = self.ask("fingerprint").await?;
        let is_whole = answer.before == answer.after
            && self.truth.is_fingerprint(&answer.version, &answer.before);
        if !is_whole {
            self.tally.torn();
            return Err("torn snapshot");
        }
        self.is_known(answer.generation, &answer.version)
    }

    async fn quote(&self) -> Result<(), &'static str> {
        let answer: Quote = self.ask("quote").await?;
        self.is_known(answer.generation, &answer.version)
    }

    /// A generation is one version for ever.
    fn is_known(&self, generation: u64, version: &str) -> Result<(), &'static str> {
        if !self.truth.is_version(version) {
            return Err("a version that must not be used");
        }
        if !self.tally.generation(generation, version) {
            return Err("two versions in one generation");
        }
        Ok(())
    }

    async fn ask<R: DeserializeOwned>(&self, tool: &'static str) -> Result<R, &'static str> {
        let call = self.service.call_tool(CallToolRequestParams::new(tool));
        let result = match tokio::time::timeout(PATIENCE, call).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => {
                self.tally.example(tool, &error);
                return Err("refused or broken off");
            }
            Err(_) => return Err("no answer in 10 s"),
        };
        let value = result.structured_content.unwrap_or_default();
        serde_json::from_value(value).map_err(|_| "an answer of another shape")
    }
}
