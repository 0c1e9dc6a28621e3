# For scripts that run containerd and its shims natively; sourced.

# `in_namespaces CGROUP ARGUMENT...` runs the script once more with these arguments, in a mount namespace of its own and in
# a pid namespace, so that no process is left over, and exits. Each cgroup CGROUP is removed before it and after it.
in_namespaces() {
    cgroup=$1
    shift
    remove() { find /sys/fs/cgroup{,/*}/"$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true; }
    remove # what a run that was killed has left
    trap remove EXIT
    INSIDE=1 unshare --mount --propagation private --pid --fork --kill-child --mount-proc "$0" "$@"
    exit
}

# In such a mount namespace: cgroup v1 is not hybrid, since other shims would not know what to do, and containerd's
# directories are in memory.
prepare_mounts() {
    ! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified
    mkdir -p /run/containerd
    mount -t tmpfs -o mode=0711 tmpfs /run/containerd
}

# `put_in_path SHIM`: containerd finds a shim by its name in PATH.
put_in_path() {
    mkdir /run/containerd/bin
    ln -s "$1" /run/containerd/bin/containerd-shim-orlop-v2
    export PATH=/run/containerd/bin:$PATH
}
