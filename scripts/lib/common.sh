# Sourced by the other scripts: where things lie, how a step is told, and which Python is meant.
# shellcheck shell=bash

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
scripts=$root/scripts
target=$root/target
cd "$root"

# The clock of `step` goes on in the scripts that a script calls.
export WSGI_STEPS_SINCE=${WSGI_STEPS_SINCE:-$(date +%s)}

# The options and variables of our `make` are not for nginx's.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL

step() {
    printf '[%3d s] %s\n' "$(($(date +%s) - WSGI_STEPS_SINCE))" "$*"
}

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# check_runs PYTHON: fails unless this is a program that runs, and one that knows the options of Python 3.
check_runs() {
    command -v "$1" >/dev/null || fail "$1 was not found in PATH: install it or name another with PYTHON="
    "$1" -I -c '' 2>/dev/null ||
        fail "$1 does not run, or is too old: CPython 3.9 or newer is needed, choose one with PYTHON="
}

# prepare GROUP...: installs what the groups need (see install-missing), sets `python` to the interpreter that PYTHON means,
# checked for what embedding needs, and has cargo build for it. Scripts called by a prepared one find it done.
prepare() {
    local group
    for group in "$@"; do
        [[ " ${WSGI_PREPARED:-} " == *" $group "* ]] || "$scripts/build/install-missing" "$group"
        export WSGI_PREPARED="${WSGI_PREPARED:-} $group"
    done
    [ -z "${WSGI_PYTHON:-}" ] || { python=$WSGI_PYTHON && return; }
    local paths chosen=${PYTHON:-python3}
    check_runs "$chosen"
    paths=$("$chosen" -I "$scripts/build/embeddable-python.py")
    # Paths and not names: what a shim answers depends on folder and environment. All virtual environments of one Python
    # share its build.
    { read -r python && read -r PYO3_PYTHON; } <<<"$paths"
    export WSGI_PYTHON=$python PYO3_PYTHON
}

# Copies to a file that may be in use: a running nginx keeps the old one.
replace_file() {
    local from=$1 to=$2
    cmp -s "$from" "$to" && return
    mkdir -p "$(dirname "$to")"
    cp "$from" "$to.new"
    mv -f "$to.new" "$to"
}

# The build signature that nginx compares before it loads a module, from a binary or a module.
signature_of() {
    grep -aoE '[0-9]+,[0-9]+,[0-9]+,[01]{30,}' "$1" | head -n 1
}
