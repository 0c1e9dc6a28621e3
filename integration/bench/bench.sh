#!/bin/sh
# `make bench`: orlop beside the floor and beside the crun and runc of Debian, in turn, in one run, on a pure cgroup v2
# view and a /run in memory, as real machines have them. Prints a table; keeps what was measured in $2/results.json.
#
#     bench.sh ORLOP DIRECTORY [memory]
#
# With `memory` (`make bench-memory`), the smallest memory limit that each can start a container with. Where the memory
# controller is one of cgroup v1, that is then a machine without v2, since crun does not run where both are in use.
#
# BEFORE=/path/to/another/orlop (`make bench BEFORE=...`) adds a row for it: what a change costs, in the same run. GLIBC
# does the same for the program with glibc, where ORLOP is with musl.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
orlop=$1
mkdir -p "$2"
directory=$(cd "$2" && pwd)
root=$directory/debian

"$here"/../packages.sh gcc libc6-dev busybox-static python3 strace mmdebstrap util-linux
if [ ! -e "$root/usr/bin/crun" ] || [ ! -e "$root/usr/sbin/runc" ]; then
    rm -rf "$root"
    mmdebstrap --quiet --variant=extract --include=crun,runc,libc6 trixie "$root"
    for name in lib lib64; do [ -e "$root/$name" ] || ln -s "usr/$name" "$root/$name"; done
fi
mkdir -p "$root/bench/rootfs/bin" "$root/bench/rootfs/proc" "$root/bench/rootfs/sys" "$root/bench/rootfs/dev" \
    "$root/proc" "$root/sys" "$root/dev" "$root/run" "$root/tmp"
for program in floor measure; do
    gcc -O2 -static -Wall -Wextra -Werror -o "$root/bench/$program" "$here/$program.c"
done
cp "$orlop" "$root/bench/orlop"
rm -f "$root/bench/before" "$root/bench/glibc"
[ -z "${BEFORE:-}" ] || cp "$BEFORE" "$root/bench/before"
[ -z "${GLIBC:-}" ] || cp "$GLIBC" "$root/bench/glibc"
cp "$(command -v busybox)" "$root/bench/rootfs/bin/busybox"
for name in true sleep; do ln -sf busybox "$root/bench/rootfs/bin/$name"; done

# A mount namespace of its own: what is mounted here goes with it. A pid namespace: so do left-over containers.
exec unshare --mount --propagation private --pid --fork --kill-child sh -eu -c '
    root=$1
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    if [ "$4" != memory ] || [ ! -d /sys/fs/cgroup/memory ]; then
        mount -t cgroup2 none "$root/sys/fs/cgroup"
    else
        mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
        for hierarchy in /sys/fs/cgroup/*/cgroup.sane_behavior /sys/fs/cgroup/systemd/tasks; do
            name=${hierarchy#/sys/fs/cgroup/}
            name=${name%%/*}
            mkdir -p "$root/sys/fs/cgroup/$name"
            mount --bind "/sys/fs/cgroup/$name" "$root/sys/fs/cgroup/$name"
        done
    fi
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/run"
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$2" "$root" "$3"
' sh "$root" "$here/${3:-bench}.py" "$directory" "${3:-}"
