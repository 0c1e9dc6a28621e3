#!/usr/bin/env bash
# Runs on runc the tests that the list of differences (tests/support/differences) excuses there, and fails if one of
# them passes: that difference has ceased, and its entry and its differs!() are to be taken out. `differences.sh RUNC`.
#
# Not run: the tests of `hung`, because runc waits for ever there, and those of `killed`, because their tracer would wait
# for ever for a thread of runc. Not counted: a test that was skipped because the machine lacks something; an entry whose
# reason names runc 1.1 if this runc is a newer one, or newer versions if it is 1.1; one that depends on the machine; one
# with the word "sometimes", which is a race that runc may win. The latter two are named. A test that passes counts only
# if it passes three times. The tests of tests/support/crun_only.rs are about features that crun has and runc does not.
set -euo pipefail
runc=$(realpath "$(command -v "$1")")
cd "$(dirname "$0")/.."
list=tests/support/differences
[ "$(basename "$runc")" = runc ] || { echo "$runc is not called runc, so the tests would not know it"; exit 1; }

version=$("$runc" --version)
version=${version%%$'\n'*}
run() { RUN_DIFFERENCES=1 RUNTIME=$runc timeout 1800 cargo test --locked --test main -- "$@"; }

log=$(mktemp)
trap 'rm -f "$log" "$log.again"' EXIT
names=$(grep -rhoE '^ +\(?"[a-z0-9_]+(::[a-z0-9_]+)+",' "$list" | tr -d ' (",' | grep -vE '^(hung|killed)::')
[ "$(wc -l <<<"$names")" -ge 20 ] || { echo "$list cannot be read"; exit 1; }

# They are expected to fail, so its status says nothing; that they ran at all is checked below.
run --exact $names >"$log" 2>&1 || true
grep -q '^test result: ' "$log" || { tail -n 20 "$log"; exit 1; }

# For a test that passed: why that is no reason to complain, or nothing.
excuse() {
    local reason
    # An entry is on one line, or has its reason on the next one.
    reason=$(awk -v n="\"$1\"" 'index($0, n) { print; if ($0 !~ /\),$/) { getline; print } }' "$list"/*.rs)
    if [[ $reason == *"runc 1.1"* && $version != *" 1.1."* ]]; then
        echo "its reason is about runc 1.1"
    elif [[ $reason == *"newer versions of runc"* && $version == *" 1.1."* ]]; then
        echo "its reason is about newer versions"
    elif [[ $reason == *"depends on the machine"* ]]; then
        echo "by the machine"
    elif [[ $reason == *"sometimes"* ]]; then
        echo "by chance or for good"
    elif [[ $(run --exact --nocapture "$1" 2>&1) == *"skipped: this machine has no"* ]]; then
        echo "skipped"
    fi
}

# Whether the test passes twice more.
always_passes() {
    for _ in 1 2; do
        run --exact "$1" >"$log.again" 2>&1 </dev/null || return 1
    done
}

status=0
while read -r name; do
    if ! grep -qE "^test $name \.\.\. " "$log"; then
        echo "$name: there is no such test"
        status=1
    elif grep -qxF "test $name ... ok" "$log"; then
        why=$(excuse "$name")
        if [ -z "$why" ]; then
            if always_passes "$name"; then
                echo "$name: passes on $version, it is no difference any more"
                status=1
            else
                why="by chance: it does not always"
            fi
        fi
        [[ $why != by* ]] || echo "$name: passes, $why"
    fi
done <<<"$names"
exit $status
