#!/usr/bin/env bash
# Runs the tests of the seal on a program that begins in the C library, as on an architecture without src/sys/early.rs:
# then src/sys/self_exe.rs does all of its work. The program is that of `cargo test` with another entry point.
#
#     integration/libc-entry.sh TARGET
set -euo pipefail

target=$(realpath "$1")
program=$target/debug/orlop
copy=$target/libc-entry/orlop
symbols=$(nm "$program")
if ! grep -q ' orlop_entry$' <<<"$symbols"; then
    [[ $(uname -m) != @(x86_64|aarch64) ]] || { echo "no orlop_entry in $program"; exit 1; }
    echo "this architecture has no src/sys/early.rs: nothing to run"
    exit 0
fi
start=$(sed -n 's/^\([0-9a-f]*\) . _start$/\1/p' <<<"$symbols")
[ -n "$start" ] || { echo "no _start in $program"; exit 1; }
mkdir -p "$(dirname "$copy")"
cp "$program" "$copy"
# e_entry of the ELF header (elf(5)): eight bytes at offset 24, the lowest first.
bytes=$(echo "$start" | fold -w 2 | tac | sed 's/^/\\x/' | tr -d '\n')
printf '%b' "$bytes" | dd of="$copy" bs=1 seek=24 conv=notrunc status=none
RUNTIME=$copy cargo test --locked --test main -- attack_seal:: attack_exec:: attack_joins:: create:: run:: exec:: image::
