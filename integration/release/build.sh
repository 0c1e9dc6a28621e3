#!/usr/bin/env bash
# Makes the packages: `build.sh DIRECTORY ARCH…`, where ARCH is amd64 or arm64. In DIRECTORY/packages there are, for each
# of orlop, orlop-image and orlop-shim: a .deb, a .rpm, a tarball and an SBOM, and SHA256SUMS of all.
#
# The programs are static, with musl, from integration/cross.sh. The .deb is made by dpkg-deb and the .rpm by rpmbuild,
# which are packages of Debian: cargo-deb and cargo-generate-rpm would have to be compiled first (some 200 crates each),
# and would describe the same files twice. Here one directory with the files becomes all three.
#
# The same commit gives the same bytes: times are the commit's (SOURCE_DATE_EPOCH), owners are root, and the compiler sees
# the same paths everywhere. reproducible.sh checks that.
set -euo pipefail
mkdir -p "$1"
dir=$(realpath "$1")
shift
cd "$(dirname "$0")/../.."
. integration/cross/targets.sh
integration/packages.sh dpkg-dev rpm gzip xz-utils python3

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
umask 022
maintainer="Orlop maintainers <maintainers@orlop.invalid>"
out=$dir/packages
sid=$dir/cross/sid
rm -rf "$out" "$dir/stage"
mkdir -p "$out" "$dir/stage"

summary_of() {
    case $1 in
    orlop) echo "low-level OCI container runtime" ;;
    orlop-image) echo "OCI images for the container runtime orlop" ;;
    orlop-shim) echo "containerd shim on the container runtime orlop" ;;
    esac
}

description_of() {
    case $1 in
    orlop) echo "Orlop creates, starts, inspects, signals and deletes containers as an OCI bundle describes them. Docker, Podman, containerd and CRI-O call it as they call runc." ;;
    orlop-image) echo "Copies OCI images between registries, layouts and archives, unpacks them to bundles, and runs them in containers of orlop." ;;
    orlop-shim) echo "containerd-shim-orlop-v2 looks after the containers of a pod for containerd, with one small process per pod." ;;
    esac
}

# Recommends, not depends: each works without the others, with less.
recommends_of() { case $1 in orlop) echo "" ;; *) echo orlop ;; esac; }

programs_of() { case $1 in orlop-shim) echo containerd-shim-orlop-v2 ;; *) echo "$1" ;; esac; }

# The manual pages. orlop-image.8 is made with those of orlop: it is the page of `orlop image`, which runs orlop-image.
pages_of() {
    case $1 in
    orlop) printf '%s\n' "$dir"/pages/*.8 | grep -v '/orlop-image\.8$' ;;
    orlop-image) echo "$dir/pages/orlop-image.8" ;;
    orlop-shim) echo crates/shim/containerd-shim-orlop-v2.8 ;;
    esac
}

# What belongs to a package, below $root, as it is installed.
stage() {
    package=$1 target=$2
    doc=$root/usr/share/doc/$package
    mkdir -p "$root/usr/bin" "$root/usr/share/man/man8" "$doc"
    for program in $(programs_of "$package"); do install -m 0755 "$dir/cross/out/$target/$program" "$root/usr/bin/"; done
    pages_of "$package" | while read -r page; do
        gzip -9 -n -c "$page" >"$root/usr/share/man/man8/$(basename "$page").gz"
    done
    if [ "$package" = orlop ]; then
        mkdir -p "$root"/usr/share/{bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}
        cp "$dir/pages/orlop.bash" "$root/usr/share/bash-completion/completions/orlop"
        cp "$dir/pages/_orlop" "$root/usr/share/zsh/vendor-completions/_orlop"
        cp "$dir/pages/orlop.fish" "$root/usr/share/fish/vendor_completions.d/"
        cp README.md SECURITY.md docs/versions.md docs/portability.md "$doc/"
        cp -r contrib "$doc/examples"
    fi
    gzip -9 -n -c CHANGELOG.md >"$doc/changelog.gz"
    printf '%s (%s-1) unstable; urgency=medium\n\n  * Upstream release.\n\n -- %s  %s\n' "$package" "$version" \
        "$maintainer" "$(date -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9 -n -c >"$doc/changelog.Debian.gz"
    cat >"$doc/copyright" <<EOF
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: orlop
Comment: What is linked is listed, with its licences, in third-party-licences.txt.gz.

Files: *
Copyright: 2026 The Orlop authors
License: Apache-2.0
 On Debian systems, the text is in /usr/share/common-licenses/Apache-2.0.
EOF
    python3 integration/release/linked.py licences "$package" "$target" "$sid"/usr/src/rustc-*/LICENSE-MIT \
        "$sid/usr/share/doc/musl-dev/copyright" | sed "s|$sid||" | gzip -9 -n -c >"$doc/third-party-licences.txt.gz"
    # lintian wants programs to be dynamic.
    mkdir -p "$root/usr/share/lintian/overrides"
    for program in $(programs_of "$package"); do
        echo "$package: statically-linked-binary [usr/bin/$program]"
    done >"$root/usr/share/lintian/overrides/$package"
    find "$root" -type d -exec chmod 0755 {} + && find "$root" -type f ! -path '*/usr/bin/*' -exec chmod 0644 {} +
    find "$root" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
}

