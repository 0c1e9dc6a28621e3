#!/usr/bin/env bash
# Installs the packages for amd64: `test.sh DIRECTORY [SUITE…]`, in fresh Debian systems (bookworm, trixie, sid), and with
# rpm. In each: the version that each program prints, a manual page for each program, a removal that leaves nothing. In
# the Debian systems also: a container, and an upgrade of orlop while containers exist. OLDER is orlop's .deb for amd64 of
# the version before; without it, the same package with a lower version stands for it.
set -euo pipefail
dir=$(realpath "$1")
shift
cd "$(dirname "$0")/../.."
packages=$dir/packages
integration/packages.sh mmdebstrap lintian rpm dpkg-dev busybox-static util-linux
[ "$(dpkg --print-architecture)" = amd64 ] || { echo "the packages are tested on amd64"; exit 1; }

echo "== lintian"
lintian --no-cfg --allow-root --fail-on error "$packages"/*_amd64.deb

echo "== SHA256SUMS"
(cd "$packages" && sha256sum --quiet --check SHA256SUMS)

deb=$(ls "$packages"/orlop_*_amd64.deb)
older=${OLDER-}
if [ -z "$older" ]; then
    rm -rf "$dir/older"
    dpkg-deb --raw-extract "$deb" "$dir/older"
    sed -i 's/^Version: .*/Version: 0.0.1-1/' "$dir/older/DEBIAN/control"
    dpkg-deb --root-owner-group --build "$dir/older" "$dir/orlop_0.0.1-1_amd64.deb" >/dev/null
    rm -rf "$dir/older"
    older=$dir/orlop_0.0.1-1_amd64.deb
fi

# A system with a busybox, from which `guest.sh` is run.
for suite in ${*:-bookworm trixie sid}; do
    echo "== $suite"
    root=$dir/root
    [ ! -e "$root" ] || rm -rf --one-file-system "$root"
    if [ ! -e "$dir/$suite.tar" ]; then
        mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' \
            --include=man-db,busybox-static "$suite" "$dir/$suite.new.tar" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
        mv "$dir/$suite.new.tar" "$dir/$suite.tar"
    fi
    mkdir -p "$root"
    tar -C "$root" -xf "$dir/$suite.tar" --exclude './dev/*'
    mkdir -p "$root/packages"
    cp "$packages"/*_amd64.deb "$root/packages/"
    cp "$older" "$root/packages/older.deb"
    cp integration/release/guest.sh "$root/guest.sh"
    unshare --mount --pid --fork --kill-child --propagation private sh -eu -c '
        mount --bind "$1" "$1" # a container needs a / that is a mount
        mount --rbind /dev "$1/dev"
        mount --rbind /sys "$1/sys"
        mount -t proc proc "$1/proc"
        mount -t tmpfs run "$1/run"
        exec chroot "$1" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root sh -eu /guest.sh
    ' test "$root"
done
rm -rf --one-file-system "$dir/root"

echo "== rpm"
root=$dir/rpm-root
rm -rf "$root"
mkdir -p "$root"
rpm() { command rpm --root "$root" "$@" 2> >(grep -v -e 'RPM should not be used' -e 'However assuming' >&2); }
rpm --initdb
rpm --install --nodeps "$packages"/*.x86_64.rpm
version=$(rpm --query --queryformat '%{VERSION}' orlop)
for program in orlop orlop-image containerd-shim-orlop-v2; do
    flag=--version
    [ "$program" != containerd-shim-orlop-v2 ] || flag=-v
    "$root/usr/bin/$program" "$flag" | grep -w -F "$version" || { echo "$program $flag does not print $version"; exit 1; }
    [ -e "$root/usr/share/man/man8/$program.8.gz" ] || { echo "$program has no manual page"; exit 1; }
done
rpm --verify --nodeps --all
rpm --erase $(rpm --query --all)
[ -z "$(find "$root/usr" -type f 2>/dev/null)" ] || { echo "left:"; find "$root/usr" -type f; exit 1; }
rm -rf "$root"
echo "passed"
