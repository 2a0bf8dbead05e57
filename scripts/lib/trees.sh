# Sourced by the scripts that work with trees: folders with a complete Debian, made by debian-tree and used by in-tree.
# shellcheck shell=bash disable=SC2034

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# WSGI_TREES is a folder outside of the checkout for trees that are to outlive it.
trees=${WSGI_TREES:-$target/trees}
suites=(bookworm trixie sid)

# use_tree SUITE: sets the paths of a tree.
use_tree() {
    [[ " ${suites[*]} " == *" $1 "* ]] || fail "there is no tree \"$1\": $(list_of "${suites[@]}")"
    tree=$trees/$1
    # Mounted as target/ in the tree, and kept between runs.
    tree_target=$tree.target
    # Exists once the tree is complete. Holds the checksum of its recipe and the time of its last update.
    tree_stamp=$tree/etc/wsgi-tree
}

list_of() {
    local list
    list=$(printf '%s, ' "$@")
    echo "${list%, }"
}

# Fails unless the script can mount file systems in a tree.
require_namespaces() {
    [ "$(id -u)" = 0 ] ||
        fail "only root can make and enter a tree of Debian: run this as root, or run only the row of this machine" \
            "(make matrix ROWS=vendored)"
    unshare --mount --pid --fork true 2>/dev/null ||
        fail "root cannot create mount and PID namespaces on this system (unshare --mount --pid): allow them," \
            "in a container by running it privileged"
}

# confine ARGUMENT...: runs the calling script again, with these arguments, in new mount and PID namespaces, and exits with its
# status. Mounts are visible in there alone. All mounts and processes end with the script, also if a signal ends it, SIGKILL
# included. Returns in the second run.
confine() {
    if [ "${WSGI_CONFINED:-}" = "$0" ]; then
        # From here on the end of the outer script ends this one (pdeathsig); it may have ended before.
        [ -e "/proc/$WSGI_CONFINED_BY/exe" ] || exit 1
        exec 2>&9 9>&-
        mount -t proc proc /proc
        return
    fi
    local status=0
    # Job control, because a background process without it ignores SIGINT. Descriptor 9 is standard error meanwhile, so that the
    # message of `unshare` about a killed process is not printed.
    set -m
    WSGI_CONFINED=$0 WSGI_CONFINED_BY=$$ setpriv --pdeathsig KILL \
        unshare --mount --propagation private --pid --fork --kill-child "$0" "$@" </dev/null 9>&2 2>/dev/null &
    confined=$!
    set +m
    trap 'end_confined 129' HUP
    trap 'end_confined 130' INT
    trap 'end_confined 143' TERM
    wait "$confined" || status=$?
    exit $status
}

# Ends the confined processes, waits until the last of them is gone, and exits.
end_confined() {
    trap '' HUP INT TERM
    # Hides bash's message about the killed process.
    exec 2>/dev/null
    local first
    # The kernel ends all processes of a PID namespace with the first one, the child of `unshare`.
    # grep fails, too, if a process has ended since the shell listed the paths.
    first=$(grep -ls "^PPid:[[:space:]]*$confined\$" /proc/[0-9]*/status || true)
    if [ -n "$first" ]; then
        first=${first#/proc/}
        kill -KILL "${first%/status}" 2>/dev/null || true
    else
        kill -KILL -- "-$confined" 2>/dev/null || true
    fi
    wait "$confined" || true
    exit "$1"
}

# Locks the tree until this script ends; waits while another process makes, updates or uses the tree.
lock_tree() {
    mkdir -p "$trees"
    exec 8>"$tree.lock"
    flock --nonblock 8 && return
    step "waiting for another process that uses $tree"
    flock 8
}

# Removes a folder. Fails if a file system is mounted in it, because its files would be removed too.
remove_folder() {
    local path
    path=$(realpath --canonicalize-missing "$1")
    ! cut -d ' ' -f 5 /proc/self/mountinfo | grep -qF "$path/" || fail "$path is not removed: a file system is mounted in it"
    rm -rf "$path"
}

# mount_into TREE: mounts the project, the Rust toolchain and the crates in a tree, each at the same path. They are read-only;
# target/ is writable and belongs to the tree. Only for confined scripts.
mount_into() {
    local into=$1 toolchain folder
    toolchain=$(rustc --print sysroot)
    [ "$toolchain" != /usr ] ||
        fail "Rust is a package of this system, which does not run in another one: install it by https://rustup.rs"
    mkdir -p "$target" "$tree_target"
    # chroot into a folder that is not a mount point allows no further namespaces.
    mount --bind "$into" "$into"
    for folder in "$root" "$toolchain" "${CARGO_HOME:-$HOME/.cargo}"; do
        mkdir -p "$into$folder"
        mount --bind "$folder" "$into$folder"
        mount -o remount,bind,ro "$into$folder"
    done
    mount --bind "$tree_target" "$into$target"
    mount -t proc proc "$into/proc"
    mount --rbind /dev "$into/dev"
    for folder in /etc/resolv.conf /etc/hosts; do
        [ ! -e $folder ] || cp --dereference $folder "$into$folder"
    done
    certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
    if [ -e "$certificates" ]; then
        mkdir -p "$into/etc/ssl/certs"
        cp --dereference "$certificates" "$into/etc/ssl/certs/ca-certificates.crt"
    fi
}

# run_in TREE COMMAND...: runs a command in a tree after mount_into, with a fixed environment and a few variables of the caller.
run_in() {
    local into=$1 toolchain name environment
    shift
    toolchain=$(rustc --print sysroot)
    environment=(
        HOME=/root
        LANG=C.UTF-8
        PATH="$toolchain/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        CARGO_HOME="${CARGO_HOME:-$HOME/.cargo}"
        # The crates were fetched outside of the tree.
        CARGO_NET_OFFLINE=true
        WSGI_STEPS_SINCE="$WSGI_STEPS_SINCE"
        DEBIAN_FRONTEND=noninteractive
        # Otherwise pip uses the certificates in its package.
        PIP_CERT=/etc/ssl/certs/ca-certificates.crt
    )
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY PIP_INDEX_URL RUST_BACKTRACE TERM; do
        [ -z "${!name:-}" ] || environment+=("$name=${!name}")
    done
    # shellcheck disable=SC2016 # expanded in the tree
    env -i "${environment[@]}" "$(command -v chroot)" "$into" /bin/bash -c 'cd "$0" && exec "$@"' "$root" "$@"
}
