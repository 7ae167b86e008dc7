#!/usr/bin/env bash
# The API from outside: grpcurl through reflection, and the Python example with grpcio.
# shellcheck source=tests/outside/common.sh
source "$(dirname "$0")/common.sh"

cat >"$home/services.json" <<'J'
{
  "alpha": {"command": ["sleep", "600"]},
  "beta": {"command": ["sleep", "600"], "depends_on": ["alpha"]},
  "talker": {"command": ["sh", "-c", "i=0; while :; do i=$((i + 1)); echo line $i; sleep 0.2; done"]}
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

echo "--- the Python examples"
python=$HELM_TEST_CACHE/venv/bin/python
"$python" -c 'import grpc; print("grpcio", grpc.__version__)'
cp -r "$root/examples/python/helm_examples" "$work/"
"$python" -m grpc_tools.protoc -I "$root/proto" --python_out="$work" --grpc_python_out="$work" helm/v1/helm.proto
# example NAME WORDS...: starts one; what it prints goes to $work/NAME, its pid to $example
example() {
    local name=$1
    shift
    (cd "$work" && exec "$python" -m "helm_examples.$name" "$home" "$@") >"$work/$name" 2>&1 &
    example=$!
}
end_example() {
    kill "$1"
    wait "$1" || true
}

echo "--- list"
example list
wait "$example"
grep -Eq '^beta: running pid [0-9]+, .*; needs alpha' "$work/list" || fail "list: $(cat "$work/list")"

echo "--- watch, over a restart of helmd"
example watch
watch=$example
until_true 30 "the first status in Python" grep -q beta "$work/watch"
helmctl daemon stop
helmctl daemon start
helmctl stop beta
until_true 30 "the change in Python" grep -Eq 'beta.*stopped' "$work/watch"
end_example "$watch"
cat "$work/watch"

echo "--- follow, each line once over a restart of helmd"
example follow talker
follow=$example
until_true 30 "lines in Python" grep -q '^line [0-9]' "$work/follow"
helmctl daemon stop
later=$(($(tail -n 1 "$work/follow" | cut -d ' ' -f 2) + 5))
helmctl daemon start
until_true 30 "lines from the next helmd" grep -q "^line $later\$" "$work/follow"
end_example "$follow"
first=$(head -n 1 "$work/follow" | cut -d ' ' -f 2)
last=$(tail -n 1 "$work/follow" | cut -d ' ' -f 2)
cmp <(seq -f 'line %g' "$first" "$last") "$work/follow" || fail "a line is missing, or came twice"

echo "--- restart when a condition holds"
run=$(helmctl status alpha --json | jq -r '.services[0].run')
example restart_when alpha 0.1
restarter=$example
until_true 30 "a restart" grep -q '^done' "$work/restart_when"
end_example "$restarter"
[ "$run" != "$(helmctl status alpha --json | jq -r '.services[0].run')" ] || fail "alpha was not restarted"

echo "--- the grpcurl example"
"$root/examples/grpcurl/status.sh" "$home" | tee "$work/example"
grep -q alpha "$work/example" || fail "the example does not show the services"

helmctl down
[ -z "$(helmctl status --json | jq -r '.services[] | select(.state != "stopped") | .name')" ] || fail "something runs"
echo "test result: ok. 1 passed; 0 failed"
