#!/bin/sh
# What of other people's code the runtime is made of, held against dependencies.txt: nothing comes along unseen. And, for
# all crates here: only from crates.io, and only under licences that are good for us. No network is needed.
#
# Whether there are advisories against any of it needs their database, which is on the network: `cargo deny check`, with
# deny.toml beside Cargo.toml.
set -eu
export LC_ALL=C
cd "$(dirname "$0")/.."

broken=0
complain() {
    echo "$@"
    broken=1
}

# Name, version and licence of each crate that is linked into something or builds it: not of those for tests. With musl,
# which has one crate more than glibc.
crates() {
    cargo tree --locked --edges normal,build --target x86_64-unknown-linux-musl --prefix none --format '{p}|{l}' "$@" |
        sed -e 's/ (\*)$//' -e 's/^\([^ ]*\) \([^ |]*\)[^|]*|/\1|\2|/' -e 's/ *(\*)$//' | sort -u
}

runtime=$(crates --package orlop)
listed=$(grep -v '^#' integration/dependencies.txt)
found=$(echo "$runtime" | cut -d '|' -f 1 | grep -vx -e orlop -e orlop-paths | sort)
if [ "$found" != "$listed" ]; then
    complain "integration/dependencies.txt is not what the runtime is made of (> is new):"
    printf '%s\n' "$listed" >"${TMPDIR:-/tmp}/listed.$$"
    printf '%s\n' "$found" | diff "${TMPDIR:-/tmp}/listed.$$" - || true
    rm -f "${TMPDIR:-/tmp}/listed.$$"
fi
twice=$(echo "$found" | uniq -d)
[ -z "$twice" ] || complain "the runtime has more than one version of:" $twice

packages=$(grep -c '^name = ' Cargo.lock)
grep -qF "The lock file has $packages packages" docs/dependencies.md ||
    complain "docs/dependencies.md does not say that the lock file has $packages packages"

elsewhere=$(grep '^source = ' Cargo.lock | grep -vFx 'source = "registry+https://github.com/rust-lang/crates.io-index"' || true)
[ -z "$elsewhere" ] || complain "not from crates.io: $elsewhere"

# One of the alternatives must be good; of what is joined by AND, all.
unknown=$(crates --workspace | awk -F '|' '
    BEGIN { n = split("MIT Apache-2.0 BSD-2-Clause BSD-3-Clause ISC Zlib Unicode-3.0", names, " "); for (i = 1; i <= n; i++) good[names[i]] = 1 }
    {
        all = 1; n = split($3, parts, " AND ")
        for (i = 1; i <= n; i++) {
            gsub(/[()]/, "", parts[i]); gsub(" */ *", " OR ", parts[i])
            one = 0; m = split(parts[i], choices, " OR ")
            for (j = 1; j <= m; j++) if (choices[j] in good) one = 1
            if (!one) all = 0
        }
        if (!all) print $1 " (" $3 ")"
    }')
[ -z "$unknown" ] || complain "licences that nobody has looked at: $unknown"

exit $broken
