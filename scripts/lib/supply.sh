# Sourced by the gates on dependencies: cargo-deny, and what it looks at.
# shellcheck shell=bash

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

deny_version=0.20.2

# Builds cargo-deny into target/tools, unless this version of it is there. It is not optimised: that would take more than twice
# the time, and it runs for a second.
build_deny() {
    ! grep -qs "^\"cargo-deny $deny_version " "$target/tools/.crates.toml" || return 0
    step "building cargo-deny $deny_version"
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_STRIP=true \
        cargo install --quiet --root "$target/tools" --locked "cargo-deny@$deny_version"
}

# deny MANIFEST ARGUMENT...: checks what a manifest depends on, by its lock file as it is. Sources are fetched if they are not
# there; nothing else is.
deny() {
    local manifest=$1
    shift
    cargo fetch --quiet --locked --manifest-path "$manifest" ||
        fail "$manifest and its lock file differ, or the sources of a crate cannot be fetched: run cargo update --workspace and review the change"
    "$target/tools/bin/cargo-deny" --config deny.toml --manifest-path "$manifest" --offline --locked \
        check --hide-inclusion-graph "$@"
}

# The manifest of every workspace. What lies in target is none of ours.
manifests() { find . -name target -prune -o -name Cargo.lock -printf '%P\n' | sort | sed 's/lock$/toml/'; }
