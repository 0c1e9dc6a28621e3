#!/usr/bin/env bash
# Checks or builds the programs for other architectures and for musl, with Debian's compilers:
#
#     cross.sh DIRECTORY check|build|tests|run TARGET…
#
# `check` is cargo check. `build` leaves static release programs in DIRECTORY/out/TARGET/. `tests` builds the library
# tests and the behaviour tests, and leaves them there as library-tests and main. `run` boots a kernel of Debian with the
# program that was built, and runs containers (cross/guest.sh). What the programs are made of is in them, in the section
# .dep-v0 (cargo auditable).
#
# rustup has the standard library of every target, but not every machine reaches its server. Debian has it for its
# architectures, in the version of Debian's own compiler, and the sources of it. So all of this happens in a Debian sid
# in DIRECTORY/sid. It is made once, and what a target needs is added to it when it is first asked for. The standard
# library for musl is built there from Debian's rust-src.
set -euo pipefail
mkdir -p "$1"
dir=$(realpath "$1")
what=$2
shift 2
cd "$(dirname "$0")/.."
repository=$PWD
sid=$dir/sid
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

. integration/cross/targets.sh

[ "$(id -u)" = 0 ] || { echo "cross.sh makes a chroot: run it as root" >&2; exit 1; }
integration/packages.sh mmdebstrap util-linux xz-utils

if [ ! -e "$sid/.made" ]; then
    rm -rf "$sid"
    # A mirror that is not updated any more is as good: sid is only the compiler here.
    mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' \
        --include=ca-certificates,rustc,cargo,cargo-auditable,gcc,libc6-dev sid "$sid" "$mirror"
    chroot "$sid" sh -c 'for arch in arm64 riscv64 s390x ppc64el armhf i386; do dpkg --add-architecture $arch; done
        apt-get -q update >/dev/null'
    touch "$sid/.made"
fi

# Runs a command in the sid. The repository is at /orlop there and DIRECTORY at /cross, so that no program knows where it
# was built; what cargo has fetched here need not be fetched again.
inside() {
    unshare --mount --propagation slave sh -eu -c '
        sid=$1 repository=$2 registry=$3 dir=$4
        shift 4
        mkdir -p "$sid/orlop" "$sid/cross" "$sid/root/.cargo/registry"
        mount --bind "$repository" "$sid/orlop"
        mount --bind "$dir" "$sid/cross"
        mount --bind "$registry" "$sid/root/.cargo/registry"
        mount --rbind /dev "$sid/dev"
        mount -t proc proc "$sid/proc"
        exec chroot "$sid" env -i --chdir=/orlop PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"
    ' inside "$sid" "$repository" "${CARGO_HOME:-$HOME/.cargo}/registry" "$dir" \
        CARGO_TARGET_DIR=/cross/target CARGO_NET_OFFLINE=true CARGO_INCREMENTAL=0 \
        ${CARGO_BUILD_JOBS:+CARGO_BUILD_JOBS="$CARGO_BUILD_JOBS"} \
        ORLOP_COMMIT="${ORLOP_COMMIT-$(git describe --always --dirty 2>/dev/null || true)}" "$@"
}

# Unpacks packages of another architecture: not installed, since their dependencies would be as well.
unpack() {
    chroot "$sid" sh -eu -c 'cd /tmp; for package in "$@"; do
        apt-get -q download "$package" >/dev/null
        dpkg -x "${package%:*}"_*.deb /
        rm "${package%:*}"_*.deb
    done' unpack "$@"
}

install() {
    DEBIAN_FRONTEND=noninteractive chroot "$sid" \
        sh -c 'apt-get -q install -y --no-install-recommends "$@" >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; exit 1; }' install "$@"
}

# What is needed to check, then to link, for one target.
prepare() {
    arch=$(debian_of "$1")
    libraries=$sid/usr/lib/rustlib/$1/lib
    case $1 in
    *-musl) [ -e "$libraries/self-contained" ] || musl_std "$1" "$arch" ;;
    *) [ -e "$libraries" ] || unpack "libstd-rust-dev:$arch" ;;
    esac
    if [ "$what" != check ] && [ "$arch" != amd64 ] && [ ! -e "$sid/usr/bin/$(gcc_of "$1")" ]; then
        install "gcc-$(echo "$(gnu_of "$arch")" | tr _ -)" "libc6-dev-$arch-cross"
    fi
    if [ "$what" = tests ] && [ ! -e "$sid/usr/lib/$(gnu_of "$arch")/libseccomp.so" ]; then
        unpack "libseccomp2:$arch" "libseccomp-dev:$arch"
    fi
}

