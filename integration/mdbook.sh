#!/bin/sh
# Prints the path of mdbook, which builds the manual: $MDBOOK, or one of version 0.5 in PATH or among cargo's programs,
# else that of crates.io, which takes two or three minutes to compile, once. Debian 13's (0.4.48) makes a book without
# its scripts and fonts.
set -eu

version=0.5.4
programs=${CARGO_HOME:-$HOME/.cargo}/bin

for found in "${MDBOOK:-}" "$(command -v mdbook || true)" "$programs/mdbook"; do
    if [ -x "$found" ] && "$found" --version | grep -q '^mdbook v0\.5\.'; then
        echo "$found"
        exit
    fi
done
# In a directory of its own: the caller's target directory and flags are for this program.
env -u CARGO_TARGET_DIR -u RUSTFLAGS cargo install --quiet --locked --force --version "$version" \
    --no-default-features --features search mdbook >&2
echo "$programs/mdbook"
