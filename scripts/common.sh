# Sourced by the other scripts: where things lie, how a step is told, and which Python is meant.
# shellcheck shell=bash

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
scripts=$root/scripts
target=$root/target
cd "$root"

# The clock of `step` goes on in the scripts that a script calls.
export WSGI_STEPS_SINCE=${WSGI_STEPS_SINCE:-$(date +%s)}

# The options and variables of our `make` are not for nginx's, and nginx-sys rebuilds its bindings when it sees that the
# manifest folder changed, as it does below a running `cargo test`.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL CARGO_MANIFEST_DIR

step() {
    printf '[%3d s] %s\n' "$(($(date +%s) - WSGI_STEPS_SINCE))" "$*"
}

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Sets `python` to the interpreter that PYTHON means, checked for what embedding needs, and has cargo build for it.
choose_python() {
    PYTHON=${PYTHON:-python3}
    command -v "$PYTHON" >/dev/null || fail "$PYTHON was not found in PATH; install it or name another with PYTHON="
    python=$("$PYTHON" -I "$scripts/embeddable-python.py") || exit 1
    export PYO3_PYTHON=$python
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
