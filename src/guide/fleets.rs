//! More than one replica: what goes wrong by hand, what to set, and when it is safe to revoke.
//!
//! Replicas see a rotation at different moments. Two things are lost by hand: a token that one replica signs with the new
//! key, and that another does not know yet; and a token of the old key, when somebody revokes that too early.
//!
//! # What to set
//!
//! ```
//! use std::time::Duration;
//! use tower_secrets::{JwtKey, Keyring, UnknownKey, source::Source};
//!
//! # #[derive(serde::Deserialize)]
//! # struct App { jwt_secret: JwtKey }
//! # async fn build(source: impl Source) -> Result<Keyring<App>, tower_secrets::BuildError> {
//! Keyring::<App>::builder(source)
//!     .jwt_key(|app: &App| &app.jwt_secret)
//!     .refresh_every(Duration::from_secs(300))    // the TTL
//!     .activation_delay(Duration::from_secs(340)) // until every replica knows a new key: with a probe
//!     .token_lifetime(Duration::from_secs(300))   // the longest that `signer()` mints
//!     .overlap(Duration::from_secs(1010))         // how long a replaced key is trusted
//!     .refresh_on_unknown_key(UnknownKey::new())  // who is late asks at once
//!     .build()
//!     .await
//! # }
//! ```
//!
//! `overlap` is what it takes by default, and 900 s at least; [`build`](crate::Builder::build) refuses one that is too short and shows
//! the sum. Both must fit, the second where there is a `jwt_key` or a `session_key`, with *limits* for `fetch_limit` and the limits of prepare and probes (once more for each part that has a
//! probe of its own), and the last two only where `token_lifetime` is set:
//!
//! ```text
//! overlap >= 3 x refresh_every + limits
//! overlap >= refresh_every + 2 x limits + activation_delay + token_lifetime + 30 s for clocks that differ
//! ```
//!
//! The least that the builder accepts, in seconds. `tests/guide` builds each row as it stands, and again with one second less,
//! which is refused:
//!
//! | for | `refresh_every` | `activation_delay` | `token_lifetime` | with a probe | `overlap` |
//! |---|---|---|---|---|---|
//! | the defaults, tokens of 5 min | 300 | 340 | 300 | yes | 1010 |
//! | the defaults, tokens of 15 min | 300 | 340 | 900 | yes | 1610 |
//! | the defaults, tokens of an hour | 300 | 340 | 3600 | yes | 4310 |
//! | nobody here signs: an issuer's tokens, or API keys alone | 300 | - | - | yes | 920 |
//! | the same, without a probe | 300 | - | - | no | 910 |
//! | a leaked key gone within two minutes (with `Jwks`, `max_freshness` of 60 s) | 60 | 100 | 300 | yes | 530 |
//! | the same, verifying only | 60 | - | - | yes | 200 |
//! | a mounted Secret, and three minutes for the kubelet | 180 | 220 | 300 | yes | 770 |
//! | few calls: once an hour | 3600 | 3640 | 3600 | yes | 10910 |
//! | one process alone | 300 | 0 | 300 | yes | 920 |
//!
//! * **A short `refresh_every` costs calls**: replicas x 86,400 / interval a day, each one `DescribeSecret` or one metadata read.
//! * **A short `token_lifetime` costs little**, and is what lets everything else be short.
//! * **`refresh_every` is also what the sums take for the time until the last replica can see a change.** The builder knows nothing
//!   of a kubelet, of an operator that copies, or of how long `Jwks` answers from its memory. Where the way is longer, make it longer too: with a file watch that costs nothing.
//! * **`activation_delay`** is by default the time in which the last replica sees a change, as in the table: one `refresh_every`, and
//!   twice the limits, for the refresh that just missed it and the one that finds it. Zero is for a process that is alone,
//!   and for a keyring that signs nothing.
//! * **Equal settings everywhere.** The sums are about the slowest replica. During a deployment that changes them, the larger
//!   ones hold.
//! * **`overlap` is no security setting.** It is how long an *ordinary* rotation takes. After a leak you withdraw, and do not wait.
//!
//! # Three nets, one below the other
//!
//! 1. *Pending*: the store names the next version before it is used, and every replica verifies it already.
//! 2. *Activation delay*: a [`Signer`](crate::Signer) goes on with the key before until everybody had time to see the new one.
//! 3. *[Unknown key](crate::Builder::refresh_on_unknown_key)*: a token whose key is not known asks the store, and waits. One shared
//!    refresh in each cool-down of 10 s, whoever sends how much junk.
//!
//! Each catches what went through the one above. They cost nothing while nothing is wrong: have all three.
//!
//! # How long the old key is trusted, as numbers
//!
//! For `refresh_every` = 300 s, `overlap` = 1010 s, `fetch_limit` = `probe_limit` = 10 s:
//!
//! | a replica that | trusts the replaced key after the rotation for | after a withdrawal for |
//! |---|---|---|
//! | is asked to reload | 1010 s | as long as the reload takes: 40 s at most |
//! | only polls | 1010 s, begun up to 340 s late | 340 s at most |
//! | is cut off from the store after it saw the rotation | 1010 s | what is left of those 1010 s |
//! | is cut off before it saw it | **without end** | **without end** |
//! | the same, with [`refuse_after`](crate::Builder::refuse_after) = 3000 s, the least | 3000 s after its last answer; then it answers 503 | the same |
//!
//! A fetch and a probe take 20 s at most. 340 s is the poll that just missed the change, an interval, and the next poll; 40 s is a
//! refresh that is under way, and the one that was asked for.
//!
//! # Is it safe to revoke?
//!
//! [`Status::safe_to_revoke`](crate::Status::safe_to_revoke) answers for one process, with all reasons; `GET /status` of the
//! [operator's page](crate::admin) has the same as JSON. For the fleet, **every** replica has to say yes, and you have to know how many there
//! must be: one that does not answer, is stale, or was started meanwhile, is a no. The example `fleet_status` is a command that
//! asks them all, twice:
//!
//! ```sh
//! export TOWER_SECRETS_ADMIN_TOKEN=.. # of the pages
//! fleet_status --expect 3 --version OLD --wait 30m http://10.0.0.1:9090 http://10.0.0.2:9090 http://10.0.0.3:9090
//! ```
//!
//! `OLD` is the version that is to be revoked. What nobody can see: values that were copied out of [`Secrets`](crate::Secrets), tokens of the old key that clients still hold
//! (their lifetime is in the sum above), verifiers elsewhere that took [`jwks()`](crate::Keyring::jwks) and cache it.
//!
//! # Behind a load balancer
//!
//! Requests may go anywhere, and that is what the above is for. Operations may not: a reload, a status or a revocation at the
//! service's address reaches *one* replica, and which one is chance. Ask each at its own address, and tell them apart by
//! `instance`.
//!
//! Sessions of rmcp live in one process: see [MCP](super::mcp#what-remains-yours).
