#!/usr/bin/env bash
# A long run of the shim, natively under containerd's CRI plugin: `soak.sh SHIM DIRECTORY`, as root. 20,000 execs in one
# pod (EXECS), 1,000 other pods made and removed (PODS), containerd restarted every minute (EVERY, in seconds). Memory,
# descriptors and zombies of that one pod's shim must be flat, and nothing may be left. DIRECTORY keeps the messages of
# the CRI for the next run. HANDLER=runc-shim takes containerd's own shim instead, for comparison.
#
# In a mount namespace of its own, in which cgroup v1 is not hybrid and containerd's directories are in memory; and in a
# pid namespace, so that no process is left over.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
. "$here"/namespaces.sh
if [ -z "${INSIDE:-}" ]; then
    "$here"/../cri-api.sh "$2"
    in_namespaces orlop-soak "$(realpath "$1")" "$(realpath "$2")"
fi
prepare_mounts
put_in_path "$1"
handler=orlop-shim=io.containerd.orlop.v2
[ "${HANDLER:-}" != runc-shim ] || handler=runc-shim=io.containerd.runc.v2
# Not in the place of this shell, which reaps what has lost its parent. Debian's python3 has grpc.
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$2 /usr/bin/python3 "$here/soak.py" "$handler"
