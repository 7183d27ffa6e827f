//! What it costs, and how to measure it on your own machine.
//!
//! # A token
//!
//! The table, the machine that it was measured on, and the figures of seven other crates are in the README, under *Speed*. In short:
//!
//! * A token that was not seen before costs its signature check and about one microsecond. No network is in it, and the
//!   number of heap allocations does not depend on the bundle.
//! * A token of an asymmetric key that was seen before costs a digest instead of the signature check. How many are remembered
//!   is [`token_cache`](crate::Builder::token_cache); it begins empty after each rotation.
//! * A token of the previous key costs the same where it has a `kid`, and one more signature check where it has none. Tokens of
//!   [`Signer`](crate::Signer) have one.
//! * A refused token costs at most eight signature checks, and none above 16 KiB.
//!
//! So HS256 is the cheapest where one party signs and verifies. Of the asymmetric algorithms RS256 is the cheapest to verify, and
//! behind the memory of tokens they do not differ much.
//!
//! # A rotation
//!
//! Requests do not notice: the swap is one pointer store. What a rotation costs is in the background, once a process: a fetch,
//! a parse, the preparation of keys, your `prepare` and your probes. Nothing of the old generation is kept once its last
//! request has ended: a million rotations leave the memory flat.
//!
//! # The store
//!
//! | source | a poll with nothing new | a rotation |
//! |---|---|---|
//! | `SecretsManager` | one `DescribeSecret` | one `GetSecretValue` more for each new version |
//! | `Vault` | one read of the metadata | one read of the data more for each new version |
//! | `Jwks` | one conditional request, or none while the answer is fresh | the document |
//! | `File` | a read of a small directory; changes are watched | the same |
//!
//! Calls a day = replicas x 86,400 / [`refresh_every`](crate::Builder::refresh_every). Intervals are drawn up to 10 % shorter, so replicas
//! that started together do not ask together, and the first one up to 75 %. A pending version makes polls no closer unless
//! [`refresh_while_pending`](crate::Builder::refresh_while_pending) says so: all replicas see it at once.
//!
//! A thousand calls of `refresh()` at once, or a thousand signals, cost two fetches. A flood of tokens of unknown keys costs one
//! in each cool-down of 10 s, where [`refresh_on_unknown_key`](crate::Builder::refresh_on_unknown_key) is on, and none where it is off.
//!
//! # To measure it again
//!
//! In a checkout of the repository:
//!
//! | what it answers | command |
//! |---|---|
//! | what a middleware adds, beside its peers: the README's table | `cargo run --release --manifest-path benches/peers/Cargo.toml` |
//! | the same, quickly, to see that it runs | `.. -- --quick` |
//! | whether ours is within its targets | `.. -- --check --tolerance 0.05` |
//! | how long a request takes | `cargo bench --bench verify` |
//! | whether it costs more instructions than its budget (needs valgrind and `gungraun-runner`) | `cargo bench --bench instructions` |
//! | what scopes by name add to an MCP call | `cargo bench --bench mcp --features rmcp` |
//! | whether a million rotations leave the memory flat | `cargo bench --bench rotations` |
//!
//! `benches/peers/README.md` tells how it measures, and what makes a figure worthless. Compare ratios within one run; absolute times
//! are your machine's. Two runs of the same code on one machine differ by some per cent.
//!
//! # When it is slower than that
//!
//! * **A debug build.** Signature checks are in C and assembly either way; parsing is not.
//! * **Small writes without `TCP_NODELAY`.** Event streams wait for the peer's acknowledgement: see `serve` in `examples/mcp_server/app.rs`.
//! * **A `prepare` that blocks.** It runs on the async threads: use `spawn_blocking` for what computes for long.
//! * **Claims of a large type.** Tokens are remembered together with their claims; a `serde_json::Value` is many times its JSON.
