#!/bin/bash
# Serves an example that has an nginx.conf of its own: examples/serve.sh NAME
#
# PORT (8000), THREADS (1) and PYTHON (python3) as for `make serve`. NGINX_BIN and MODULE name an nginx and a module
# elsewhere, and NOTICE a last line to print. Stays in the foreground; Ctrl-C ends it.
set -euo pipefail

cd "$(dirname "$0")/.."
root=$PWD
name=${1:?usage: examples/serve.sh NAME}
name=$(basename "${name%/}")
port=${PORT:-8000}
threads=${THREADS:-1}
nginx=${NGINX_BIN:-$root/target/nginx/sbin/nginx}
module=${MODULE:-$root/target/nginx/modules/ngx_http_wsgi_module.so}

fail() {
    echo "examples/serve.sh: $*" >&2
    exit 1
}

[ -f "examples/$name/nginx.conf" ] || fail "examples/$name has no nginx.conf; for a single file: make serve APP=FILE"
[ -x "$nginx" ] || fail "there is no nginx at $nginx; run: make nginx"
[ -f "$module" ] || fail "there is no module at $module; run: make nginx"

# nginx.conf knows the data in its usual place only.
unset DEMO_DATA
examples/prepare.sh "$name"

conf=target/$name.conf
sed -e "s|^load_module .*;|load_module $module;|" \
    -e "s|listen 127.0.0.1:8000;|listen 127.0.0.1:$port;|" \
    -e "s|wsgi_threads 1;|wsgi_threads $threads;|" \
    "examples/$name/nginx.conf" >"$conf"

# Workers run as whoever calls this. Only root can and must say so.
globals='daemon off;'
if [ "$(id -u)" = 0 ]; then
    globals+=' user root root;'
fi

"$nginx" -p "$root/target/" -c "$root/$conf" -e stderr -g "$globals" &
server=$!
trap 'kill -QUIT $server 2>/dev/null || true' INT TERM
until (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    kill -0 $server 2>/dev/null || { wait $server || true; fail "nginx did not start, see above"; }
    sleep 0.05
done
echo "serving examples/$name on http://127.0.0.1:$port/ (Ctrl-C ends it)"
[ -z "${NOTICE:-}" ] || echo "$NOTICE"
# A signal ends the first wait early.
wait $server || wait $server || true
