//! A key has leaked: have every replica refuse it, in minutes, and lose no call that is not the attacker's.
//!
//! # The order, and why
//!
//! 1. **Write a new key.** First. Until there is one, nothing else helps: *revoking before rotating* takes the only key away, and
//!    every caller with it.
//! 2. **Take the leaked version out of the store**, from *all* its stages: AWSPREVIOUS **and** AWSPENDING; with Vault destroy it;
//!    in files write `null`. Otherwise the rotation has made it previous, and it stays trusted for a whole window.
//! 3. **Reload every replica.**
//! 4. **Confirm on each** that it lists the key no more. No answer is a no.
//! 5. **Cut it upstream.** API and IAM keys right after step 1: [`try_each`](crate::Secrets::try_each) carries the calls over.
//!    Alternating database users need *two* rotations.
//!
//! Tokens of the leaked key are refused from step 3 on, those that you gave out too: nobody can tell them from forged ones. Their
//! holders get a 401, and come back with a token of the new key. While step 3 goes through the list, a replica that has reloaded
//! signs with the new key, and one that has not may be shown such a token: with
//! [`refresh_on_unknown_key`](crate::Builder::refresh_on_unknown_key) it looks and accepts it. Without, go through the list once more between
//! steps 1 and 2, so that all of them know the new key.
//!
//! # Before you begin
//!
//! ```sh
//! export REPLICAS='http://127.0.0.1:9091 http://127.0.0.1:9092 http://127.0.0.1:9093' # every one, and none twice
//! export ADMIN_TOKEN=.. SECRET=mcp/app DIRECTORY=/run/secrets/app # SECRET for AWS and Vault, DIRECTORY for files
//! export KEYRING=app # the name that the server has given it by `Admin::keyring`
//! export NEW_SECRET="$(head -c 32 /dev/urandom | base64)" # an HMAC key; for others the text of the new private key
//! export NEW_API_KEY=.. # made at its provider, where the old one still works
//! ```
//!
//! The scripts change the fields `jwt_secret` and `api_key`: **put the names of yours there, and take out what did not leak**. A
//! wrong name adds a field, and leaves the leaked key in use; step 4 tells.
//!
//! What leaked: the version and its key, as a replica names them. If it is previous or pending that leaked, say so instead of
//! `current`.
//!
//! ```sh
//! status="$(curl -sS --fail-with-body -H "authorization: Bearer $ADMIN_TOKEN" "${REPLICAS%% *}/status")"
//! LEAKED="$(printf '%s' "$status" | jq -r '.keyrings[] | select(.name == env.KEYRING) | .current.id')"
//! KEY="$(printf '%s' "$status" | jq -r '.keyrings[] | select(.name == env.KEYRING) | .current.key_ids[0]')"
//! export LEAKED KEY
//! ```
//!
//! ```sh
//! PART= # of a `Combined` source the name of the part that leaked, such as jwt; else nothing
//! VERSION="$(printf '%s' "$LEAKED" | tr , '\n' | sed -n "s/^${PART:+$PART=}//p")"
//! ENTRY="${PART:+$PART=}${VERSION:?no part has that name}"
//! export VERSION ENTRY
//! ```
//!
//! # AWS Secrets Manager
//!
//! ```sh
//! # 1. Write a new key.
//! aws secretsmanager get-secret-value --secret-id "$SECRET" --query SecretString --output text |
//!   jq -c '.jwt_secret = env.NEW_SECRET | .api_key = env.NEW_API_KEY' |
//!   aws secretsmanager put-secret-value --secret-id "$SECRET" --secret-string file:///dev/stdin
//! ```
//!
//! ```sh
//! # 2. Take both labels from the leaked version.
//! aws secretsmanager describe-secret --secret-id "$SECRET" |
//!   jq -r '.VersionIdsToStages[env.VERSION] // [] | .[] | select(. == "AWSPREVIOUS" or . == "AWSPENDING")' |
//!   while read -r label; do
//!     aws secretsmanager update-secret-version-stage --secret-id "$SECRET" \
//!       --version-stage "$label" --remove-from-version-id "$VERSION"
//!   done
//! ```
//!
//! A secret whose rotation function tells an upstream: `aws secretsmanager rotate-secret` instead of step 1, and wait for
//! `RotationSucceeded`. **Alternating database users need two rotations**: the first makes the other user current, the second changes
//! the password that leaked. Let each replica follow the first before you begin the second.
//!
//! # Vault or OpenBao
//!
//! ```sh
//! # 1. Write a new key.
//! bao kv get -mount=secret -format=json "$SECRET" |
//!   jq -c '.data.data | .jwt_secret = env.NEW_SECRET | .api_key = env.NEW_API_KEY' |
//!   bao kv put -mount=secret "$SECRET" -
//! ```
//!
//! ```sh
//! # 2. Destroy the leaked version, and all before it: the next live one below would take its place.
//! number="${VERSION%%@*}"
//! bao kv destroy -mount=secret -versions="$(jq -rn --argjson n "$number" '[range(1; $n + 1) | tostring] | join(",")')" "$SECRET"
//! ```
//!
//! A dynamic database account: `bao lease revoke -prefix database/creds/my-server`. Each replica asks for another at its next poll,
//! or when a call is refused.
//!
//! # Files
//!
//! ```sh
//! # 1. Write a new key. A `version` of your own goes, or gets another name.
//! cd "${DIRECTORY:?}" && umask 077 && rm -f .next && cp -p current.json .next && chmod u+w .next &&
//!   jq -c 'del(.version) | .jwt_secret = env.NEW_SECRET | .api_key = env.NEW_API_KEY' current.json > .next &&
//!   mv .next current.json
//! ```
//!
//! ```sh
//! # 2. Nothing is previous, and nothing pends.
//! cd "${DIRECTORY:?}" && umask 077 &&
//!   for stage in previous pending; do
//!     rm -f .next && cp -p current.json .next && chmod u+w .next && echo null > .next && mv .next "$stage.json"
//!   done
//! ```
//!
//! Where a stage is a folder of fields, change the fields' files, and remove the folders `previous` and `pending`. In Kubernetes both are one update of the Secret: `kubectl create secret generic app --from-file=current.json
//! --from-literal=previous.json=null --from-literal=pending.json=null --dry-run=client -o yaml | kubectl apply -f -`. Then touch an annotation of each
//! pod (`kubectl annotate --overwrite pod -l app=app rotated="$(date +%s)"`), so that the kubelet looks now and not in a minute.
//!
//! # 3. Reload every replica
//!
//! ```sh
//! for replica in $REPLICAS; do
//!   curl -sS --max-time 60 --fail-with-body -X POST -H "authorization: Bearer $ADMIN_TOKEN" \
//!     -H 'content-type: application/json' -d '{}' "$replica/reload" || echo "NOT RELOADED: $replica"
//! done
//! ```
//!
//! A 502 says why: most often a probe that refuses the new version. The leaked one is then still current there. Mend the version and
//! begin again at step 1, or, if you would rather have no service than the leak, revoke it there, where `allow_revoke` was called:
//! the same `curl` to `"$replica/revoke"`, with `-d "{\"keyring\": \"$KEYRING\", \"version\": \"$LEAKED\"}"`.
//!
//! # 4. Confirm on each
//!
//! ```sh
//! for replica in $REPLICAS; do
//!   if curl -sS --max-time 10 --fail-with-body -H "authorization: Bearer $ADMIN_TOKEN" "$replica/status" |
//!     jq -e '[.keyrings[] | .name as $name | .current, .previous, .pending | values | .of = $name]
//!       | any(.[]; .of == env.KEYRING) and all(.[]; (.key_ids | index([env.KEY])) == null
//!         and (.of != env.KEYRING or (.id | split(",") | index([env.ENTRY])) == null))' > /dev/null
//!   then
//!     echo "refused: $replica"
//!   else
//!     echo "STILL TRUSTED, OR NO ANSWER: $replica"
//!   fi
//! done
//! ```
//!
//! By its key, in all keyrings, not by its version alone: where another field was rotated since, several versions have the same key.
//!
//! # 5. Cut it upstream
//!
//! | what leaked | cut it | who notices |
//! |---|---|---|
//! | an API key | at its provider, right after step 1; do not wait for reloads | nobody: the refused call asks for a refresh, and goes on with the new key |
//! | an IAM access key | deactivate it, right after step 1 | nobody, where the AWS call is made inside `try_each`: a client of [`aws::AccessKeyProvider`](crate::aws) signs its second attempt with the new key. Calls outside fail until their replica has reloaded |
//! | the password of one database user | its rotation has changed it | new sessions wait for the flip: [`try_each_as`](crate::Secrets::try_each_as) |
//! | that of one of two alternating users | the *second* rotation; the first leaves it alive | nobody |
//! | a signing key that others verify by [`jwks()`](crate::Keyring::jwks) | they follow when their cache ends: its `Cache-Control`, plus the hour that some take | tell them |
//! | a session key | step 2 | MCP sessions that it bound end |
//!
//! # How long it was open, as a number
//!
//! From the leak to step 3, plus what a replica needs, with `refresh_every` = 300 s and limits of 10 s each:
//!
//! | a replica that | refuses the leaked key after |
//! |---|---|
//! | was reloaded, and answered | that answer: 40 s at most |
//! | was missed | 340 s at most |
//! | is cut off, but had seen step 1 before step 2 | its overlap, 1010 s in [the table](crate::guide::fleets#what-to-set) |
//! | is cut off since before step 1 | **never**, unless [`refuse_after`](crate::Builder::refuse_after) is set: then it refuses *everything* 3000 s after its last answer from the store, 3000 s being the least with that interval |
//!
//! A replica that does not answer in step 4 is in one of the last two rows. End its process. One that starts again reads the store
//! before it serves.
//!
//! What was let in before goes on: requests, and streams without `mcp::EndStreamsLayer`. End those processes too where that matters.
