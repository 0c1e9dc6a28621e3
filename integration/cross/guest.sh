#!/bin/busybox sh
# The first process of the machine that boot.sh boots: makes containers, with what a program for another architecture
# could get wrong, and prints "== passed" or what failed. pivot_root(2) cannot leave an initramfs, so this file continues
# from a tmpfs.
export PATH=/bin
if [ ! -e /proc ]; then
    /bin/busybox --install -s /bin
    mkdir /proc /sys /new
    mount -t tmpfs tmpfs /new
    cp -a /bin /init /orlop /overlay.ko /new
    mkdir /new/proc /new/sys /new/dev /new/run /new/tmp
    exec switch_root /new /init
fi
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo "+memory +pids" >/sys/fs/cgroup/cgroup.subtree_control
insmod /overlay.ko

finish() {
    echo "== $1"
    poweroff -f
    sleep 100
}

# does COMMAND…: it succeeds. fails COMMAND…: it does not. prints TEXT: the last one did, as a pattern of grep.
does() {
    last="$*"
    "$@" >/tmp/out 2>&1 || { cat /tmp/out; finish "failed: $last"; }
}
fails() {
    last="$*"
    ! "$@" >/tmp/out 2>&1 || { cat /tmp/out; finish "failed: $last: it succeeds"; }
}
prints() { grep -q -- "$1" /tmp/out || { cat /tmp/out; finish "failed: $last: no $1"; }; }

# bundle NAME SED-SCRIPT: what `orlop spec` writes, changed.
bundle() {
    mkdir -p "/$1/rootfs/bin" "/$1/rootfs/proc" "/$1/rootfs/sys" "/$1/rootfs/dev" "/$1/rootfs/tmp"
    cp /bin/busybox "/$1/rootfs/bin"
    for name in sh sleep cat uname mkdir chmod mknod; do ln -s busybox "/$1/rootfs/bin/$name"; done
    does /orlop spec --bundle "/$1"
    sed -i "s/\"terminal\": true/\"terminal\": false/; s/\"readonly\": true/\"readonly\": false/; $2" "/$1/config.json"
}

# A filter with an argument: chmod to 0700 fails. It is the second argument of chmod(2), the third of fchmodat(2), and
# arm64 and riscv64 have only the latter.
index=1
case $(uname -m) in aarch64 | riscv64) index=2 ;; esac
filter="\"seccomp\": {\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{\"names\": [\"chmod\", \"fchmodat\"],
    \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 95,
    \"args\": [{\"index\": $index, \"value\": 448, \"op\": \"SCMP_CMP_EQ\"}]}]},"
bundle box "s/\"sh\"\$/\"sleep\", \"1000\"/; s|\"linux\": {|&$(echo $filter)|
    s|\"resources\": {|&\"memory\": {\"limit\": 67108864}, \"pids\": {\"limit\": 20},|"
does /orlop create --bundle /box box
does /orlop state box
prints '"status": "created"'
does /orlop start box
does /orlop exec box uname -m
prints "$(uname -m)"
does /orlop ps box
prints sleep
does cat /sys/fs/cgroup/box/memory.max
prints 67108864
does /orlop exec box mkdir /tmp/d
does /orlop exec box chmod 755 /tmp/d
fails /orlop exec box chmod 700 /tmp/d
prints 'not supported'
does /orlop exec box sh -c 'echo >/dev/null'
does /orlop pause box
does /orlop state box
prints '"status": "paused"'
does /orlop resume box
does /orlop update --memory 33554432 box
does cat /sys/fs/cgroup/box/memory.max
prints 33554432
does /orlop events --stats box
prints '"limit":33554432'
does /orlop kill box KILL
for _ in 1 2 3 4 5 6 7 8 9 10; do
    ! /orlop state box | grep -q stopped || break
    sleep 1
done
does /orlop delete box

# A user namespace.
mapping='[{"containerID": 0, "hostID": 100000, "size": 1000}]'
bundle user "s/\"sh\"\$/\"cat\", \"\/proc\/self\/uid_map\"/; s|\"namespaces\": \[|&{\"type\": \"user\"},|
    s|\"linux\": {|&\"uidMappings\": $mapping, \"gidMappings\": $mapping,|"
does /orlop run --bundle /user user
prints '0 *100000 *1000'

# A device that the rules forbid, by a BPF program.
bundle device "s/\"sh\"\$/\"sh\", \"-c\", \"mknod \/tmp\/kmsg c 1 11 \&\& cat \/tmp\/kmsg\"/; s/\"CAP_KILL\"/&, \"CAP_MKNOD\"/"
fails /orlop run --bundle /device device
prints 'kmsg.*not permitted'

does ls /run/orlop /sys/fs/cgroup
! grep -qE '^(box|user|device)$' /tmp/out || finish "failed: something is left: $(echo $(cat /tmp/out))"
finish "passed: $(uname -m), Linux $(uname -r)"
