#!/usr/bin/env bash
# A credential process without kura, as people have written them: the item in
# 1Password has the access key and makes the token code, and the session is kept
# in its field session_cache, for all machines.
set -euo pipefail
item='AWS Access Key'
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_SECURITY_TOKEN AWS_PROFILE

# field LABEL prints a field of the item that is read from standard input.
field() {
	python3 -c '
import json, sys
for field in json.load(sys.stdin)["fields"]:
    if field.get("label") == sys.argv[1]:
        print(field.get("value", ""))
' "$1"
}

# deliver prints what STS has said, which is read from standard input, in the form
# of a credential process, or fails if it is good for less than 30 seconds.
deliver() {
	python3 -c '
import datetime, json, sys
session = json.load(sys.stdin)["Credentials"]
left = datetime.datetime.fromisoformat(session["Expiration"]) - datetime.datetime.now(datetime.timezone.utc)
if left.total_seconds() < 30:
    sys.exit(1)
print(json.dumps({"Version": 1, **session}))
' 2>/dev/null
}

json=$(op item get "$item" --format json)
if field session_cache <<<"$json" | base64 -d | deliver; then exit; fi

session=$(
	AWS_ACCESS_KEY_ID=$(field 'Access Key ID' <<<"$json") \
	AWS_SECRET_ACCESS_KEY=$(field 'Secret Access Key' <<<"$json") \
	aws sts get-session-token --output json \
		--serial-number "$(field 'mfa serial' <<<"$json")" \
		--token-code "$(op item get "$item" --otp)"
)
op item edit "$item" "session_cache[password]=$(base64 <<<"$session")" >/dev/null
deliver <<<"$session"
