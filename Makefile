# `make` alone lists the targets. No variable here may be called NGINX: make exports it, and nginx reads a list of inherited
# sockets from a variable of that name.

PYTHON ?= python3
APP ?= examples/hello.py
CALLABLE ?= application
PORT ?= 8000
THREADS ?= 1
NGINX_BIN ?= /usr/sbin/nginx
DEBUG ?= 0
HTTP2 ?= 0
TIME ?= 60
export PYTHON APP CALLABLE PORT THREADS NGINX_BIN DEBUG HTTP2 TIME

.PHONY: help serve test nginx module hyper examples lint audit bench soak fuzz sanitize matrix clean

help:
	@echo 'make serve     serve an application: APP=$(APP) CALLABLE=$(CALLABLE) PORT=$(PORT) THREADS=$(THREADS)'
	@echo 'make examples  list the examples with the command for each'
	@echo 'make test      run every test'
	@echo 'make nginx     build nginx and the module into target/nginx, for development (DEBUG=1: with debug lines, HTTP2=1: with HTTP/2)'
	@echo 'make module    build the module for an installed nginx: NGINX_BIN=$(NGINX_BIN)'
	@echo 'make hyper     build the server without nginx, for development: target/release/wsgi-hyper'
	@echo 'make lint      run the static checks: executable scripts, formatting, clippy, floors, unsafe code, comments, names of tests,'
	@echo '               oldest Rust, dependencies, public API, packages, documentation'
	@echo 'make audit     compare dependencies with known advisories, offline: DB=path of the RustSec database'
	@echo 'make bench     measure instructions, CPU time, memory, the spread of requests, and other servers'
	@echo 'make soak      Python 3.10 and 3.12, 100 reloads under load, ten minutes of killed workers, and three million requests on flat memory'
	@echo 'make fuzz      run each fuzz target with random input: TIME=$(TIME) seconds'
	@echo 'make sanitize  run the tests under AddressSanitizer and valgrind, and abort a hundred thousand requests'
	@echo 'make matrix    test with the nginx and the Python of several systems, as root: ROWS="trixie sid" for some of them'
	@echo 'make clean     remove target/'
	@echo
	@echo 'PYTHON=$(PYTHON) is the Python of all targets. On Debian, root installs missing packages; otherwise a target lists them and fails.'

serve:
	@scripts/build/serve

test:
	@scripts/check/test

nginx:
	@scripts/build/nginx

module:
	@scripts/build/module

hyper:
	@scripts/build/hyper

examples:
	@scripts/build/list-examples

lint:
	@scripts/check/lint

audit:
	@scripts/check/audit

bench:
	@scripts/measure/bench
	@scripts/measure/bench spread
	@scripts/measure/bench peers

soak:
	@scripts/check/test-pythons 3.10 3.12
	@scripts/measure/hups
	@scripts/measure/kills
	@scripts/measure/bench soak

fuzz:
	@scripts/check/fuzz

sanitize:
	@scripts/check/sanitize

matrix:
	@scripts/check/matrix $(ROWS)

clean:
	rm -rf target
