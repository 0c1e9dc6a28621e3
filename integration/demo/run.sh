#!/bin/sh
# Makes a bundle (a root filesystem with busybox, a config.json), runs it, and leaves nothing behind.
# usage: run.sh RUNTIME DIRECTORY
set -eu

if [ "$(id -u)" != 0 ]; then
    echo "the demo makes namespaces and cgroups as root: sudo env PATH=\"\$PATH\" make run" >&2
    exit 1
fi
here=$(dirname "$0")
mkdir -p "$2"
bundle=$(mktemp -d "$2/demo.XXXXXX")
trap 'rm -rf "$bundle"' EXIT INT TERM

mkdir -p "$bundle/rootfs/bin" "$bundle/rootfs/dev" "$bundle/rootfs/proc" "$bundle/rootfs/sys" "$bundle/rootfs/tmp"
cp "$(command -v busybox)" "$bundle/rootfs/bin/busybox"
for name in $(busybox --list); do
    [ "$name" = busybox ] || ln -s busybox "$bundle/rootfs/bin/$name"
done
cp "$here/show.sh" "$bundle/rootfs/show.sh"
cp "$here/config.json" "$bundle/config.json"
"$1" --root "$bundle/state" run --bundle "$bundle" "orlop-demo-$$"
