#!/usr/bin/env bash
# A booted Debian 12 (kernel 6.1, cgroup v2 with all controllers) with Helm installed by scripts/install_autostart.sh: restarts and kills of helmd, its
# socket, an OOM, a reboot, a power cut under load. What is looked at: guest/boot.sh.
set -euo pipefail

# shellcheck source=tests/outside/guest/guest.sh
. "$(dirname "${BASH_SOURCE[0]}")/guest/guest.sh"
bin=${HELM_BIN_DIR:-${CARGO_TARGET_DIR:-$root/target}/release}

guest_tree
guest_programs "$bin" helmd helmctl helm-shim
install "$root/tests/outside/guest/boot.sh" "$work/tree/opt/helm/"
mkdir -p "$work/tree/opt/helm/scripts"
install "$root/scripts/install_autostart.sh" "$work/tree/opt/helm/scripts/"
cp -r "$root/systemd" "$work/tree/opt/helm/"
git -C "$root" archive HEAD examples/demo | tar -x -C "$work/tree/opt/helm" --strip-components=1
guest_service boot.sh
guest_disk 3G

# The guest goes down by itself after the first boot, is cut off in the second, and says how it went in the third; or earlier, if it went wrong.
for boot in 900 "400 CUT-THE-POWER" 400; do
    # shellcheck disable=SC2086
    guest_boot $boot
    ! guest_result | tail -1 | grep -q '^code' || break
done
guest_result | tee "$work/result"
[ "$(tail -1 "$work/result")" = "code 0" ]
