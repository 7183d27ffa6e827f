//! A rotation that nobody notices.
//!
//! # The order
//!
//! 1. **Stage** the new version as pending. Every replica verifies its key, and nobody signs with it.
//! 2. **Wait** until each replica has seen it.
//! 3. **Flip**: pending becomes current, current becomes previous. Each replica keeps both until its window ends.
//! 4. **Wait** until each replica says that nothing uses the old version any more.
//! 5. **Revoke** the old credential upstream, and forget it in the store.
//!
//! Steps 1 and 2 may be left out where all tokens are signed by [`Signer`](crate::Signer)s: they go on with the old key for the
//! [activation delay](crate::Builder::activation_delay). Steps 4 and 5 may never be swapped.
//!
//! # 1. Stage
//!
//! ```sh
//! # AWS: createSecret of the rotation function, or by hand
//! aws secretsmanager put-secret-value --secret-id "$SECRET" --version-stages AWSPENDING --secret-string file://next.json
//! # OpenBao and Vault: name the number before it exists
//! bao kv metadata patch -mount=secret -custom-metadata=pending=4 "$SECRET"
//! bao kv put -mount=secret -cas=3 "$SECRET" @next.json
//! # files: written beside its place, under a name that begins with a dot
//! cp next.json .next && mv .next pending.json
//! ```
//!
//! A credential of an upstream is made there first, beside the old one: a second API key, a second access key, the other database
//! user. `next.json` holds secrets: give it mode 600, and delete it.
//!
//! # 2. Wait for every replica
//!
//! ```sh
//! for replica in $REPLICAS; do
//!   curl -sS --fail-with-body -H "authorization: Bearer $ADMIN_TOKEN" "$replica/status" |
//!     jq -r --arg replica "$replica" '"\($replica): \(.keyrings[0].pending.id // "HAS NOT SEEN IT")"'
//! done
//! ```
//!
//! One [`refresh_every`](crate::Builder::refresh_every) at most, or ask for a reload as in [a breach](super::breach#3-reload-every-replica).
//! A pending version that is not shown at all was refused: `recent` says why, and the rotation ends here.
//!
//! # 3. Flip
//!
//! ```sh
//! # AWS: finishSecret
//! aws secretsmanager update-secret-version-stage --secret-id "$SECRET" --version-stage AWSCURRENT \
//!   --move-to-version-id "$NEXT" --remove-from-version-id "$OLD"
//! # OpenBao and Vault
//! bao kv metadata patch -mount=secret -remove-custom-metadata=pending "$SECRET"
//! # files: previous first, then current; with `not_after`, so that a restart does not begin the window anew
//! jq -c --arg end "$NOT_AFTER" '.not_after = $end' current.json > .next && mv .next previous.json
//! mv pending.json current.json
//! ```
//!
//! Polls are 5 s apart while a pending version is seen, so this is met within seconds. A probe that refuses the new version keeps the
//! old one in use, and `secrets_reload_failed` says so: flip back, or mend it and flip again.
//!
//! # 4. Wait until it is safe
//!
//! ```sh
//! for replica in $REPLICAS; do
//!   curl -sS --fail-with-body -H "authorization: Bearer $ADMIN_TOKEN" "$replica/status" |
//!     jq -r --arg replica "$replica" '.keyrings[] | "\($replica): \(.safe_to_revoke) \([.reasons[].text] | join("; "))"'
//! done
//! ```
//!
//! Every line must say `true`, there must be as many as there are replicas, and `current` must be the new version on each. It takes
//! the [overlap](crate::Builder::overlap), and longer where a stream or a transaction holds the old version; the reasons name it.
//!
//! # 5. Revoke, and forget
//!
//! Now, and not before: delete the old API key or access key at its provider. For alternating database users there is nothing to
//! do: the next rotation changes the other password. In the store, an ordinary rotation needs no clean-up; the next one moves previous on.
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
