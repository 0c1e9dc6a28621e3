#!/usr/bin/env bash
# Boots the test machine and has it run jobs, all of them or those that are named: `run.sh ORLOP DIRECTORY [JOB…]`. The
# machine's disk is kept in DIRECTORY until its recipe changes. A boot that fails is tried again, a test is not.
#
# LAYOUT is what the machine's cgroups are: `unified` (v2 alone), or `hybrid` or `legacy` (v1 with v2 beside it, or
# without). For those two it is an older Debian, and the behaviour tests are all that runs.
set -euo pipefail
[ "${ARCH:-amd64}" = amd64 ] || { echo "the test machine is amd64: there is none for ARCH=$ARCH yet" >&2; exit 1; }
orlop=$(realpath "$1")
mkdir -p "$2/test-vm"
dir=$(realpath "$2/test-vm")
shift 2
cd "$(dirname "$0")/../.."
suite=bookworm
jobs="suite many"
case ${LAYOUT:=unified} in
unified)
    suite=trixie
    layout=
    for caller in ctr cri docker podman podman-rootless; do jobs="$jobs $caller:orlop $caller:runc"; done
    for caller in ctr cri docker; do jobs="$jobs $caller:orlop-shim"; done # orlop's own shim for containerd
    ;;
hybrid) layout="systemd.unified_cgroup_hierarchy=0" ;;
legacy) layout="systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1" ;;
*)
    echo "LAYOUT is unified, hybrid or legacy, not $LAYOUT"
    exit 1
    ;;
esac
[ $# = 0 ] || jobs=$*

# Version 7 of bookworm proper crashes the guest's kernel now and then.
if ! qemu-system-x86_64 --version 2>/dev/null | grep -qE 'version ([1-9][0-9])\.'; then
    . /etc/os-release
    if [ "$VERSION_CODENAME" = bookworm ]; then
        echo "deb http://deb.debian.org/debian bookworm-backports main" >/etc/apt/sources.list.d/orlop-backports.list
        apt-get -q update
        apt-get -q install -y --no-install-recommends -t bookworm-backports qemu-system-x86
    else
        integration/packages.sh qemu-system-x86
    fi
fi
integration/packages.sh mmdebstrap e2fsprogs libseccomp-dev pkg-config

recipe=$suite-$(cat integration/test-vm/disk.sh integration/test-vm/job.service | sha256sum | cut -c -16)
if [ ! -e "$dir/$recipe" ]; then
    rm -rf "$dir/new" "$dir/$suite"-*
    integration/test-vm/disk.sh "$dir/new" "$suite" >"$dir/disk.log" 2>&1 || { tail -n 30 "$dir/disk.log"; exit 1; }
    mv "$dir/new" "$dir/$recipe"
fi

share=$dir/share
rm -rf "$share"
mkdir -p "$share"
cargo test --locked --test main --no-run 2>&1 | tee "$dir/cargo.log"
tests=$(sed -n 's|.*Executable tests/main.rs (\(.*\))$|\1|p' "$dir/cargo.log")
cp "$tests" "$share/main"
cp "$orlop" "$share/orlop"
cp "$(dirname "$orlop")/containerd-shim-orlop-v2" "$share/"
cp integration/test-vm/guest/job.sh "$share/job.sh"
echo "$jobs" >"$share/jobs"
pwd >"$share/repository"
# Some tests read sources, where they were built.
tar -C / -cf "$share/files.tar" "${PWD#/}"/{Cargo.toml,README.md,SECURITY.md,docs,src,tests,integration,contrib,crates}

# Succeeds if the machine came as far as the first line of its job; then it has switched itself off.
boot() {
    rm -f "$share"/{failed,finished}
    : >"$share/log"
    timeout 3300 qemu-system-x86_64 -accel tcg,thread=multi -smp 2 -m 4G -display none -monitor none -no-reboot -net none \
        -serial "file:$dir/console.log" -kernel "$dir/$recipe/kernel" -initrd "$dir/$recipe/initrd" \
        -append "root=/dev/vda rw console=ttyS0 panic=1 mitigations=off no_timer_check quiet $layout" \
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
