#!/bin/bash
# Serves an example that has an nginx.conf: examples/serve.sh NAME
#
# PORT (8000), THREADS (1) and PYTHON (python3) are those of `make serve`. NGINX_BIN and MODULE are the paths of another nginx
# and module; NOTICE is printed as the last line. Runs in the foreground until Ctrl-C.
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

# nginx.conf contains the default path of the data.
unset DEMO_DATA
examples/prepare.sh "$name"

conf=target/$name.conf
sed -e "s|^load_module .*;|load_module $module;|" \
    -e "s|listen 127.0.0.1:8000;|listen 127.0.0.1:$port;|" \
    -e "s|wsgi_threads 1;|wsgi_threads $threads;|" \
    "examples/$name/nginx.conf" >"$conf"

# Workers run as the calling user. Only root needs a directive for that, and others must not have one.
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
# A signal ends the first wait, before nginx has exited.
wait $server || wait $server || true
