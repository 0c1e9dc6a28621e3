#!/bin/sh
# Prints the path of mdbook, which builds the manual: the one in PATH, else Debian's (13 and newer have it), else one of
# crates.io, which takes two or three minutes to compile, once. MDBOOK names another.
set -eu

version=0.5.4
cargo_bin=${CARGO_HOME:-$HOME/.cargo}/bin

found=${MDBOOK:-$(command -v mdbook || true)}
[ -n "$found" ] || [ ! -x "$cargo_bin/mdbook" ] || found=$cargo_bin/mdbook
if [ -z "$found" ] && [ "$(id -u)" = 0 ] && apt-cache show mdbook >/dev/null 2>&1; then
    "$(dirname "$0")/packages.sh" mdbook >&2
    found=$(command -v mdbook)
fi
if [ -z "$found" ]; then
    # In a directory of its own: a target directory of the caller's is not for other programs.
    env -u CARGO_TARGET_DIR -u RUSTFLAGS cargo install --quiet --locked --version "$version" \
        --no-default-features --features search mdbook >&2
    found=$cargo_bin/mdbook
fi
echo "$found"
