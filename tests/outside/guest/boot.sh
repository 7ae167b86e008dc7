#!/bin/bash
# Runs in the guest of ../boot.sh at each of its boots, as root: the shipped units, at boot, through restarts and kills of helmd, a reboot and a power
# cut. What was asked for before the one is looked at after the other.
set -euo pipefail
export PATH=/opt/helm:$PATH
home=/home/op/demo
uid=1000

as_op() { setpriv --reuid $uid --regid $uid --init-groups env -i -C "$home" HOME=/home/op USER=op PATH="$PATH" XDG_RUNTIME_DIR=/run/user/$uid HELM_BIN_DIR=/opt/helm "$@"; }
ctl() { as_op helmctl --home "$home" "$@"; }
user() { as_op systemctl --user "$@"; }
fail() {
    echo "FAILED: $*"
    ctl status || true
    ctl events -n 30 || true
    user --no-pager status helmd helm-tree helm-services || true
    journalctl -b --no-pager _UID=$uid | tail -40 || true
    exit 1
}
until_true() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "not in time: $what"
        sleep 0.1
    done
}
# field NAME FIELD: of the status of a service.
field() { ctl status "$1" --json | python3 -c "import json,sys; print(json.load(sys.stdin)['services'][0]['$2'])"; }
is() { [ "$(field "$1" "$2")" = "$3" ]; }
running() { local name; for name in "$@"; do is "$name" state running || return 1; done; }
# Pid and start time of each running service and its keeper's tree: the same text means that nothing was restarted.
identity() {
    local name pid
    for name in catalogue orders shop ticker; do
        pid=$(field $name pid)
        echo "$name $pid $(cut -d' ' -f22 "/proc/$pid/stat")"
    done
}
same() {
    local now
    now=$(identity)
    [ "$now" = "$before" ] || fail "$1 changed a service: before $before, now $now"
    echo "after $1: the same pids and start times; memory.max of catalogue $(cat /sys/fs/cgroup"$(cut -d: -f3 "/proc/$(field catalogue pid)/cgroup")"/memory.max)"
}
answers() { ctl daemon status; }
helmd() { user show -p MainPID --value helmd.service; }

prepare() {
    useradd -m -u $uid -s /bin/bash op
    mkdir -p /var/log/journal
    systemd-tmpfiles --create --prefix /var/log/journal
    systemctl restart systemd-journald
    cp -r /opt/helm/demo "$home"
    # Limits, a service that eats memory, and less hurry than on real hardware.
    python3 - "$home/services.json" <<'P'
import json, sys
path = sys.argv[1]
services = json.load(open(path))
for name in ("catalogue", "orders", "shop"):
    services[name]["limits"] = {"memory": "200M", "pids": 50}
services["hog"] = {"command": ["python3", "-c", "import time\nheld = []\nwhile True:\n    held.append(bytes(1000000)); time.sleep(0.02)"],
                   "limits": {"memory": "60M"}, "restart": "never"}
json.dump(services, open(path, "w"), indent=2)
P
    chown -R op: "$home"
    loginctl enable-linger op
    until_true 60 "the user's manager" test -S /run/user/$uid/systemd/private
}

installed() {
    echo "== installed by scripts/install_autostart.sh"
    as_op /opt/helm/scripts/install_autostart.sh --yes --home "$home"
    until_true 180 "the demo is up" running catalogue orders shop ticker
    # Asked for by hand, and kept over the reboot: one in another mode, some stopped.
    ctl restart shop --mode development --timeout 120
    ctl stop hog archive --timeout 60
    until_true 120 "the demo is up again" running catalogue orders shop ticker
    ctl daemon status
    ctl daemon status | grep -q 'controllers: cpu memory pids' || fail "no controllers"
    before=$(identity)
    echo "$before"
}