deb() {
    package=$1 arch=$2
    control=$dir/stage/deb
    rm -rf "$control"
    cp -a "$root" "$control"
    mkdir "$control/DEBIAN"
    recommends=$(recommends_of "$package")
    {
        echo "Package: $package"
        echo "Version: $version-1"
        echo "Architecture: $arch"
        echo "Maintainer: $maintainer"
        echo "Installed-Size: $(du -k -s --apparent-size "$root" | cut -f 1)"
        [ -z "$recommends" ] || echo "Recommends: $recommends"
        [ "$package" != orlop ] || echo "Suggests: criu, orlop-image"
        echo "Section: admin"
        echo "Priority: optional"
        echo "Homepage: https://docs.rs/orlop"
        echo "Description: $(summary_of "$package")"
        description_of "$package" | fold -s -w 75 | sed 's/^/ /; s/ *$//'
    } >"$control/DEBIAN/control"
    (cd "$control" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$control/DEBIAN/md5sums"
    chmod 0644 "$control"/DEBIAN/*
    find "$control" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group -Zxz --build "$control" "$out/${package}_$version-1_$arch.deb" >/dev/null
    rm -rf "$control"
}

rpm_package() {
    package=$1 machine=$2
    recommends=$(recommends_of "$package")
    (cd "$root" && find . \( -type f -o -type l \) ! -path '*/lintian/*' ! -name '*.Debian.gz' | LC_ALL=C sort | sed 's|^\.||') \
        >"$dir/stage/files"
    cat >"$dir/stage/package.spec" <<EOF
%global debug_package %{nil}
%global __os_install_post %{nil}
%global _build_id_links none
%global _buildhost reproducible
%global use_source_date_epoch_as_buildtime 1
%global clamp_mtime_to_source_date_epoch 1
%global _binary_payload w6.xzdio
Name: $package
Version: $version
Release: 1
Summary: $(summary_of "$package")
License: Apache-2.0
URL: https://docs.rs/orlop
AutoReqProv: no
${recommends:+Recommends: $recommends}

%description
$(description_of "$package" | fold -s -w 75)

%install
cp -a $root/. %{buildroot}/
rm -rf %{buildroot}/usr/share/lintian %{buildroot}/usr/share/doc/$package/changelog.Debian.gz

%files -f $dir/stage/files
EOF
    rpmbuild --quiet -bb --target "$machine-linux" --define "_topdir $dir/stage/rpm" --define "_rpmdir $dir/stage/rpms" \
        --define "_dbpath $dir/stage/rpmdb" "$dir/stage/package.spec" >"$dir/rpm.log" 2>&1 || { cat "$dir/rpm.log"; exit 1; }
    mv "$dir/stage/rpms/$machine/"*.rpm "$out/"
}

tarball() {
    package=$1 machine=$2
    (cd "$root/usr" && find . -type f ! -path './share/lintian/*' ! -name '*.Debian.gz' | sort |
        tar --create --no-recursion --files-from - --owner 0 --group 0 --numeric-owner --mtime "@$SOURCE_DATE_EPOCH" \
            --transform "s|^\.|$package-$version|") | gzip -9 -n >"$out/$package-$version-$machine-linux-static.tar.gz"
}

rm -rf "$dir/pages"
cargo run --locked --quiet --example pages -- "$dir/pages"
for arch in "$@"; do
    case $arch in
    amd64) machine=x86_64 ;;
    arm64) machine=aarch64 ;;
    *) echo "packages are for amd64 and arm64, not $arch" >&2; exit 1 ;;
    esac
    target=$machine-unknown-linux-musl
    [ -n "${ORLOP_BUILT-}" ] || integration/cross.sh "$dir/cross" build "$target"
    for package in $(crates); do
        root=$dir/stage/$package-$arch
        stage "$package" "$target"
        deb "$package" "$arch"
        rpm_package "$package" "$machine"
        tarball "$package" "$machine"
        python3 integration/release/linked.py sbom "$package" "$target" >"$out/$package-$version-$machine.cdx.json"
    done
done
(cd "$out" && sha256sum -- * >SHA256SUMS)
rm -rf "$dir/stage"
ls -l "$out"
