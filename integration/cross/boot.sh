#!/usr/bin/env bash
# Boots a kernel of another architecture under QEMU, with the program and a busybox in an initramfs, and has it run
# guest.sh: `boot.sh TARGET DIRECTORY`. In DIRECTORY are orlop, busybox, kernel and overlay.ko.
set -euo pipefail
target=$1
cd "$(dirname "$0")"
here=$PWD
. ./targets.sh
cd "$2"

case $(debian_of "$target") in
amd64 | i386) package=qemu-system-x86 machine=(qemu-system-x86_64) console=ttyS0 ;;
arm64) package=qemu-system-arm machine=(qemu-system-aarch64 -machine virt -cpu cortex-a76) console=ttyAMA0 ;;
armhf) package=qemu-system-arm machine=(qemu-system-arm -machine virt -cpu cortex-a15) console=ttyAMA0 ;;
riscv64) package="qemu-system-misc opensbi" machine=(qemu-system-riscv64 -machine virt) console=ttyS0 ;;
s390x) package=qemu-system-misc machine=(qemu-system-s390x) console=ttysclp0 ;;
ppc64el) package=qemu-system-ppc machine=(qemu-system-ppc64 -machine pseries -cpu power9) console=hvc0 ;;
esac
command -v "${machine[0]}" >/dev/null || "$here/../packages.sh" $package
"$here/../packages.sh" cpio

rm -rf root
mkdir -p root/bin
cp busybox root/bin/
cp orlop root/
cp overlay.ko root/
install -m 0755 "$here/guest.sh" root/init
ln -s busybox root/bin/sh
(cd root && find . | cpio --quiet --create --format newc | gzip -1) >initramfs
: >log
timeout 600 "${machine[@]}" -smp 2 -m 1G -display none -monitor none -no-reboot -net none -serial file:log \
    -kernel kernel -initrd initramfs -append "console=$console quiet panic=-1 rdinit=/init" || true
tr -d '\r' <log | grep -a '^== ' || { tail -n 30 log; exit 1; }
grep -aq '^== passed' log
