//! What to do, in which order, at a moment when nobody wants to think: [a scheduled rotation](scheduled_rotation), [a
//! breach](breach), [a key found in logs](key_in_logs).
//!
//! The commands are POSIX shell with `curl` and [jq](https://jqlang.org); for AWS the `aws` command, for OpenBao or Vault `bao`
//! (or `vault`, which takes the same). `tests/guide` runs those of rotation and breach, word for word, over three replicas on
//! each store.
//!
//! # What all of them need
//!
//! * **The operator's page** ([`admin`](crate::admin)) on each replica, and its address *on each replica*. The service's address
//!   behind a load balancer reaches one of them, and you will not know which.
//!
//!   | where they run | their addresses |
//!   |---|---|
//!   | Kubernetes | `kubectl port-forward POD 9091:9090` for each, or `kubectl get pods -l app=app -o jsonpath='{.items[*].status.podIP}'` from inside |
//!   | ECS | the private addresses of the tasks, from within the VPC |
//!   | machines | `ssh -L 9091:127.0.0.1:9090 HOST` for each |
//!
//! * **How many there must be.** A replica that is not in your list is the one that still trusts the key.
//! * **Nobody else who rotates.** Switch a schedule off first: at most two keys overlap, so a second rotation ends the trust in the
//!   oldest at once.
//! * **Who may write the store.** It is not the server.
//!
//! # The worst moments to find out
//!
//! Rehearse the breach with a key that did not leak, on a working day. It takes minutes, and it logs out whoever has a token of
//! the key; with tokens of five minutes hardly anybody notices.

pub mod scheduled_rotation;

pub mod breach;

pub mod key_in_logs;
