# Sourced by the checks of dependencies: cargo-deny, and the manifests.
# shellcheck shell=bash

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

deny_version=0.20.2

# Builds cargo-deny into target/tools, unless this version is installed there. Without optimisation: that would more than double
# the time of the build, and cargo-deny runs for a second.
build_deny() {
    ! grep -qs "^\"cargo-deny $deny_version " "$target/tools/.crates.toml" || return 0
    step "building cargo-deny $deny_version"
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_STRIP=true \
        cargo install --quiet --root "$target/tools" --locked "cargo-deny@$deny_version"
}

# deny MANIFEST ARGUMENT...: checks the dependencies of a manifest in its unchanged lock file. Uses the network only to fetch
# missing sources.
deny() {
    local manifest=$1
    shift
    cargo fetch --quiet --locked --manifest-path "$manifest" ||
        fail "$manifest and its lock file differ, or the sources of a crate cannot be fetched: run cargo update --workspace and review the change"
    "$target/tools/bin/cargo-deny" --config deny.toml --manifest-path "$manifest" --offline --locked \
        check --hide-inclusion-graph "$@"
}

# Prints the manifest of every workspace of the project; target/ has workspaces of others.
manifests() { find . -name target -prune -o -name Cargo.lock -printf '%P\n' | sort | sed 's/lock$/toml/'; }