helmd_comes_and_goes() {
    local n pid
    echo "== systemctl --user restart helmd"
    user restart helmd
    same "a restart"
    echo "== kill -9 of helmd, ten times in a row"
    for n in $(seq 10); do
        pid=$(helmd)
        kill -9 "$pid"
        until_true 30 "helmd is back after kill $n" another_than "$pid"
    done
    until_true 30 "helmd answers" answers
    same "ten kills"
    echo "== daemon reexec"
    pid=$(helmd)
    ctl daemon reexec
    [ "$(helmd)" = "$pid" ] || fail "helmd has another pid"
    same "a reexec"
    echo "== the socket starts it"
    user stop helmd.service
    answers
    [ "$(user is-active helmd.service)" = active ] || fail "not started by its socket"
    same "a start by its socket"
    echo "== daemon stop stops the socket too, daemon start starts the unit"
    ctl daemon stop
    [ "$(user is-active helmd.socket)$(user is-active helmd.service)" = inactiveinactive ] || fail "a unit is still active"
    ctl daemon start
    [ "$(user is-active helmd.socket)$(user is-active helmd.service)" = activeactive ] || fail "not started by its units"
    same "daemon stop and start"
}
another_than() { [ "$(helmd)" -ne 0 ] && [ "$(helmd)" != "$1" ]; }

out_of_memory() {
    echo "== a service that eats its memory"
    ctl start hog --no-wait
    until_true 120 "the hog has ended" is hog state failed
    ctl events hog -n 3
    until_true 30 "the incident says so" oom_told
    ctl why hog | tee /tmp/why
    { grep -q "killed by the kernel, out of memory" /tmp/why && grep -q "raise limits.memory of hog" /tmp/why; } || fail "why does not tell it"
    same "an OOM kill beside"
}

oom_told() { ctl incidents hog --json | python3 -c 'import json,sys; sys.exit(json.load(sys.stdin)[0]["oom"] != "yes")'; }

services_unit() {
    echo "== helm-services stops them in order, and starts what was wanted"
    user stop helm-services
    in_reverse
    user start helm-services
    until_true 180 "what was wanted runs" running catalogue orders shop ticker
    is archive state stopped || fail "what the operator had stopped was started"
    is shop mode development || fail "the mode was not kept"
}
# The exits of the three, newest first: shop before orders before catalogue.
in_reverse() {
    ctl events shop orders catalogue --json -n 60 | python3 -c '
import json, sys
ends = [e["service"] for e in map(json.loads, sys.stdin) if e["kind"] == "exit"][-3:]
print("ended in this order:", *ends)
sys.exit(ends != ["shop", "orders", "catalogue"])' || fail "not in reverse order"
}

first_boot() {
    uname -r
    prepare
    installed
    helmd_comes_and_goes
    out_of_memory
    services_unit
    echo "== reboot"
    echo 2 >/var/phase
    touch /run/helm-goes-on
    sync
    systemctl reboot --no-block
}

# The number of the newest line of ticker in the store.
newest() { ctl logs ticker -n 1 --json | python3 -c 'import json,sys,re; print(re.findall(r"\d+", json.loads(sys.stdin.readline())["message"])[0])'; }

second_boot() {
    echo "== after the reboot"
    until_true 180 "what was wanted is up by itself" running catalogue orders shop ticker
    is archive state stopped || fail "what the operator had stopped was started"
    is shop mode development || fail "the mode was not kept"
    in_reverse
    journalctl -b -1 --no-pager -o cat _SYSTEMD_USER_UNIT=helm-services.service | tail -12
    echo "== the power is cut under load"
    echo 3 >/var/phase
    ctl logs verify | tail -1
    ctl logs ticker -n 1 --json >/var/newest
    cat /var/newest
    touch /run/helm-goes-on
    sync
    echo CUT-THE-POWER >/dev/console
    sleep 600
}

third_boot() {
    echo "== after the power cut"
    until_true 180 "what was wanted is up by itself" running catalogue orders shop ticker
    ctl logs verify
    local id
    id=$(python3 -c 'import json; print(json.load(open("/var/newest"))["id"])')
    # The entry that was there before is there, and no line of any run is there twice.
    ctl logs export ticker --json | python3 -c '
import json, sys
from collections import Counter
entries = [json.loads(line) for line in sys.stdin]
lines = Counter((e["seen"], e["message"]) for e in entries)
twice = [line for line, n in lines.items() if n > 1]
print(len(entries), "lines of ticker in the store,", len(twice), "twice")
sys.exit(bool(twice) or sys.argv[1] not in {str(e["id"]) for e in entries})' "$id" || fail "a line is twice or gone"
    ctl down --timeout 100
}

case $(cat /var/phase 2>/dev/null || echo 1) in
    1) first_boot ;;
    2) second_boot ;;
    3) third_boot ;;
esac
