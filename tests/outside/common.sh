# Sourced: a home of its own for a script, and the end of what runs in it.
# shellcheck shell=bash
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=${HELM_BIN_DIR:-${CARGO_TARGET_DIR:-$root/target}/debug}
export HELM_TEST_CACHE=${HELM_TEST_CACHE:-$HOME/.cache/helm-tests}
work=$(mktemp -d /tmp/helm-out.XXXXXX)
home=$work/home
mkdir "$home"

helmctl() { "$bin/helmctl" --home "$home" "$@"; }

fail() {
    echo "FAILED: $*"
    helmctl status || true
    helmctl events -n 30 || true
    exit 1
}

# until_true SECONDS WHAT COMMAND...: waits until the command succeeds.
until_true() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "not in time: $what"
        sleep 0.1
    done
}

# block PAGE LANGUAGE NUMBER: a fenced block of a page.
block() {
    awk -v fence="\`\`\`$2" -v wanted="$3" '
        $0 == "```" && inside { inside = 0; next }
        inside && count == wanted { print }
        $0 == fence { inside = 1; count++ }' "$root/docs/$1" >"$work/block"
    [ -s "$work/block" ] || fail "docs/$1 has no block $3 of $2"
    cat "$work/block"
}

# Processes of this home: whose command line or working directory lies in the work directory.
left() {
    local dir pid
    for dir in /proc/[0-9]*; do
        pid=${dir#/proc/}
        [ "$pid" != $$ ] || continue
        if [[ $(readlink "$dir/cwd" 2>/dev/null) == "$work"/* ]] || { tr '\0' ' ' <"$dir/cmdline"; } 2>/dev/null | grep -qF "$work/"; then
            echo "$pid"
        fi
    done
}

end() {
    local code=$? pid
    helmctl down --timeout 30 >/dev/null 2>&1 || true
    helmctl daemon stop >/dev/null 2>&1 || true
    for pid in $(left); do kill -9 "$pid" 2>/dev/null || true; done
    rm -rf "$work"
    exit "$code"
}
trap end EXIT
