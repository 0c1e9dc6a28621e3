#!/bin/sh
# Makes the disk of the test machine: `disk.sh DIR SUITE ARCH` leaves disk.img, kernel and initrd in DIR. Debian with
# systemd, the callers, an ordinary user with subuids, and a job that the host hands over at boot. Of SUITE bookworm,
# whose kernel still has all controllers of cgroup v1, without the callers. The programs of another ARCH run here by
# QEMU's user emulation while the disk is made.
set -eu
dir=$1
suite=$2
arch=$3
root=$dir/root
mkdir -p "$dir"

system=systemd-sysv,dbus,dbus-user-session,udev,kmod,linux-image-$arch,procps,iproute2,iptables,jq,uidmap,util-linux
callers=containerd,podman,docker.io,docker-cli,runc,conmon,catatonit,netavark,passt,containernetworking-plugins,criu
tests=crun,busybox-static,libseccomp2
# The CRI's definition is in a package of Go sources, whose dependencies nobody needs.
if [ "$suite" = trixie ]; then
    tests=$tests,python3-grpcio,python3-protobuf,protobuf-compiler
    fetch="cd /root && apt-get -q download golang-github-kubernetes-cri-api-dev"
else
    callers=runc,catatonit
    fetch=true
fi

mmdebstrap --variant=important --architectures="$arch" --include="$system,$callers,$tests" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook="chroot \"\$1\" sh -c '$fetch'" \
    "$suite" "$root" http://deb.debian.org/debian
cp "$(dirname "$0")/job.service" "$root/etc/systemd/system/"
echo test-machine >"$root/etc/hostname"
chroot "$root" sh -eu <<'END'
    useradd --create-home --uid 1000 --shell /bin/bash orlop-user # it gets a range in /etc/subuid and /etc/subgid
    mkdir -p /var/lib/systemd/linger /etc/systemd/system/user@.service.d
    touch /var/lib/systemd/linger/orlop-user
    printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >/etc/systemd/system/user@.service.d/delegate.conf
    # A machine that is emulated has no time for what no test asks for.
    for unit in containerd.service docker.service docker.socket networking.service cron.service; do
        systemctl disable $unit || true # which are there depends on the suite
    done
    systemctl mask podman.service podman.socket podman-auto-update.timer podman-restart.service \
        podman-clean-transient.service apt-daily.timer apt-daily-upgrade.timer \
        serial-getty@ttyS0.service serial-getty@ttyAMA0.service getty@tty1.service
    systemctl enable job.service
END
if [ "$suite" = trixie ]; then
    chroot "$root" sh -eu <<'END'
    cd /root
    dpkg -x golang-github-kubernetes-cri-api-dev*.deb cri
    mkdir -p /usr/local/lib/cri
    # gogoproto says only how Go code is to be generated.
    grep -v gogoproto cri/usr/share/gocode/src/k8s.io/cri-api/pkg/apis/runtime/v1/api.proto >/usr/local/lib/cri/api.proto
    protoc -I /usr/local/lib/cri --python_out=/usr/local/lib/cri api.proto
    rm -rf cri *.deb
END
else
    # What is below a service that is not delegated, systemd removes from the hierarchies of cgroup v1.
    mkdir "$root/etc/systemd/system/job.service.d"
    printf '[Service]\nDelegate=yes\n' >"$root/etc/systemd/system/job.service.d/delegate.conf"
fi
cp "$root"/boot/vmlinuz-* "$dir/kernel"
cp "$root"/boot/initrd.img-* "$dir/initrd"
mke2fs -q -t ext4 -d "$root" "$dir/disk.img" 6G
rm -rf "$root"
