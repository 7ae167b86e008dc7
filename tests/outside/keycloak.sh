#!/usr/bin/env bash
# A real Keycloak 26.4.0, started by Helm from a services.json in the seed's form: ready when it really is, restarted
# whole after a kill, and nothing of it left after `down`.
# shellcheck source=tests/outside/common.sh
source "$(dirname "$0")/common.sh"

version=26.4.0
port=8080
if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    # Another Keycloak or the like on this machine: ours moves away, by Keycloak's own variable.
    port=18080
fi
cp -r "$HELM_TEST_CACHE/keycloak-$version" "$work/keycloak-$version"
mv "$home" "$work/hivematrix-helm"
home=$work/hivematrix-helm
cp "$root/apps_registry.json" "$home/"
cat >"$home/services.json" <<J
{
  "keycloak": {
    "url": "http://localhost:$port",
    "path": "../keycloak-$version",
    "port": $port,
    "start_command": "bin/kc.sh start-dev --http-port $port",
    "type": "keycloak",
    "visible": false,
    "admin_only": true
  }
}
J
helmctl config check

begin=$SECONDS
helmctl up --timeout 240 || fail "Keycloak did not come up"
echo "ready after $((SECONDS - begin)) s"
# Ready is ready: the first question is answered.
curl -sf "http://localhost:$port/realms/master" | jq -e '.realm == "master"' || fail "it is called ready and is not"
helmctl status --json | tee "$work/status" | jq -e '.services[0] | .state == "running" and .health == "healthy"' || fail "status"
pid=$(jq '.services[0].pid' "$work/status")
helmctl output keycloak -n 3
pgrep -s "$(ps -o sid= -p "$pid" | tr -d ' ')" -a | cut -c1-120
[ -n "$(pgrep -s "$(ps -o sid= -p "$pid" | tr -d ' ')" java)" ] || fail "no java in its session"

echo "--- kill -9: one Keycloak comes back"
kill -9 "$pid"
came_back() { helmctl status --json | jq -e ".services[0] | .state == \"running\" and .ready and .pid != $pid"; }
until_true 240 "Keycloak is back" came_back
[ "$(left | xargs -r ps -o comm= -p | grep -c java)" -eq 1 ] || fail "not exactly one JVM"

helmctl down --timeout 60
helmctl daemon stop
[ -z "$(left)" ] || { left | xargs -r ps -fp; fail "processes are left"; }
echo "test result: ok. 1 passed; 0 failed"
