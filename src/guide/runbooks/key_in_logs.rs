//! A key was found in logs, in a repository, in a ticket: it has leaked, to everybody who can read that.
//!
//! # Which one is it?
//!
//! Do not paste it anywhere to find out. A version's documents are in the store, and the comparison can be made there:
//!
//! ```sh
//! # It is read from the terminal, and shown nowhere.
//! stty -echo; IFS= read -r found; stty echo
//! export found
//! ```
//!
//! ```sh
//! # AWS: in which of the labelled versions it is.
//! aws secretsmanager describe-secret --secret-id "$SECRET" | jq -r '.VersionIdsToStages | to_entries[] | "\(.key) \(.value | join(","))"' |
//!   while read -r version labels; do
//!     aws secretsmanager get-secret-value --secret-id "$SECRET" --version-id "$version" --query SecretString --output text |
//!       jq -r --arg version "$version $labels" 'select([.. | strings | contains(env.found)] | any) | "it is in \($version)"'
//!   done
//! ```
//!
//! | it is in | what to do |
//! |---|---|
//! | current | [the runbook of a breach](super::breach), now |
//! | previous or pending, or a version without a label whose key is still in one of these | the same, with that stage in its first step |
//! | no version that any replica lists | it is dead for tokens. An API key or a password may still be alive upstream: cut it there |
//! | a *token*, not a key | nothing here revokes one token. Wait for its `exp`, or rotate its key as in a breach, which ends all of that key |
//!
//! A key id, a version id or a generation is none of these: they are made to be logged. The id of an HMAC key is a truncated HMAC, and
//! that of a public key its thumbprint.
//!
//! # How did it get there?
//!
//! It was not this crate's doing, unless it is a bug that we want to [hear of](https://docs.rs/crate/tower-secrets/latest/source/SECURITY.md):
//! errors, events, metrics, `Debug` and the status carry ids and reasons. The usual ways:
//!
//! | way | mend |
//! |---|---|
//! | `{:?}` of your own bundle, whose `Debug` is derived | write it by hand, or use `secrecy::SecretString` |
//! | a log of headers in a layer *outside* of `JwtRotationLayer` | mark `Authorization` as sensitive there; inside, it has been removed |
//! | a panic message, which the panic hook prints as it is | do not format values into it |
//! | the text of an error of your own `Source`, or in an encoding (base64, a URL) that the cleaning of probe errors cannot know | leave values out |
//! | an upstream's client that logs its requests | its own settings |
//! | `--secret-string '..'` on a command line: in the shell's history, and in the list of processes | `file:///dev/stdin`, as in the runbooks |
//! | an environment variable, which crash reports collect | a file or a store |
//!
//! # Afterwards
//!
//! * Delete it where it was found only *after* it is refused everywhere. Deleting it first changes nothing, and hides from others that they have it.
//! * Look for its use: tokens of a withdrawn key are refused as `unknown_key` or `bad_signature`, which the metric
//!   `tower_secrets_verifications_total` counts.
//! * A test that greps: put a marker into every value of a test bundle, run your server's paths, and look for it in all that was
//!   written. `tests/no_leaks.rs` of the repository does that for this crate.
