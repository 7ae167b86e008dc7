#!/usr/bin/env bash
# Starts helmd and what is wanted at boot, by systemd user units.  docs/AUTOSTART.md
#   scripts/install_autostart.sh [--home DIR] [--yes]      installs or refreshes; nothing that runs is restarted but helmd
#   scripts/install_autostart.sh --remove [--home DIR]     takes all of it away; services stay
#   scripts/install_autostart.sh --system USER --home DIR  as root: for a user of its own (made if it is not there)
#   scripts/install_autostart.sh --web                     with helm-web as a unit, where services.json has no entry `helm`
# The home is DIR, HELM_HOME, the current directory if it has a services.json, else this repository.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
units=(helmd.socket helmd.service helm-tree.service helm-services.service)
wanted=(helmd.socket helmd.service helm-services.service)
web_units=(helm-web.socket helm-web.service)
home=${HELM_HOME:-}
remove="" yes="" account="" web=""

say() { echo "install_autostart.sh: $*"; }
fail() { say "$*" >&2; exit 1; }

options() {
    while [ $# -gt 0 ]; do
        case $1 in
            --home) home=${2:?--home needs a directory}; shift ;;
            --system) account=${2:?--system needs a user}; shift ;;
            --remove) remove=1 ;;
            --yes) yes=1 ;;
            --web) web=1 ;;
            -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
            *) say "unknown option '$1' (known: --home, --system, --web, --remove, --yes)" >&2; exit 2 ;;
        esac
        shift
    done
    if [ -z "$home" ]; then
        home=$root
        [ ! -f services.json ] || home=$PWD
    fi
    [ -d "$home" ] || fail "$home is no directory"
    home=$(cd "$home" && pwd -P)
    [[ $home != *[\"\\\$%$'\n']* ]] || fail "the path $home has a sign that unit files cannot carry: move the home"
}

# As another user: made with linger, then everything below runs as that user.
as_account() {
    [ "$(id -u)" -eq 0 ] || fail "--system needs root"
    if ! id "$account" >/dev/null 2>&1; then
        useradd --system --create-home --home-dir "/var/lib/$account" --shell /usr/sbin/nologin "$account"
        say "made the user $account"
    fi
    # Before anything in it is changed: it may be somebody else's home.
    [ "$(stat -c %U "$home")" = "$account" ] || fail "$home belongs to $(stat -c %U "$home"): chown -R $account: $home, then again"
    chown -hR "$account:" "$home/instance" "$home/logs" 2>/dev/null || true
    loginctl enable-linger "$account"
    local again=(--home "$home")
    [ -z "$yes" ] || again+=(--yes)
    [ -z "$remove" ] || again+=(--remove)
    [ -z "$web" ] || again+=(--web)
    local uid
    uid=$(id -u "$account")
    for _ in $(seq 100); do [ -S "/run/user/$uid/systemd/private" ] && break; sleep 0.1; done
    exec setpriv --reuid "$account" --regid "$(id -g "$account")" --init-groups env -C "$home" \
        HOME="$(getent passwd "$account" | cut -d: -f6)" USER="$account" HELM_BIN_DIR="$bin" "$root/scripts/install_autostart.sh" "${again[@]}"
}

find_programs() {
    bin=${HELM_BIN_DIR:-${CARGO_TARGET_DIR:-$root/target}/release}
    [ -x "$bin/helmd" ] || bin=$(dirname "$(command -v helmd || echo /nowhere/helmd)")
    if [ ! -x "$bin/helmd" ] || [ ! -x "$bin/helmctl" ]; then fail "helmd is not built: scripts/start.sh builds it (or set HELM_BIN_DIR)"; fi
    bin=$(cd "$bin" && pwd -P)
}

user_manager() {
    export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}
    command -v systemctl >/dev/null || fail "there is no systemd here"
    systemctl --user show-environment >/dev/null 2>&1 ||
        fail "the systemd of user $(id -un) does not answer: log in as that user (not by su), or: loginctl enable-linger $(id -un)"
    dir=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user
}

ask() {
    [ -z "$yes" ] || return 0
    [ -t 0 ] || return 1
    local answer
    read -r -p "$1 [y/N] " answer
    [[ $answer == [yY]* ]]
}

# What the Python tool left would start the same services a second time.
disable_old_units() {
    local unit file
    for unit in hivematrix.service helm.service; do
        for file in "/etc/systemd/system/$unit" "$dir/$unit"; do
            [ -e "$file" ] || continue
            local way=(systemctl disable --now "$unit")
            [ "$file" = "/etc/systemd/system/$unit" ] || way=(systemctl --user disable --now "$unit")
            if [ "${way[1]}" != --user ] && [ "$(id -u)" -ne 0 ]; then
                say "$file is the Python tool's: it would start the services a second time. Disable it: sudo ${way[*]}"
            elif ask "$file is the Python tool's. Disable and stop it?"; then
                "${way[@]}"
                say "disabled $file (the file is still there)"
            else
                say "$file is still enabled: it would start the services a second time. Disable it: ${way[*]}"
            fi
        done
    done
}

# A service below 1024 without root: never by a capability on an interpreter that everything shares.
check_ports() {
    [ "$(id -u)" -ne 0 ] || return 0
    local first port closed="" lowest=""
    first=$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start 2>/dev/null || echo 1024)
    for port in $("$bin/helmctl" --home "$home" list --json 2>/dev/null | grep -o '"port": *[0-9]*' | grep -o '[0-9]*' | sort -un); do
        [ "$port" -lt "$first" ] || continue
        closed="$closed $port" lowest=${lowest:-$port}
    done
    [ -n "$closed" ] || return 0
    # One setting for all of them: the lowest.
    say "what cannot be bound by $(id -un): port$closed. As root: echo net.ipv4.ip_unprivileged_port_start=$lowest >/etc/sysctl.d/50-helm.conf && sysctl --system"
    say "  (no setcap on python: every script of this host would get the right)"
}

