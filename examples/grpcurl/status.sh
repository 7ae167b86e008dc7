#!/bin/sh
# Asks helmd from the shell, by reflection: no .proto file is needed.  usage: status.sh HOME [NAME]
set -eu
[ $# -ge 1 ] || { echo "usage: status.sh HOME [NAME]" >&2; exit 2; }
socket=$(sed -n 's/.*"socket":"\([^"]*\)".*/\1/p' "$1/instance/helmd.lock")
call() { grpcurl -plaintext -unix -authority localhost "$@"; }

call "$socket" list
if [ $# -gt 1 ]; then
    call -d "{\"names\": [\"$2\"]}" "$socket" helm.v1.Helm/Status
else
    call "$socket" helm.v1.Helm/Status
fi
