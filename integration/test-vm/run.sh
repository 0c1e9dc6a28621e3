#!/usr/bin/env bash
# Boots the test machine and has it run jobs, all of them or those that are named: `run.sh ORLOP DIRECTORY [JOB…]`. The
# machine's disk is kept in DIRECTORY until its recipe changes. A boot that fails is tried again, a test is not.
#
# LAYOUT is what the machine's cgroups are: `unified` (v2 alone), or `hybrid` or `legacy` (v1 with v2 beside it, or
# without). For those two it is an older Debian, and the behaviour tests are all that runs.
#
# ARCH is amd64 or arm64. For arm64, programs and tests are those of cross.sh, ORLOP is not used, and the callers only run
# if their jobs are named.
set -euo pipefail
orlop=$1
mkdir -p "$2/test-vm"
target=$(realpath "$2")
dir=$target/test-vm
shift 2
cd "$(dirname "$0")/../.."
suite=bookworm
jobs="suite many"
: "${ARCH:=amd64}"
case ${LAYOUT:=unified} in
unified)
    suite=trixie
    layout=
    if [ "$ARCH" = amd64 ]; then
        for caller in ctr cri docker podman podman-rootless; do jobs="$jobs $caller:orlop $caller:runc"; done
        for caller in ctr cri docker; do jobs="$jobs $caller:orlop-shim"; done # orlop's own shim for containerd
    fi
    ;;
hybrid) layout="systemd.unified_cgroup_hierarchy=0" ;;
legacy) layout="systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1" ;;
*)
    echo "LAYOUT is unified, hybrid or legacy, not $LAYOUT"
    exit 1
    ;;
esac
[ $# = 0 ] || jobs=$*

case $ARCH in
amd64)
    qemu=(qemu-system-x86_64)
    package=qemu-system-x86
    kernel="console=ttyS0 no_timer_check"
    limit=3300
    ;;
arm64)
    qemu=(qemu-system-aarch64 -machine virt -cpu cortex-a76)
    package=qemu-system-arm
    kernel="console=ttyAMA0"
    limit=7200
    ;;
*)
    echo "ARCH is amd64 or arm64, not $ARCH"
    exit 1
    ;;
esac

# Lets programs for arm64 run here, until the next boot (Documentation/admin-guide/binfmt-misc.rst of the kernel). The
# values are those of the beginning of an ELF file (elf(5)): 64 bits, little-endian, EM_AARCH64. Flag F makes it work in
# a chroot.
emulate_arm64() {
    local register=/proc/sys/fs/binfmt_misc
    integration/packages.sh qemu-user-static arch-test
    [ -e $register/register ] || mount -t binfmt_misc binfmt_misc $register
    [ -e $register/qemu-aarch64 ] || printf %s ':qemu-aarch64:M:' \
        ':\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00' \
        ':\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff' \
        ':/usr/bin/qemu-aarch64-static:F' >$register/register
}

# Version 7 of bookworm proper crashes the guest's kernel now and then.
if ! "${qemu[0]}" --version 2>/dev/null | grep -qE 'version ([1-9][0-9])\.'; then
    . /etc/os-release
    if [ "$VERSION_CODENAME" = bookworm ]; then
        echo "deb http://deb.debian.org/debian bookworm-backports main" >/etc/apt/sources.list.d/orlop-backports.list
        apt-get -q update
        apt-get -q install -y --no-install-recommends -t bookworm-backports "$package"
    else
        integration/packages.sh "$package"
    fi
fi
integration/packages.sh mmdebstrap e2fsprogs libseccomp-dev pkg-config

recipe=$suite-$ARCH-$(cat integration/test-vm/disk.sh integration/test-vm/job.service | sha256sum | cut -c -16)
if [ ! -e "$dir/$recipe" ]; then
    [ "$ARCH" = "$(dpkg --print-architecture)" ] || emulate_arm64
    rm -rf "$dir/new" "$dir/$suite-$ARCH"-*
    integration/test-vm/disk.sh "$dir/new" "$suite" "$ARCH" >"$dir/disk.log" 2>&1 || { tail -n 30 "$dir/disk.log"; exit 1; }
    mv "$dir/new" "$dir/$recipe"
fi

share=$dir/share
rm -rf "$share"
mkdir -p "$share"
if [ "$ARCH" = amd64 ]; then
    cargo test --locked --test main --no-run 2>&1 | tee "$dir/cargo.log"
    tests=$(sed -n 's|.*Executable tests/main.rs (\(.*\))$|\1|p' "$dir/cargo.log")
    repository=$PWD
else
    CRATES="orlop orlop-shim" integration/cross.sh "$target/cross" build aarch64-unknown-linux-musl
    integration/cross.sh "$target/cross" tests aarch64-unknown-linux-gnu
    orlop=$target/cross/out/aarch64-unknown-linux-musl/orlop
    tests=$target/cross/out/aarch64-unknown-linux-gnu/main
    repository=/orlop
fi
cp "$tests" "$share/main"
cp "$orlop" "$(dirname "$orlop")/containerd-shim-orlop-v2" "$share/"
cp integration/test-vm/guest/job.sh "$share/job.sh"
echo "$jobs" >"$share/jobs"
echo "$repository" >"$share/repository"
# Some tests read sources, where they were built.
tar -cf "$share/files.tar" Cargo.toml README.md SECURITY.md docs src tests integration contrib crates

# Succeeds if the machine came as far as the first line of its job; then it has switched itself off.
boot() {
    rm -f "$share"/{failed,finished}
    : >"$share/log"
    timeout "$limit" "${qemu[@]}" -accel tcg,thread=multi -smp 2 -m 4G -display none -monitor none -no-reboot -net none \
        -serial "file:$dir/console.log" -kernel "$dir/$recipe/kernel" -initrd "$dir/$recipe/initrd" \
        -append "root=/dev/vda rw $kernel panic=1 mitigations=off quiet $layout" \
        -drive "file=$dir/$recipe/disk.img,if=virtio,format=raw,snapshot=on" \
        -virtfs "local,path=$share,mount_tag=host,security_model=none,multidevs=remap" &
    machine=$!
    for _ in $(seq 300); do
        [ ! -s "$share/log" ] && kill -0 $machine 2>/dev/null || break
        sleep 1
    done
    [ ! -s "$share/log" ] || tail -n +1 -f --pid $machine "$share/log"
    kill $machine 2>/dev/null || true
    wait $machine || true
    [ -s "$share/log" ]
}

machine=
trap '[ -z "$machine" ] || kill $machine 2>/dev/null || true' EXIT
for attempt in 1 2 3; do
    ! boot || break
    echo "boot $attempt of 3 failed"
    tail -n 20 "$dir/console.log"
done
if [ ! -e "$share/finished" ]; then
    echo "the machine did not finish its jobs"
    tail -n 40 "$dir/console.log"
    exit 1
fi
if [ -s "$share/failed" ]; then
    echo "failed:" $(cat "$share/failed")
    exit 1
fi
echo "passed: $jobs"