# The entry `helm` of services.json is helm-web, too, and listens at the same addresses.
add_web() {
    if "$bin/helmctl" --home "$home" list --json 2>/dev/null | grep -q '"name": *"helm"'; then
        fail "services.json has the entry 'helm': Helm runs helm-web by itself. Take the entry away, or leave --web out"
    fi
    [ -x "$bin/helm-web" ] || fail "$bin/helm-web is not there"
    units+=("${web_units[@]}")
    wanted+=("${web_units[@]}")
}

write_units() {
    mkdir -p "$dir"
    local unit
    for unit in "${units[@]}"; do
        sed -e "s|@HOME@|${home//|/\\|}|g" -e "s|@BIN@|${bin//|/\\|}|g" -e "s|@DOCS@|$root/docs|g" "$root/systemd/$unit" >"$dir/.$unit.new"
        mv "$dir/.$unit.new" "$dir/$unit"
    done
    systemctl --user daemon-reload
}

installed_home() { [ ! -e "$dir/helmd.service" ] || sed -n 's/^X-HelmHome=//p' "$dir/helmd.service"; }

install() {
    local there
    there=$(installed_home)
    [ -z "$there" ] || [ "$there" = "$home" ] || fail "the units of this user are for $there: --remove --home $there first"
    "$bin/helmctl" --home "$home" config check || fail "mend the configuration first"
    [ -z "$web" ] || add_web
    disable_old_units
    # One that was started by hand makes way for its unit; services stay.
    "$bin/helmctl" --home "$home" daemon stop
    write_units
    systemctl --user --quiet enable "${wanted[@]}"
    systemctl --user start helm-tree.service helmd.socket
    systemctl --user restart helmd.service
    systemctl --user start --no-block helm-services.service
    [ -z "$web" ] || systemctl --user restart "${web_units[@]}"
    if [ "$(loginctl show-user "$(id -un)" -p Linger --value 2>/dev/null)" != yes ] && [ ! -e "/var/lib/systemd/linger/$(id -un)" ]; then
        if loginctl enable-linger 2>/dev/null; then
            touch "$home/instance/linger-by-helm"
        else
            say "without linger everything ends with your last logout. As root: loginctl enable-linger $(id -un)"
        fi
    fi
    check_ports
    say "installed for $home; at boot everything that was wanted comes up. See: systemctl --user status helmd, helmctl --home $home status"
}

take_away() {
    local there
    there=$(installed_home)
    [ "$there" = "$home" ] || fail "${there:+the units of this user are for $there, }nothing is installed for $home"
    if [ -e "$dir/helm-web.socket" ]; then
        systemctl --user stop "${web_units[@]}"
        units+=("${web_units[@]}")
        wanted+=("${web_units[@]}")
    fi
    systemctl --user --quiet disable "${wanted[@]}"
    systemctl --user stop helmd.socket helmd.service
    local unit
    for unit in "${units[@]}"; do rm -f "$dir/$unit"; done
    systemctl --user daemon-reload
    if [ -e "$home/instance/linger-by-helm" ]; then
        loginctl disable-linger && rm "$home/instance/linger-by-helm"
    fi
    say "removed for $home. What ran goes on; helmctl --home $home daemon start looks after it again"
}

options "$@"
find_programs
[ -z "$account" ] || as_account
user_manager
if [ -n "$remove" ]; then take_away; else install; fi
