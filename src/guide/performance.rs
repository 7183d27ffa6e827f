//! What it costs, and how to measure it on your own machine.
//!
//! # A token
//!
//! * A token that was not seen before costs its signature check and about one microsecond without the memory of tokens (HMAC, or
//!   `token_cache(0)`), and one and a half to two and a half with it. No network is in it, and the number of heap allocations does not depend on the bundle.
//! * A token of an asymmetric key that was seen before costs a digest instead of the signature check. How many are remembered
//!   is [`token_cache`](crate::Builder::token_cache); it begins empty after each rotation.
//! * A token of the previous key costs the same where it has a `kid`, and one more signature check where it has none. Tokens of
//!   [`Signer`](crate::Signer) have one.
//! * A refused token costs at most eight signature checks each time it is judged, which is once, and again after a refresh that
//!   it has waited for. Above 16 KiB it costs none.
//!
//! So HS256 is the cheapest where one party signs and verifies. Of the asymmetric algorithms RS256 is the cheapest to verify, and
//! behind the memory of tokens they do not differ much.
//!
//! # Figures
//!
//! What a middleware adds to a request, over the same empty axum router, in one process, interleaved; µs, the
//! median of 61 rounds. By `cargo run --profile lto --manifest-path benches/peers/Cargo.toml` on 2026-11-28, AMD
//! EPYC with 2 cores, rustc 1.95.0, aws-lc-rs 1.19.0, axum 0.8.9; all built with `lto = "fat"` and one codegen unit. Times
//! depend on the machine; compare them with the first two rows: the second is what the same check takes in a request's place,
//! where others have used the processor's caches before it. They also differ between runs: in eight runs of that day ours for ES256
//! took 1.02 to 1.03 times the signature, with the memory full 1.03 to 1.04 times, and ours for HS256 2.7 to 2.9 times. With Cargo's
//! defaults for a release ours take some 0.1 to 0.6 µs more, and for ES256 with the memory full 1.04 to 1.05 times the signature.
//!
//! | | HS256 | RS256 | ES256 | EdDSA |
//! |---|---|---|---|---|
//! | the signature check alone, key prepared | 0.42 | 15.93 | 52.61 | 37.07 |
//! | the same, called by a layer that does nothing else | 0.54 | 16.29 | 53.27 | 37.59 |
//! | **tower-secrets 0.1.0**, a token not seen before, without the memory of tokens | **1.25** | **17.14** | **53.63** | **38.04** |
//! | **tower-secrets**, a token not seen before, the memory full | - | **17.85** | **54.36** | **38.91** |
//! | **tower-secrets**, a token not seen before, the memory not full yet | - | **18.15** | **54.15** | **38.70** |
//! | **tower-secrets**, a token seen before | - | **0.77** | **0.63** | **0.62** |
//! | aliri_tower 0.6.1 | 2.01 | 23.37 | 56.29 | - |
//! | axum-jwt-auth 0.7.0 with aws_lc_rs / as shipped | 3.26 / 3.02 | 21.33 / 185.70 | 57.63 / 237.95 | 40.90 / 37.83 |
//! | jwt-authorizer 0.15.0 | 3.73 | 24.75 | 58.71 | 53.76 |
//! | tower-oauth2-resource-server 0.12.5 with aws_lc_rs / as shipped | 4.83 / 4.55 | 23.00 / 187.62 | 63.38 / 239.63 | 44.43 / 39.56 |
//! | axum-keycloak-auth 0.8.3 | - | 26.38 | 64.05 | 59.69 |
//! | tower-mcp 0.25.0 | 5.17 | 23.82 | 66.19 | 49.37 |
//! | bare `jsonwebtoken::decode` 11.1.0, no HTTP | 2.93 | 21.17 | 56.72 | 39.87 |
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
//! | what a middleware adds, beside its peers: the table above (needs pkg-config and OpenSSL's headers) | `cargo run --profile lto --manifest-path benches/peers/Cargo.toml` |
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
