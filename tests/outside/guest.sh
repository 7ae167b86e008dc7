#!/usr/bin/env bash
# By hand, as root (about six minutes, mostly debootstrap and the emulator): what a host without a whole cgroup v2 and an older kernel
# cannot show: guest/checks.sh in a guest.
#   tests/outside/guest.sh                binaries from target/release, or HELM_BIN_DIR
set -euo pipefail

# shellcheck source=tests/outside/guest/guest.sh
. "$(dirname "${BASH_SOURCE[0]}")/guest/guest.sh"
bin=${HELM_BIN_DIR:-${CARGO_TARGET_DIR:-$root/target}/release}

guest_tree
guest_programs "$bin" helmd helmctl helm-shim kill-test bomb web chatty exiter forker stubborn notifier stranger
install "$root/tests/outside/guest/checks.sh" "$work/tree/opt/helm/"
# The kill test finds its gunicorn application where it was built.
mkdir -p "$work/tree$root/tests/fixtures"
cp "$root"/tests/fixtures/gunicorn* "$work/tree$root/tests/fixtures/"
guest_service checks.sh "HELM_KILLS=${HELM_KILLS:-60}" HELM_TEST_GUNICORN=/usr/bin/gunicorn
guest_disk 3G
guest_boot 1200
guest_result | tee "$work/result"
[ "$(tail -1 "$work/result")" = "code 0" ]
