#!/bin/sh
# Makes the disk of the test machine: `disk.sh DIR` leaves disk.img, kernel and initrd in DIR. Debian stable with
# systemd, cgroup v2 alone, the callers, an ordinary user with subuids, and a job that the host hands over at boot.
set -eu
dir=$1
root=$dir/root
mkdir -p "$dir"

system=systemd-sysv,dbus,dbus-user-session,udev,kmod,linux-image-amd64,procps,iproute2,iptables,jq,uidmap,util-linux
callers=containerd,podman,docker.io,docker-cli,runc,conmon,catatonit,netavark,passt,containernetworking-plugins,criu
tests=busybox-static,libseccomp2,python3-grpcio,python3-protobuf,protobuf-compiler

# The CRI's definition is in a package of Go sources, whose dependencies nobody needs.
mmdebstrap --variant=important --include="$system,$callers,$tests" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='chroot "$1" sh -c "cd /root && apt-get -q download golang-github-kubernetes-cri-api-dev"' \
    trixie "$root" http://deb.debian.org/debian
cp "$(dirname "$0")/job.service" "$root/etc/systemd/system/"
echo test-machine >"$root/etc/hostname"
chroot "$root" sh -eu <<'END'
    cd /root
    dpkg -x golang-github-kubernetes-cri-api-dev*.deb cri
    mkdir -p /usr/local/lib/cri
    # gogoproto says only how Go code is to be generated.
    grep -v gogoproto cri/usr/share/gocode/src/k8s.io/cri-api/pkg/apis/runtime/v1/api.proto >/usr/local/lib/cri/api.proto
    protoc -I /usr/local/lib/cri --python_out=/usr/local/lib/cri api.proto
    rm -rf cri *.deb

    useradd --create-home --uid 1000 --shell /bin/bash orlop-user # it gets a range in /etc/subuid and /etc/subgid
    mkdir -p /var/lib/systemd/linger /etc/systemd/system/user@.service.d
    touch /var/lib/systemd/linger/orlop-user
    printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >/etc/systemd/system/user@.service.d/delegate.conf
    # A machine that is emulated has no time for what no test asks for.
    systemctl disable containerd.service docker.service docker.socket networking.service cron.service
    systemctl mask podman.service podman.socket podman-auto-update.timer podman-restart.service \
        podman-clean-transient.service apt-daily.timer apt-daily-upgrade.timer \
        serial-getty@ttyS0.service getty@tty1.service
    systemctl enable job.service
END
cp "$root"/boot/vmlinuz-* "$dir/kernel"
cp "$root"/boot/initrd.img-* "$dir/initrd"
mke2fs -q -t ext4 -d "$root" "$dir/disk.img" 6G
rm -rf "$root"
