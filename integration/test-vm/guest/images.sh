#!/usr/bin/env bash
# Makes the images of the tests, in the one form that every caller loads: `images.sh DIR` leaves box.tar (a static
# busybox) and pause.tar (the pod's first process) in DIR. No registry can be reached from here.
set -euo pipefail
mkdir -p "$1"
cd "$1"

# image FILE NAME ROOTFS PROGRAM…
image() {
    local file=$1 name=$2 rootfs=$3 work
    shift 3
    work=$(mktemp -d)
    tar --sort=name -C "$rootfs" -cf "$work/layer.tar" .
    jq -n --arg layer "sha256:$(sha256sum <"$work/layer.tar" | cut -d ' ' -f 1)" --arg arch "$(dpkg --print-architecture)" '{
        architecture: $arch, os: "linux", created: "2026-01-01T00:00:00Z",
        config: { Env: ["PATH=/bin"], Cmd: $ARGS.positional },
        rootfs: { type: "layers", diff_ids: [$layer] }
    }' --args -- "$@" >"$work/config.json"
    jq -n --arg name "$name" '[{ Config: "config.json", RepoTags: [$name], Layers: ["layer.tar"] }]' \
        >"$work/manifest.json"
    tar -C "$work" -cf "$file" manifest.json config.json layer.tar
    rm -rf "$work"
}

rootfs=$(mktemp -d)
chmod 755 "$rootfs"
mkdir -p "$rootfs"/{bin,dev,etc,proc,root,sys,tmp,var}
chmod 1777 "$rootfs/tmp"
cp /bin/busybox "$rootfs/bin/busybox"
for name in $(busybox --list | grep -v '^busybox$'); do ln -s busybox "$rootfs/bin/$name"; done
echo 'root:x:0:0:root:/root:/bin/sh' >"$rootfs/etc/passwd"
echo 'root:x:0:' >"$rootfs/etc/group"
image box.tar docker.io/library/box:latest "$rootfs" sh
rm -rf "$rootfs"

rootfs=$(mktemp -d)
chmod 755 "$rootfs"
cp /usr/bin/catatonit "$rootfs/pause"
image pause.tar registry.k8s.io/pause:3.8 "$rootfs" /pause -P
rm -rf "$rootfs"
