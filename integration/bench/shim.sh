#!/usr/bin/env bash
# What shims cost, beside each other in one run: `shim.sh ORLOP SHIM DIRECTORY`, as root. containerd's own shim is shown
# with each of runc, crun and orlop, where it and they are installed. In a mount namespace of its own, in which cgroup v1
# is not hybrid, as containerd's shim has it; and in a pid namespace, so that no process is left over.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
. "$here"/../shim/namespaces.sh
if [ -z "${INSIDE:-}" ]; then
    in_namespaces orlop-bench-shim "$(realpath "$1")" "$(realpath "$2")" "$(realpath -m "$3")"
fi
orlop=$1
shim=$2
prepare_mounts
rows="orlop-shim=$shim"
if go=$(command -v containerd-shim-runc-v2); then
    rows="$rows runc-shim+orlop=$go,$orlop"
    for runtime in crun runc; do
        ! path=$(command -v $runtime) || rows="$rows runc-shim+$runtime=$go,$path"
    done
fi
# Not in the place of this shell, which reaps what has lost its parent. $rows is a list of words: without quotes.
PYTHONDONTWRITEBYTECODE=1 python3 "$here/shim.py" "$3" $rows
