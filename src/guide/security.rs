//! The security model: who is trusted with what, and what is not protected.
//!
//! The whole list, item by item, is
//! [SECURITY.md](https://docs.rs/crate/tower-secrets/latest/source/SECURITY.md). This page is how to think about it.
//!
//! # Who is who
//!
//! | | may | may not |
//! |---|---|---|
//! | whoever writes the store | decide which keys are trusted | |
//! | this process | read the store; trust a key until its deadline; sign with the current key, or for the activation delay with the one before | write the store; extend a deadline |
//! | whoever has a token | what its claims say, until it expires | anything by its header: not the algorithm, not the key, not an address of keys |
//! | whoever reaches the [operator's page](crate::admin) | see ids, times and reasons; ask for a reload | see a value; revoke, unless `allow_revoke` was called |
//! | whoever can cut the network to the store | delay a rotation and a withdrawal | make the process take an older view, or an empty one |
//!
//! # Four promises
//!
//! 1. **Nothing is trusted for longer than was promised.** A deadline is set once and never moves later. It runs on the monotonic
//!    clock, and is checked at each verification, of remembered tokens and of long requests too. Three things move it: the store makes the key
//!    current again; a process starts anew where the store names no `not_after`; a machine sleeps (5 s).
//! 2. **Nothing is swapped in that was not proved.** A value that does not parse, whose key is weak, or that a probe refuses, is
//!    reported and not used. Only at a start, where nothing is in use yet, a probe just warns, unless it is declared with
//!    [`Probe::require`](crate::Probe::require). A store that says something worse than before does not take the service down.
//! 3. **A withdrawal wins.** What the store no longer names, or what was revoked here, is refused from then on, also where the new
//!    current was refused.
//! 4. **Values do not leak** from this crate into logs, errors, events, metrics, the status or `Debug`. What your own code writes
//!    (panics, the text of your source's errors, encodings of a value, claims) is in SECURITY.md.
//!
//! # How long an attacker has
//!
//! With a leaked key: until it is withdrawn **and** each replica has noticed. [Fleets](super::fleets#how-long-the-old-key-is-trusted-as-numbers) has the numbers, those of
//! a replica that is cut off included, and [the runbook](super::runbooks::breach) the order of steps. Two settings bound it:
//!
//! * [`refresh_every`](crate::Builder::refresh_every), for replicas that are asked by nobody;
//! * [`refuse_after`](crate::Builder::refuse_after), for replicas that cannot reach the store. It is off by default, because it makes an
//!   outage of the store one of the service. Set it where an attacker who can cut that connection is worse than an outage.
//!
//! With a leaked *token*: until it expires. `jti` is not tracked. Short tokens are the answer.
//!
//! # What is not protected
//!
//! * **Your own fields.** A `String` in your bundle is not wiped, and `#[derive(Debug)]` on your bundle prints it when you print it.
//!   Use a type such as `secrecy::SecretString` where that matters.
//! * **What you copied.** A value taken out of [`Secrets`](crate::Secrets), or an `Arc` of the bundle, is yours, and nobody sees that you
//!   hold it: not the status either.
//! * **Accepted requests.** A token is judged when the request arrives. A long call goes on after its key was revoked; so does a
//!   stream, unless it is one of GET or `subscriptions/listen` and `mcp::EndStreamsLayer` is there.
//! * **Other processes.** [`revoke`](crate::Keyring::revoke) is of one process and of its life. The store is for the fleet.
//! * **Guessable values behind a public name.** A version id that is a digest lets anybody who sees it test guesses. Random keys do
//!   not mind; a bundle whose only secret is a short password needs a `version` of its own.
//! * **The host, the transport, the authorization server, the store's own access rules.**
//!
//! # A checklist
//!
//! * An [`audience`](crate::JwtRotationLayer::audience), always. It is what keeps ID tokens, and tokens for other services, out.
//! * The role of the server can read one secret, and write none.
//! * Token lifetimes in minutes, and [`token_lifetime`](crate::Builder::token_lifetime) set: the default [`overlap`](crate::Builder::overlap) then
//!   [fits](super::fleets#what-to-set), and `build` refuses one that does not.
//! * The operator's page on loopback, or guarded; `allow_revoke` only where somebody is on call who knows what it does.
//! * An alert on `secrets_reload_failed`, `secrets_reload_error` and `secrets_probe_warning`, and on `secrets_stale`, which is told only where
//!   [`max_staleness`](crate::Builder::max_staleness) is set. `examples/prometheus` of the repository has rules for the same things as metrics.
//! * A breach rehearsed, with a key that did not leak.
