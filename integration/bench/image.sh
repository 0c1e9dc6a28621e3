#!/bin/sh
# `make bench` for images: a second `orlop image run` beside the runtime's own `run`, and unpacking beside umoci and tar.
# Prints tables. /run is in memory, as real machines have it, and nothing but cgroup v2 is
# mounted.
#
#     image.sh ORLOP ORLOP-IMAGE DIRECTORY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$3"
directory=$(cd "$3" && pwd)

"$here"/../packages.sh gcc libc6-dev busybox-static python3 mmdebstrap umoci util-linux e2fsprogs
if [ ! -e "$directory/debian/index.json" ]; then
    rm -rf "$directory/debian"
    mmdebstrap --quiet --variant=buildd --include=git,python3,openjdk-21-jre-headless trixie "$directory/debian.tar"
    umoci init --layout "$directory/debian"
    umoci new --image "$directory/debian:debian"
    umoci raw add-layer --image "$directory/debian:debian" "$directory/debian.tar"
    rm "$directory/debian.tar"
fi
gcc -O2 -static -Wall -Wextra -Werror -o "$directory/measure" "$here/measure.c"
rm -rf "$directory/run"
mkdir "$directory/run"

# A mount and a pid namespace of its own: what is mounted and left over goes with it.
BUSYBOX=$(command -v busybox) exec unshare --mount --propagation private --pid --fork --kill-child --mount-proc sh -eu -c '
    # Processes of real time cannot be in cgroups of v1.
    umount --lazy /sys/fs/cgroup || true
    mount -t cgroup2 none /sys/fs/cgroup
    mount -t tmpfs tmpfs /run
    # With a journal, as disks have it, and without the disk.
    truncate --size 1G /run/memory.img
    mkfs.ext4 -q /run/memory.img
    mkdir /run/memory
    mount -o loop /run/memory.img /run/memory
    /usr/bin/python3 "$@" /run/memory
' sh "$here/image.py" "$1" "$2" "$directory"
