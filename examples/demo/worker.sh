# A worker that crashes now and then: worker.sh NAME SECONDS
echo "$1: at work"
sleep "$2"
echo "$1: cannot go on" >&2
exit 3
