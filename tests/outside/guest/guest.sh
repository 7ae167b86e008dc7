# Sourced: a Debian 12 with its own kernel 6.1 and a whole cgroup v2, booted in qemu.
# shellcheck shell=bash
set -euo pipefail

# shellcheck disable=SC2034  # for who sources this
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
cache=${HELM_TEST_CACHE:-$HOME/.cache/helm-tests}/guest
work=$(mktemp -d /tmp/helm-guest.XXXXXX)
guest=
end() {
    local code=$?
    [ -z "$guest" ] || kill -9 "$guest" 2>/dev/null || true
    rm -rf "$work"
    exit "$code"
}
trap end EXIT

# guest_tree: a tree of its own in $work/tree; what was downloaded is kept for the next time.
guest_tree() {
    local tool
    for tool in debootstrap qemu-system-x86_64 mke2fs debugfs; do
        command -v "$tool" >/dev/null || { echo "$tool is missing: apt-get install debootstrap qemu-system-x86 e2fsprogs"; exit 1; }
    done
    if [ ! -e "$cache/tree/.complete" ]; then
        rm -rf "$cache/tree"
        mkdir -p "$cache"
        debootstrap --variant=minbase \
            --include=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,procps,iproute2,python3-minimal,gunicorn,linux-image-cloud-amd64 \
            bookworm "$cache/tree" >"$cache/debootstrap.log" || { tail -5 "$cache/debootstrap.log"; exit 1; }
        touch "$cache/tree/.complete"
    fi
    # Linked: what is in the tree is only ever replaced, never written to.
    cp -al "$cache/tree" "$work/tree"
}

# guest_programs DIR NAME...: into /opt/helm, without their symbols.
guest_programs() {
    local from=$1 name
    shift
    mkdir -p "$work/tree/opt/helm"
    for name in "$@"; do install -s "$from/$name" "$work/tree/opt/helm/"; done
}

# guest_service SCRIPT [VARIABLE=VALUE ...]: at each boot /opt/helm/SCRIPT is run as root; what it says goes into /result, and the guest powers off
# when it ends, unless it went down by itself.
guest_service() {
    local script=$1
    shift
    rm -f "$work/tree/etc/systemd/system/helm-checks.service"
    cat >"$work/tree/etc/systemd/system/helm-checks.service" <<U
[Unit]
After=multi-user.target
[Service]
Type=oneshot
Environment=$*
ExecStart=/bin/sh -c '/opt/helm/$script >>/result 2>&1; code=\$?; [ -e /run/helm-goes-on ] || { echo "code \$code" >>/result; sync; systemctl poweroff --force; }'
U
    mkdir -p "$work/tree/etc/systemd/system/multi-user.target.wants"
    ln -sf ../helm-checks.service "$work/tree/etc/systemd/system/multi-user.target.wants/"
}

guest_disk() { mke2fs -q -t ext4 -d "$work/tree" "$work/disk.img" "$1"; }

# guest_boot SECONDS [TEXT]: until the guest has gone down; with TEXT the power is cut as soon as its console says TEXT.
guest_boot() {
    local end=$((SECONDS + $1)) cut=${2:-} kernel
    kernel=$(compgen -G "$work/tree/boot/vmlinuz-*" | sort -V | tail -1)
    # The processor is emulated: /dev/kvm may be there and hang.
    qemu-system-x86_64 -accel tcg,thread=multi -m 1536 -smp 2 -nographic -no-reboot \
        -kernel "$kernel" -initrd "${kernel/vmlinuz/initrd.img}" -append 'root=/dev/vda rw console=ttyS0 quiet systemd.unified_cgroup_hierarchy=1' \
        -drive file="$work/disk.img",format=raw,if=virtio -nic none </dev/null >"$work/console" 2>&1 &
    guest=$!
    while kill -0 "$guest" 2>/dev/null; do
        if [ -n "$cut" ] && grep -qa "$cut" "$work/console"; then
            kill -9 "$guest"
            break
        fi
        [ $SECONDS -lt $end ] || { tail -30 "$work/console"; guest_result; echo "FAILED: the guest did not go down in $1 s"; exit 1; }
        sleep 0.2
    done
    wait "$guest" || true
    guest=
}

guest_result() { debugfs -R 'cat /result' "$work/disk.img" 2>/dev/null; }
