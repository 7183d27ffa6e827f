//! The tools that do more than answer with what they always answer.

use std::time::Duration;

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolRequestParams, CallToolResult, ClientCapabilities, ContentBlock,
        ElicitRequestParams, LoggingLevel, LoggingMessageNotificationParam,
        ProgressNotificationParam,
    },
    service::{RequestContext, ServiceError},
};
use serde_json::{Value, json};

use crate::fixture::{Fixture, WIRE, of_json};

/// Between what a tool tells on its way: separate events, as of real work.
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) fn text(text: impl Into<String>) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

pub(crate) async fn call(
    fixture: &Fixture,
    request: CallToolRequestParams,
    context: RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    let name = &*request.name;
    let arguments = Value::Object(request.arguments.unwrap_or_default());
    if let Some(result) = WIRE.results.get(name) {
        return Ok(result.clone());
    }
    if let Some(question) = WIRE.elicitations.get(name) {
        return elicit(question.clone(), &arguments, &context).await;
    }
    match name {
        "test_tool_with_logging" => {
            for _ in 0..3 {
                log(LoggingLevel::Info, &context).await;
                tokio::time::sleep(PAUSE).await;
            }
        }
        "test_logging_tool" => {
            if let Some(level) = context.meta.log_level() {
                log(level, &context).await;
            }
        }
        "test_tool_with_progress" => progress(&context).await,
        "greet" => {
            let name = arguments["name"].as_str().unwrap_or("friend");
            return Ok(text(format!("Hello, {name}!")));
        }
        "test_sampling" => return sample(&arguments, &context).await,
        "test_custom_header" => {
            return match arguments["value"].as_str() {
                Some(value) => Ok(text(value)),
                None => Err(ErrorData::invalid_params("`value` is missing", None)),
            };
        }
        "test_trigger_tool_change" | "test_trigger_prompt_change" => {
            let subscribers = fixture.subscribers.lock().unwrap().clone();
            for subscriber in subscribers {
                // Who has gone, or did not ask for it, is not told.
                let _ = match name {
                    "test_trigger_tool_change" => subscriber.notify_tool_list_changed().await,
                    _ => subscriber.notify_prompt_list_changed().await,
                };
            }
        }
        "test_missing_capability" => {
            let client = context.client_capabilities().unwrap_or_default();
            if client.sampling.is_none() {
                let needed = ClientCapabilities::builder().enable_sampling().build();
                return Err(ErrorData::missing_required_client_capability(needed));
            }
        }
        // rmcp lets no handler close its stream.
        "test_reconnection" => {}
        _ => return Err(ErrorData::invalid_params("no such tool", None)),
    }
    Ok(text(format!("{name} has ended")))
}

async fn log(level: LoggingLevel, context: &RequestContext<RoleServer>) {
    let message = LoggingMessageNotificationParam::new(level, json!("at work"));
    let _ = context.peer.notify_logging_message(message).await;
}

async fn progress(context: &RequestContext<RoleServer>) {
    let Some(token) = context.meta.get_progress_token() else {
        return;
    };
    for done in [0.0, 50.0, 100.0] {
        let progress = ProgressNotificationParam::new(token.clone(), done).with_total(100.0);
        let _ = context.peer.notify_progress(progress).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn sample(
    arguments: &Value,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    let content = json!({ "type": "text", "text": arguments["prompt"] });
    let question =
        json!({ "messages": [{ "role": "user", "content": content }], "maxTokens": 100 });
    let answer = context.peer.create_message(of_json(question)?).await;
    answer_of(answer)
}

async fn elicit(
    mut question: ElicitRequestParams,
    arguments: &Value,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    if let (ElicitRequestParams::FormElicitationParams { message, .. }, Some(asked)) =
        (&mut question, arguments["message"].as_str())
    {
        asked.clone_into(message);
    }
    answer_of(context.peer.create_elicitation(question).await)
}

fn answer_of(
    answer: Result<impl serde::Serialize, ServiceError>,
) -> Result<CallToolResult, ErrorData> {
    match answer {
        Ok(answer) => Ok(text(serde_json::to_string(&answer).unwrap_or_default())),
        Err(error) => Err(ErrorData::internal_error(error.to_string(), None)),
    }
}
