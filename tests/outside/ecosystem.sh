#!/usr/bin/env bash
# Helm beside the real Core and the real Nexus. By hand: they are brought, never committed.
#   HIVEMATRIX_CORE=DIR HIVEMATRIX_NEXUS=DIR tests/outside/ecosystem.sh      (clones of skelhammer/hivematrix-core and -nexus)
#   ECOSYSTEM_STREAM=90   seconds that a stream is held open through Nexus (25)
# Core listens at 5000, Keycloak (a stand-in) at 8080, helm-web at 5004, Nexus at 443, and none of it can be moved: the whole runs in a
# network of its own. What pip installs is kept in $HELM_TEST_CACHE.
set -euo pipefail

cache=${HELM_TEST_CACHE:-$HOME/.cache/helm-tests}
if [ -z "${ECOSYSTEM_INSIDE:-}" ]; then
    for name in CORE NEXUS; do
        variable=HIVEMATRIX_$name
        [ -f "${!variable:-}/run.py" ] || { echo "$variable must name a clone of hivematrix-${name,,}"; exit 2; }
        venv=$cache/hivematrix-${name,,}
        if ! cmp -s "${!variable}/requirements.txt" "$venv/requirements.txt"; then
            python3 -m venv --clear "$venv"
            "$venv/bin/pip" install --quiet -r "${!variable}/requirements.txt"
            cp "${!variable}/requirements.txt" "$venv/"
        fi
    done
    exec env ECOSYSTEM_INSIDE=1 unshare --net -- "$0"
fi
ip link set lo up

# shellcheck source=tests/outside/common.sh
source "$(dirname "$0")/common.sh"

mv "$home" "$work/hivematrix-helm"
home=$work/hivematrix-helm
cp "$root/apps_registry.json" "$home/"
for name in core nexus; do
    variable=HIVEMATRIX_${name^^}
    mkdir "$work/hivematrix-$name"
    (cd "${!variable}" && tar -c --exclude=./pyenv --exclude=./.git --exclude=./instance .) | tar -x -C "$work/hivematrix-$name"
    ln -s "$cache/hivematrix-$name" "$work/hivematrix-$name/pyenv"
done

# As Core's and Nexus's install scripts and the Python Helm leave them (contract 1.1, 3.4).
core=$work/hivematrix-core
mkdir -p "$core/keys" "$work/hivematrix-nexus/certs"
openssl genrsa -out "$core/keys/jwt_private.pem" 2048 2>/dev/null
openssl rsa -in "$core/keys/jwt_private.pem" -pubout -out "$core/keys/jwt_public.pem" 2>/dev/null
chmod 600 "$core/keys/jwt_private.pem"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout "$work/hivematrix-nexus/certs/nexus.key" \
    -out "$work/hivematrix-nexus/certs/nexus.crt" 2>/dev/null
cat >"$core/.flaskenv" <<'J'
FLASK_APP=run.py
SECRET_KEY=core-of-a-test
SERVICE_NAME=core
CORE_SERVICE_URL=http://localhost:5000
HELM_SERVICE_URL=http://localhost:5004
KEYCLOAK_SERVER_URL=http://localhost:8080
KEYCLOAK_REALM=hivematrix
KEYCLOAK_CLIENT_ID=core-client
KEYCLOAK_CLIENT_SECRET=of-a-test
JWT_PRIVATE_KEY_FILE=keys/jwt_private.pem
JWT_PUBLIC_KEY_FILE=keys/jwt_public.pem
JWT_ISSUER=hivematrix-core
JWT_ALGORITHM=RS256
J
cat >"$work/hivematrix-nexus/.flaskenv" <<'J'
FLASK_APP=run.py
SECRET_KEY=nexus-of-a-test
SERVICE_NAME=nexus
CORE_SERVICE_URL=http://localhost:5000
HELM_SERVICE_URL=http://localhost:5004
NEXUS_SERVICE_URL=https://localhost
NEXUS_PORT=443
NEXUS_HOST=127.0.0.1
USE_GUNICORN=true
KEYCLOAK_SERVER_URL=http://localhost:8080
KEYCLOAK_BACKEND_URL=http://localhost:8080
KEYCLOAK_REALM=hivematrix
KEYCLOAK_CLIENT_ID=core-client
KEYCLOAK_CLIENT_SECRET=of-a-test
J
cat >"$home/services.json" <<J
{
  $(block nexus.md json 1),
  "core": {"url": "http://localhost:5000", "path": "../hivematrix-core", "port": 5000,
           "python_bin": "pyenv/bin/python", "run_script": "run.py"},
  "nexus": {"url": "https://localhost", "path": "../hivematrix-nexus", "port": 443,
            "python_bin": "pyenv/bin/python", "run_script": "run.py"},
  "worker": {"command": ["sleep", "600"]},
  "slow": {"command": ["sleep", "600"], "probes": {"readiness": {"exec": ["false"]}}}
}
J
export PATH=$bin:$PATH
helmctl config check

"$cache/hivematrix-core/bin/python" "$(dirname "$0")/ecosystem/checks.py" "$home" || fail "see above"

helmctl down
helmctl daemon stop
[ -z "$(left)" ] || { left | xargs -r ps -fp; fail "processes are left"; }
