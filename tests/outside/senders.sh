#!/usr/bin/env bash
# Programs that others wrote, and that know nothing of Helm, send their log to it: each line is there once, as docs/ingest.md says.
# shellcheck source=tests/outside/common.sh
source "$(dirname "$0")/common.sh"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$home/services.json" <<J
{"helm": {"command": ["helm-web", "--listen", "127.0.0.1:$port"], "port": $port, "url": "http://127.0.0.1:$port"}}
J
PATH=$bin:$PATH helmctl up --timeout 30
# As people keep them: in the environment of the programs.
token() { helmctl token create "$@" --json | jq -r .secret; }
HELM_INGEST_TOKEN=$(token senders --ingest) HELM_READ_TOKEN=$(token reader --role admin)
export HELM_INGEST_TOKEN HELM_READ_TOKEN
"$HELM_TEST_CACHE/senders/bin/python" "$(dirname "$0")/senders.py" "http://127.0.0.1:$port" "$work" || fail "see above"
helmctl logs verify >/dev/null || fail "logs verify"
