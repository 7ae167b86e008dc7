# A chatty one: about a hundred lines a second.
n=0
while :; do
    n=$((n + 1))
    echo "tick $n"
    [ $((n % 10)) -ne 0 ] || sleep 0.1
done
