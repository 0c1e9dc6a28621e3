#!/usr/bin/env bash
# What pods cost by containerd's CRI plugin: `cri.sh ORLOP SHIM DIRECTORY`, as root. Measured are a pod with two
# containers up, ExecSync of `true`, and the pod down, with Orlop's shim and with containerd's own shim over orlop, crun
# and runc, all in one containerd. containerd, its shim, crun and runc are those in PATH; a crun that is too old for
# containerd is left out. DIRECTORY keeps the messages of the CRI for the next run.
#
# In a mount namespace of its own, in which cgroup v1 is not hybrid and containerd's directories are in memory; and in a
# pid namespace, so that no process is left over.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
. "$here"/../shim/namespaces.sh
if [ -z "${INSIDE:-}" ]; then
    "$here"/../cri-api.sh "$3"
    in_namespaces orlop-bench-cri "$(realpath "$1")" "$(realpath "$2")" "$(realpath "$3")"
fi
prepare_mounts
put_in_path "$2"
rows="orlop-shim=io.containerd.orlop.v2 runc-shim+orlop=io.containerd.runc.v2,$1"
for runtime in crun runc; do
    ! path=$(command -v $runtime) || rows="$rows runc-shim+$runtime=io.containerd.runc.v2,$path"
done
# Not in the place of this shell, which reaps what has lost its parent. Debian's python3 has grpc. $rows is a list of
# words: without quotes.
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../shim:$3 /usr/bin/python3 "$here/cri.py" $rows
