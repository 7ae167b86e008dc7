#!/bin/bash
# Runs in the guest of ../guest.sh, as root: an older kernel, and the controllers of cgroup v2.
set -euo pipefail
export PATH=/opt/helm:$PATH TMPDIR=/var/tmp HELM_BIN_DIR=/opt/helm
home=/var/tmp/home
ctl() { helmctl --home "$home" "$@"; }
state() { ctl status "$1" --json | python3 -c "import json,sys; s = json.load(sys.stdin)['services'][0]; print(s['$2'])"; }
fail() { echo "FAILED: $*"; ctl status || true; ctl events -n 20 || true; exit 1; }
until_true() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        [ $SECONDS -lt $end ] || fail "not in time: $what"
        sleep 0.2
    done
}

uname -r
mkdir -p "$home/instance" "$home/bomb" /sys/fs/cgroup/helm
echo "controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
echo '+cpu +memory +pids' >/sys/fs/cgroup/cgroup.subtree_control
printf '[helm]\ncgroup_tree = /sys/fs/cgroup/helm\n' >"$home/instance/helm.conf"
cat >"$home/services.json" <<J
{
  "neighbour": {"command": ["/opt/helm/web", "port=18080"], "path": ".", "port": 18080, "probes": {"readiness": {"http": "http://127.0.0.1:18080/health", "interval": "1s"}}},
  "bomb": {"command": ["/opt/helm/bomb", "count=count", "limit=2000"], "path": "bomb", "limits": {"pids": 100}, "stop": {"grace": "0s"}}
}
J
ctl up neighbour --timeout 120
ctl daemon status
ctl daemon status | grep -q 'pids' || fail "no pids controller is in use"
pid=$(state neighbour pid)

echo "== a fork bomb under a pids controller"
ctl start bomb --no-wait
leaf() { compgen -G '/sys/fs/cgroup/helm/bomb-*' | head -1; }
full() { [ -n "$(leaf)" ] && [ "$(cat "$(leaf)/pids.current")" -ge 95 ]; }
until_true 120 "the bomb fills its leaf" full
sleep 10
echo "pids.current $(cat "$(leaf)/pids.current"), pids.max $(cat "$(leaf)/pids.max"), refused $(cat "$(leaf)/pids.events")"
[ "$(cat "$(leaf)/pids.current")" -le 100 ] || fail "more processes than allowed"
[ "$(state neighbour pid) $(state neighbour restarts) $(state neighbour health)" = "$pid 0 healthy" ] || fail "the neighbour was disturbed"
ctl status
ctl stop bomb --timeout 60
[ -z "$(pgrep -x bomb)" ] || fail "something of the bomb is left"
[ -z "$(leaf)" ] || fail "its leaf is left"

echo "== stop says how the tree was ended"
ctl events bomb -n 4
ctl down
ctl daemon stop

echo "== kills on this kernel"
kill-test --kills "$HELM_KILLS" --seed 6
