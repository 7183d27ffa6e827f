//! The MCP tools: secrets and claims are arguments.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rmcp::{
    ErrorData, Json, ServerHandler,
    handler::server::router::tool::ToolRouter,
    model::{ServerCapabilities, ServerConfig},
    schemars, tool, tool_handler, tool_router,
};
use serde::{Deserialize, Serialize};
use tower_secrets::{Claims, Secrets};

use crate::{
    app::{App, WhoAmI},
    upstream::Upstream,
};

#[derive(Clone, Debug)]
pub(crate) struct Tools {
    upstream: Upstream,
    /// Made once: on the newer wire each request has its own `Tools`.
    router: ToolRouter<Self>,
}

#[tool_router]
impl Tools {
    pub(crate) fn new(upstream: Upstream) -> Self {
        Self {
            upstream,
            router: Self::tool_router(),
        }
    }

    #[tool(description = "Who calls, and which key verified the token")]
    fn whoami(&self, secrets: Secrets<App>, claims: Claims) -> Json<WhoAmI> {
        Json(WhoAmI::new(&secrets, &claims))
    }

    #[tool(
        description = "A digest of this call's secrets, taken twice: a rotation between the two \
                       changes nothing"
    )]
    async fn fingerprint(&self, secrets: Secrets<App>) -> Json<Fingerprints> {
        let before = fingerprint(&secrets.api_key, &secrets.db_password);
        // Stands for work that takes a while, in which a rotation may happen.
        tokio::time::sleep(Duration::from_millis(5)).await;
        Json(Fingerprints {
            version: secrets.version().to_string(),
            generation: secrets.generation(),
            before,
            after: fingerprint(&secrets.api_key, &secrets.db_password),
        })
    }

    #[tool(description = "Asks an upstream that accepts only its own valid API keys")]
    async fn quote(&self, secrets: Secrets<App>) -> Result<Json<Quote>, ErrorData> {
        let answer = secrets
            .try_each(|app| {
                let upstream = self.upstream.clone();
                async move { upstream.quote(&app.api_key).await }
            })
            .await;
        match answer {
            Ok(quote) => Ok(Json(Quote {
                quote,
                version: secrets.version().to_string(),
                generation: secrets.generation(),
            })),
            Err(refusal) => Err(ErrorData::internal_error(refusal.to_string(), None)),
        }
    }
}

#[tool_handler(router = self.router)]
impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_instructions("A server whose secrets rotate while it runs")
    }
}

#[derive(Debug, Deserialize, Serialize, schemars::JsonSchema)]
pub(crate) struct Fingerprints {
    pub(crate) version: String,
    pub(crate) generation: u64,
    pub(crate) before: String,
    pub(crate) after: String,
}

#[derive(Debug, Deserialize, Serialize, schemars::JsonSchema)]
pub(crate) struct Quote {
    pub(crate) quote: String,
    pub(crate) version: String,
    pub(crate) generation: u64,
}

/// Tells bundles apart and reveals nothing, as long as the values are long and random.
pub(crate) fn fingerprint(api_key: &str, db_password: &str) -> String {
    let digest = digest(&SHA256, format!("{api_key}\n{db_password}").as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(&digest.as_ref()[..9])
}
