#!/usr/bin/env bash
# nginx before helm-web, by the sites of docs/nginx.md and docs/tls.md as they stand there, and by a bare proxy_pass: what is for programs of
# this host alone does not pass, and what should work works. In a network of its own: ports 80, 443 and 5004 are meant.
[ -n "${PROXIES_INSIDE:-}" ] || exec env PROXIES_INSIDE=1 unshare --net -- "$0"
ip link set lo up
# shellcheck source=tests/outside/common.sh
source "$(dirname "$0")/common.sh"

chmod 755 "$work"
cat >"$home/services.json" <<J
{$(block nexus.md json 1), "worker": {"command": ["sleep", "600"]}}
J
PATH=$bin:$PATH helmctl up --timeout 30
token() { helmctl token create "$@" --json | jq -r .secret; }
umask 077
printf 'Authorization: Bearer %s\n' "$(token admin --role admin)" >"$work/admin"
umask 022

# As Debian's nginx.conf has it: workers are www-data's.
nginx_serves() {
    mkdir -p "$work/nginx"
    cat >"$work/nginx.conf" <<N
user www-data;
pid $work/nginx.pid;
error_log $work/nginx.err;
events {}
http {
    access_log off;
    client_body_temp_path $work/nginx/body;
    proxy_temp_path $work/nginx/proxy;
    fastcgi_temp_path $work/nginx/fastcgi;
    uwsgi_temp_path $work/nginx/uwsgi;
    scgi_temp_path $work/nginx/scgi;
    include $work/site;
}
N
    sed "s|/etc/letsencrypt|$work/letsencrypt|" >"$work/site"
    nginx -q -t -c "$work/nginx.conf" || fail "nginx does not take this site: $(cat "$work/site")"
    if [ -s "$work/nginx.pid" ]; then nginx_ends; fi
    nginx -c "$work/nginx.conf"
    until_true 10 "nginx listens" bash -c "exec 3<>/dev/tcp/127.0.0.1/80"
}
nginx_ends() {
    local pid
    pid=$(cat "$work/nginx.pid")
    kill "$pid"
    until_true 10 "nginx ends" eval "! kill -0 $pid"
}

ask() { curl -s -m 20 --cacert "$work/ca.pem" --resolve your-domain.com:80:127.0.0.1 --resolve your-domain.com:443:127.0.0.1 "$@"; }
passed=0
# answers WHAT STATUS WORDS... : curl with these words is answered so.
answers() {
    local what=$1 status=$2 got
    shift 2
    got=$(ask -o "$work/body" -w '%{http_code}' "$@") || true
    [ "$got" = "$status" ] || fail "$what: $got instead of $status: $(head -c 500 "$work/body")"
    printf '    %-66s %s\n' "$what" "$got"
    passed=$((passed + 1))
}

entries='{"service_name": "worker", "logs": [{"level": "INFO", "message": "by way of nginx"}]}'
json=(-H 'Content-Type: application/json')

# guarded BASE: what is for programs of this host does not pass, what has a token does.
guarded() {
    local base=$1 link origin=${1%/} forged
    answers "/health" 200 "$base/health"
    answers "entries without a token" 401 "${json[@]}" -d "$entries" "$base/api/logs/ingest"
    answers "entries without a token, as lines" 401 -H 'Content-Type: application/x-ndjson' -d '{"message":"x"}' "$base/api/v1/logs/lines"
    answers "numbers without a token" 401 "$base/prometheus"
    for forged in 'X-Forwarded-For: 127.0.0.1' 'X-Real-IP: 127.0.0.1' 'Forwarded: for=127.0.0.1' 'X-Script-Name: /helm' 'Via:'; do
        answers "entries without a token, with $forged" 401 -H "$forged" "${json[@]}" -d "$entries" "$base/api/logs/ingest"
    done
    link=$(helmctl dashboard --no-browser | grep -o 'http://[^ ]*')
    answers "a link of helmctl dashboard" 403 "$base/sign-in?${link#*\?}"
    answers "the cookie of a local session" 401 -b "$work/cookies" "$base/api/services"
    answers "states with a token" 200 -H "@$work/admin" "$base/api/services/status"
    answers "entries with a token" 200 -H "@$work/admin" "${json[@]}" -d "$entries" "$base/api/logs/ingest"
    answers "a restart by a page of ours" 200 -X POST -H "@$work/admin" -H "Origin: $origin" -H 'Sec-Fetch-Site: same-origin' "$base/api/services/worker/restart"
    answers "a restart by a page of another site" 403 -X POST -H "@$work/admin" -H 'Origin: https://evil.example' "$base/api/services/worker/restart"
    echo "    a stream"
    rm -f "$work/stream"
    ask -N -H "@$work/admin" "$base/api/v1/stream?topics=status,logs" >"$work/stream" &
    local stream=$!
    until_true 20 "the stream begins" grep -q '^event: begin' "$work/stream"
    ask -o /dev/null -H "@$work/admin" "${json[@]}" -d "${entries/by way/live, by way}" "$base/api/logs/ingest"
    until_true 20 "a line arrives while the stream is open" grep -q 'live, by way of nginx' "$work/stream"
    kill "$stream"
    wait "$stream" || true
}

