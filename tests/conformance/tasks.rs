//! The tools of the extension for tasks: they go on after their call has been answered.

use std::time::Duration;

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock,
        CreateTaskResult,
    },
    service::RequestContext,
    task_manager::{TaskContext, TaskExit, TaskManager, TaskOptions},
};
use serde_json::Value;

use crate::{fixture::WIRE, tools::text};

/// So that the task is seen at work.
const A_WHILE: Duration = Duration::from_millis(300);

/// Those that make no sense without a task.
const NEED_A_TASK: [&str; 4] = [
    "failing_job",
    "confirm_delete",
    "multi_input",
    "test_tool_with_task",
];

const MAY_BE_TASKS: [&str; 2] = ["slow_compute", "protocol_error_job"];

pub(crate) fn is_one(name: &str) -> bool {
    NEED_A_TASK.contains(&name) || MAY_BE_TASKS.contains(&name)
}

/// Whether the client can have its task, where the tool needs one.
pub(crate) fn check(name: &str, context: &RequestContext<RoleServer>) -> Result<(), ErrorData> {
    if NEED_A_TASK.contains(&name) && !has_tasks(context) {
        let needed = ClientCapabilities::builder().enable_tasks().build();
        return Err(ErrorData::missing_required_client_capability(needed));
    }
    Ok(())
}

pub(crate) async fn call(
    tasks: &TaskManager,
    request: CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let work = Work {
        tool: request.name.into_owned(),
        arguments: Value::Object(request.arguments.unwrap_or_default()),
    };
    if has_tasks(context) {
        return Ok(spawn(
            tasks,
            |task| async move { work.run(Some(&task)).await },
        ));
    }
    match work.run(None).await {
        Ok(result) => Ok(result.into()),
        Err(TaskExit::Error(error)) => Err(error),
        Err(_) => Err(ErrorData::internal_error("cancelled", None)),
    }
}

/// A task that ends with this text.
pub(crate) fn ending_with(tasks: &TaskManager, end: String) -> CallToolResponse {
    spawn(tasks, |_| async move {
        tokio::time::sleep(A_WHILE).await;
        Ok(text(end))
    })
}

fn spawn<F>(tasks: &TaskManager, run: impl FnOnce(TaskContext) -> F) -> CallToolResponse
where
    F: Future<Output = Result<CallToolResult, TaskExit>> + Send + 'static,
{
    let task = tasks.spawn(TaskOptions::default(), |task| Box::pin(run(task)));
    CreateTaskResult::new(task).into()
}

fn has_tasks(context: &RequestContext<RoleServer>) -> bool {
    context
        .client_capabilities()
        .is_some_and(|client| client.supports_tasks())
}

struct Work {
    tool: String,
    arguments: Value,
}

impl Work {
    async fn run(self, task: Option<&TaskContext>) -> Result<CallToolResult, TaskExit> {
        match (&*self.tool, task) {
            ("slow_compute", task) => {
                let seconds = self.arguments["seconds"].as_f64().unwrap_or(1.0);
                let cancelled = async {
                    match task {
                        Some(task) => task.cancelled().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = cancelled => return Err(TaskExit::Cancelled),
                    () = tokio::time::sleep(Duration::from_secs_f64(seconds)) => {}
                }
            }
            ("failing_job", _) => {
                tokio::time::sleep(A_WHILE).await;
                let why = vec![ContentBlock::text("the job failed, as it always does")];
                return Ok(CallToolResult::error(why));
            }
            ("protocol_error_job", _) => {
                return Err(TaskExit::Error(ErrorData::internal_error(
                    "as always",
                    None,
                )));
            }
            ("confirm_delete", Some(task)) => {
                let answer = task.request_input("confirm", WIRE.inputs["confirm"].clone());
                return Ok(text(answer.await?.to_string()));
            }
            ("multi_input", Some(task)) => {
                let ask = |name| task.request_input(name, WIRE.inputs[name].clone());
                let (first, second) = tokio::join!(ask("step1"), ask("step2"));
                return Ok(text(format!("{} {}", first?, second?)));
            }
            _ => {}
        }
        Ok(text(format!("{} has ended", self.tool)))
    }
}
