#!/usr/bin/env bash
# Builds the packages of the last commit for amd64 in two directories and compares them: `reproducible.sh DIRECTORY`.
set -euo pipefail
mkdir -p "$1"
dir=$(realpath "$1")
cd "$(dirname "$0")/../.."
for copy in one another-directory; do
    work=$dir/$copy
    rm -rf "$work"
    git clone --quiet --no-hardlinks . "$work/orlop"
    mkdir -p "$work/out/cross"
    # The compilers are the same: only what is built is built twice.
    ln -s "$(realpath "${SID:-$dir/../cross/sid}")" "$work/out/cross/sid"
    (cd "$work/orlop" && integration/release/build.sh "$work/out" amd64 >"$work/log" 2>&1) || { tail "$work/log"; exit 1; }
done
diff -r "$dir/one/out/packages" "$dir/another-directory/out/packages"
cat "$dir/one/out/packages/SHA256SUMS"
echo "the same bytes"
