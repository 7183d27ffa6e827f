//! A rotation that nobody notices.
//!
//! # The order
//!
//! 1. **Stage** the new version as pending. Every replica verifies its key, and nobody signs with it.
//! 2. **Wait** until each replica has seen it.
//! 3. **Flip**: pending becomes current, current becomes previous. Each replica keeps both until its window ends.
//! 4. **Wait** until each replica says that nothing uses the old version any more.
//! 5. **Revoke** the old credential upstream.
//!
//! Step 2 may be left out where all tokens are signed by [`Signer`](crate::Signer)s: they go on with the old key for the
//! [activation delay](crate::Builder::activation_delay). Steps 4 and 5 may never be swapped.
//!
//! # Before you begin
//!
//! ```sh
//! export REPLICAS='http://127.0.0.1:9091 http://127.0.0.1:9092 http://127.0.0.1:9093' # every one, and none twice
//! export ADMIN_TOKEN=.. SECRET=mcp/app DIRECTORY=/run/secrets/app # SECRET for AWS and Vault, DIRECTORY for files
//! export KEYRING=app # the name that the server has given it by `Admin::keyring`
//! export OVERLAP=1010 # seconds: what `build()` was given, or takes by itself
//! ```
//!
//! 1010 s is the [overlap](crate::guide::fleets#how-long-the-old-key-is-trusted-as-numbers) of the defaults with a probe and tokens of 5 min.
//!
//! Write the new bundle into `next.json`, with mode 600, and delete it afterwards. What an upstream has to know is made there
//! first, *beside* the old one: a second API key, a second access key, the other database user.
//!
//! # AWS Secrets Manager
//!
//! A rotation function does the same: [AWS](crate::guide::aws).
//!
//! ```sh
//! # 1. Stage.
//! aws secretsmanager put-secret-value --secret-id "$SECRET" --version-stages AWSPENDING --secret-string file://next.json
//! ```
//!
//! ```sh
//! # 3. Flip. AWS moves AWSPREVIOUS by itself.
//! holder() {
//!   aws secretsmanager describe-secret --secret-id "$SECRET" |
//!     jq -r --arg name "$1" '.VersionIdsToStages | to_entries[] | select(.value | index([$name])) | .key'
//! }
//! aws secretsmanager update-secret-version-stage --secret-id "$SECRET" --version-stage AWSCURRENT \
//!   --move-to-version-id "$(holder AWSPENDING)" --remove-from-version-id "$(holder AWSCURRENT)"
//! ```
//!
//! # Vault or OpenBao
//!
//! ```sh
//! # 1. Stage: its number is named before it exists, so that it is never current for a moment. What is named already stays so.
//! about="$(bao kv metadata get -mount=secret -format=json "$SECRET")"
//! number="$(printf '%s' "$about" | jq .data.current_version)"
//! named="$(printf '%s' "$about" | jq -r '.data.custom_metadata.pending // empty')"
//! bao kv metadata patch -mount=secret -custom-metadata="pending=${named:+$named,}$((number + 1))" "$SECRET"
//! bao kv put -mount=secret -cas="$number" "$SECRET" @next.json
//! ```
//!
//! ```sh
//! # 3. Flip.
//! bao kv metadata patch -mount=secret -remove-custom-metadata=pending "$SECRET"
//! ```
//!
//! # Files
//!
//! ```sh
//! # 1. Stage: written beside its place, under a name that begins with a dot, and moved there.
//! # It gets the mode of the one in use, so that the server can read it; as root its owner, too.
//! rm -f "${DIRECTORY:?}/.next" && cp -p "$DIRECTORY/current.json" "$DIRECTORY/.next" && chmod u+w "$DIRECTORY/.next" &&
//!   cat next.json > "$DIRECTORY/.next" &&
//!   mv "$DIRECTORY/.next" "$DIRECTORY/pending.json"
//! ```
//!
//! ```sh
//! # 3. Flip: previous first. With `not_after`, the overlap from now on, so that a restart does not begin the window anew.
//! cd "${DIRECTORY:?}" && umask 077 && rm -f .next && cp -p current.json .next && chmod u+w .next &&
//!   jq -c '.not_after = (now + (env.OVERLAP | tonumber) | todate)' current.json > .next && mv .next previous.json && mv pending.json current.json
//! ```
//!
//! A stage that is a folder of fields is copied, changed and moved as a folder. In Kubernetes, each of them is one update of the Secret.
//!
//! # 2. Wait for every replica
//!
//! ```sh
//! for replica in $REPLICAS; do
//!   curl -sS --fail-with-body -H "authorization: Bearer $ADMIN_TOKEN" "$replica/status" |
//!     jq -r --arg replica "$replica" '.keyrings[] | select(.name == env.KEYRING) | "\($replica): \(.pending.id // "HAS NOT SEEN IT")"'
//! done
//! ```
//!
//! There must be a line for each. It takes [340 s](crate::guide::fleets#how-long-the-old-key-is-trusted-as-numbers) at the most, and what the kubelet takes
//! before where it mounts the Secret; or ask for a reload as in [a breach](super::breach#3-reload-every-replica).
//! A pending version that stays away was refused: `recent` says why, and the rotation ends here. With Vault destroy that version
//! (`bao kv destroy -mount=secret -versions=N "$SECRET"`) and leave its number named: a live version that is named no more is current.
//!
//! Then step 3. Each replica meets the flip at its next poll, or sooner with
//! [`refresh_while_pending`](crate::Builder::refresh_while_pending); the pending key verifies already. A probe that refuses the new
//! version keeps the old one in use, and `secrets_reload_failed` says so: flip back, or mend it and flip again.
//!
//! # 4. Wait until it is safe
//!
//! ```sh
//! for replica in $REPLICAS; do
//!   curl -sS --fail-with-body -H "authorization: Bearer $ADMIN_TOKEN" "$replica/status" | jq -r --arg replica "$replica" \
//!     '.keyrings[] | select(.name == env.KEYRING) | "\(.safe_to_revoke) \($replica) uses \(.current.id) \([.reasons[].text] | join("; "))"'
//! done
//! ```
//!
//! There must be as many lines as there are replicas, each must say `true`, and each must use the new version. The example
//! `fleet_status` sees to all of that, and waits: `TOWER_SECRETS_ADMIN_TOKEN="$ADMIN_TOKEN" fleet_status --expect 3 --keyring "$KEYRING" --version OLD --wait 30m $REPLICAS`, where
//! `OLD` is the version to be revoked, and the 30 min are more than the overlap and the 340 s. It takes the
//! [overlap](crate::Builder::overlap), and longer where a stream or a transaction holds the old version; the reasons name it.
//!
//! # 5. Revoke
//!
//! Now, and not before: delete the old API key or access key at its provider. For alternating database users there is nothing to
//! do: the next rotation changes the other password. The store needs no clean-up; the next rotation moves previous on.
//!
//! # When it goes wrong
//!
//! | what you see | what it is |
//! |---|---|
//! | a replica does not see pending | its `last_failure`: the store, the policy, or the network |
//! | `quarantine` names the new version | a probe refused it; it is tried again after a minute, then less and less often, and at once when you ask |
//! | 401 for tokens of the new key on one replica | it has not seen the rotation, and [`refresh_on_unknown_key`](crate::Builder::refresh_on_unknown_key) is off |
//! | `secrets_window_cut_short` | a second rotation inside the window of the first |
//! | `safe_to_revoke` stays false with `held` | a long stream: it ends, or you end it |
//! | `safe_to_revoke` stays false with `session_key` | the rotation replaced the session key too, whose window is 24 h ([`session_key_window`](crate::Builder::session_key_window)), or ends with `not_after`: what an upstream holds may go earlier, the version stays in the store |
