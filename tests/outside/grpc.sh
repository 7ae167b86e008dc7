#!/usr/bin/env bash
# The API from outside: grpcurl through reflection, and the Python example with grpcio.
# shellcheck source=tests/outside/common.sh
source "$(dirname "$0")/common.sh"

cat >"$home/services.json" <<'J'
{
  "alpha": {"command": ["sleep", "600"]},
  "beta": {"command": ["sleep", "600"], "depends_on": ["alpha"]}
}
J
helmctl up
socket=$(jq -r .socket "$home/instance/helmd.lock")
call() { grpcurl -plaintext -unix -authority localhost "$@"; }

echo "--- reflection lists the services"
call "$socket" list | tee "$work/list"
for name in helm.v1.Helm grpc.health.v1.Health; do grep -qx "$name" "$work/list" || fail "$name is not listed"; done
call "$socket" describe helm.v1.Helm.WatchStatus | grep -q 'stream .helm.v1.WatchStatusResponse' || fail "describe"

echo "--- health"
call "$socket" grpc.health.v1.Health/Check | jq -e '.status == "SERVING"'

echo "--- status through reflection"
call -d '{"names": ["beta"]}' "$socket" helm.v1.Helm/Status | tee "$work/status"
jq -e '.services[0] | .name == "beta" and .state == "running" and .status == "running"' "$work/status"

echo "--- an error has a code, a reason and a sentence"
code=0
call -v -d '{"names": ["btea"]}' "$socket" helm.v1.Helm/Status >"$work/error" 2>&1 || code=$?
cat "$work/error"
[ "$code" -ne 0 ] || fail "an unknown service was accepted"
for word in NotFound 'helm-reason: unknown-service' 'helm-nearest: beta'; do grep -q "$word" "$work/error" || fail "no '$word'"; done

echo "--- an operation streams its progress"
call -d '{"names": ["beta"]}' "$socket" helm.v1.Helm/Restart | tee "$work/restart" | jq -es '.[-1].outcome.result == "done"'

echo "--- the Python example watches changes"
"$HELM_TEST_CACHE/venv/bin/python" -c 'import grpc; print("grpcio", grpc.__version__)'
cp "$root/examples/python/watch.py" "$work/"
"$HELM_TEST_CACHE/venv/bin/python" -m grpc_tools.protoc -I "$root/proto" --python_out="$work" --grpc_python_out="$work" helm/v1/helm.proto
"$HELM_TEST_CACHE/venv/bin/python" "$work/watch.py" "$home" >"$work/watch" 2>&1 &
watch=$!
until_true 30 "the first status in Python" grep -q beta "$work/watch"
helmctl stop beta
until_true 30 "the change in Python" grep -Eq 'beta.*stopped' "$work/watch"
kill "$watch"
wait "$watch" || true
cat "$work/watch"

echo "--- the grpcurl example"
"$root/examples/grpcurl/status.sh" "$home" | tee "$work/example"
grep -q alpha "$work/example" || fail "the example does not show the services"

helmctl down
[ -z "$(helmctl status --json | jq -r '.services[] | select(.state != "stopped") | .name')" ] || fail "something runs"
echo "test result: ok. 1 passed; 0 failed"
