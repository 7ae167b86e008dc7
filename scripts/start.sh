#!/usr/bin/env bash
# Builds what is missing, starts helmd and the services, and shows their status until Ctrl+C, which stops them all.
#   scripts/start.sh [--demo] [--dev | --production]
# The home is HELM_HOME, else the current directory if it has a services.json, else this repository.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
home=${HELM_HOME:-}
mode=()
for word in "$@"; do
    case $word in
        --demo) home=$root/examples/demo ;;
        --dev) mode=(--mode development) ;;
        --production) mode=(--mode production) ;;
        -h | --help) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) echo "start.sh: unknown option '$word' (known: --demo, --dev, --production)" >&2; exit 2 ;;
    esac
done
if [ -z "$home" ]; then
    home=$root
    [ ! -f services.json ] || home=$PWD
fi

bin=${HELM_BIN_DIR:-${CARGO_TARGET_DIR:-$root/target}/release}
if [ -z "${HELM_BIN_DIR:-}" ]; then
    if ! command -v cargo >/dev/null; then
        echo "start.sh: cargo is missing; install Rust (https://rustup.rs), then run this again" >&2
        exit 1
    fi
    echo "Building helmd, helmctl, helm-shim and helm-web (the first time takes some minutes) ..."
    cargo build --release --manifest-path "$root/Cargo.toml" -p helmd -p helmctl -p helm-shim -p helm-web
fi
helmctl() { "$bin/helmctl" --home "$home" "$@"; }

# In the background, so that a signal to this shell alone ends the wait as well; the terminal's Ctrl+C reaches both.
child=
watch() {
    helmctl "$@" &
    child=$!
    wait "$child"
}
stop() {
    trap '' INT TERM
    [ -z "$child" ] || kill "$child" 2>/dev/null || true
    echo
    echo "Stopping the services in reverse order ..."
    helmctl daemon start >/dev/null
    helmctl down
    helmctl daemon stop
    exit
}
trap stop INT TERM

code=0
watch up "${mode[@]}" || code=$?
case $code in
    # A service that does not come up in time is no reason to stop the others: the status shows it.
    # helmd may be restarted or upgraded under us: the watch goes on with the next one, and only a signal ends it.
    0 | 1 | 5)
        while :; do
            watch status --watch || sleep 1
            until helmctl daemon status >/dev/null 2>&1; do sleep 1; done
        done
        ;;
    *) exit "$code" ;;
esac
