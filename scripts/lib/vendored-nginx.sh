# Sourced by the scripts that build the vendored nginx or build against it: its folders and options. It is for development alone.
# DEBUG=1 adds debug lines, HTTP2=1 adds HTTP/2, ADDRESS_SANITIZER=1 adds AddressSanitizer; each has a separate folder. The tests
# use the nginx without these options.
# shellcheck shell=bash disable=SC2034

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

nginx_src_version=$(sed -n '/^name = "nginx-src"$/{n;s/^version = "\(.*\)"$/\1/p}' Cargo.lock)
nginx_build=$target/nginx-build
nginx_source=$nginx_build/source
nginx_variant=
nginx_flags=(
    --with-compat
    --with-threads
    --with-http_ssl_module
    --with-http_realip_module
    --with-http_auth_request_module
    --with-http_stub_status_module
    --with-stream
    --with-stream_ssl_module
    --with-stream_realip_module
)
if [ "${HTTP2:-}" = 1 ]; then
    nginx_variant+=-http2
    nginx_flags+=(--with-http_v2_module)
fi
if [ "${DEBUG:-}" = 1 ]; then
    nginx_variant+=-debug
    nginx_flags+=(--with-debug)
fi
nginx_objs=$nginx_build/objs$nginx_variant
nginx_home=$target/nginx$nginx_variant
if [ "${ADDRESS_SANITIZER:-}" = 1 ]; then
    nginx_objs=$nginx_build/objs-asan
    nginx_home=$target/sanitize/nginx
    # NGX_DEBUG_PALLOC: pools allocate each piece separately, so that AddressSanitizer finds accesses beyond its end.
    nginx_flags+=(
        "--with-cc-opt=-Wno-error -O1 -g -fsanitize=address -fno-omit-frame-pointer -DNGX_DEBUG_PALLOC=1"
        --with-ld-opt=-fsanitize=address
    )
else
    nginx_flags+=(--with-cc-opt=-Wno-error)
fi

# The last line of `make serve`.
nginx_notice="nginx ${nginx_src_version#*+} of this build is for development and gets no security updates; for production, build the \
module for the nginx of your distribution: make module NGINX_BIN=/usr/sbin/nginx"

# The build script of wsgi-nginx generates the bindings from these folders, in every cargo command on the whole workspace.
export NGINX_SOURCE_DIR=$nginx_source NGINX_BUILD_DIR=$nginx_objs
