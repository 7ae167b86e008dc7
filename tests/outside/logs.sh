#!/usr/bin/env bash
# The README's first command over the demo, then `helmctl logs -f`; the same on PostgreSQL after `helmctl db init`.
# shellcheck source=tests/outside/common.sh
source "$(dirname "$0")/common.sh"

cp -r "$root/examples/demo/." "$home"
rm -rf "$home/instance" "$home/logs"

# A PostgreSQL of our own: over its socket the system's users are known by their names, over TCP by passwords.
pg=$work/pg
programs=$(find /usr/lib/postgresql/*/bin -maxdepth 0 | sort -V | tail -1)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
as_postgres() {
    if [ "$(id -u)" -eq 0 ]; then setpriv --reuid=postgres --regid=postgres --init-groups "$@"; else "$@"; fi
}
chmod 755 "$work"
mkdir "$pg"
printf 'postgres\n' >"$work/admin-password"
chmod 644 "$work/admin-password"
[ "$(id -u)" -ne 0 ] || chown postgres "$pg"
(
    cd "$pg"
    as_postgres "$programs/initdb" -D "$pg/data" -U postgres --pwfile="$work/admin-password" --auth-local=peer \
        --auth-host=scram-sha-256 -E UTF8 --no-sync >/dev/null
    as_postgres "$programs/pg_ctl" -D "$pg/data" -s -w -l "$pg/server.log" -o "-p $port -k $pg -c listen_addresses=127.0.0.1" start
)
stop_postgres() {
    [ ! -e "$pg/data/postmaster.pid" ] || (cd "$pg" && as_postgres "$programs/pg_ctl" -D "$pg/data" -s -m immediate stop) || true
}
trap 'stop_postgres; end' EXIT

start() {
    # As a terminal starts it: a background job would ignore SIGINT, and so would its traps.
    HELM_BIN_DIR=$bin HELM_HOME=$home setsid env --default-signal=INT "$root/scripts/start.sh" >"$work/shown" 2>&1 &
    shell=$!
    until_true 60 "the demo runs" all_run
}
all_run() {
    helmctl status --json | jq -e '[.services[] | select(.name != "prepare" and .name != "mailer") | .state == "running"] | length == 5 and all'
}
interrupt() {
    kill -INT -- "-$shell"
    wait "$shell" || fail "start.sh ended with $?"
}
# What is followed comes from these services, each line under its name.
follows() {
    local follower name
    # The program itself, not a shell around it, is to hear the signal.
    "$bin/helmctl" --home "$home" logs -f >"$work/followed" 2>"$work/said" &
    follower=$!
    for name in catalogue orders shop ticker; do
        until_true 30 "a line of $name is followed" grep -Eq "^[0-9:.-]+ (DEBUG|INFO|WARNING|ERROR) +$name " "$work/followed"
    done
    kill -0 "$follower" || fail "logs -f has ended: $(cat "$work/said")"
    kill -INT "$follower"
    wait "$follower" || fail "logs -f ended with $?"
    for name in catalogue orders shop ticker; do grep -m 2 " $name " "$work/followed"; done
}

echo "--- SQLite"
start
helmctl db status | head -5
follows
helmctl logs stats
helmctl logs verify >/dev/null || fail "logs verify"

echo "--- db init"
printf 'postgresql://postgres:postgres@127.0.0.1:%s/postgres\n' "$port" >"$work/admin-url"
helmctl db init --host 127.0.0.1 --port "$port" --admin-url-file "$work/admin-url" </dev/null
helmctl daemon stop
helmctl daemon start

echo "--- PostgreSQL"
until_true 30 "the store is PostgreSQL" eval 'helmctl db status --json | jq -e ".engine == \"postgresql\" and .available"'
helmctl db status | head -5
follows
helmctl logs stats
helmctl logs verify >/dev/null || fail "logs verify"
stored=$(cd "$pg" && as_postgres psql -XAtq -h "$pg" -p "$port" -U postgres -d helm_db -c 'SELECT count(*) FROM log_entries')
[ "$stored" -gt 0 ] || fail "nothing is in the database"
echo "$stored entries in log_entries"

echo "--- Ctrl+C"
interrupt
helmctl status --json 2>/dev/null && fail "helmd is still there"
stop_postgres
[ -z "$(left)" ] || { left | xargs -r ps -fp; fail "processes are left"; }
echo "test result: ok. 1 passed; 0 failed"
