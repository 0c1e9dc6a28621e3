#!/bin/sh
# Runs fuzz targets, all of them or those that are named, for so many seconds each:
#   fuzz/run.sh 600 config state
# Each starts from what is committed in seeds/TARGET, and from what earlier runs found, in corpus/TARGET. An input that makes one
# panic, or take 10 seconds, is left in artifacts/TARGET; to see it again: fuzz/run.sh 0 TARGET FILE.
set -eu
cd "$(dirname "$0")"

seconds=$1
shift
host=$(rustc -vV | sed -n 's/^host: //p')
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
for kind in inline-8bit-counters pc-table trace-compares; do
    coverage="$coverage -Cllvm-args=-sanitizer-coverage-$kind"
done
# One unit of compilation: sections of another would be thrown away together with their counters.
export RUSTFLAGS="${RUSTFLAGS:-} --cfg fuzzing $coverage -Ccodegen-units=1"
# With --target the flags are not for build scripts and proc-macros.
cargo build --release --locked --quiet --target "$host"
built=${CARGO_TARGET_DIR:-target}/$host/release

run() {
    target=$1
    shift
    log=$built/$target.log
    mkdir -p "corpus/$target" "artifacts/$target"
    if "$built/$target" -artifact_prefix="artifacts/$target/" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 "$@" \
        >"$log" 2>&1
    then
        sed -n 's/^stat::number_of_executed_units: */    inputs: /p' "$log"
    else
        tail -n 40 "$log"
        exit 1
    fi
}

if [ $# = 2 ] && [ -f "$2" ]; then
    run "$1" "$2"
    exit
fi
[ $# -gt 0 ] || set -- $(sed -n 's/^name = "\([a-z_]*\)"$/\1/p' Cargo.toml)
for target in "$@"; do
    echo "$target: $seconds seconds"
    words=
    if [ "$target" = config ]; then
        # The words of config.json, from its schema.
        cat ../tests/data/runtime-spec-1.3/*.json | grep -o '"[A-Za-z0-9_]*"' | sort -u >"$built/$target.dict"
        words="-dict=$built/$target.dict"
    fi
    run "$target" -max_total_time="$seconds" $words "corpus/$target" "seeds/$target"
done
