#!/usr/bin/env bash
# Stops all services and helmd, from any terminal.  scripts/stop_all.sh [--demo]
# The home is found as scripts/start.sh finds it.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
home=${HELM_HOME:-}
case ${1:-} in
    "") ;;
    --demo) home=$root/examples/demo ;;
    *) echo "stop_all.sh: unknown option '$1' (known: --demo)" >&2; exit 2 ;;
esac
if [ -z "$home" ]; then
    home=$root
    [ ! -f services.json ] || home=$PWD
fi
bin=${HELM_BIN_DIR:-${CARGO_TARGET_DIR:-$root/target}/release}
if [ ! -x "$bin/helmctl" ]; then
    echo "stop_all.sh: $bin/helmctl is not there; scripts/start.sh builds it" >&2
    exit 1
fi

"$bin/helmctl" --home "$home" down
"$bin/helmctl" --home "$home" daemon stop
