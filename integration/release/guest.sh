# Runs in a fresh Debian, where /packages has the packages: see test.sh.
export DEBIAN_FRONTEND=noninteractive

files() {
    find / -xdev \( -path /packages -o -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /var/log \
        -o -path /var/cache -o -path /var/lib/dpkg -o -path /var/lib/apt \) -prune -o -print | sort
}
is() { [ "$(orlop state box | sed -n 's/.*"status": "\(.*\)".*/\1/p')" = "$1" ]; }

files >/tmp/before

echo "installed from the version before"
dpkg -i /packages/older.deb >/dev/null
orlop --version
MANPAGER=cat man orlop | grep -q -i runtime
test -e /usr/share/bash-completion/completions/orlop
test -e /usr/share/doc/orlop/examples/containerd/config-v3.toml

echo "a container"
mkdir -p /tmp/box/rootfs/bin /tmp/box/rootfs/proc
cp /bin/busybox /tmp/box/rootfs/bin/busybox
for name in sh sleep echo; do ln -s busybox /tmp/box/rootfs/bin/$name; done
cd /tmp/box
config() {
    cat >config.json <<EOF
{
    "ociVersion": "1.3.0",
    "process": { "args": $1, "env": ["PATH=/bin"], "cwd": "/" },
    "root": { "path": "rootfs" },
    "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
    "linux": {
        "cgroupsPath": "/orlop-package-test-$$",
        "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "network" }]
    }
}
EOF
}
config '["sh", "-c", "echo I am $$"]'
[ "$(orlop run one)" = "I am 1" ]

echo "an upgrade while one container runs and another waits for start"
config '["sleep", "1000"]'
orlop run --detach box </dev/null >/dev/null 2>&1
sed -i 's/package-test-/package-test-second-/' config.json
orlop create second </dev/null >/dev/null 2>&1
apt-get -q install -y --no-install-recommends /packages/orlop*.deb >/tmp/apt.log 2>&1 || {
    cat /tmp/apt.log
    exit 1
}
installed=$(dpkg-query --showformat '${Package} ' --show "orlop*")
echo "$installed"
is running
[ "$(orlop exec box echo inside)" = inside ]
orlop start second
orlop delete --force second
orlop kill box KILL
i=0
until is stopped; do
    i=$((i + 1))
    [ $i -lt 100 ]
    sleep 0.1
done
orlop delete box

echo "the version and the manual page of each program"
version=$(dpkg-query --showformat '${Version}' --show orlop)
version=${version%-*}
for program in orlop orlop-image containerd-shim-orlop-v2; do
    flag=--version
    [ $program != containerd-shim-orlop-v2 ] || flag=-v
    printed=$($program $flag)
    echo "$printed" | grep -w -F "$version" || {
        echo "$program $flag does not print $version"
        exit 1
    }
    man -w $program
done

echo "removed without a trace"
apt-get -q purge -y $installed >/tmp/apt.log 2>&1
rmdir /run/orlop 2>/dev/null || true
cd /
files >/tmp/after
diff /tmp/before /tmp/after
