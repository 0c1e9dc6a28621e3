# What Debian calls the targets of rustc. Sourced by cross.sh and packages.sh.

# aarch64 has packages, and a promise is planned (docs/portability.md). The others are built.
ALL_TARGETS="aarch64-unknown-linux-gnu riscv64gc-unknown-linux-gnu s390x-unknown-linux-gnu
    powerpc64le-unknown-linux-gnu armv7-unknown-linux-gnueabihf i686-unknown-linux-gnu
    x86_64-unknown-linux-musl aarch64-unknown-linux-musl"

# Debian's architecture.
debian_of() {
    case $1 in
    x86_64-*) echo amd64 ;;
    aarch64-*) echo arm64 ;;
    riscv64gc-*) echo riscv64 ;;
    s390x-*) echo s390x ;;
    powerpc64le-*) echo ppc64el ;;
    armv7-*) echo armhf ;;
    i686-*) echo i386 ;;
    *) echo "no Debian architecture is known for $1" >&2; return 1 ;;
    esac
}

# The GNU name of a Debian architecture, which begins the names of its compilers.
gnu_of() {
    case $1 in
    amd64) echo x86_64-linux-gnu ;;
    arm64) echo aarch64-linux-gnu ;;
    ppc64el) echo powerpc64le-linux-gnu ;;
    armhf) echo arm-linux-gnueabihf ;;
    i386) echo i686-linux-gnu ;;
    *) echo "$1-linux-gnu" ;;
    esac
}

# The package of Debian's kernel for an architecture.
kernel_of() {
    case $1 in
    ppc64el) echo linux-image-powerpc64le:ppc64el ;;
    armhf) echo linux-image-armmp:armhf ;;
    i386) echo linux-image-amd64:amd64 ;; # i386 has none any more
    *) echo "linux-image-$1:$1" ;;
    esac
}

gcc_of() { echo "$(gnu_of "$(debian_of "$1")")-gcc"; }

musl_of() { gnu_of "$1" | sed 's/-gnu/-musl/'; }

programs() { echo orlop orlop-image containerd-shim-orlop-v2; }

# The crates that have programs, the runtime first: CRATES, or all that are there.
crates() {
    [ -z "${CRATES-}" ] || { echo "$CRATES"; return; }
    for crate in . crates/*; do
        [ ! -e "$crate/src/main.rs" ] || sed -n 's/^name = "\(orlop[a-z-]*\)"$/\1/p' "$crate/Cargo.toml" | head -n 1
    done
}
