#!/bin/sh
# Makes seeds/config anew: of all configurations that the behaviour tests run, and of those that are there, the few that
# together reach what all reach. As root, like the tests.
set -eu
cd "$(dirname "$0")"

host=$(rustc -vV | sed -n 's/^host: //p')
all=$(mktemp -d)
few=$(mktemp -d)
trap 'rm -rf "$all" "$few"' EXIT
./run.sh 0 wire # builds
ORLOP_SEEDS=$all cargo test --manifest-path ../Cargo.toml --locked --test main || echo "the configurations are there all the same"
"${CARGO_TARGET_DIR:-target}/$host/release/config" -set_cover_merge=1 -use_counters=0 -max_len=16384 \
    "$few" "$all" seeds/config
rm -f seeds/config/*
cp "$few"/* seeds/config/
