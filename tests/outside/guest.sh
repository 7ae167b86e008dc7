#!/usr/bin/env bash
# By hand, as root (about six minutes, mostly debootstrap and the emulator): boots Debian 12 with its own kernel 6.1 and
# a whole cgroup v2 in qemu, and runs guest/checks.sh there: what a host without these cannot show.
#   tests/outside/guest.sh                binaries from target/debug, or HELM_BIN_DIR
# The tree is kept in $HELM_TEST_CACHE/guest for the next time.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=${HELM_BIN_DIR:-${CARGO_TARGET_DIR:-$root/target}/debug}
cache=${HELM_TEST_CACHE:-$HOME/.cache/helm-tests}/guest
for tool in debootstrap qemu-system-x86_64 mke2fs debugfs; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: apt-get install debootstrap qemu-system-x86 e2fsprogs"; exit 1; }
done

tree=$cache/tree
if [ ! -e "$tree/.complete" ]; then
    rm -rf "$tree"
    mkdir -p "$cache"
    debootstrap --variant=minbase \
        --include=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,procps,iproute2,python3-minimal,gunicorn,linux-image-cloud-amd64 \
        bookworm "$tree" >"$cache/debootstrap.log" || { tail -5 "$cache/debootstrap.log"; exit 1; }
    touch "$tree/.complete"
fi

work=$(mktemp -d /tmp/helm-guest.XXXXXX)
trap 'rm -rf "$work"' EXIT
mkdir -p "$tree/opt/helm"
for program in helmd helmctl helm-shim kill-test bomb web chatty exiter forker stubborn notifier stranger; do
    install "$bin/$program" "$tree/opt/helm/"
done
install "$root/tests/outside/guest/checks.sh" "$tree/opt/helm/"
# The kill test finds its gunicorn application where it was built.
mkdir -p "$tree$root/tests/fixtures"
cp "$root"/tests/fixtures/gunicorn* "$tree$root/tests/fixtures/"
cat >"$tree/etc/systemd/system/helm-checks.service" <<U
[Unit]
After=multi-user.target
[Service]
Type=oneshot
Environment=HELM_KILLS=${HELM_KILLS:-60} HELM_TEST_GUNICORN=/usr/bin/gunicorn
ExecStart=/bin/sh -c '/opt/helm/checks.sh >/result 2>&1; echo "code \$?" >>/result; sync'
ExecStopPost=/bin/systemctl poweroff --force
U
mkdir -p "$tree/etc/systemd/system/multi-user.target.wants"
ln -sf ../helm-checks.service "$tree/etc/systemd/system/multi-user.target.wants/"
rm -f "$tree/result"

mke2fs -q -t ext4 -d "$tree" "$work/disk.img" 3G
kernel=$(compgen -G "$tree/boot/vmlinuz-*" | sort -V | tail -1)
# The processor is emulated: /dev/kvm may be there and hang.
timeout 1200 qemu-system-x86_64 -accel tcg,thread=multi -m 1024 -smp 2 -nographic -no-reboot \
    -kernel "$kernel" -initrd "${kernel/vmlinuz/initrd.img}" -append 'root=/dev/vda rw console=ttyS0 quiet systemd.unified_cgroup_hierarchy=1' \
    -drive file="$work/disk.img",format=raw,if=virtio -nic none </dev/null >"$work/console" 2>&1 ||
    { tail -30 "$work/console"; echo "the guest did not power off"; exit 1; }
debugfs -R 'cat /result' "$work/disk.img" 2>/dev/null | tee "$work/result"
[ "$(tail -1 "$work/result")" = "code 0" ]
