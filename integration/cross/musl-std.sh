# Builds the standard library for a musl target from the sources of the compiler, and puts it where the compiler looks
# for it: `musl-std.sh TARGET GCC DIRECTORY-OF-MUSL`. Runs inside the Debian sid of cross.sh.
set -eu
target=$1
gcc=$2
musl=$3
sysroot=$(rustc --print sysroot)
here=$(cd "$(dirname "$0")" && pwd)
library=$(echo "$sysroot"/lib/rustlib/src/rust/library)
work=/var/tmp/musl-std
lib=$sysroot/lib/rustlib/$target/lib

rm -rf "$work" "$lib.new"
mkdir -p "$work" "$lib.new/self-contained"
# -Zforce-unstable-if-unmarked is how the sources expect to be compiled; without bitcode there is no link-time
# optimisation.
cd "$library"
RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$work RUSTFLAGS="-Zforce-unstable-if-unmarked -Cembed-bitcode=yes" \
    cargo build --quiet --release --frozen --target "$target" --manifest-path sysroot/Cargo.toml \
    --features panic-unwind
cp "$work/$target"/release/deps/*.rlib "$lib.new/"
rm -rf "$work"

for file in crt1.o rcrt1.o Scrt1.o crti.o crtn.o libc.a; do cp "$musl/$file" "$lib.new/self-contained/"; done
for file in crtbegin.o crtbeginS.o crtend.o crtendS.o; do
    cp "$($gcc -print-file-name=$file)" "$lib.new/self-contained/"
done
# The unwinder that std asks for is gcc's under the name of LLVM's, with what it expects of a C library.
cp "$($gcc -print-file-name=libgcc_eh.a)" "$lib.new/self-contained/libunwind.a"
$gcc -O2 -fPIC -c -o /tmp/find-object.o "$here/find-object.c"
"${gcc%gcc}ar" rs "$lib.new/self-contained/libunwind.a" /tmp/find-object.o 2>/dev/null
rm -rf "$lib"
mkdir -p "$(dirname "$lib")"
mv "$lib.new" "$lib"
