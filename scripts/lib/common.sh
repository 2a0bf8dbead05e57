# Sourced by the other scripts: paths, messages, the choice of Python, and helper functions.
# shellcheck shell=bash

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
scripts=$root/scripts
target=$root/target
cd "$root"

# The start of the clock of `step`, common to a script and the scripts that it calls.
export WSGI_STEPS_SINCE=${WSGI_STEPS_SINCE:-$(date +%s)}

# The options and variables of our `make` must not reach nginx's Makefile.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL

step() {
    printf '[%3d s] %s\n' "$(($(date +%s) - WSGI_STEPS_SINCE))" "$*"
}

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# check_runs PYTHON: fails unless this program runs and accepts the options of Python 3.
check_runs() {
    command -v "$1" >/dev/null || fail "$1 was not found in PATH: install it or name another with PYTHON="
    "$1" -I -c '' 2>/dev/null ||
        fail "$1 does not run, or is too old: CPython 3.9 or newer is needed, choose one with PYTHON="
}

# prepare GROUP...: installs the packages of the groups (see install-missing), sets `python` to the interpreter of PYTHON after a
# check that it can be embedded, and exports PYO3_PYTHON for cargo. A script called by a prepared one skips these steps.
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
    # Paths and not names: a shim such as pyenv's starts a program that depends on folder and environment. All virtual environments
    # of one Python share its build.
    { read -r python && read -r PYO3_PYTHON; } <<<"$paths"
    export WSGI_PYTHON=$python PYO3_PYTHON
}

# replace_file FROM TO: replaces a file that may be in use; a running nginx keeps the old file.
replace_file() {
    local from=$1 to=$2
    cmp -s "$from" "$to" && return
    mkdir -p "$(dirname "$to")"
    cp "$from" "$to.new"
    mv -f "$to.new" "$to"
}

# signature_of FILE: prints the build signature in an nginx or a module; nginx compares both before it loads the module.
signature_of() {
    grep -aoE '[0-9]+,[0-9]+,[0-9]+,[01]{30,}' "$1" | head -n 1
}
