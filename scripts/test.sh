#!/usr/bin/env bash
# The one command that tests everything: installs what the tests need (as root, by apt), then runs all stages.
# A stage that fails does not keep the others from running. At the end each failed stage says why, and the last line `N passed, N failed`.
#   scripts/test.sh [STAGE ...]       only these (names as printed)
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
cache=${HELM_TEST_CACHE:-$HOME/.cache/helm-tests}
target=${CARGO_TARGET_DIR:-$root/target}
work=$(mktemp -d /tmp/helm-test.XXXXXX)
trap 'rm -rf "$work"' EXIT
export CARGO_TARGET_DIR=$target HELM_TEST_CACHE=$cache CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0
export PATH=$cache/bin:$PATH
mkdir -p "$cache/bin"

passed=0
failed=0
failures=()
chosen=("$@")

# stage NAME FUNCTION: runs it with its output shown and kept, and counts it: as its tests, where it names such, else as one.
stage() {
    local name=$1 log=$work/$1.log begin=$SECONDS code=0 good bad
    if [ ${#chosen[@]} -gt 0 ] && [[ " ${chosen[*]} " != *" $name "* ]]; then return; fi
    printf '\n=== %s\n' "$name"
    # Not through a pipe: a process that a failed test left behind would keep it open for ever.
    # Not as a condition: `set -e` would not hold inside.
    : >"$log"
    (set -euo pipefail; "$2") >"$log" 2>&1 </dev/null &
    local job=$!
    tail -n +1 -s 0.2 --pid=$job -f "$log" &
    local show=$!
    wait $job || code=$?
    wait $show || true
    read -r good bad < <(awk '
        /^test result:/ { for (i = 2; i <= NF; i++) { if ($i == "passed;") p += $(i-1); if ($i == "failed;") f += $(i-1) } }
        END { print p + 0, f + 0 }' "$log")
    if [ "$code" -eq 0 ] && [ "$good" -eq 0 ]; then good=1; fi
    if [ "$code" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    passed=$((passed + good))
    failed=$((failed + bad))
    [ "$code" -eq 0 ] || failures+=("$name")
    printf -- '--- %s: %s, %d passed, %d failed, %d s\n' \
        "$name" "$([ "$code" -eq 0 ] && echo ok || echo FAILED)" "$good" "$bad" $((SECONDS - begin))
}

# why LOG: the failed tests that a log names, each with the begin of its panic; where it names none, the end of the log.
why() {
    awk -v most=15 '
        function told(   i) {
            if (name == "") return
            print name
            for (i = 0; i < lines; i++) print "    " text[i]
            name = ""; any = 1
        }
        /^---- .* stdout ----$/ { told(); name = $0; lines = panicked = 0; next }
        /^(failures:|test result:)/ { told() }
        name != "" {
            # What the test printed before does not matter.
            if (/ panicked at / && !panicked) { lines = 0; panicked = 1 }
            if (lines < most && $0 != "") text[lines++] = substr($0, 1, 300)
        }
        { last[NR % most] = substr($0, 1, 300) }
        END {
            told()
            if (!any) for (i = NR > most ? NR - most + 1 : 1; i <= NR; i++) print "    " last[i % most]
        }' "$1"
}

# need COMMAND PACKAGE: installs the Debian package where the command is missing.
need() {
    command -v "$1" >/dev/null && return
    [ "$(id -u)" -eq 0 ] || { echo "$1 is missing: run this as root, or install the package $2"; return 1; }
    [ -e "$work/apt-updated" ] || { apt-get update -qq && touch "$work/apt-updated"; }
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2"
}

tools() {
    command -v cargo >/dev/null || { echo "cargo is missing: install Rust (https://rustup.rs); the version is in rust-toolchain.toml"; return 1; }
    [ "$(id -u)" -eq 0 ] || { echo "some tests mount a file system and change their user: run this as root"; return 1; }
    cargo --version
    need cc build-essential
    need git git
    need curl curl
    need jq jq
    need shellcheck shellcheck
    need python3 python3
    need openssl openssl
    need setpriv util-linux
    need ps procps
    need java default-jre-headless
    need mvn maven
    need sqlite3 sqlite3
    need debootstrap debootstrap
    need qemu-system-x86_64 qemu-system-x86
    need debugfs e2fsprogs
    need ip iproute2
    need nginx nginx-light
    need rsyslogd rsyslog
    compgen -G '/usr/lib/*/rsyslog/omelasticsearch.so' >/dev/null || need no-such-command rsyslog-elasticsearch
    # The server's programs are not in PATH.
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || need no-such-command postgresql
    need go golang-go
    if ! "$cache/venv/bin/python" -c 'import grpc, grpc_tools, gunicorn' 2>/dev/null; then
        python3 -c 'import ensurepip' 2>/dev/null || need no-such-command python3-venv
        python3 -m venv --clear "$cache/venv"
        "$cache/venv/bin/pip" install --quiet grpcio grpcio-tools grpcio-reflection gunicorn==21.2.0
    fi
    senders_files
    command -v grpcurl >/dev/null || GOBIN=$cache/bin go install github.com/fullstorydev/grpcurl/cmd/grpcurl@latest
    grpcurl --version
    keycloak_files
}

# Programs that know nothing of Helm: what they send, and how they ask.
senders_files() {
    local wanted='opentelemetry-exporter-otlp-proto-http==1.45.1 opentelemetry-exporter-otlp-json-http==0.66b1
        python-logging-loki==0.3.1 elasticsearch==8.19.3 requests==2.34.2 schemathesis==4.32.5'
    [ "$(cat "$cache/senders/wanted" 2>/dev/null)" = "$wanted" ] && return
    python3 -m venv --clear "$cache/senders"
    # shellcheck disable=SC2086 # words
    "$cache/senders/bin/pip" install --quiet $wanted
    printf '%s\n' "$wanted" >"$cache/senders/wanted"
}

keycloak_files() {
    local version=26.4.0
    [ -x "$cache/keycloak-$version/bin/kc.sh" ] && return
    mvn -q -B dependency:copy -Dartifact=org.keycloak:keycloak-quarkus-dist:$version:tar.gz -DoutputDirectory="$work/keycloak"
    mkdir -p "$work/unpacked"
    tar -xzf "$work/keycloak/keycloak-quarkus-dist-$version.tar.gz" -C "$work/unpacked"
    mv "$work/unpacked/keycloak-$version" "$cache/keycloak-$version"
}

style() {
    cargo fmt --all --check
    shellcheck -x scripts/*.sh .ci/run tests/outside/*.sh tests/outside/guest/*.sh examples/grpcurl/*.sh
    shellcheck -s sh examples/demo/*.sh
}
lints() { cargo clippy --locked --workspace --all-targets -- -D warnings; }
build() {
    cargo build --locked --workspace --bins
    cargo test --locked --workspace --no-run
}
# Every test binary runs, also after one that failed.
tests() { HELM_BIN_DIR=$target/debug cargo test --locked --workspace --no-fail-fast; }
clients() { python3 -m unittest discover -s clients/python; }
grpc() { HELM_BIN_DIR=$target/debug tests/outside/grpc.sh; }
kills() {
    local code=0 way
    for way in "--kills 200" "--kills 25 --reexec"; do
        # shellcheck disable=SC2086 # words
        HELM_BIN_DIR=$target/debug HELM_TEST_GUNICORN=$cache/venv/bin/gunicorn \
            "$target/debug/kill-test" $way --seed "${HELM_KILL_SEED:-$RANDOM}" || code=$?
    done
    return "$code"
}
store_kills() {
    local engine code=0
    for engine in sqlite postgres; do
        HELM_BIN_DIR=$target/debug \
            "$target/debug/store-kill" --engine "$engine" --kills 25 --seed "${HELM_KILL_SEED:-$RANDOM}" || code=$?
    done
    HELM_BIN_DIR=$target/debug "$target/debug/store-kill" --outage 20 || code=$?
    return "$code"
}
senders() { HELM_BIN_DIR=$target/debug tests/outside/senders.sh; }
proxies() { HELM_BIN_DIR=$target/debug tests/outside/proxies.sh; }
schema() { HELM_BIN_DIR=$target/debug tests/outside/schema.sh; }
keycloak() { HELM_BIN_DIR=$target/debug tests/outside/keycloak.sh; }
demo() { tests/outside/demo.sh; }
# With the release build of the stage before.
boot() { HELM_BIN_DIR=$target/release tests/outside/boot.sh; }
logs() { HELM_BIN_DIR=$target/debug tests/outside/logs.sh; }
licences() {
    command -v cargo-deny >/dev/null || cargo install --locked --quiet --root "$cache" --target-dir "$work/cargo-deny" cargo-deny
    cargo deny --locked check licenses bans sources
}

stage tools tools
stage style style
stage lints lints
stage build build
stage tests tests
stage clients clients
stage grpc grpc
stage kills kills
stage store-kills store_kills
stage senders senders
stage proxies proxies
stage schema schema
stage keycloak keycloak
stage demo demo
stage boot boot
stage logs logs
stage licences licences

for name in "${failures[@]}"; do
    printf '\n=== %s failed:\n' "$name"
    why "$work/$name.log"
done
printf '\n%d s in all%s\n' "$SECONDS" "${failures:+; failed: ${failures[*]}}"
echo "$passed passed, $failed failed"
[ ${#failures[@]} -eq 0 ]
