//! Kubernetes: a mounted Secret, reloads, probes, deployments.
//!
//! # A mounted Secret
//!
//! ```yaml
//! apiVersion: v1
//! kind: Secret
//! metadata: { name: app }
//! stringData:
//!   current.json: '{"jwt_secret": "..", "api_key": ".."}'
//!   previous.json: '{"jwt_secret": "..", "api_key": "..", "not_after": "2027-01-31T12:15:00Z"}'
//! ---
//! apiVersion: apps/v1
//! kind: Deployment
//! metadata: { name: app }
//! spec:
//!   replicas: 3
//!   selector: { matchLabels: { app: app } }
//!   template:
//!     metadata: { labels: { app: app } }
//!     spec:
//!       containers:
//!         - name: app
//!           image: app
//!           # The whole volume: a `subPath` mount never updates.
//!           volumeMounts: [{ name: secrets, mountPath: /run/secrets/app, readOnly: true }]
//!           livenessProbe: { httpGet: { path: /healthz, port: 9090 } }
//!           readinessProbe: { httpGet: { path: /readyz, port: 9090 } }
//!       volumes: [{ name: secrets, secret: { secretName: app } }]
//! ```
//!
//! [`File`](crate::source::File) reads it. All stages are keys of *one* Secret, because the kubelet swaps the files of one volume
//! together. Secrets in environment variables do not change while a process lives.
//!
//! **The kubelet is slow.** A change reaches the files after its sync period and the delay of its cache (Kubernetes:
//! *Secrets*, "Using Secrets as files from a Pod"), a minute or more, and at another moment on each node. The file watch sees it at
//! once then. Where no watch works, the interval comes on top.
//!
//! So leave [`refresh_every`](crate::Builder::refresh_every) at its 300 s, or at the kubelet's delay at the least, although the watch
//! is quicker: window and activation are worked out from it, and a `Signer` has to wait for the slowest node.
//! [Fleets](super::fleets#what-to-set) has a row for it.
//!
//! # Probes
//!
//! The kubelet calls the pod's address, so the operator's page has to listen there, and then it has to be guarded:
//! [`Admin::bind`](crate::admin::Admin::bind) refuses it otherwise. `/healthz` and `/readyz` need no token.
//!
//! ```no_run
//! use tower_secrets::{Keyring, admin::Admin};
//!
//! # async fn run<App: Send + Sync + 'static>(keyring: &Keyring<App>) -> Result<(), Box<dyn std::error::Error>> {
//! let token = std::env::var("ADMIN_TOKEN")?; // 22 characters or more
//! let page = Admin::new().keyring("app", keyring).bearer_token(token)?;
//! let page = page.bind(([0, 0, 0, 0], 9090).into()).await?;
//! tokio::spawn(page.serve());
//! # Ok(())
//! # }
//! ```
//!
//! * `/healthz` fails when a refresh loop has ended. It never asks the store: if it did, an outage of the store would restart
//!   every pod, into a start that needs the store.
//! * `/readyz` succeeds from the first moment on, for a keyring has a snapshot.
//!   [`unready_when_stale`](crate::admin::Admin::unready_when_stale) changes that, for all replicas at once: leave it off unless stale secrets
//!   are worse than no service.
//!
//! # Asking for a reload
//!
//! | way | works where |
//! |---|---|
//! | nothing | always: the watch and the interval find it |
//! | `POST /reload` of *each pod*: `kubectl port-forward`, or from inside of the cluster by the pods' addresses | the page is served. It waits for the outcome, and tells it |
//! | `kubectl exec POD -- kill -HUP 1` | the server is PID 1 **and** the image has `kill`. Not distroless; not under tini or a shell, which are PID 1 then; not with `shareProcessNamespace`, where PID 1 is the sandbox's pause process. It tells nothing (Kubernetes: *Share Process Namespace between Containers in a Pod*) |
//! | `kubectl exec POD -- mcp_server reload --socket /run/app/reload` | everywhere else: the binary asks the server that runs beside it, and tells what came of it |
//!
//! A Service is no way: it hands a request to one pod.
//!
//! The last way is the example's, started with `--socket /run/app/reload`; your own program has `Admin::bind_unix` and
//! `admin::reload` for it. The socket needs a directory that can be written to, an `emptyDir` where the root file system
//! cannot.
//!
//! ```sh
//! for pod in $(kubectl get pods -l app=app -o name); do
//!   kubectl exec "$pod" -- mcp_server reload --socket /run/app/reload || echo "NOT RELOADED: $pod"
//! done
//! ```
//!
//! Over a mounted Secret a reload reads the files that are there. It cannot make the kubelet write them sooner; changing an
//! annotation of the pod can, because it makes the kubelet look at the pod (Kubernetes: *Configure a Pod to Use a ConfigMap*).
//!
//! # Why not `rollout restart`
//!
//! It works, and it throws away what this crate is for. Connections, event streams and MCP sessions end, caches are
//! cold, and it takes as long as a deployment. Each new pod needs the store at its start. And it does not replace a withdrawal: until the
//! last old pod is gone, the old key is trusted by it, and a new pod that finds previous in the store trusts it too.
//!
//! # A rolling deployment in the middle of a window
//!
//! A pod that starts then reads current and previous. It verifies both keys, and its `Signer` begins with the previous one, for one
//! activation delay, as the others do; with AWS and Vault for what is left of it since the secret was last changed in any way (with
//! `WindowStart::Strict`: since current was written or rotated by the store), but for the whole of it after a rollback, and where a
//! `Combined` puts the bundle together. What it cannot know is when the window began, unless the store says so:
//!
//! * a mounted Secret: put `not_after` into `previous.json`. Without it each start begins the window anew, and signs with the old key
//!   for an activation delay, which the others refuse once their own window is over;
//! * a Secret that holds `current.json` alone: a new pod does not know the old key, and tokens of it get 401 there. Write
//!   `previous.json`;
//! * AWS and Vault: their `window_start`.
//!
//! So a deployment needs no freeze of rotations, and a rotation no freeze of deployments.
//!
//! # External Secrets
//!
//! The operator copies from a store into a Secret. Its `refreshInterval` (one hour by default) comes before the kubelet's
//! delay. Three things to set:
//!
//! * `refreshInterval` to minutes, and [`refresh_every`](crate::Builder::refresh_every) to that *plus* the kubelet's delay.
//! * Fetch both versions, so that a new pod knows the old key: one entry for AWSCURRENT into `current.json`, and one with
//!   `version: AWSPREVIOUS` into `previous.json` (External Secrets: *ExternalSecret*, *AWS Secrets Manager*). The second is an error as
//!   long as there is no such version: rotate once before you add it.
//! * In a breach, do not wait for it: change an annotation of the `ExternalSecret`, which makes it fetch now, or write the
//!   Secret yourself.
//!
//! Where the pods may reach the store, [`SecretsManager`](crate::source::SecretsManager) or [`Vault`](crate::source::Vault) directly is one delay instead of
//! three, and a withdrawal is there in seconds.
