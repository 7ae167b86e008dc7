#!/usr/bin/env bash
# The README's first command in a fresh clone: builds, starts the demo, shows it; Ctrl+C ends all in reverse order.
# shellcheck source=tests/outside/common.sh
source "$(dirname "$0")/common.sh"

git clone -q "$root" "$work/clone"
home=$work/clone/examples/demo
unset HELM_BIN_DIR
bin=${CARGO_TARGET_DIR:-$root/target}/release
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}

# As a terminal starts it: a background job would ignore SIGINT, and so would its traps.
setsid env --default-signal=INT "$work/clone/scripts/start.sh" --demo >"$work/out" 2>&1 &
shell=$!
show() { echo "--- what start.sh printed"; cat "$work/out"; }
all_run() {
    helmctl status --json | jq -e '[.services[] | select(.name != "prepare" and .name != "mailer") | .state == "running"] | length == 5 and all'
}
end=$((SECONDS + 1200))
until all_run >/dev/null 2>&1; do
    kill -0 "$shell" 2>/dev/null || { show; fail "start.sh has ended"; }
    [ $SECONDS -lt $end ] || { show; fail "the demo did not come up"; }
    sleep 1
done
helmctl status
for name in catalogue orders shop; do
    curl -sf "$(helmctl list --json | jq -r ".services[] | select(.name == \"$name\") | .url")/health" | jq -c .
done
helmctl status --json | jq -e '.services[] | select(.name == "prepare") | .state == "stopped" and .completed' || fail "prepare"

echo "--- Ctrl+C"
kill -INT -- "-$shell"
wait "$shell" || { show; fail "start.sh ended with $?"; }
show
[ -z "$(left)" ] || { left | xargs -r ps -fp; fail "processes are left"; }
# In reverse order: a dependent has ended before what it needs.
ended() { jq -r "select(.service == \"$1\" and .kind == \"exit\") | .id" "$home/instance/events.jsonl" | tail -1; }
if ! { [ "$(ended shop)" -lt "$(ended orders)" ] && [ "$(ended orders)" -lt "$(ended catalogue)" ]; }; then fail "not in reverse order"; fi

echo "--- stop_all.sh from another terminal"
helmctl up --timeout 60
(cd "$work/clone" && scripts/stop_all.sh --demo)
[ -z "$(left)" ] || { left | xargs -r ps -fp; fail "processes are left"; }
echo "test result: ok. 1 passed; 0 failed"