echo "--- directly: what is refused below works"
touch "$work/ca.pem"
answers "entries without a token" 200 "${json[@]}" -d "$entries" http://localhost:5004/api/logs/ingest
answers "numbers without a token" 200 http://localhost:5004/prometheus
link=$(helmctl dashboard --no-browser | grep -o 'http://[^ ]*')
answers "a link of helmctl dashboard" 200 -c "$work/cookies" "$link"
answers "the cookie of a local session" 200 -b "$work/cookies" "${link%%/sign-in*}/api/services"

echo "--- the site of the seed, a name that helm-web was not told of"
block nginx.md nginx 1 | nginx_serves
answers "anything" 421 -H "@$work/admin" http://your-domain.com/api/services
grep -q 'allowed_hosts = your-domain.com' "$work/body" || fail "the refusal does not say what to do: $(cat "$work/body")"
block nginx.md ini 1 >"$home/instance/helm.conf"
helmctl reload
until_true 30 "helm-web knows its name" ask -f -H "@$work/admin" http://your-domain.com/api/services

echo "--- the site of the seed"
guarded http://your-domain.com

echo "--- the better site"
block nginx.md nginx 2 | nginx_serves
guarded http://your-domain.com
jq -nc '{service_name: "worker", logs: [range(1500) | {level: "INFO", message: ("x" * 1000)}]}' >"$work/large"
answers "a batch of 1.5 MB" 200 -H "@$work/admin" "${json[@]}" -d "@$work/large" http://your-domain.com/api/logs/ingest

echo "--- a bare proxy_pass"
nginx_serves <<'N'
server {
    listen 80;
    location / {
        proxy_pass http://localhost:5004;
    }
}
N
# It passes no name on: to helm-web a page of the proxy is one of another site, unless public_url says who that is.
printf '[web]\npublic_url = http://your-domain.com\n' >"$home/instance/helm.conf"
helmctl reload
known() { ask -f -X POST -H "@$work/admin" -H 'Origin: http://your-domain.com' http://your-domain.com/api/services/worker/restart; }
until_true 30 "helm-web knows its address" known
guarded http://your-domain.com

echo "--- TLS as certbot leaves it, by an authority of our own"
live=$work/letsencrypt/live/your-domain.com
archive=$work/letsencrypt/archive/your-domain.com
mkdir -p "$live" "$archive"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=An authority' -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
openssl req -newkey rsa:2048 -nodes -subj /CN=your-domain.com -keyout "$archive/privkey1.pem" -out "$work/csr" 2>/dev/null
openssl x509 -req -in "$work/csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 2 \
    -extfile <(echo subjectAltName=DNS:your-domain.com) -out "$archive/cert1.pem" 2>/dev/null
cat "$archive/cert1.pem" "$work/ca.pem" >"$archive/fullchain1.pem"
for name in privkey cert fullchain; do ln -s "../../archive/your-domain.com/${name}1.pem" "$live/$name.pem"; done
printf 'ssl_session_cache shared:le_nginx_SSL:10m;\nssl_protocols TLSv1.2 TLSv1.3;\n' >"$work/letsencrypt/options-ssl-nginx.conf"
openssl dhparam -dsaparam -out "$work/letsencrypt/ssl-dhparams.pem" 2048 2>/dev/null
block tls.md nginx 1 | nginx_serves
block tls.md ini 1 >"$home/instance/helm.conf"
helmctl reload
until_true 30 "helm-web knows its name" ask -f -H "@$work/admin" https://your-domain.com/api/services
guarded https://your-domain.com
answers "HTTP leads to HTTPS" 301 http://your-domain.com/api/services

nginx_ends
echo "test result: ok. $passed passed; 0 failed"
