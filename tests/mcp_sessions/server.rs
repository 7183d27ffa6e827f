//! The MCP server under test. Its tools are those that need a user to be kept apart from others.

use std::sync::Arc;

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ClientResult, ContentBlock,
        InputRequiredResult, ServerCapabilities, ServerConfig, ServerRequest,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::json;
use tower_secrets::{
    RegisteredClaims,
    mcp::{RequestStates, SecretsContext},
};

#[derive(Clone)]
pub(crate) struct Server {
    states: RequestStates,
}

pub(crate) fn service(
    sessions: &Arc<LocalSessionManager>,
    states: RequestStates,
) -> StreamableHttpService<Server, LocalSessionManager> {
    let server = Server { states };
    let config = StreamableHttpServerConfig::default();
    StreamableHttpService::new(move || Ok(server.clone()), sessions.clone(), config)
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let text = match &*request.name {
            "whoami" => {
                let claims = context.optional_claims::<RegisteredClaims>()?;
                let subject = claims.and_then(|claims| claims.sub().map(str::to_owned));
                subject.unwrap_or_else(|| "nobody".to_owned())
            }
            "ask" => ask(&context).await?,
            // Counts the rounds that it took, in nothing but the state.
            "rounds" => {
                let round: u32 = match &request.request_state {
                    Some(state) => self.states.open(&context, "rounds", state)?,
                    None => 0,
                };
                if round < 2 {
                    let state = self.states.seal(&context, "rounds", &(round + 1))?;
                    return Ok(CallToolResponse::InputRequired(
                        InputRequiredResult::from_request_state(state),
                    ));
                }
                format!("after {round} rounds")
            }
            other => return Err(ErrorData::invalid_params(other.to_owned(), None)),
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }
}

/// Asks the user, and says what the answer was.
async fn ask(context: &RequestContext<RoleServer>) -> Result<String, ErrorData> {
    let internal = |text: String| ErrorData::internal_error(text, None);
    let request: ServerRequest = serde_json::from_value(json!({
        "method": "elicitation/create",
        "params": {
            "mode": "form",
            "message": "Which one?",
            "requestedSchema": { "type": "object", "properties": { "one": { "type": "string" } } },
        },
    }))
    .map_err(|error| internal(error.to_string()))?;
    let answer = context.peer.send_request(request).await;
    match answer.map_err(|error| internal(error.to_string()))? {
        ClientResult::ElicitResult(answer) => Ok(answer.content.unwrap_or_default().to_string()),
        other => Err(internal(format!("{other:?}"))),
    }
}
