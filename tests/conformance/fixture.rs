//! The tools, prompts and resources that the suite asks for. What they say on the wire is in
//! `fixture.json`.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex},
};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::*,
    service::{RequestContext, SubscriptionContext, SubscriptionSink},
    task_manager::TaskManager,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    rounds::{Next, States},
    tasks, tools,
};

pub(crate) static WIRE: LazyLock<Wire> =
    LazyLock::new(|| serde_json::from_str(include_str!("fixture.json")).unwrap());

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Wire {
    capabilities: ServerCapabilities,
    tools: Vec<Tool>,
    /// What a tool always answers.
    pub(crate) results: BTreeMap<String, CallToolResult>,
    /// What a tool asks the user, on the older wire.
    pub(crate) elicitations: BTreeMap<String, ElicitRequestParams>,
    /// What a tool or prompt asks the client for, round by round, on the newer wire.
    pub(crate) rounds: BTreeMap<String, Vec<Vec<String>>>,
    /// Those that want their state back with it.
    pub(crate) stateful: Vec<String>,
    pub(crate) inputs: InputRequests,
    resources: Vec<Resource>,
    resource_templates: Vec<ResourceTemplate>,
    contents: BTreeMap<String, Value>,
    prompts: Vec<Prompt>,
    prompt_results: BTreeMap<String, Value>,
}

#[derive(Clone)]
pub(crate) struct Fixture {
    states: States,
    /// Everybody who ever subscribed: those who have gone refuse what they are told.
    pub(crate) subscribers: Arc<Mutex<Vec<SubscriptionSink>>>,
    tasks: TaskManager,
}

impl Fixture {
    pub(crate) fn new(states: States) -> Self {
        Self {
            states,
            subscribers: Arc::default(),
            tasks: TaskManager::default(),
        }
    }
}

pub(crate) fn of_json<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value)
        .map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(WIRE.capabilities.clone())
            .with_server_info(Implementation::new("tower-secrets-fixture", "0"))
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(WIRE.tools.clone()))
    }

    /// rmcp compares `Mcp-Param-*` headers with the schema that this gives.
    fn get_tool(&self, name: &str) -> Option<Tool> {
        WIRE.tools.iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        tasks::check(&request.name, &context)?;
        if WIRE.rounds.contains_key(&*request.name) {
            let (responses, state) = (request.input_responses, request.request_state);
            return Ok(
                match self
                    .states
                    .next(&request.name, responses, state, &context)?
                {
                    Next::Ask(inputs) => inputs.into(),
                    Next::Done(text) if tasks::is_one(&request.name) => {
                        tasks::ending_with(&self.tasks, text)
                    }
                    Next::Done(text) => tools::text(text).into(),
                },
            );
        }
        if tasks::is_one(&request.name) {
            return tasks::call(&self.tasks, request, &context).await;
        }
        Ok(tools::call(self, request, context).await?.into())
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(WIRE.prompts.clone()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        if WIRE.rounds.contains_key(&request.name) {
            let (responses, state) = (request.input_responses, request.request_state);
            return match self
                .states
                .next(&request.name, responses, state, &context)?
            {
                Next::Ask(inputs) => Ok(inputs.into()),
                Next::Done(text) => {
                    let message =
                        json!({ "role": "user", "content": { "type": "text", "text": text } });
                    Ok(of_json::<GetPromptResult>(
                        json!({ "resultType": "complete", "messages": [message] }),
                    )?
                    .into())
                }
            };
        }
        let Some(result) = WIRE.prompt_results.get(&request.name) else {
            return Err(ErrorData::invalid_params("no such prompt", None));
        };
        let mut text = result.to_string();
        for (name, value) in request.arguments.unwrap_or_default() {
            let value = value.as_str().unwrap_or_default();
            text = text.replace(&format!("{{{name}}}"), value);
        }
        let result: GetPromptResult = of_json(text.parse().unwrap_or_default())?;
        Ok(result.into())
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(WIRE.resources.clone()))
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let templates = WIRE.resource_templates.clone();
        Ok(ListResourceTemplatesResult::with_all_items(templates))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = &request.uri;
        let of_template = || {
            let id = uri
                .strip_prefix("test://template/")?
                .strip_suffix("/data")?;
            let text =
                json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
            Some(json!({ "mimeType": "application/json", "text": text.to_string() }))
        };
        let Some(mut content) = WIRE.contents.get(uri).cloned().or_else(of_template) else {
            let data = json!({ "uri": uri });
            return Err(ErrorData::resource_not_found(
                "no such resource",
                Some(data),
            ));
        };
        content["uri"] = json!(uri);
        let result: ReadResourceResult =
            of_json(json!({ "resultType": "complete", "contents": [content] }))?;
        Ok(result.into())
    }

    async fn subscribe(
        &self,
        _request: SubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(
        &self,
        _request: UnsubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(requested.supported_by(&WIRE.capabilities))
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        self.subscribers
            .lock()
            .unwrap()
            .push(context.sink().clone());
        context.cancelled().await;
        Ok(())
    }

    async fn complete(
        &self,
        _request: CompleteRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        of_json(
            json!({ "resultType": "complete", "completion": { "values": ["paris", "park", "party"], "hasMore": false } }),
        )
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        self.tasks
            .get_task(&request.task_id)
            .map(GetTaskResult::new)
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.tasks
            .update_task(&request.task_id, request.input_responses)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.tasks.cancel_task(&request.task_id)
    }

    async fn set_level(
        &self,
        _request: SetLevelRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }
}