# The standard library for musl, where the compiler looks for it, in the form in which rustup has it: with musl's libc.a
# and start files, in variants with and without PIE, and gcc's unwinder.
musl_std() {
    [ "$2" = amd64 ] || install "gcc-$(gnu_of "$2" | tr _ -)" "libc6-dev-$2-cross"
    [ -e "$sid/usr/src/rustc-"* ] 2>/dev/null || install rust-src
    [ -e "$sid/usr/lib/$(musl_of "$2")/libc.a" ] || unpack "musl-dev:$2"
    inside sh -eu integration/cross/musl-std.sh "$1" "$(gcc_of "$1")" "/usr/lib/$(musl_of "$2")"
}

# A kernel and a busybox of Debian for the target, and the module of overlayfs, without which the program copies itself.
fetch_machine() {
    chroot "$sid" sh -eu -c 'rm -rf /tmp/machine; mkdir /tmp/machine; cd /tmp/machine
        version=$(apt-cache depends "$1" | sed -n "s/^ *Depends: linux-image-//p")
        apt-get -q download "linux-binary-$version" "linux-modules-$version" "busybox-static:$2" >/dev/null 2>&1
        for package in *.deb; do dpkg -x "$package" .; done' fetch_machine "$(kernel_of "$1")" "$1"
    local made=$sid/tmp/machine
    mkdir -p "$2"
    find "$made" '(' -name 'vmlinu[xz]-*' -o -name 'vmlinu[xz]' ')' -exec cp {} "$2/kernel" ';'
    cp "$made"/usr/bin/busybox "$2/busybox"
    find "$made" -name overlay.ko.xz -exec xz -dc {} + >"$2/overlay.ko"
    rm -rf "$made"
}

cargo fetch --locked --quiet
for target in "$@"; do
    prepare "$target"
    name=$(echo "$target" | tr 'a-z-' 'A-Z_')
    linker="CARGO_TARGET_${name}_LINKER=$(gcc_of "$target")"
    cc="CC_$(echo "$target" | tr - _)=$(gcc_of "$target")"
    out=$dir/out/$target
    mkdir -p "$out"
    static="-C target-feature=+crt-static"
    echo "== $what $target"
    case $what in
    check) inside "$cc" cargo check --locked --quiet --target "$target" ;;
    build)
        for crate in $(crates); do
            # As in the Makefile: orlop-image computes, the others are small.
            profile=release
            [ "$crate" != orlop-image ] || profile=image
            inside "$linker" "$cc" RUSTFLAGS="$static ${ORLOP_RUSTFLAGS-}" \
                cargo auditable build --quiet --locked --profile "$profile" --target "$target" -p "$crate"
            for program in $(programs); do
                built=$dir/target/$target/$profile/$program
                [ ! -x "$built" ] || cp "$built" "$out/"
            done
        done
        ls -l "$out"
        # One that runs here must find its arguments, which is not the same with each C library.
        [[ $target != "$(uname -m)"-* || ! -x $out/orlop ]] || "$out/orlop" --version
        ;;
    tests)
        inside "$linker" "$cc" cargo test --locked --no-run --target "$target" --lib --test main 2>&1 |
            tee "$dir/tests.log"
        built=$(sed -n 's|.*Executable unittests src/lib.rs (\(.*\))$|\1|p' "$dir/tests.log")
        cp "$dir${built#/cross}" "$out/library-tests"
        built=$(sed -n 's|.*Executable tests/main.rs (\(.*\))$|\1|p' "$dir/tests.log")
        cp "$dir${built#/cross}" "$out/main"
        ;;
    run)
        machine=$dir/machine/$target
        [ -e "$machine/overlay.ko" ] || fetch_machine "$arch" "$machine"
        cp "$out/orlop" "$machine/"
        integration/cross/boot.sh "$target" "$machine"
        ;;
    *)
        echo "check, build, tests or run, not $what" >&2
        exit 1
        ;;
    esac
done
