//! Amazon ECS: tasks that read the secret themselves.
//!
//! # Do not inject the secret
//!
//! A secret in `secrets` of a container definition is put into an environment variable when the container starts, and never
//! again: a rotation needs new tasks (AWS: *Pass Secrets Manager secrets through Amazon ECS environment variables*). Inject its
//! *name*, and let the server read it:
//!
//! ```json
//! {
//!   "family": "app",
//!   "taskRoleArn": "arn:aws:iam::123456789012:role/app",
//!   "containerDefinitions": [{
//!     "name": "app",
//!     "image": "app",
//!     "environment": [{ "name": "SECRET", "value": "mcp/app" }]
//!   }]
//! }
//! ```
//!
//! ```no_run
//! # use serde::Deserialize;
//! # use tower_secrets::{JwtKey, Keyring, source::SecretsManager};
//! # #[derive(Deserialize)]
//! # struct App { jwt_secret: JwtKey }
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let source = SecretsManager::from_env(std::env::var("SECRET")?).await;
//! let keyring = Keyring::<App>::builder(source).jwt_key(|app| &app.jwt_secret).build().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The permissions of [`source::aws`](crate::source::aws#permissions) belong to the **task role**. The execution role is what the agent
//! uses to pull images and to inject; the server does not have it.
//!
//! # Asking for a reload
//!
//! | way | |
//! |---|---|
//! | nothing | polls find it |
//! | `aws ecs execute-command --task TASK --container app --interactive --command "/app reload --socket /tmp/reload"` | for each task; the program asks itself, as in [Kubernetes](super::kubernetes#asking-for-a-reload). It needs `enableExecuteCommand` on the service, the `ssmmessages` permissions in the task role, and a root file system that can be written to; the command runs as root (AWS: *Using Amazon ECS Exec for debugging*) |
//! | `.. --command "kill -HUP 1"` | only where the server is PID 1 and the image has `kill`. Not with `initProcessEnabled`, nor with `pidMode: task`: PID 1 is another process then |
//! | `POST /reload` at the address of each task | from within the VPC, with a [guarded](crate::admin#who-may-ask) page |
//!
//! A reload URL on the service's load balancer reaches one task.
//!
//! ```sh
//! for task in $(aws ecs list-tasks --cluster main --service-name app --query 'taskArns[]' --output text); do
//!   aws ecs execute-command --cluster main --task "$task" --container app --interactive \
//!     --command "/app reload --socket /tmp/reload"
//! done
//! ```
//!
//! # Health checks
//!
//! A load balancer's target group calls `/healthz` or `/readyz` on the port of the page; they need no token, and never ask the
//! store. [Kubernetes](super::kubernetes#probes) has the code, and why `/readyz` should not fail when secrets are stale.
//!
//! # A deployment in the middle of a window
//!
//! A new task reads AWSCURRENT and AWSPREVIOUS and verifies both. When the window began it takes from the secret's last change: see
//! [`window_start`](crate::source::SecretsManager::window_start). `--force-new-deployment` is no way to rotate, for the reasons that
//! speak against [`rollout restart`](super::kubernetes#why-not-rollout-restart).
