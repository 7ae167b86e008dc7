#!/usr/bin/env bash
# schemathesis over the whole OpenAPI document that helm-web serves, as an admin, a technician and nobody: no server error, and every
# answer is as the document says.  SCHEMA_EXAMPLES=100 gives more requests a route (10).
# shellcheck source=tests/outside/common.sh
source "$(dirname "$0")/common.sh"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$home/services.json" <<J
{
  "helm": {"command": ["helm-web", "--listen", "127.0.0.1:$port"], "port": $port, "url": "http://127.0.0.1:$port"},
  "worker": {"command": ["sleep", "600"]},
  "crasher": {"command": ["sh", "-c", "echo out of luck; exit 3"], "restart": "never"}
}
J
mkdir -p "$home/instance"
printf '[roles]\ntechnician = worker, crasher\ntechnician.operate = worker\n' >"$home/instance/helm.conf"
PATH=$bin:$PATH helmctl daemon start
helmctl up helm worker --timeout 30
helmctl start crasher >/dev/null || true
token() { helmctl token create "$@" --json | jq -r .secret; }
admin=$(token admin --role admin)
technician=$(token technician --role technician --service worker --service crasher)

# Something of everything is there, so that more than refusals is answered.
logs='{"service_name": "worker", "logs": [{"level": "INFO", "message": "hello"}, {"level": "ERROR", "message": "no"}]}'
curl -sf -H "Authorization: Bearer $admin" -H 'Content-Type: application/json' -d "$logs" "http://127.0.0.1:$port/api/logs/ingest"
echo

cd "$work"
cat >hooks.py <<'P'
"""Every other name, number and id is one that there is: else little but `not found` would be asked for."""

import json
import zlib

import schemathesis

KNOWN = {"name": "worker", "service": "worker", "metric": "cpu_percent", "id": 1, "number": 1, "index": "worker"}


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    for key, value in (path_parameters or {}).items():
        if key in KNOWN and zlib.crc32(repr(value).encode()) % 2:
            path_parameters[key] = KNOWN[key]
    return path_parameters


@schemathesis.serializer("application/x-ndjson")
def ndjson(context, value):
    """Whatever was made up is a line, or several."""
    lines = value if isinstance(value, list) else [value]
    return "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines).encode("utf-8", "surrogatepass")
P
failed=0
as() {
    local who=$1 token=$2 code=0
    shift 2
    # The token is not in argv.
    { [ -z "$token" ] || printf 'headers = { Authorization = "Bearer %s" }\n' "$token"; } >schemathesis.toml
    echo "--- $who"
    SCHEMATHESIS_HOOKS=hooks PYTHONPATH=. "$HELM_TEST_CACHE/senders/bin/schemathesis" --config-file schemathesis.toml run \
        "http://127.0.0.1:$port/openapi.json" --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,allow_header_conformance \
        --max-examples "${SCHEMA_EXAMPLES:-10}" --seed "${SCHEMA_SEED:-$RANDOM}" --phases examples,coverage,fuzzing --continue-on-failure --no-color \
        --suppress-health-check all --warnings off --request-timeout 35 "$@" || code=$?
    [ "$code" -eq 0 ] || failed=$((failed + 1))
}
# A stream does not end: who may read it is asked elsewhere (tests/e2e/web/live.rs).
as admin "$admin" --exclude-path /api/v1/stream
as technician "$technician" --exclude-path /api/v1/stream
as nobody ""
[ "$failed" -eq 0 ] || { helmctl output helm -n 20; fail "schemathesis found something as $failed of 3"; }
helmctl status
echo "test result: ok. 3 passed; 0 failed"
